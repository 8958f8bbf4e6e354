"""The patch at the side: what becomes of it, its quality, order, versions, downloads."""

import re
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import torch
from playwright.sync_api import Page, expect

import ganpatch
from ganpatch import Generator, Patch, applied
from tests.support.driving import Served, drag, flagged, patch_in, press, until, wait_until


def test_edits_off_what_they_become_and_what_is_downloaded(
    served: Served, session: Path, tmp_path: Path, opened: Callable[..., Page], churches: Generator
) -> None:
    """Weights and ONNX from the page draw what the patch as hooks draws."""
    page = opened(served.address)
    page.locator(".row").first.wait_for()
    press(page, "f", "j", "f", "r")
    page.keyboard.type("cage")
    press(page, "Enter")
    patch_in(session, lambda found: len(found) == 2)
    page.get_by_role("button", name="Fold or insert?").click()
    expect(page.locator(".decision.folded")).to_have_count(2, timeout=240_000)
    page.locator(".edit input[type=checkbox]").first.click()
    flagged(session, (1,), "cage")
    got = {}
    for name, suffix in (("Patch", "yaml"), ("Weights", "safetensors"), ("ONNX", "onnx")):
        with page.expect_download(timeout=240_000) as download:
            page.locator("#patch-panel").get_by_role("button", name=name, exact=True).click()
        got[name] = tmp_path / f"got.{suffix}"
        download.value.save_as(got[name])
        assert download.value.suggested_filename.endswith(suffix)
    patch = Patch.load(got["Patch"])
    assert patch.edits[0].reason == "cage"
    (args, _), plain = churches.inputs(range(3)), churches.sample(range(3))
    with applied(churches.module, patch):
        wanted = churches.sample(range(3))
    assert not torch.allclose(plain, wanted, atol=1e-2)
    assert torch.allclose(ganpatch.load(got["Weights"]).sample(range(3)), wanted, atol=1e-4)
    graph = onnxruntime.InferenceSession(got["ONNX"])
    (output,) = graph.run(None, {entry.name: arg.numpy() for entry, arg in zip(graph.get_inputs(), args, strict=True)})
    assert torch.allclose(churches.images(torch.from_numpy(output)), wanted, atol=1e-3)


def test_the_quality_of_the_patch_is_measured_cancelled_and_old_after_a_change(
    served: Served, session: Path, opened: Callable[..., Page]
) -> None:
    page = opened(served.address)
    page.locator(".row").first.wait_for()
    press(page, "f")
    flagged(session, (0,))
    quality = page.locator(".quality")
    expect(quality).to_contain_text("Not measured yet")
    quality.get_by_label("features").select_option("plain")
    asked: list[int] = []
    page.route(
        "**/api/jobs",
        lambda route: (
            asked.append(route.request.post_data_json["n"]),
            route.fulfill(status=409, json={"detail": "not now"}),
        ),
    )
    quality.get_by_role("button", name="Measure").click()
    until(page, lambda: asked in ([50, 500], [100, 500]))  # a first answer from few images
    page.unroute("**/api/jobs")
    quality.get_by_label("images", exact=True).select_option("100")
    quality.get_by_role("button", name="Measure").click()
    page.get_by_role("button", name="cancel quality by plain over 100 images").click()
    expect(page.locator("#jobs p")).to_have_count(0)
    quality.get_by_role("button", name="Measure").click()
    expect(quality.locator(".verdict")).to_contain_text("the mean error of the images", timeout=240_000)
    expect(quality).to_contain_text("Of the current patch: 100 images against the clean scene that each seed describes")
    assert quality.locator(".track u").count() == 40, (
        "20 baselines beside the bars before and after of the most active images"
    )
    with page.context.expect_page() as report:
        quality.get_by_role("link", name="report").click()
    expect(report.value.locator("h1")).to_have_text("churches-studio: better?")
    press(page, "j", "f")
    expect(quality.locator(".old")).to_contain_text("Old: of an earlier version of the patch (1 edit, 1 unit)")
    page.reload()
    expect(quality.locator(".old .verdict")).to_be_visible()
    press(page, "u")
    expect(quality).to_contain_text("Of the current patch")


def test_order_conflicts_and_earlier_versions(served: Served, session: Path, opened: Callable[..., Page]) -> None:
    page = opened(f"{served.address}#view=paint&seed=11&brush=unit:layer4:5")
    expect(page.locator("#paint .image")).to_have_attribute("data-drawn", re.compile(r"\d"))
    drag(page, (0.3, 0.6), (0.5, 0.7))
    patch_in(session, lambda found: len(found) == 1)
    page.goto(f"{served.address}#unit=5")
    page.locator(".row").first.wait_for()
    press(page, "f")
    patch_in(session, lambda found: len(found) == 2)
    expect(page.locator(".conflict")).to_contain_text("Unit 5 of layer4 is in “remove unit 5, painted” and “layer4-1”")
    expect(page.locator(".edit.clash")).to_have_count(2)
    ids = [one.id for one in Patch.load(session / "patch.yaml").edits]

    def order(wanted: list[str]) -> None:
        wait_until(lambda: [one.id for one in Patch.load(session / "patch.yaml").edits] == wanted)
        expect(page.locator(".edit").first).to_have_attribute("data-edit", wanted[0])

    page.locator(".edit .handle").first.focus()
    press(page, "ArrowDown")
    order(ids[::-1])
    expect(page.locator(f"[data-focus='place-{ids[0]}']")).to_be_focused()
    page.locator(".edit .handle").nth(1).hover()  # may scroll the panel: places are measured after it
    target = page.locator(".edit").first.bounding_box()
    assert target is not None
    page.mouse.down()
    expect(page.locator(".edit.dragged")).to_have_count(1)
    page.mouse.move(target["x"] + 20, target["y"] - 4, steps=5)
    page.mouse.up()
    order(ids)
    page.locator(".versions summary").click()
    page.locator(".version").first.wait_for()
    said = page.locator(".version .what").all_inner_texts()
    assert [" moved to place " in text for text in said[:3]] == [True, True, False]
    assert said[2] == "unit 5 of layer4 flagged"
    with page.expect_download() as download:
        page.get_by_role("button", name=re.compile("download the patch of version")).nth(2).click()
    assert download.value.suggested_filename == "churches-studio.zip"
    page.get_by_role("button", name=re.compile(r"go back to version \d+: .*moved to place")).first.click()
    order(ids[::-1])
    page.locator("#undo").click()
    order(ids)
