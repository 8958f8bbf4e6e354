"""Causes on a generator of which it is known what each unit draws; removal, insertion, context; from the command line."""

import json
import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from ganpatch import Causes, Effort, GanpatchError, Generator, Patch, find_causes
from ganpatch.causes import concept_patches
from ganpatch.causes.alphas import PRESETS, Alphas
from ganpatch.causes.concept_patches import ConceptChoice, ConceptImages, remove_concept
from ganpatch.causes.concept_shares import concept_change
from ganpatch.causes.insertion_sites import insertion_by_context
from ganpatch.causes.interventions import Interventions, ablated, grown, inserted, one_place, unchanged
from ganpatch.causes.search import _Seen
from ganpatch.cli import cli
from ganpatch.patch.applying import edits_applied
from ganpatch.segmenters.loading import Segmenter
from tests.support.interrupting import StopHere
from tests.support.painter import CONCEPTS, eye, painter
from tests.support.shared import ROOT

PLACE = ROOT / "tests" / "support" / "painter.py"
QUICK = Effort(steps=40, seeds=range(300_000, 300_064), held_out=range(400_000, 400_032), counts=(1, 2, 4), single=True)
SKY = ConceptChoice(concept="sky", units=1)


@pytest.fixture(scope="module")
def causes() -> Causes:
    return find_causes(painter(), eye(), "maps", ["red", "sky"], QUICK)


def test_the_unit_that_draws_a_concept_causes_it(causes: Causes) -> None:
    for concept, unit in (("red", 0), ("sky", 2)):
        found = causes[concept]
        assert found.ranked("alpha")[0] == unit
        assert found.ranked("ace")[0] == unit
        curves = {curve.by: curve for curve in found.curves}
        assert curves["alpha"].removed[0] > 0.99
        assert curves["alpha"].ace[0] > 0.5
        assert min(curves[f"random {draw}"].removed[0] for draw in (1, 2, 3)) < 0.1, "the control"
    assert causes.single is not None
    assert causes.single[3:].abs().max() == 0, "idle units do nothing"


def test_fewer_images_than_single_units_are_looked_at_on() -> None:
    few = Effort(steps=2, seeds=range(300_000, 300_020), held_out=range(400_000, 400_020), counts=(1,), single=True)
    found = find_causes(painter(), eye(), "maps", ["red"], few)
    assert found["red"].ranked("ace")[0] == 0


@pytest.mark.parametrize("preset", PRESETS)
def test_alphas_go_on_exactly_where_they_were(preset: str) -> None:
    bench = Interventions(painter(), eye(), "maps")
    study = _Seen(bench, range(300_000, 300_032)).study(CONCEPTS.index("red"))
    whole = Alphas(bench, study, PRESETS[preset])
    for _ in range(6):
        whole.descend()
    first = Alphas(bench, study, PRESETS[preset])
    for _ in range(3):
        first.descend()
    second = Alphas(bench, study, PRESETS[preset])
    second.restore({name: tensor.clone() for name, tensor in first.tensors().items()})
    for _ in range(3):
        second.descend()
    assert torch.equal(second.alpha, whole.alpha)
    assert ((whole.alpha >= 0) & (whole.alpha <= 1)).all()


def test_an_interrupted_run_goes_on(causes: Causes, tmp_path: Path) -> None:
    def stop_at(limit: int):  # type: ignore[no-untyped-def]
        def progress(done: int, total: int) -> None:
            if done >= limit:
                raise StopHere

        return progress

    partial = tmp_path / "partial.safetensors"
    for limit in (3, 30):
        with pytest.raises(StopHere):
            find_causes(painter(), eye(), "maps", ["red", "sky"], QUICK, progress=stop_at(limit), partial=partial)
        assert partial.exists()
    resumed = find_causes(painter(), eye(), "maps", ["red", "sky"], QUICK, partial=partial)
    for concept in ("red", "sky"):
        assert torch.equal(resumed[concept].alpha, causes[concept].alpha)
        assert resumed[concept].curves == causes[concept].curves
    other = Effort(steps=41, seeds=QUICK.seeds, held_out=QUICK.held_out, counts=QUICK.counts, single=True)
    with pytest.raises(GanpatchError, match="cannot resume: the interrupted run had steps 40, this one 41"):
        find_causes(painter(), eye(), "maps", ["red", "sky"], other, partial=partial)


