"""Build the documentation site; warnings are errors, and so is a link, an anchor or a picture that is not there.

Example:

    python -m tools.documentation.make_site                  # build/site/index.html
    python -m tools.documentation.make_site --out folder
"""

import argparse
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=ROOT)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site")
    given = parser.parse_args()
    kept = given.out.with_name(f"{given.out.name}-doctrees")
    configuration = Path(__file__).with_name("website")
    strict = ["--fail-on-warning", "--keep-going", "--quiet", "--conf-dir", str(configuration)]
    if failed := build_main([*strict, "--doctree-dir", str(kept), str(given.source), str(given.out)]):
        sys.exit(failed)
    print(f"the site is {given.out / 'index.html'}")


if __name__ == "__main__":
    main()
