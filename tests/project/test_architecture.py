"""Each room imports only from the rooms below it; every module has a room; files and functions stay small."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ganpatch

PACKAGE = Path(ganpatch.__file__).parent
# From the ground up. A room imports only from what is before it.
GROUND = ("version", "errors", "option_values", "number_ranges", "html_tables", "plugins", "torchvision_import")
ROOMS = [
    "disk",
    "untrusted",
    "generator",
    "forward",
    "patch",
    "graph",
    "fold",
    "families",
    "pages",
    "segmenters",
    "ranking",
    "finding",
    "review",
    "dissection",
    "causes",
    "evaluation",
    "export",
    "runs",
    "studio",
    "cli",
]
ABOVE_ALL = ("__init__", "__main__")  # the public names; what `python -m ganpatch` starts
FLOOR = {name: floor for floor, name in enumerate((*GROUND, *ROOMS, *ABOVE_ALL))}
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def imported(tree: ast.AST, own: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield each name that `tree` imports from ganpatch, as parts without "ganpatch", whatever the form of the import.

    `own` is the package of the file, as parts, for relative imports.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ("ganpatch", *own)[: len(own) + 2 - node.level] if node.level else ()
            base = ".".join((*above, *filter(None, [node.module])))
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
            "import_module",
            "__import__",
        ):
            names = [
                part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)
            ]
        else:
            continue
        for name in names:
            if re.match(r"ganpatch(\.|$)", name):
                yield tuple(name.split(".")[1:])


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_room_imports_only_from_rooms_below_it(path: Path) -> None:
    own = room_of(path)
    assert own in FLOOR, f"{path} has no room in this file's list"
    for parts in imported(ast.parse((PACKAGE / path).read_text()), path.parts[:-1]):
        other = parts[0] if parts and parts[0] in FLOOR else "__init__"
        assert other == own or FLOOR[other] < FLOOR[own], (
            f"{path} imports ganpatch.{'.'.join(parts)}, which is above it"
        )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import ganpatch.studio.session", ("studio", "session")),
        ("from ganpatch.studio import session", ("studio", "session")),
        ("from ganpatch import studio", ("studio",)),
        ("from ..studio import session", ("studio", "session")),
        ("from .. import studio", ("studio",)),
        ("def f():\n    import ganpatch.cli as c", ("cli",)),
        ("importlib.import_module('ganpatch.cli.rank')", ("cli", "rank")),
        ("__import__('ganpatch.cli')", ("cli",)),
        ("import ganpatch", ()),
    ],
)
def test_every_form_of_import_is_seen(text: str, found: tuple[str, ...]) -> None:
    assert list(imported(ast.parse(text), ("patch",))) == [found]


def test_every_room_exists_and_says_what_lives_there() -> None:
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} == set(ROOMS)
    for room in ROOMS:
        text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text()))
        assert text, room
        assert text.startswith(f"{room}: "), room
        for path in (PACKAGE / room).glob("*.py"):
            if path.stem != "__init__" and room not in ("families", "cli", "studio"):
                assert path.stem in text, f"ganpatch/{room}/__init__.py does not name {path.name}"


def test_only_the_generator_room_registers_hooks() -> None:
    others = [path for path in FILES if room_of(path) != "generator"]
    assert [str(path) for path in others if re.search(r"register_\w*hook", (PACKAGE / path).read_text())] == []


def test_no_module_has_the_name_of_a_public_function() -> None:
    assert {path.stem for path in FILES if path.parts[0] != "cli"} & set(ganpatch.__all__) == set()


def test_nothing_evaluates_text_or_unpickles_unasked() -> None:
    for path in FILES:
        text = (PACKAGE / path).read_text()
        assert not re.search(r"\b(eval|exec)\(", text.replace(".eval()", "")), path
        trusted = path == Path("families/trusted_pickles.py")  # --trust-pickle
        assert trusted or not re.search(r"pickle\.load|weights_only=False", text), path


@pytest.mark.parametrize("path", FILES, ids=str)
def test_sizes(path: Path) -> None:
    text = (PACKAGE / path).read_text()
    assert text.count("\n") <= 400, f"{path} holds two ideas"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{path}: {node.name} is too long"
