"""SECURITY.md promises what a test shows, and every test of hostile files and pages is a promise there."""

import ast
import re

from tests.support.shared import ROOT

TEST = re.compile(r"`(tests/\w+/test_\w+\.py)::(test_\w+)`")


def promises() -> list[str]:
    """Return the rows of all tables, without their heads."""
    rows = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("|")]
    return [row for row in rows if row != "| promise | shown by |" and not row.startswith("|---")]


def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_promise_names_a_test_that_exists() -> None:
    rows = promises()
    assert len(rows) > 30
    for row in rows:
        named = TEST.findall(row)
        assert named, f"no test shows: {row}"
        for file, test in named:
            assert test in functions_of(file), f"{file} has no {test}: {row}"


def test_every_test_of_hostile_files_and_pages_is_a_promise() -> None:
    named = set(TEST.findall((ROOT / "SECURITY.md").read_text()))
    hostile = [str(path.relative_to(ROOT)) for path in ROOT.glob("tests/untrusted/test_hostile_*.py")]
    assert len(hostile) > 4
    for file in (*hostile, "tests/project/test_strangers.py"):
        assert {test for test in functions_of(file) if (file, test) not in named} == set(), file
