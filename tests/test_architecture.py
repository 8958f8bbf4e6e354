"""The layout that ganpatch/__init__.py describes is the layout that there is."""

import ast
import re
from pathlib import Path

import pytest

import ganpatch

PACKAGE = Path(ganpatch.__file__).parent
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
ROOMS = ("models", "segment", "review", "fold", "find", "studio", "cli")


def order() -> list[str]:
    """Read the import order from the list in ganpatch/__init__.py."""
    text = ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text())) or ""
    listed = text.partition("A module imports only")[2].partition("Shapes:")[0]
    names: list[str] = []
    for line in listed.splitlines():
        match = re.match(r" {4}((?:[a-z_0-9]+/?(?:, )?)+)", line)
        if match:
            names += [name.strip().rstrip("/") for name in match[1].split(",")]
    return names


def place_of(name: str) -> str:
    """Give the entry of the list that a module stands under."""
    return name.split(".")[1] if "." in name else name


def imports_of(path: Path) -> set[str]:
    tree = ast.parse((PACKAGE / path).read_text())
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return {name for name in found if name.startswith("ganpatch.")}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_module_has_a_place_and_imports_only_what_stands_above_it(path: Path) -> None:
    places = order()
    own = path.parts[0].removesuffix(".py")
    assert own in places, f"{path} has no place in the list of ganpatch/__init__.py"
    for name in imports_of(path):
        other = place_of(name)
        assert other in places, f"{path} imports {name}, which has no place"
        if other != own:
            assert places.index(other) < places.index(own), f"{path} imports {name}, which stands below it"


def test_every_entry_of_the_list_exists() -> None:
    for name in order():
        assert (PACKAGE / f"{name}.py").is_file() or (PACKAGE / name).is_dir(), f"{name} is listed and missing"
    assert {path.parts[0] for path in FILES if len(path.parts) > 1} == set(ROOMS)


def test_only_layers_registers_hooks() -> None:
    others = [path for path in FILES if path.name != "layers.py"]
    assert [str(path) for path in others if re.search(r"register_\w*hook", (PACKAGE / path).read_text())] == []


def test_nothing_evaluates_text_or_unpickles_unasked() -> None:
    for path in FILES:
        text = (PACKAGE / path).read_text()
        assert not re.search(r"\b(eval|exec)\(|pickle\.load", text.replace(".eval()", "")), path
        assert "weights_only=False" not in text or path.name == "checkpoint.py", path


@pytest.mark.parametrize("path", FILES, ids=str)
def test_sizes(path: Path) -> None:
    text = (PACKAGE / path).read_text()
    assert text.count("\n") <= 400, f"{path} holds two ideas"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 60, f"{path}: {node.name} is too long"
