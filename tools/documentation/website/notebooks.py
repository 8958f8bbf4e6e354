"""Notebooks of the site: run when it is built, and shown with what they gave. One that fails, fails the build."""

import tempfile
from collections.abc import Iterator
from logging import getLogger
from typing import Any

import nbformat
from docutils import nodes
from myst_parser.sphinx_ import Parser
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from sphinx.application import Sphinx
from sphinx.util import logging

_LONGEST = 600  # seconds for a cell, or for a kernel to begin, on a busy machine
_LOG = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_source_suffix(".ipynb", "notebook")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class NotebookParser(Parser):
    """A notebook as a page of Markdown."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        notebook = nbformat.reads(inputstring, as_version=4)
        try:
            run(notebook)
        except CellExecutionError as fault:
            _LOG.warning("a cell fails: %s", fault, location=self.env.docname)
        super().parse("\n\n".join(as_markdown(notebook)), document)


def run(notebook: Any) -> None:
    """Run a notebook in an empty folder, and keep in it what its cells gave."""
    getLogger("traitlets").setLevel("ERROR")  # it speaks of every kernel that it starts
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook,
            timeout=_LONGEST,
            startup_timeout=_LONGEST,
            resources={"metadata": {"path": folder}},
            extra_arguments=["--log-level=ERROR"],
        ).execute()


def as_markdown(notebook: Any) -> Iterator[str]:
    """Return the cells and what they gave, as MyST."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            yield cell.source
        else:
            yield f"```python\n{cell.source}\n```"
            yield from (shown for output in cell.outputs for shown in _output(output))


def _output(output: Any) -> Iterator[str]:
    if output.output_type == "stream":
        yield f"```text\n{output.text.rstrip()}\n```"
        return
    given = output.get("data", {})
    if "text/html" in given:
        yield f'```{{raw}} html\n<div class="given">{_on_one_line(given["text/html"])}</div>\n```'
    elif "image/png" in given:
        picture = given["image/png"].replace("\n", "")
        yield f'```{{raw}} html\n<div class="given"><img alt="" src="data:image/png;base64,{picture}"></div>\n```'
    elif "text/plain" in given:
        yield f"```text\n{given['text/plain']}\n```"


def _on_one_line(html: str) -> str:
    return " ".join(html.split("\n"))
