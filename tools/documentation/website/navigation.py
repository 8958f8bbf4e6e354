"""The sidebar: sections of pages, and below a page the pages of the folder that has its name.

The Markdown files carry no directives for it, so that they read well on a code host too.
"""

from pathlib import PurePosixPath

from sphinx.application import Sphinx

SECTIONS = {
    "Begin": {
        "docs/tutorial": "Tutorial: faces",
        "docs/notebooks/first-repair": "In a notebook",
        "docs/studio": "The studio",
    },
    "How to": {
        "docs/which-command": "Which command when",
        "docs/families": "Your generator",
        "docs/faults": "What faults look like",
        "docs/finding": "Find and evaluate",
        "docs/dissection": "Dissect and intervene",
        "docs/targets": "Apply and export",
        "docs/scale": "Many images, many processes",
        "docs/migrating": "Coming from other code",
        "docs/plugin/README": "Writing a plugin",
        "patches/README": "Patches that ship",
    },
    "How it works": {"docs/methods": "Methods", "docs/architecture": "Architecture"},
    "Reference": {
        "docs/cli": "Command line",
        "docs/api": "Python",
        "docs/patch-format": "Patch format",
        "docs/strokes-format": "Strokes format",
        "docs/files": "Files, codes, environment",
    },
    "The project": {
        "docs/performance": "Performance",
        "docs/reliability": "Reliability",
        "SECURITY": "Security",
        "CONTRIBUTING": "Contributing",
        "CHANGELOG": "Changelog",
    },
}
LAST = "The project"  # takes the pages that no section names


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _add_contents)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """Append to a page the list of those below it, in the order in which it speaks of them."""
    pages = set(app.env.found_docs)
    if page == app.config.root_doc:
        found = sections(pages, page)
        source[0] += "".join(_contents(listed, caption) for caption, listed in found.items() if listed)
    elif below := pages_below(page, pages):
        in_its_order = sorted(below, key=lambda name: (source[0].find(PurePosixPath(name).name + ".md"), name))
        source[0] += _contents(dict.fromkeys(in_its_order, ""))


def sections(pages: set[str], root: str) -> dict[str, dict[str, str]]:
    """Return the sections of the sidebar, each with those of its pages that there are, and their short titles."""
    named = {page for listed in SECTIONS.values() for page in listed}
    nested = {below for page in pages for below in pages_below(page, pages)}
    rest = dict.fromkeys(sorted(pages - named - nested - {root}), "")
    listed = {**SECTIONS, LAST: {**SECTIONS[LAST], **rest}}
    return {caption: {page: title for page, title in of.items() if page in pages} for caption, of in listed.items()}


def pages_below(page: str, pages: set[str]) -> set[str]:
    """Return the pages in the folder that has the name of `page`, if any."""
    return {other for other in pages if str(PurePosixPath(other).parent) == page}


def _contents(pages: dict[str, str], caption: str = "") -> str:
    """Write a hidden list of pages; a page without a short title goes by its own."""
    options = ":hidden:\n" + (f":caption: {caption}\n" if caption else "")
    listed = "\n".join(f"{title} </{page}>" if title else f"/{page}" for page, title in pages.items())
    return f"\n\n```{{toctree}}\n{options}\n{listed}\n```\n"
