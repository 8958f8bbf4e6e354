"""Formulas as MathML, made when the site is built: browsers draw them without a script."""

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

_LOG = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def as_mathml(node: nodes.TextElement, display: str) -> str:
    """Translate the LaTeX of a node; warn of what has no translation."""
    formula = node.astext()
    try:
        found = convert(formula, display=display)
    except Exception as fault:  # whatever it raises: the formula is what has to be changed
        found = f"\\{type(fault).__name__}"
    if "\\" in found:  # a command that it does not know is left as it is
        _LOG.warning("cannot translate the formula %s", formula, location=node)
    return found


def _inline(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(as_mathml(node, "inline"))
    raise nodes.SkipNode


def _block(writer: HTML5Translator, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="formula">{as_mathml(node, "block")}</div>\n')
    raise nodes.SkipNode
