"""Devices, number formats, compiling. There is no graphics card here: elsewhere.py says what of one is checked."""

from pathlib import Path
from unittest import mock

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import ganpatch
from ganpatch import Effort, GanpatchError, Generator, dissect, evaluate, rank
from ganpatch.cli import cli
from ganpatch.evaluation.evaluator import Choices
from ganpatch.evaluation.tuner import Bound, tune
from ganpatch.finding.image_features import load_features
from ganpatch.finding.methods import suggest
from ganpatch.finding.task import Task
from ganpatch.generator.device import Compute
from ganpatch.pages.samples import Sample
from ganpatch.ranking.result import read_manifest
from ganpatch.runs.cause_run import cause_to_folder
from ganpatch.runs.run_folder import RunFolder
from tests.support.elsewhere import DEVICE, elsewhere
from tests.support.interrupting import StopHere, interrupting
from tests.support.nets import dcgan
from tests.support.painter import eye, painter
from tests.support.shared import patch_for

SEEDS = range(70)


def small() -> Generator:
    module, latent = dcgan()
    return ganpatch.load(module, latent=latent)


def far(generator: Generator) -> Generator:
    generator.module.to(DEVICE)
    return generator


def test_ranking_on_a_device(small_dcgan: Generator) -> None:
    near = {score: rank(small_dcgan, ["main.5", "main.1"], SEEDS, k=5, score=score) for score in ("max", "mean", "q99")}  # type: ignore[arg-type]
    with elsewhere():
        for score, wanted in near.items():
            found = rank(far(small()), ["main.5", "main.1"], SEEDS, k=5, score=score)  # type: ignore[arg-type]
            for layer in wanted.layers:
                for name in ("top_seeds", "top_scores", "top_maps", "mean", "firing_rate", "peak", "q99", "q999"):
                    assert torch.equal(getattr(found[layer], name), getattr(wanted[layer], name)), (score, layer, name)


def test_dissecting_on_a_device() -> None:
    wanted = dissect(painter(), eye(), ["maps"], range(40))
    with elsewhere():
        found = dissect(far(painter()), eye(), ["maps"], range(40))
    assert torch.equal(found["maps"].iou, wanted["maps"].iou)
    assert torch.equal(found["maps"].thresholds, wanted["maps"].thresholds)


def test_intervening_on_a_device_with_all_that_the_report_shows(tmp_path: Path) -> None:
    effort = Effort(steps=2, seeds=range(64), held_out=range(100, 116), single=True)
    wanted = cause_to_folder(painter(), eye(), tmp_path / "near", "maps", ["red"], effort, context=True)
    with elsewhere():
        found = cause_to_folder(far(painter()), eye(), tmp_path / "far", "maps", ["red"], effort, context=True)
    assert torch.allclose(found["red"].alpha, wanted["red"].alpha, atol=1e-5)
    assert found["red"].context == wanted["red"].context
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == sorted(
        path.name for path in (tmp_path / "near").iterdir()
    )


def test_suggesting_and_judging_on_a_device(small_dcgan: Generator, tmp_path: Path) -> None:
    for number in range(10):
        Image.new("RGB", (16, 16), (25 * number, 40, 90)).save(tmp_path / f"{number}.png")
    ranking = rank(small_dcgan, ["main.5"], range(170), k=2)
    patch = patch_for(small_dcgan, {"layer": "main.5", "channels": 8, "units": [3]})
    given = {"ranking": ranking, "references": 40, "images": 2, "real": tmp_path, "broken": [1, 2, 3, 4], "features": load_features("churches")}  # fmt: skip
    methods = ["first-look", "rarity", "fd", "defect"]
    wanted = suggest(Task(generator=small_dcgan, **given), methods)
    with elsewhere():
        generator = far(small())
        found = suggest(Task(generator=generator, **given), methods)
        for method in methods:
            score = found[method].layers["main.5"].score
            assert torch.allclose(score, wanted[method].layers["main.5"].score, rtol=1e-4), method
        assert Sample(generator, range(6), patch).pairs().width > 100
        plain = load_features("plain")
        judged = evaluate(
            generator, patch, Choices(seeds=range(1000, 1060), references=20, baselines=1, features=plain)
        )
        assert len(judged.baselines) == 1
        tuned = tune(generator, patch, Bound(seeds=range(1000, 1024), references=20))
    assert tuned.patch.model == patch.model


