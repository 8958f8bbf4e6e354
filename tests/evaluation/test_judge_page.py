"""The page of a comparison in Chromium: keys, clicks, undo, progress; served and from disk; it never says which is which."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from fastapi.testclient import TestClient
from playwright.sync_api import Browser

from ganpatch import Generator, Patch
from ganpatch.cli import cli
from ganpatch.errors import GanpatchError
from ganpatch.evaluation.judge_page import begun_comparison, judged_so_far, make_judge_app, write_judge_page
from ganpatch.evaluation.judging import ANSWERS, Answers, Comparison, read_answers
from ganpatch.evaluation.pairs import PairChoices, draw_pairs
from ganpatch.evaluation.patch_results import prepare_judging
from ganpatch.pages.local_server import TOKEN
from tests.support.shared import patch_for

FEW = PairChoices(pairs=4, seeds=range(60_000, 60_060), baselines=2)


@pytest.fixture
def patch(small_dcgan: Generator) -> Patch:
    return patch_for(small_dcgan, {"layer": "main.5", "channels": 8, "units": [1, 3]})


@pytest.fixture
def comparison(small_dcgan: Generator, patch: Patch, tmp_path: Path) -> Comparison:
    made = draw_pairs(small_dcgan, patch, tmp_path, FEW)
    write_judge_page(tmp_path, made)
    return made


def test_from_disk_with_keys_alone(browser: Browser, comparison: Comparison, tmp_path: Path) -> None:
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda fault: errors.append(str(fault)))
    page.goto(f"file://{tmp_path}/index.html")
    page.wait_for_function("document.getElementById('left-image').naturalWidth > 0")
    assert page.inner_text("#state") == "Pair 1 of 8"
    for key in ("ArrowLeft", "ArrowRight", "ArrowDown", "z", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.inner_text("#state") == "Pair 4 of 8"
    page.reload()
    assert page.inner_text("#state") == "Pair 4 of 8", "kept in the browser"
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert page.inner_text("#state") == "All 8 pairs are answered. Thank you."
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "given.json")
    answers = read_answers(tmp_path / "given.json", comparison)
    assert [one.better for one in answers.answers] == ["left", "right", "left", *["right"] * 5]
    assert [one.pair for one in answers.answers] == [pair.id for pair in comparison.pairs]
    assert errors == []
    page.close()


def test_the_page_does_not_say_which_image_is_edited(comparison: Comparison, tmp_path: Path) -> None:
    shown = (tmp_path / "index.html").read_text()
    assert all(pair.id in shown for pair in comparison.pairs)
    assert "baseline" not in shown
    assert not any(f'"{pair.seed}"' in shown or f": {pair.seed}" in shown for pair in comparison.pairs)


def test_the_server_saves_answers_and_gives_no_secret(comparison: Comparison, tmp_path: Path) -> None:
    app = make_judge_app(tmp_path, comparison, "secret", {"127.0.0.1:1"})
    client = TestClient(app, base_url="http://127.0.0.1:1", headers={TOKEN: "secret"})
    assert client.get("/", headers={TOKEN: "other"}).status_code == 403
    assert client.get("/comparison.json").status_code == 404
    assert client.get("/pairs/..%2Fcomparison.json").status_code == 404
    first = comparison.pairs[0].id
    assert client.get(f"/pairs/{first}-left.png").headers["content-type"] == "image/png"
    body = {"comparison": comparison.id, "answers": [{"pair": first, "better": "same"}]}
    assert client.put("/answers", json=body).status_code == 204
    assert json.loads((tmp_path / ANSWERS).read_text())["answers"] == body["answers"]
    assert client.get("/answers").json() == body
    other = client.put("/answers", json={**body, "comparison": "0" * 16})
    assert (other.status_code, other.text) == (422, "the request answers another comparison; load the page again")
    assert client.put("/answers", content=b"{").status_code == 422


def test_a_comparison_is_continued_for_its_own_patch_alone(
    small_dcgan: Generator, patch: Patch, comparison: Comparison, tmp_path: Path
) -> None:
    assert begun_comparison(tmp_path, patch) == comparison
    assert begun_comparison(tmp_path / "new", patch) is None
    other = patch_for(small_dcgan, {"layer": "main.5", "channels": 8, "units": [2]})
    with pytest.raises(GanpatchError, match="compares patch 'test' as it was before, or another one"):
        begun_comparison(tmp_path, other)


def test_the_command_makes_counts_and_writes_the_evidence(small_dcgan: Generator, patch: Patch, tmp_path: Path) -> None:
    torch.save(small_dcgan.module.state_dict(), tmp_path / "model.pt")
    patch.save(tmp_path / "fix.yaml")
    command = [
        "judge",
        str(tmp_path / "model.pt"),
        str(tmp_path / "fix.yaml"),
        "--pairs",
        "4",
        "--seeds",
        "60000-60059",
    ]
    done = CliRunner().invoke(cli, [*command, "--page-only"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "fix-judged"
    asked = begun_comparison(folder, patch)
    assert asked is not None
    given = {"comparison": asked.id, "answers": [{"pair": pair.id, "better": pair.edited} for pair in asked.pairs]}
    (tmp_path / "answers.json").write_text(json.dumps(given))
    done = CliRunner().invoke(
        cli, [*command, "--answers", str(tmp_path / "answers.json"), "--json"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    record = Patch.load(tmp_path / "fix.yaml").evidence.by("ganpatch judge")
    assert record is not None
    assert record.figures["patch_preferred_most"].value == 1
    assert json.loads(done.stdout)["made_by"] == "ganpatch judge"
    assert judged_so_far(folder, asked, Answers(comparison=asked.id)).answered == 0


@pytest.mark.parametrize("is_killed", [False, True])
def test_an_interrupt_while_pairs_are_drawn_leaves_a_folder_that_can_be_used(
    small_dcgan: Generator, patch: Patch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    """A kill can come between the pictures and the list of pairs."""

    def interrupt(*_: object) -> None:
        if is_killed:
            (tmp_path / "pairs").mkdir()
            (tmp_path / "pairs" / f"{'0' * 16}-left.png").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("ganpatch.evaluation.pairs.write_section", interrupt)
        with pytest.raises(KeyboardInterrupt):
            draw_pairs(small_dcgan, patch, tmp_path, FEW)
    assert begun_comparison(tmp_path, patch) is None
    assert list(tmp_path.iterdir()) == []
    assert begun_comparison(tmp_path, patch) is None
    drawn = draw_pairs(small_dcgan, patch, tmp_path, FEW)
    assert begun_comparison(tmp_path, patch) == drawn


def test_pictures_of_somebody_else_stay(patch: Patch, tmp_path: Path) -> None:
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "holiday.png").touch()
    with pytest.raises(GanpatchError, match="holds no comparison"):
        begun_comparison(tmp_path, patch)
    assert (tmp_path / "pairs" / "holiday.png").exists()


def test_two_processes_do_not_draw_into_one_folder(small_dcgan: Generator, patch: Patch, tmp_path: Path) -> None:
    patch.save(tmp_path / "fix.yaml")
    folder = tmp_path / "fix-judged"

    def load() -> Generator:
        with pytest.raises(GanpatchError, match=f"'{folder}' is in use by process"):
            prepare_judging(tmp_path / "fix.yaml", lambda: small_dcgan, FEW)
        return small_dcgan

    assert prepare_judging(tmp_path / "fix.yaml", load, FEW) == folder
    assert prepare_judging(tmp_path / "fix.yaml", load, FEW) == folder, "what was drawn is used again"
    assert sorted(path.name for path in folder.iterdir()) == ["comparison.json", "index.html", "pairs"]