def test_an_insertion_is_read_where_it_was_made() -> None:
    bench = Interventions(painter(), eye(), "maps")
    prefix = bench.prefix(range(20))
    place = torch.zeros(20, 8, 8)
    place[:, 7, 0] = 1
    before = bench.presence(bench.probabilities(prefix, unchanged))[:, 1]
    change = inserted(torch.tensor([0]), torch.tensor([3.0]), 1.0, place)
    after = bench.presence(bench.probabilities(prefix, change))[:, 1]
    gain = (after - before).mean(0)
    assert gain[7, 0] > 0.5
    assert gain[3, 5] == 0
    assert bench.shares(prefix, ablated(torch.tensor([0])))[:, 1].sum() == 0


def test_places_are_drawn_by_weight_and_grown() -> None:
    weights = torch.zeros(3, 4, 4)
    weights[0, 1, 2] = weights[1, 3, 3] = 1
    drawn = one_place(weights, seed=5)
    assert drawn[0, 1, 2] == 1
    assert drawn[1, 3, 3] == 1
    assert (drawn.sum((1, 2)) == 1).all(), "one place also where nothing has weight"
    assert grown(drawn, 1)[0].sum() == 9
    assert grown(drawn, 1)[1].sum() == 4


def test_where_a_concept_can_be_put() -> None:
    """Red shows on the ground and not in the sky: that is how the painter was made."""
    bench = Interventions(painter(), eye(), "maps")
    context = insertion_by_context(bench, torch.tensor([0]), torch.tensor([3.0]), "red", range(400_000, 400_032))
    assert context.mean("ground") > 0.4
    assert context.mean("sky") < 0.1
    assert context.rows()[0][0] == "ground"
    example = context.examples["ground"]
    assert (example.after.astype(int) - example.before).max() > 100


def test_causes_are_saved_and_become_edits(causes: Causes, tmp_path: Path) -> None:
    causes.save(tmp_path)
    found = Causes.load(tmp_path)
    assert torch.equal(found["red"].alpha, causes["red"].alpha)
    assert found["red"].curves == causes["red"].curves
    edit = found.removal("red", units=1)
    assert edit.units == (0,)
    change = concept_change(painter(), eye(), [edit], range(50))
    assert change.removed("red") == 1
    assert change.removed("sky") == pytest.approx(0, abs=0.01)
    mask = torch.zeros(8, 8)
    mask[6:, :3] = 1
    inserting = found.insertion("red", units=1, mask=mask, level="q99")
    generator = painter()
    with edits_applied(generator.module, [inserting]):
        labels = eye().labels(generator.sample(range(20)))
    assert (labels[:, 26:, :8] == CONCEPTS.index("red")).float().mean() > 0.9
    with pytest.raises(GanpatchError, match="concept 'rad' was not studied; here are red, sky; did you mean 'red'"):
        found.removal("rad", units=1)
    with pytest.raises(GanpatchError, match="60 units of layer 'maps', which has 6"):
        found.removal("red", units=60)


@pytest.mark.parametrize("damage", ["missing", "text", "cut", "other"])
def test_broken_causes_are_named(causes: Causes, tmp_path: Path, damage: str) -> None:
    causes.save(tmp_path)
    manifest, arrays = tmp_path / "causes.json", tmp_path / "causes.safetensors"
    if damage == "missing":
        manifest.unlink()
    elif damage == "text":
        manifest.write_text('{"format": "ganpatch-causes/1"}')
    elif damage == "cut":
        arrays.write_bytes(arrays.read_bytes()[:64])
    else:
        manifest.write_text(manifest.read_text().replace('"channels": 6', '"channels": 7'))
    with pytest.raises(GanpatchError) as fault:
        Causes.load(tmp_path)
    assert str(tmp_path) in str(fault.value)


def test_refusals(causes: Causes) -> None:
    with pytest.raises(GanpatchError, match="segmenter 'eye' has no concept 'read'; did you mean 'red'"):
        find_causes(painter(), eye(), "maps", ["read"], QUICK)
    with pytest.raises(
        GanpatchError, match="preset 'papre' is not one of sparse, reference, paper; did you mean 'paper'"
    ):
        find_causes(painter(), eye(), "maps", ["red"], Effort(preset="papre"))
    with pytest.raises(GanpatchError, match="held-out seeds must be others"):
        find_causes(painter(), eye(), "maps", ["red"], Effort(seeds=range(9), held_out=range(5, 12)))
    blind = Segmenter(name="blind", concepts=CONCEPTS, run=lambda images, _f: eye().labels(images))
    with pytest.raises(GanpatchError, match="segmenter 'blind' has no gradient, which alphas need"):
        find_causes(painter(), blind, "maps", ["red"], Effort(seeds=range(20), held_out=range(30, 34)))
    never = Segmenter(name="never", concepts=("all", "none"), run=lambda x, _f: torch.cat([x[:, :1], x[:, :1] - 50], 1))
    with pytest.raises(GanpatchError, match="'none' is plain in only 0 of 20 images; causes need at least 8"):
        find_causes(painter(), never, "maps", ["none"], Effort(seeds=range(20), held_out=range(30, 34)))


