"""Configuration of the documentation site: Sphinx with MyST over the Markdown files where they are in the repository.

The whole repository is the source, so a link that works on a code host works on the site, and is checked.
"""

import sys
from importlib.resources import files
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from ganpatch.version import VERSION  # noqa: E402

project, author, project_copyright = "ganpatch", "The ganpatch authors", "The ganpatch authors, MIT licence"
version = release = VERSION

extensions = ["myst_parser", "website.formulas", "website.notebooks", "website.navigation"]
root_doc = "docs/index"
include_patterns = ["docs/**", "patches/*.md", "ganpatch/**/CARD.md", "*.md"]
exclude_patterns = [
    "README.md",
    ".*",
    "build",
    "dist",
    "demo",
    "runs",
    "**/__pycache__",
]  # the start page says the same

nitpicky = True
show_warning_types = True
myst_enable_extensions = ["dollarmath"]
myst_dmath_double_inline = True
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"ganpatch {VERSION}"
html_static_path = [str(HERE / "static"), str(files("ziamath.fonts") / "STIXTwoMath-Regular.ttf")]  # its licence: OFL
html_css_files = ["site.css"]
html_js_files = [("copy.js", {"defer": "defer"})]
html_favicon = str(HERE / "static" / "ganpatch.svg")
html_logo = html_favicon
html_extra_path = [str(HERE / "index.html")]
html_math_renderer = "mathml"
html_copy_source = html_show_sourcelink = html_show_sphinx = False
html_use_index = False
html_domain_indices = False