def test_a_device_is_compared_with_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here with the processor itself, which must then agree to the bit."""
    from tools.benchmarks.check_device import main

    done = CliRunner().invoke(main, ["--device", "cpu", "--n", "16", "--only", "dissect", "--only", "sample"])
    assert done.exit_code == 0, done.output
    for agreed in (
        "top images 1.0000 the same; scores within 0.0e+00",
        "IoU within 0.0e+00 for 99 %, 0.0e+00 for all; 1.000 of the units with the same concept",
        "pixels within 0 of 255",
    ):
        assert agreed in " ".join(done.output.split())


def test_the_device_that_is_not_there_would_find_a_forgotten_move() -> None:
    with elsewhere():
        away, here = torch.ones(3, device=DEVICE), torch.ones(3)
        for mix in (lambda: away + here, lambda: here[away.long()], lambda: torch.cat([here, away])):
            with pytest.raises(RuntimeError, match="tensors on two devices"):
                mix()
        assert torch.equal((away + here.to(DEVICE)).cpu(), torch.full((3,), 2.0))


@pytest.mark.parametrize(
    ("device", "cards", "message"),
    [
        ("cuda", 0, "device 'cuda': no CUDA device here; available: cpu"),
        ("cuda:1", 0, "device 'cuda:1': no CUDA device here; available: cpu"),
        ("cuda:2", 2, "no device 'cuda:2' here; available: cpu, cuda:0, cuda:1; did you mean 'cuda:1'?"),
        ("cdua", 1, "no device 'cdua' here; available: cpu, cuda:0; did you mean 'cuda'?"),
        ("tpu", 0, "no device 'tpu' here; available: cpu; did you mean 'cpu'?"),
    ],
)
def test_a_device_that_is_not_here(device: str, cards: int, message: str, small_dcgan: Generator) -> None:
    with mock.patch("torch.cuda.device_count", return_value=cards), pytest.raises(GanpatchError) as fault:
        small_dcgan.placed(Compute(device=device))
    assert str(fault.value) == message


def test_each_process_gets_a_card_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert Compute(device="cuda").resolved().device == "cuda:0"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert Compute(device="cuda").resolved().device == "cuda:1"
    assert Compute(device="cuda:0").resolved().device == "cuda:0"
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(GanpatchError) as fault:
        Compute(device="cuda").resolved()
    assert str(fault.value) == ("process 2 has no CUDA device of its own, of 2 here; start at most --nproc-per-node 2")


def test_a_model_that_does_not_run_so_is_refused(small_dcgan: Generator) -> None:
    class Views(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = torch.nn.ConvTranspose2d(6, 12, 4), torch.nn.Linear(192, 48)

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(z[:, :, None, None]).view(len(z), 192)).view(len(z), 3, 4, 4)

    generator = ganpatch.load(Views(), latent="normal:6")
    with pytest.raises(GanpatchError) as fault:
        generator.placed(Compute(channels_last=True))
    assert str(fault.value).startswith("Views: a forward pass on cpu in float32, channels last fails: view size is not")


def test_another_layout_gives_the_same_winners() -> None:
    wanted = rank(small(), ["main.5"], SEEDS, k=5)["main.5"]
    ranking = rank(small().placed(Compute(channels_last=True)), ["main.5"], SEEDS, k=5)
    assert torch.equal(ranking["main.5"].top_seeds, wanted.top_seeds)
    assert torch.allclose(ranking["main.5"].top_scores, wanted.top_scores, atol=1e-5)
    assert ranking.computed.channels_last


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_number_formats_are_near_and_are_noted(dtype: str, small_dcgan: Generator, tmp_path: Path) -> None:
    exact = rank(small_dcgan, ["main.5"], SEEDS, k=5)["main.5"]
    ranking = rank(small_dcgan.placed(Compute(dtype=dtype)), ["main.5"], SEEDS, k=5)  # type: ignore[arg-type]
    found = ranking["main.5"]
    assert not torch.equal(found.top_scores, exact.top_scores)
    assert torch.allclose(found.top_scores, exact.top_scores, atol=0.02)
    assert (found.top_seeds == exact.top_seeds).float().mean() > 0.8
    assert found.mean.dtype == found.q99.dtype == torch.float32
    ranking.save(tmp_path)
    assert read_manifest(tmp_path).computed.dtype == dtype


def test_a_run_is_not_continued_in_another_number_format(small_dcgan: Generator, tmp_path: Path) -> None:
    from ganpatch.runs.ranking_run import rank_to_folder

    with pytest.raises(StopHere):
        rank_to_folder(small_dcgan, tmp_path, ["main.5"], range(60), batch_size=8, progress=interrupting(16))
    with pytest.raises(GanpatchError) as fault:
        rank_to_folder(
            small_dcgan.placed(Compute(dtype="bfloat16")), RunFolder(tmp_path, resume=True), ["main.5"], range(60)
        )
    assert str(fault.value) == "cannot resume: the interrupted run had dtype float32, this one bfloat16"


def test_a_compiled_pass_gives_the_same(small_dcgan: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a graph, not yet as machine code: that needs a C++ compiler and half a minute."""
    compile_ = torch.compile
    monkeypatch.setattr("torch.compile", lambda function, **options: compile_(function, backend="aot_eager", **options))
    compiled = small_dcgan.placed(Compute(compile=True))
    for layers in (["main.5"], ["main.1", "main.6"]):  # main.1 is overwritten in place
        wanted, found = rank(small_dcgan, layers, SEEDS, k=5), rank(compiled, layers, SEEDS, k=5)
        assert found.computed.compiled
        for layer in layers:
            assert torch.equal(found[layer].top_scores, wanted[layer].top_scores)
            assert torch.equal(found[layer].top_maps, wanted[layer].top_maps)


def test_what_cannot_be_compiled_is_said(small_dcgan: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_graph: object, _inputs: object) -> None:
        raise RuntimeError("no compiler\nat all")

    compile_ = torch.compile
    monkeypatch.setattr("torch.compile", lambda function, **options: compile_(function, backend=refuse, **options))
    with pytest.raises(GanpatchError) as fault:
        rank(small_dcgan.placed(Compute(compile=True)), ["main.5"], SEEDS)
    assert str(fault.value) == (
        "DCGANGenerator: torch.compile refuses it: backend='refuse' raised: RuntimeError: no compiler; "
        "run it without compiling"
    )


def test_from_the_command_line(tmp_path: Path) -> None:
    command = ["rank", "--layer", "layer4", "-n", "8", "-o", str(tmp_path / "run")]
    refused = CliRunner().invoke(cli, [*command, "--device", "cuda"])
    assert str(refused.exception) == "device 'cuda': no CUDA device here; available: cpu"
    assert (
        "not one of 'float32', 'bfloat16', 'float16'" in CliRunner().invoke(cli, [*command, "--dtype", "half"]).output
    )
    assert list(tmp_path.iterdir()) == []
