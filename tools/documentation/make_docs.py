"""Write the generated parts of the documentation.

docs/cli.md and docs/cli/ come from the commands, docs/api.md from docstrings, the JSON Schema and the tables of
docs/patch-format.md from the classes, the table in docs/targets.md from the tests' own, the map in
docs/architecture.md from ganpatch/__init__.py.

python -m tools.documentation.make_docs           # write them
python -m tools.documentation.make_docs --check   # exit 1 when a file is not what would be written
"""

import ast
import json
import sys
from pathlib import Path

import ganpatch
from ganpatch.cli import cli
from ganpatch.patch.patch_file import Patch
from tools.documentation.pages.commands import command_pages
from tools.documentation.pages.patch_fields import patch_tables
from tools.documentation.pages.python_api import api_page

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

from tests.support.table import as_markdown  # noqa: E402 - it is with the tests


def pages() -> dict[Path, str]:
    """Return every generated file and its text."""
    schema = Patch.model_json_schema()
    parts = {
        "targets.md": {"table": as_markdown()},
        "patch-format.md": {"fields": patch_tables(schema)},
        "architecture.md": {"map": the_map()},
    }
    return {
        ROOT / "ganpatch" / "patch" / "patch.schema.json": json.dumps(schema, indent=1) + "\n",
        DOCS / "api.md": api_page(),
        **{DOCS / name: text for name, text in command_pages(cli).items()},
        **{DOCS / name: with_parts((DOCS / name).read_text(), of_page) for name, of_page in parts.items()},
    }


def with_parts(text: str, parts: dict[str, str]) -> str:
    """Put each part between its two marks."""
    for name, content in parts.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->")
        text = f"{before}{start}{content}\n{end}{after}"
    return text


def the_map() -> str:
    """Return the list of rooms that ganpatch/__init__.py begins with."""
    tree = ast.parse(Path(ganpatch.__file__).read_text())
    listed = (ast.get_docstring(tree) or "").partition("says what lives there:\n\n")[2]
    return f"```text\n{listed.partition(chr(10) * 2 + 'Shapes:')[0]}\n```"


def stray(written: dict[Path, str]) -> list[Path]:
    """Find pages of commands that are no more."""
    return [path for path in sorted((DOCS / "cli").glob("*.md")) if path not in written]


def main() -> None:
    written, check = pages(), "--check" in sys.argv
    changed = [path for path, text in written.items() if not path.exists() or path.read_text() != text]
    gone = stray(written)
    if not check:
        for path in changed:
            path.parent.mkdir(exist_ok=True)
            path.write_text(written[path])
        for path in gone:
            path.unlink()
    stale = [str(path.relative_to(ROOT)) for path in [*changed, *gone]]
    if stale and check:
        sys.exit(f"out of date: {', '.join(stale)}; run python -m tools.documentation.make_docs")
    print(f"written: {', '.join(stale) or 'nothing, all is up to date'}")


if __name__ == "__main__":
    main()
