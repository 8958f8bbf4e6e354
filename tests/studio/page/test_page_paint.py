"""Paint in the browser: strokes that are edits, strokes that name concepts, on both generators."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ganpatch import Patch
from ganpatch.families.churches import STUDY
from tests.support.driving import Served, drag, image_of, patch_in, press, wait_until


def test_painting_ends_in_yaml(served: Served, session: Path, opened: Callable[..., Page]) -> None:
    page = opened(f"{served.address}#view=paint&seed=11&brush=unit:layer4:5")
    expect(page.locator("#paint .image")).to_have_attribute("data-drawn", re.compile(r"\d"))
    plain = image_of(page, "#paint .image")
    drag(page, (0.3, 0.6), (0.5, 0.7), (0.7, 0.6))
    patch = patch_in(session, lambda found: [units for _, units, _ in found] == [(5,)])
    assert patch is not None
    mask = patch.edits[0].mask
    assert mask is not None
    assert 0 < mask.values.sum() < 40
    assert mask.values[5, 4] > 0.5
    assert mask.values[0].sum() == 0
    expect(page.locator("#saved")).to_have_text("Saved")
    wait_until(lambda: image_of(page, "#paint .image") != plain)
    drag(page, (0.1, 0.1), (0.2, 0.1))
    wider = patch_in(session, lambda found: Patch.load(session / "patch.yaml").edits[0].mask != mask)
    assert wider is not None
    assert len(wider.edits) == 1
    page.locator("#undo").click()
    patch_in(session, lambda found: Patch.load(session / "patch.yaml").edits[0].mask.sha256 == mask.sha256)  # type: ignore[union-attr]
    page.reload()
    expect(page.locator(".edit .summary")).to_contain_text("painted on seed 11")
    page.locator("canvas.over").focus()
    press(page, "ArrowUp", "Space")
    patch_in(session, lambda found: len(found) == 2)


def test_strokes_name_a_concept(served: Served, session: Path, opened: Callable[..., Page]) -> None:
    page = opened(f"{served.address}#view=paint&seed=4")
    page.get_by_role("button", name="Label").click()
    page.get_by_label("concept").fill("tree")
    drag(page, (0.2, 0.5), (0.2, 0.8))
    path = session / "strokes.json"
    wait_until(path.exists)
    (image,) = json.loads(path.read_text())["images"]
    assert (image["seed"], image["size"], image["strokes"][0]["concept"]) == (4, [128, 128], "tree")
    first = image["strokes"][0]["points"][0]
    assert first == pytest.approx([25.6, 64], abs=1)
    expect(page.locator("#brush-panel")).to_contain_text("1 stroke on 1 image")


def test_labels_of_two_concepts_can_be_sought(served: Served, session: Path, opened: Callable[..., Page]) -> None:
    page = opened(f"{served.address}#view=paint&seed=4")
    page.get_by_role("button", name="Label").click()
    find = page.get_by_role("button", name="Find units of layer4")
    expect(find).to_be_disabled()
    for drawn, (concept, y) in enumerate((("sky", 0.2), ("ground", 0.9)), 1):
        page.get_by_label("concept", exact=True).fill(concept)
        drag(page, (0.2, y), (0.8, y))
        expect(page.locator("#brush-panel")).to_contain_text(f"{drawn} stroke")
        expect(page.locator("#saved")).to_contain_text("saved", ignore_case=True)
    expect(find).to_be_enabled()
    with page.expect_request("**/api/jobs") as asked:
        page.route("**/api/jobs", lambda route: route.fulfill(status=409, json={"detail": "not now"}))
        find.click()
    assert asked.value.post_data_json == {"kind": "learn", "layer": "layer4", "n": 400}
    expect(page.locator("#saved")).to_have_text("Not done: not now")


def test_the_face_dcgan(faces: Path, tmp_path: Path, opened: Callable[..., Page]) -> None:
    """A model of another family, nothing ranked: it is ranked while one paints."""
    session = tmp_path / "s"
    server = Served(faces, "-o", session, "--n", "40")
    try:
        page = opened(f"{server.address}#view=paint&seed=5&brush=unit:main.5:11")
        expect(page.locator("#paint .image")).to_have_attribute("data-drawn", re.compile(r"\d"))
        drag(page, (0.4, 0.3), (0.6, 0.3))
        patch_in(session, lambda found: [units for _, units, _ in found] == [(11,)])
        press(page, "1")
        page.locator(".row").first.wait_for(timeout=240_000)
        press(page, "f")
        patch_in(session, lambda found: len(found) == 2)
    finally:
        server.kill()


def test_the_first_minute_of_the_bundled_generator(tmp_path: Path, opened: Callable[..., Page]) -> None:
    """A tree away, a door on a wall, the date stamps off, and all of it on many images, each one action away."""
    session = tmp_path / "s"
    server = Served("churches", "-o", session, "--n", "8")
    first = json.loads((STUDY / "first.json").read_text())
    try:
        page = opened(server.address)
        steps = page.locator("#steps button:not(.tool)")
        expect(page.locator("#paint .image")).to_have_attribute("data-drawn", re.compile(r"\d"))
        expect(page.get_by_label("tree: the units that cause it")).to_be_checked()
        assert [page.get_by_label(f"{concept}: the units").count() for concept in ("door", "cloud", "roof")] == [
            1,
            1,
            1,
        ]
        expect(page.locator("#steps")).to_contain_text("paint over the ringed tree")
        drag(page, first["tree"], (first["tree"][0] + 0.02, first["tree"][1]))
        expect(steps.first).to_have_text("Put a door on a wall")
        steps.first.click()
        expect(page.get_by_label("door: the units that cause it")).to_be_checked()
        drag(page, first["wall"], (first["wall"][0] + 0.02, first["wall"][1]))
        expect(steps.first).to_have_text("Switch off the date stamps")
        steps.first.click()
        patch_in(session, lambda found: [reason for _, _, reason in found][2:] == ["orange date stamp"])
        page.get_by_role("button", name="+ flare").click()
        patch_in(session, lambda found: len(found) == 4)
        expect(page.get_by_role("button", name="+ flare")).to_have_count(0)
        expect(page.locator("#look .tile").first).to_be_visible()
        page.get_by_label("to see the other one").fill("0.5")
        assert "50%" in page.locator(".wiped").evaluate("one => one.style.clipPath")
        steps.first.click()
        expect(page.locator("#steps")).to_be_hidden()
        expect(page.locator("#compare")).to_be_visible()
        page.reload()
        expect(page.locator("#model")).to_have_text("churches")
        expect(page.locator("#steps")).to_be_hidden()
    finally:
        server.kill()
