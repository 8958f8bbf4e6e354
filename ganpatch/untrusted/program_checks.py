"""Check an exported program (.pt2) or a TorchScript archive before torch loads it.

    check_program(archive)          # GanpatchError where torch would run more than operations on tensors
    check_script(archive)

`torch.export.load` unpickles what an archive asks it to, evaluates its expressions as Python, looks operators up by any
dotted name, and writes names into source code that it runs. TorchScript can read and write files. So both are
checked first, and refused if anything in them is not on the short lists here.
"""

import ast
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import torch

from ganpatch.disk.json_files import parsed_json
from ganpatch.errors import GanpatchError, explained, listed
from ganpatch.untrusted.torch_files import read_pickle
from ganpatch.untrusted.zip_archives import Archive, opened_archive

_LARGEST = 64_000_000

# ---- exported programs ------------------------------------------------------------------------------------------

_ENTRIES = re.compile(
    r"models/\w+\.json|data/weights/(\w+_config\.json|weight_\d+)|data/constants/(\w+_config\.json|tensor_\d+)|"
    r"data/sample_inputs/\w+\.pt|archive_format|archive_version|byteorder|version|\.data/\w+|extra/[\w.-]+"
)
_NAME = re.compile(r"[\w.-]*")
_SCOPE = re.compile(r"[\w.;:,<>\[\]()*/+= -]*")  # names of modules and types: no quotes, nothing that ends a string
_OPERATORS = re.compile(
    r"torch\.ops\.(aten|prims)\.(?!from_file|save)\w+\.\w+|torch\._?sym_\w+|"
    r"torch\.ops\.higher_order\.(cond|wrap_with_set_grad_enabled|wrap_with_autocast)|"
    r"_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|getitem|eq|ne|lt|le|gt|ge|and_|or_|not_|xor|index)|"
    r"math\.(ceil|floor|trunc|sqrt|log2|pow)"
)
_TREES = {None, *(f"builtins.{kind}" for kind in ("tuple", "list", "dict")), "collections.OrderedDict"}
_FUNCTIONS = {
    *("Mod", "PythonMod", "FloorDiv", "CleanDiv", "IntTrueDiv", "FloatTrueDiv", "ModularIndexing", "Max", "Min"),
    *("ToFloat", "TruncToInt", "CeilToInt", "FloorToInt", "RoundToInt", "PowByNatural", "FloatPow", "Where"),
    *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "True", "False", "floor", "ceiling", "Abs"),
    *("Symbol", "Integer", "Rational", "Float", "Add", "Mul", "Pow"),
}
_SYMBOL = re.compile(r"[a-z]{1,5}\d{1,6}")
_ARITHMETIC = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.keyword, ast.Load, ast.unaryop, ast.cmpop)
_ARITHMETIC += (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)  # type: ignore[assignment]
_LONGEST = 2000


def check_program(archive: Archive) -> None:
    """Raise GanpatchError where loading an exported program would do more than build a graph of its tensors."""
    for name, entry in archive.entries.items():
        where = f"'{archive.path}'"
        if name.startswith(("data/aotinductor", "executorch")) or name.endswith((".so", ".dylib", ".dll")):
            raise GanpatchError(f"{where} holds compiled code ({name[:60]}), which is not loaded")
        if not _ENTRIES.fullmatch(name):
            raise GanpatchError(f"{where} holds '{name[:60]}', which is no part of an exported program")
        if name.endswith("_config.json"):
            _check_tensors(archive, name)
        elif name.startswith("models/"):
            with explained(f"{where} is broken: {name} is not what torch writes"):
                _check_strings(parsed_json(archive.read(name, limit=_LARGEST), name))
        elif name.startswith("data/sample_inputs/") and entry.file_size:
            _check_inputs(archive, name)


def _check_inputs(archive: Archive, name: str) -> None:
    """Refuse inputs that are not tensors: torch would unpickle them with all that they name."""
    content = archive.read(name, limit=_LARGEST)
    try:
        with opened_archive(archive.path, content) as inputs:
            read_pickle(inputs, "data.pkl")
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception as fault:
        raise GanpatchError(f"'{archive.path}' holds pickled objects ({name}), which could run code") from fault


