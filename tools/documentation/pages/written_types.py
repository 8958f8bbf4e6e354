"""Definitions as a reader needs them: names of aliases and constants give way to what they stand for.

    node, classes = readable(PACKAGE / "ranking" / "ranker.py", "rank")
    classes                     # the classes of ganpatch that its signature names: {"Generator", "Ranking", …}

`score: Score` becomes `score: Literal["max", "mean", "q99"]`. It reads the source and runs nothing.
"""

import ast
from copy import deepcopy
from functools import cache
from pathlib import Path

import ganpatch

PACKAGE = Path(ganpatch.__file__).parent
Definition = ast.FunctionDef | ast.ClassDef
_CONSTANTS = (ast.Constant, ast.UnaryOp)


def readable(path: Path, name: str) -> tuple[Definition, set[str]]:
    """Return what `path` defines as `name`, aliases and constants replaced, and the classes of ganpatch it names."""
    found = [node for node in _tree(path).body if isinstance(node, Definition) and node.name == name]
    assert found, f"{path} does not define {name}"
    node, written = deepcopy(found[0]), _Written(path)
    shown = [node] if isinstance(node, ast.FunctionDef) else _public(node)
    for part in shown:
        if isinstance(part, ast.AnnAssign):
            part.annotation = written.visit(part.annotation)
        else:
            _write(part, written)
    return node, written.classes


def _public(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AnnAssign]:
    methods = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name[0] != "_"]
    fields = [part for part in node.body if isinstance(part, ast.AnnAssign) and ast.unparse(part.target)[0] != "_"]
    return [*methods, *fields]


def _write(node: ast.FunctionDef, written: "_Written") -> None:
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    for one in every:
        if one is not None and one.annotation is not None:
            one.annotation = written.visit(one.annotation)
    node.returns = written.visit(node.returns) if node.returns else None
    arguments.defaults = [written.constant(one) for one in arguments.defaults]
    arguments.kw_defaults = [one and written.constant(one) for one in arguments.kw_defaults]


class _Written(ast.NodeTransformer):
    """Replaces names in annotations, and keeps the classes that it meets."""

    def __init__(self, path: Path, classes: set[str] | None = None) -> None:
        self._path = path
        self.classes: set[str] = set() if classes is None else classes

    def visit_Name(self, node: ast.Name) -> ast.expr:
        path, found = _home(self._path, node.id)
        if isinstance(found, ast.ClassDef):
            self.classes.add(found.name)
        elif isinstance(found, ast.Assign) and not isinstance(found.value, ast.Call | ast.Tuple | ast.Constant):
            return _Written(path, self.classes).visit(deepcopy(found.value))
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        kind = ast.unparse(node.value)
        if kind == "Annotated":  # the bounds are in the patch format
            assert isinstance(node.slice, ast.Tuple)
            return self.visit(node.slice.elts[0])
        return node if kind == "Literal" else self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return self.visit(ast.parse(node.value, mode="eval").body) if isinstance(node.value, str) else node

    def constant(self, default: ast.expr) -> ast.expr:
        """Return a default, or the number, text or range that a constant stands for."""
        if not isinstance(default, ast.Name):
            return default
        path, found = _home(self._path, default.id)
        if not isinstance(found, ast.Assign):
            return default
        value = found.value
        if isinstance(value, _CONSTANTS) or (isinstance(value, ast.Call) and ast.unparse(value.func) == "range"):
            return value
        return _Written(path).constant(value) if isinstance(value, ast.Name) else default


def _home(path: Path, name: str) -> tuple[Path, ast.stmt | None]:
    """Return the file that defines `name` for the code in `path`, and the statement; None outside of ganpatch."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ganpatch."):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _home(_file(node.module or ""), alias.name)
    for part in _tree(path).body:
        if isinstance(part, Definition) and part.name == name:
            return path, part
        if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == name:
            return path, part
    return path, None


def _file(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())
