"""Hooks, bake and files beside each other; a wrong one is seen."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import ganpatch
from ganpatch import GanpatchError, Patch, export_onnx, repair
from ganpatch.export.report_rows import agreement_rows
from ganpatch.export.verifying import verify
from tests.support.nets import dcgan

EDIT = {"layer": "main.5", "channels": 8, "units": [3, 4], "alpha": 0.6}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    torch.save(dcgan()[0].state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


def test_all_that_hold_the_patch_agree(source: Path, make_patch: Callable[..., Patch]) -> None:
    generator = ganpatch.load(source)
    patch = make_patch(generator, EDIT)
    outputs = [source.with_name(name) for name in ("fixed.pt", "fixed.pt2", "fixed.onnx")]
    for output in outputs[:2]:
        repair(generator, patch, source=source, output=output)
    export_onnx(generator, outputs[2], patch=patch, batch=3)  # a fixed batch size, filled up
    report = verify(generator, patch, outputs, seeds=[5, 9, 11, 100])
    assert report.agree
    assert [(one.name, one.kind) for one in report.candidates] == [
        (str(outputs[0]), "weights"),
        (str(outputs[1]), "exported program"),
        (str(outputs[2]), "ONNX graph"),
        ("baked", "weights"),
    ]
    assert report.effect.largest > 100 * max(one.tolerance for one in report.candidates), "the patch does something"
    assert len(agreement_rows(report)) == 6


def test_a_file_without_the_patch_differs_and_the_place_is_named(
    source: Path, make_patch: Callable[..., Patch]
) -> None:
    generator = ganpatch.load(source)
    patch = make_patch(generator, EDIT)
    seeds = [7, 3, 8]
    report = verify(generator, patch, [source], seeds)
    assert not report.agree
    wrong = report.candidates[0]
    plain, inputs = generator.module, generator.inputs(seeds)[0]
    with torch.no_grad():
        before = plain(*inputs)
        with ganpatch.applied(plain, patch):
            gap = (plain(*inputs) - before).abs()
    assert wrong.largest == pytest.approx(gap.max().item())
    assert wrong.mean == pytest.approx(gap.mean().item())
    assert gap[seeds.index(wrong.seed)][wrong.place].item() == gap.max().item()
    assert wrong.largest == report.effect.largest


def test_a_file_of_another_model(source: Path, make_patch: Callable[..., Patch]) -> None:
    generator = ganpatch.load(source)
    torch.save({"other.weight": torch.zeros(3)}, source.with_name("other.pt"))
    with pytest.raises(GanpatchError, match="other.pt' does not hold weights of model: it has 'other.weight'"):
        verify(generator, make_patch(generator, EDIT), [source.with_name("other.pt")])