def _check_tensors(archive: Archive, name: str) -> None:
    """Refuse pickled tensors, and tensors that are larger than their stored data."""
    content = parsed_json(archive.read(name, limit=_LARGEST), f"'{archive.path}': {name}")
    folder, pickled = name.rpartition("/")[0], []
    with explained(f"'{archive.path}' is broken: {name} is not what torch writes"):
        for tensor, meta in content["config"].items():
            _check_text(tensor)
            place, count = f"{folder}/{meta['path_name']}", 1
            if meta["use_pickle"]:
                pickled.append(tensor)
                continue
            if not _ENTRIES.fullmatch(place) or place.endswith(".json"):
                raise ValueError(f"{tensor} is in {place[:60]}")
            for size in meta["tensor_meta"]["sizes"]:
                count *= _natural(size["as_int"])
            if place not in archive.entries or count > archive.entries[place].file_size:
                raise ValueError(f"{tensor} is larger than what is stored of it")
            _check_strings(meta)
    if pickled:
        raise GanpatchError(f"'{archive.path}' holds pickled objects ({listed(pickled, 3)}), which could run code")


def _natural(number: Any) -> int:
    if not isinstance(number, int) or number < 0:
        raise ValueError(f"{str(number)[:20]} is no size")
    return number


def _check_strings(part: Any) -> None:
    """Raise ValueError for a text that torch would read as more than a name."""
    for key, text in _strings(part):
        if key == "expr_str":
            _check_expression(text)
        elif key == "target" and not _OPERATORS.fullmatch(text):
            raise ValueError(f"the operator {text[:80]!r} is not one of tensors")
        elif key in ("in_spec", "out_spec"):
            _check_tree(json.loads(text))
        elif key in ("torch_fn", "nn_module_stack", "source_fn_stack", "torch_version", "as_dtype", "from_node"):
            if not _SCOPE.fullmatch(text):
                raise ValueError(f"{key} is {text[:80]!r}")
        elif key not in ("stack_trace", "guards_code", "target"):  # these are never run here
            _check_text(text)


def _check_text(text: str) -> None:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no name")


def _strings(part: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text with its key; keys are also yielded."""
    if isinstance(part, dict):
        for name, value in part.items():
            yield "", name
            yield from _strings(value, name)
    elif isinstance(part, list):
        for value in part:
            yield from _strings(value, key)
    elif isinstance(part, str):
        yield key, part


def _check_expression(text: str) -> None:
    """Refuse everything but arithmetic on symbols: torch evaluates it as Python."""
    if len(text) > _LONGEST or not all(_is_arithmetic(node) for node in ast.walk(ast.parse(text, mode="eval"))):
        raise ValueError(f"the expression {text[:80]!r} is more than arithmetic")


def _is_arithmetic(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and (node.func.id != "Pow" or _is_small_power(*node.args))
    if isinstance(node, ast.Name):
        return node.id in _FUNCTIONS or _SYMBOL.fullmatch(node.id) is not None
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, str) or _SYMBOL.fullmatch(node.value) is not None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return _is_small_power(node.left, node.right)
    return isinstance(node, _ARITHMETIC)


def _is_small_power(base: ast.expr, exponent: ast.expr) -> bool:
    """Return whether a power is small: x**3 is, 9**9**9 would never end."""
    symbol = _SYMBOL.search(ast.unparse(base)) is not None and "**" not in ast.unparse(base)
    small = re.fullmatch(r"(Integer\()?(-?\d{1,2}|Rational\(-?\d,\s*\d\))\)?", ast.unparse(exponent)) is not None
    return symbol and small


def _check_tree(tree: Any) -> None:
    """Refuse inputs and outputs that are not lists or mappings: torch looks up other kinds by name."""
    if isinstance(tree, dict):
        if tree.get("type") not in _TREES or "__enum__" in json.dumps(tree.get("context")):
            raise ValueError(f"an input or output is a {str(tree.get('type'))[:60]}")
        tree = tree.get("children_spec", [])
    for inner in tree if isinstance(tree, list) else ():
        _check_tree(inner)


# ---- TorchScript ------------------------------------------------------------------------------------------------

_SCRIPT = re.compile(
    r"(data|constants|traced_inputs)(/\d+|\.pkl)|code/[\w/.-]+\.py(\.debug_pkl)?|version|byteorder|\.data/\w+|"
    r"(extra/)?[\w.-]+\.json"
)
_WORDS = re.compile(r"\bops\s*\.\s*(?!prim\b|aten\b)\w+|\b(from_file|save|rpc_\w+|__setstate__|classes)\b")


def check_script(archive: Archive) -> None:
    """Raise GanpatchError where loading or running a TorchScript archive would do more than compute with tensors."""
    for name in archive.entries:
        if not _SCRIPT.fullmatch(name):
            raise GanpatchError(f"'{archive.path}' holds '{name[:60]}', which is no part of a TorchScript archive")
        if name.endswith(".py"):
            code = archive.read(name, limit=_LARGEST).decode(errors="replace")
            if found := _WORDS.search(code):
                raise GanpatchError(
                    f"'{archive.path}' uses {found[0]}, which is more than arithmetic; it is not loaded"
                )
        elif name in ("data.pkl", "constants.pkl"):
            read_pickle(archive, name, strict=False)
