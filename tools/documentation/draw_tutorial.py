"""Run the commands of docs/tutorial.md on the face DCGAN, and draw its pictures.

Example:

    python -m tools.documentation.draw_tutorial     # writes docs/tutorial/*.jpg; keeps what it ran in runs/tutorial
    python -m tools.documentation.draw_tutorial review       # only the review page, by two of the commands
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from ganpatch import Ranking
from tools.patches.fetch_faces import FACES

ROOT = Path(__file__).resolve().parents[2]
PAGE, PICTURES = ROOT / "docs" / "tutorial.md", ROOT / "docs" / "tutorial"
FOLDER = ROOT / "runs" / "tutorial"
FAULTY, FINE = (144, 111, 62), (0, 1, 2)
CHROMIUM = "/usr/bin/chromium"


def commands(text: str) -> list[list[str]]:
    """Return every ganpatch command of the page, in its order, as the words behind `ganpatch`."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("ganpatch ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def main() -> None:
    only_review = sys.argv[1:] == ["review"]
    PICTURES.mkdir(exist_ok=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in [*FOLDER.glob("*.yaml"), *FOLDER.glob("faces*")]:
        old.unlink()
    (FOLDER / "faces.tar").write_bytes(FACES.read_bytes())
    for words in commands(PAGE.read_text()):
        if words[0] in ("review", "studio") or (only_review and words[0] not in ("rank", "suggest")):
            continue  # the first serve until they are stopped
        print("$ ganpatch", shlex.join(words), flush=True)
        again = ["--overwrite"] if words[0] == "rank" else []
        subprocess.run([Path(sys.executable).parent / "ganpatch", *words, *again], cwd=FOLDER, check=True)
    if only_review:
        photograph_review()
        return
    ranking = Ranking.load(FOLDER / "run")
    save(ranking.contact_sheet("main.5", FAULTY), "faulty.jpg")
    save(ranking.contact_sheet("main.5", FINE), "fine.jpg")
    save(Image.open(FOLDER / "faces.png"), "faces.jpg")
    save(Image.open(FOLDER / "pairs.png"), "pairs.jpg")
    photograph_review()


def save(picture: Image.Image, name: str) -> None:
    """Keep a picture, small and without visible loss."""
    picture.convert("RGB").save(PICTURES / name, quality=90, subsampling=0)
    print(f"docs/tutorial/{name}: {(PICTURES / name).stat().st_size / 1000:.0f} kB")


def photograph_review() -> None:
    """Show the review page, sorted by a suggestion, with units flagged and where they are active."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 660})
        page.goto(f"file://{FOLDER}/run/index.html")
        page.select_option("#sort", "by:suggested: first-look")
        page.locator(".row").nth(3).wait_for()
        for key in ("f", "j", "f", "h"):
            page.keyboard.press(key)
        page.wait_for_timeout(500)
        page.screenshot(path=FOLDER / "review.png")
        browser.close()
    save(Image.open(FOLDER / "review.png"), "review.jpg")


if __name__ == "__main__":
    main()
