#!/usr/bin/env python3
"""Names that are scripts, on every page and report, looked at with a browser: nothing of them may run.

python -m tools.robustness.hostile_pages            # needs Chromium; two minutes
python -m tools.robustness.hostile_pages --write    # the table goes into docs/reliability.md

The model, its folder, a reason, concepts and the description of a patch have names that are scripts. Pages that open
from disk have no policy of their own; served ones have, and the browser's reports of violations are counted.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tools.robustness.faults import PAGE

NAME = "\"'><img src=x onerror=window.hacked=2><svg onload=window.hacked=3>"  # of files and folders
SCRIPT = f"</script><script>window.hacked=1</script>{NAME}"
LAYER, CHROMIUM = "main.5", "/usr/bin/chromium"
EYE = """
import torch
class Eye(torch.nn.Module):
    concepts = ({name!r}, {name!r} + "2")
    def forward(self, images):
        grey = images.mean(1, keepdim=True)
        return torch.cat([grey - 0.5, 0.5 - grey], 1) * 20
"""
_WATCH = """window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective + " " + event.blockedURI));"""  # noqa: E501
_SHORT = ("--n", "24", "--k", "3", "--overwrite")


@dataclass
class Seen:
    """What a browser saw of one page."""

    name: str
    scripts: int = 0
    violations: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    is_shown: bool = False

    @property
    def row(self) -> list[str]:
        """The row of the table."""
        shown = "yes" if self.is_shown else "no"
        return [self.name, shown, str(self.scripts), str(len(self.violations)), str(len(self.asked))]


def make(place: Path) -> list[Path]:
    """Write every page and report with hostile names; return those that open from disk."""
    import torch

    from tests.support.nets import dcgan

    os.chdir(place)
    model = f"{NAME}.pt"
    torch.save(dict(dcgan()[0].state_dict()), model)
    Path("eye.py").write_text(EYE.format(name=SCRIPT))
    seeds = ("--seeds", "40-99")
    for words in (
        ("dissect", model, "--layer", LAYER, "--segmenter", "eye.py:Eye", *_SHORT, "-o", "run"),
        ("suggest", "run", "--model", model, "--by", "spike"),
        ("flag", "run", "--units", "0,3", "--reason", SCRIPT, "--description", SCRIPT, "-o", "fix.yaml"),
        ("cause", model, "--layer", LAYER, "--segmenter", "eye.py:Eye", "--concept", SCRIPT,
         "--steps", "2", "--n", "16", "--held-out", "8", "-o", "causes"),
        ("compare", "run", "run", "-o", "compared.html"),
        ("evaluate", model, "fix.yaml", *seeds, "--references", "50", "--baselines", "1", "-o", "evaluated.html"),
        ("tune", model, "fix.yaml", *seeds, "-o", "tuned.yaml"),
        ("judge", model, "fix.yaml", "--pairs", "4", "--seeds", "60000-60059", "--baselines", "1", "-o", "judged",
         "--page-only"),
    ):  # fmt: skip
        done = subprocess.run([sys.executable, "-m", "ganpatch", *words], capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stderr}"
    names = ("run/index.html", "run/dissection.html", "causes/causes.html", "compared.html", "evaluated.html",
             "tuned.html", "judged/index.html")  # fmt: skip
    return [place / name for name in names]


@contextmanager
def served(*words: str) -> Iterator[str]:
    """Serve a page by a command; yield its address."""
    server = subprocess.Popen([sys.executable, "-m", "ganpatch", *words], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        address = server.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address
        yield address
    finally:
        server.terminate()
        server.wait()


def look(page: Page, address: str, name: str) -> Seen:
    """Open a page, press a few keys, and say what ran, what the policy reported, what was asked of other hosts."""
    seen = Seen(name)
    own = ("file:", "data:", "blob:", address[:22])
    page.on("request", lambda sent: None if sent.url.startswith(own) else seen.asked.append(sent.url))
    page.on("dialog", lambda dialog: (seen.violations.append("dialog"), dialog.dismiss()))
    page.goto(address)
    page.wait_for_load_state("networkidle")
    for key in ("j", "j", "f", "s", "?", "Escape"):
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    seen.scripts = int(page.evaluate("window.hacked !== undefined"))
    seen.violations += page.evaluate("window.violations")
    seen.is_shown = "window.hacked=" in page.content()
    return seen


def looked_at(place: Path, files: Sequence[Path]) -> Iterator[Seen]:
    """Look at all pages."""
    model = f"{NAME}.pt"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(args=["--no-sandbox"], executable_path=CHROMIUM)
        context = browser.new_context()
        context.add_init_script(_WATCH)
        for path in files:
            yield look(context.new_page(), path.as_uri(), str(path.relative_to(place)))
        commands = {
            "review, served": ("review", "run"),
            "judge, served": ("judge", model, "fix.yaml", "-o", "judged"),
            "studio": ("studio", model, "run", "causes", "--patch", "fix.yaml", "-o", "session"),
        }
        for name, words in commands.items():
            with served(*words) as address:
                yield look(context.new_page(), address, name)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    asked = parser.parse_args()
    rows, is_well, before = [], True, Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / NAME
        place.mkdir()
        for seen in looked_at(place, make(place)):
            rows.append(seen.row)
            is_well = is_well and not seen.scripts and not seen.asked and not seen.violations
            print(" | ".join(seen.row), *seen.violations, *seen.asked, flush=True)
        os.chdir(before)
    if asked.write:
        heading = ["page", "the name is shown", "scripts that ran", "reports of the policy", "requests elsewhere"]
        table = "".join("| " + " | ".join(row) + " |\n" for row in [heading, ["---"] * 5, *rows])
        start, _, rest = PAGE.read_text().partition("<!-- hostile pages -->\n")
        _, _, end = rest.partition("<!-- end of hostile pages -->")
        PAGE.write_text(f"{start}<!-- hostile pages -->\n{table}<!-- end of hostile pages -->{end}")
    if not is_well:
        sys.exit("FAILED")


if __name__ == "__main__":
    main()
