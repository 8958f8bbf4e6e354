"""Dissection on a generator of which it is known what each unit draws; resumed, saved, shown, compared; VAEs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from ganpatch import Dissection, GanpatchError, Generator, Ranking, dissect, load_segmenter
from ganpatch.cli import cli
from ganpatch.dissection.comparison import compare
from ganpatch.dissection.report import missed_rule
from ganpatch.dissection.result import LayerDissection
from ganpatch.generator.layers import hooked
from ganpatch.runs.dissection_run import dissect_to_folder
from ganpatch.runs.run_folder import RunFolder
from tests.support.brute_force import iou_and_accuracy
from tests.support.interrupting import StopHere, interrupting
from tests.support.painter import CONCEPTS, eye, painter
from tests.support.shared import ROOT

PLACE = ROOT / "tests" / "support" / "painter.py"


@pytest.fixture(scope="module")
def dissection() -> Dissection:
    return dissect(painter(), eye(), ["maps"], range(200))


def test_units_are_found_for_what_they_draw(dissection: Dissection) -> None:
    layer = dissection["maps"]
    assert [CONCEPTS[place] for place in layer.best[:3]] == ["red", "green", "sky"]
    assert (layer.iou.amax(1)[:3] > 0.75).all()
    assert dissection.counts("maps") == {"red": 1, "green": 1, "sky": 1} | (
        {"ground": n} if (n := dissection.counts("maps").get("ground", 0)) else {}
    )
    assert (layer.iou[3:, 1:] < 0.5).all(), "idle units are no concept but the ground at most"
    assert sum(dissection.shares) == pytest.approx(1)


def test_figures_equal_brute_force(dissection: Dissection) -> None:
    kept = []
    generator = painter()
    with hooked(generator.module, {"maps": lambda y, call: kept.append(y.clone())}):
        images = generator.sample(range(200))
    labels = eye().labels(images)
    layer = dissection["maps"]
    iou, accuracy = iou_and_accuracy(kept[0], labels, layer.thresholds, len(CONCEPTS))
    assert torch.allclose(layer.iou, iou, atol=2e-3)
    assert torch.allclose(layer.accuracy, accuracy, atol=2e-3)


def test_thresholds_come_from_other_seeds(dissection: Dissection) -> None:
    assert dissection.threshold_seeds == "200-295"
    quantile = dissect(painter(), eye(), ["maps"], range(50), threshold="q0.99")
    assert quantile.threshold_seeds == "50-99"
    assert torch.equal(quantile["maps"].thresholds[:, 0], quantile["maps"].thresholds[:, 1])


def test_a_layer_before_an_in_place_relu(small_dcgan: Generator) -> None:
    """main.1 is overwritten by the ReLU behind it: its units are seen before that."""
    both = dissect(small_dcgan, eye(), ["main.1", "main.5"], range(40), threshold="q0.9", batch_size=7)
    alone = dissect(small_dcgan, eye(), ["main.1"], range(40), threshold="q0.9")
    assert torch.allclose(both["main.1"].iou, alone["main.1"].iou, atol=1e-3)
    share = torch.tensor(both.shares)
    assert (both["main.1"].thresholds < 0).any() or share.sum() > 0


def test_an_interrupted_dissection_goes_on(tmp_path: Path) -> None:
    whole = dissect(painter(), eye(), ["maps"], range(60), batch_size=8)
    said: list[str] = []
    with pytest.raises(StopHere):
        dissect_to_folder(painter(), eye(), RunFolder(tmp_path / "run", say=said.append), ["maps"], range(60), batch_size=8,
                          progress=interrupting(24))  # fmt: skip
    assert said == [f"saved in '{tmp_path / 'run'}'; use --resume to continue"]
    seen: list[int] = []
    resumed = dissect_to_folder(painter(), eye(), RunFolder(tmp_path / "run", resume=True), ["maps"], range(60), batch_size=8,
                                progress=lambda done, total: seen.append(done))  # fmt: skip
    assert seen[0] == 24
    assert torch.equal(resumed["maps"].iou, whole["maps"].iou)
    assert torch.equal(resumed.ranking["maps"].top_seeds, whole.ranking["maps"].top_seeds)


def test_a_saved_dissection_reads_back_and_is_a_ranking_too(dissection: Dissection, tmp_path: Path) -> None:
    dissection.save(tmp_path)
    found = Dissection.load(tmp_path)
    assert found.concepts == CONCEPTS
    assert torch.equal(found["maps"].iou, dissection["maps"].iou)
    assert Ranking.load(tmp_path)["maps"].units == 6
    assert "interpretable" in found._repr_html_()
    with pytest.raises(
        GanpatchError, match="concept 'rod' is not in this run; it has ground, red, green, sky; did you"
    ):
        found.units_of("maps", "rod")
    with pytest.raises(
        GanpatchError, match="layer 'map' is not dissected in this run; it has maps; did you mean 'maps'"
    ):
        found["map"]
    arrays = tmp_path / "dissection.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:100])
    with pytest.raises(GanpatchError, match="dissection.safetensors' is broken"):
        Dissection.load(tmp_path)
    (tmp_path / "dissection.json").unlink()
    with pytest.raises(GanpatchError, match="has a ranking but no dissection"):
        Dissection.load(tmp_path)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"layers": ["maps2"]}, "layer 'maps2' not found in Painter; did you mean 'maps'?"),
        ({"layers": ["maps"], "threshold": "q1.5"}, "threshold 'q1.5' is not 'best' or a quantile like 'q0.99'"),
    ],
)
def test_refusals(choices: dict[str, object], message: str) -> None:
    with pytest.raises(GanpatchError) as fault:
        dissect(painter(), eye(), seeds=range(8), **choices)  # type: ignore[arg-type]
    assert str(fault.value) == message


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = ["--latent", "normal:8", "--range", "0,1"]
    command = ["dissect", f"{PLACE}:Painter", *model, "--layer", "maps", "--n", "40", "--segmenter"]
    wrong = CliRunner().invoke(cli, [*command, "churchs"])
    assert "did you mean 'churches'" in str(wrong.exception)
    assert list(tmp_path.iterdir()) == []
    done = CliRunner().invoke(cli, [*command, f"{PLACE}:make_eye", "-o", "run", "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    content = json.loads(done.stdout[done.stdout.index("{") :])
    assert [found["unit"] for found in content["layers"]["maps"]["red"]] == [0]
    page = (tmp_path / "run" / "dissection.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "units of maps are interpretable, as " in page
    pictures = sorted((tmp_path / "run" / "dissection").glob("*.png"))
    assert len(pictures) >= 3
    with Image.open(pictures[0]) as picture:
        assert picture.width > 300
    again = CliRunner().invoke(cli, [*command, f"{PLACE}:make_eye", "-o", "run"])
    assert "already has a run" in str(again.exception)


def test_dissections_are_compared(dissection: Dissection, tmp_path: Path) -> None:
    dissection.save(tmp_path / "one")
    dissect(painter(), eye(), ["maps"], range(30), threshold="q0.99").save(tmp_path / "two")
    comparison = compare([tmp_path / "one", tmp_path / "two"], [1.0, 2.0])
    assert comparison.entries[0].counts == dissection.counts("maps")
    assert comparison.differing == ("thresholds best, q0.99", "numbers of images 200, 30")
    command = ["compare", str(tmp_path / "one"), str(tmp_path / "two"), "-o", str(tmp_path / "page")]
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert "one, maps" in done.stdout
    page = tmp_path / "page.html"
    assert done.stderr.endswith(f"'{tmp_path / 'page'}' has no suffix: the page is {page}\nopen {page} in a browser\n")
    assert "one, maps has the largest share of interpretable units: " in page.read_text()
    assert "<svg" in (tmp_path / "page.html").read_text()
    with pytest.raises(GanpatchError, match="1 quality figures for 2 runs"):
        compare([tmp_path / "one", tmp_path / "two"], [1.0])


def test_what_keeps_a_unit_from_being_interpretable() -> None:
    rules = LayerDissection(
        thresholds=torch.zeros(4, 2),
        iou=torch.tensor([[0.5, 0.1], [0.5, 0.1], [0.04, 0.01], [0.3, 0.2]]),
        accuracy=torch.tensor([[0.9, 0.9], [0.7, 0.9], [0.9, 0.9], [0.9, 0.9]]),
    )
    found = Dissection(
        ranking=None, segmenter="s", threshold="best", threshold_seeds="0", concepts=("sky", "tree"),
        shares=(0.5, 0.1), layers={"maps": rules},
    )  # type: ignore[arg-type]  # fmt: skip
    assert [missed_rule(found, "maps", unit, 0) for unit in range(4)] == [
        "", "accuracy is at most 0.75", "IoU is at most 0.05", "",
    ]  # fmt: skip
    assert missed_rule(found, "maps", 3, 1) == "agrees better with sky (0.300)"


def test_the_outlines_are_where_the_unit_fires(dissection: Dissection) -> None:
    from ganpatch.dissection.report import units_sheet

    sheet = np.asarray(units_sheet(dissection, "maps", "sky", [2])).astype(int)
    yellow = (sheet == (255, 220, 0)).all(2)
    rows = yellow[:, 84:].any(1).nonzero()[0]
    assert 40 < rows.max() < 80, "the sky ends in the middle of the image, which is enlarged to 128 pixels"


def test_churches_has_units_for_most_concepts(churches: Generator) -> None:
    found = dissect(churches, load_segmenter("churches", churches), ["layer4"], range(32))
    known = (found["layer4"].iou.amax(0) > 0.05).sum()
    assert known >= 6