def test_a_patch_says_what_else_changes(causes: Causes) -> None:
    made = remove_concept(
        causes, SKY, ConceptImages(generator=painter(), segmenter=eye(), seeds=range(500_000, 500_020))
    )
    assert made.change.removed("sky") == 1
    assert made.change.rows()[0][0] in ("sky", "ground"), "what was sky is ground now"
    cause, removal = made.patch.evidence.records
    assert cause.chosen_on == causes.seeds
    assert (removal.made_by, removal.measured_on) == ("ganpatch patch remove", "500000-500019")
    assert removal.figures["sky"].after == 0
    assert removal.settings["pixels"] == "all"


def test_a_probe_that_measures_reads_only_what_comes_after_the_edit(
    causes: Causes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def load(spec: str, generator: Generator, **given: object) -> Segmenter:
        asked.update(given, spec=spec)
        return eye()

    monkeypatch.setattr(concept_patches, "load_segmenter", load)
    made = remove_concept(causes, SKY, ConceptImages(generator=painter(), seeds=range(500_000, 500_008)))
    assert made.change.removed("sky") == 1
    assert asked == {"spec": causes.segmenter, "concepts": (), "after": causes.layer}


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loading = ["--latent", "normal:8", "--range", "0,1", "--segmenter", f"{PLACE}:make_eye"]
    command = [
        "cause",
        f"{PLACE}:Painter",
        *loading,
        "--layer",
        "maps",
        "--n",
        "48",
        "--held-out",
        "16",
        "--steps",
        "20",
    ]
    wrong = CliRunner().invoke(cli, [*command, "--concept", "rde", "-o", "causes"])
    assert "has no concept 'rde'; did you mean 'red'" in str(wrong.exception)
    assert list(tmp_path.iterdir()) == []
    done = CliRunner().invoke(cli, [*command, "--concept", "red", "--context", "-o", "causes"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "causes").iterdir()) == [
        "causes.html", "causes.json", "causes.safetensors", "insertions-0.png", "origin.json", "without-0.png",
    ]  # fmt: skip
    page = (tmp_path / "causes" / "causes.html").read_text()
    assert re.search(r"Without its \d+ most causal units, \d+% of the red is gone; \d+ random units remove", page)
    assert page.index("<img") < page.index("<svg") < page.index("<table"), "pictures before numbers"
    again = CliRunner().invoke(cli, [*command, "--concept", "red", "-o", "causes"])
    assert "already has a run" in str(again.exception)
    patching = ["patch", "remove", "--from", "causes", "--model", f"{PLACE}:Painter", *loading[:4], "--units", "1"]
    patching += ["--seeds", "500000-500015"]
    made = CliRunner().invoke(cli, [*patching, "-o", "no-red.yaml", "--json"], catch_exceptions=False)
    cause, removal = json.loads(made.stdout[made.stdout.index("{") :])["evidence"]["records"]
    assert cause["made_by"] == "ganpatch cause"
    assert removal["figures"]["red"]["after"] == 0
    assert Patch.load("no-red.yaml").edits[0].units == (0,)
    known = ["patch", "remove", "--from", "causes", "--units", "1", "--n", "8", "-o", "again.yaml"]
    made = CliRunner().invoke(cli, known, catch_exceptions=False)
    assert Patch.load("again.yaml").edits == Patch.load("no-red.yaml").edits, "how the model was loaded is known"
    Image.new("L", (64, 64), 255).save("white.png")
    Image.new("L", (64, 64), 0).save("black.png")
    inserting = ["patch", "insert", *patching[2:], "-o", "red.yaml", "--mask"]
    black = CliRunner().invoke(cli, [*inserting, "black.png"])
    assert "is black everywhere" in str(black.exception)
    made = CliRunner().invoke(cli, [*inserting, "white.png"], catch_exceptions=False)
    assert made.exit_code == 0, made.output
    edit = Patch.load("red.yaml").edits[0]
    assert edit.mask is not None
    assert edit.value[0] > 0.5
