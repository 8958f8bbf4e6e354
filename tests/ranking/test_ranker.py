"""Ranking against all activations at once; interrupted, resumed, refused."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import ganpatch
from ganpatch import GanpatchError, Generator, Ranking, rank
from ganpatch.generator.layers import hooked
from ganpatch.pages.image_grids import to_pixels
from ganpatch.ranking.thumbnails import Winners, largest_thumbnail
from ganpatch.runs.ranking_run import rank_to_folder
from ganpatch.runs.run_folder import PARTIAL, RunFolder
from tests.support.interrupting import StopHere, interrupting
from tests.support.nets import dcgan

SEEDS = [5, 3, 900, 17, 2, 44, 1, 8, 13, 21, 34]


def activations(generator: Generator, layer: str) -> torch.Tensor:
    """Every activation of a layer at once."""
    kept = []
    with hooked(generator.module, {layer: lambda y, call: kept.append(y.clone())}):
        generator.sample(SEEDS)
    return kept[0]


@pytest.mark.parametrize("score", ["max", "mean", "q99", "relative"])
@pytest.mark.parametrize("layer", ["main.1", "main.5", "main.6"])  # main.1 is overwritten by an in-place ReLU behind it
def test_ranking_equals_brute_force(small_dcgan: Generator, layer: str, score: str) -> None:
    ranking = rank(small_dcgan, [layer], SEEDS, k=4, score=score, batch_size=3)  # type: ignore[arg-type]
    y = activations(small_dcgan, layer).flatten(2)
    relative = y.amax(2) / y.amax(2).abs().mean(1, keepdim=True)
    scores = {"max": y.amax(2), "mean": y.mean(2), "q99": y.quantile(0.99, dim=2), "relative": relative}[score]
    found = ranking[layer]
    best = scores.sort(0, descending=True)
    assert torch.allclose(found.top_scores, best.values[:4].T, atol=1e-6)
    wanted = torch.tensor(SEEDS)[best.indices[:4].T]
    close = (best.values[:5].diff(dim=0).abs() < 1e-6).any(0)  # ties may fall either way
    assert torch.equal(found.top_seeds[~close], wanted[~close])
    flat = y.transpose(0, 1).flatten(1)
    assert torch.allclose(found.mean, flat.mean(1), atol=1e-6)
    assert torch.allclose(found.firing_rate, (flat > 0).float().mean(1), atol=1e-6)
    assert torch.allclose(found.peak, flat.amax(1), atol=1e-6)
    assert torch.allclose(found.q99, flat.quantile(0.99, dim=1), atol=1e-5)


def test_maps_say_where_a_unit_fires(small_dcgan: Generator) -> None:
    ranking = rank(small_dcgan, ["main.5", "main.6"], SEEDS, k=3)
    y = activations(small_dcgan, "main.5")
    place = {seed: row for row, seed in enumerate(SEEDS)}
    for unit, slot in itertools.product(range(8), range(3)):
        seed = int(ranking["main.5"].top_seeds[unit, slot])
        assert torch.allclose(ranking["main.5"].top_maps[unit, slot].float(), y[place[seed], unit], atol=1e-2)
    assert ranking["main.6"].top_maps.shape == (3, 3, 16, 16)


def test_several_layers_in_one_pass_equal_each_alone(small_progressive: Generator) -> None:
    both = rank(small_progressive, ["layer4", "layer2"], range(20), k=5)
    for layer in ("layer4", "layer2"):
        alone = rank(small_progressive, [layer], range(20), k=5)[layer]
        assert torch.equal(both[layer].top_seeds, alone.top_seeds)
        assert torch.equal(both[layer].q999, alone.q999)


def test_results_do_not_depend_on_the_batch_size(small_progressive: Generator) -> None:
    results = [rank(small_progressive, ["layer4"], range(50), k=6, batch_size=size)["layer4"] for size in (50, 7)]
    assert torch.equal(results[0].top_seeds, results[1].top_seeds)
    assert torch.allclose(results[0].top_scores, results[1].top_scores, atol=1e-5)


def test_thumbnails_are_the_winners_images(small_dcgan: Generator) -> None:
    ranking = rank(small_dcgan, ["main.5"], range(40), k=2)
    assert set(ranking.thumbnails) == set(ranking["main.5"].top_seeds.flatten().tolist())
    for seed, pixels in ranking.thumbnails.items():
        assert np.abs(to_pixels(small_dcgan.sample([seed]))[0].astype(int) - pixels).max() <= 1


def test_thumbnails_are_bounded(small_dcgan: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    monkeypatch.setattr("ganpatch.ranking.thumbnails.Winners.keep", watching(Winners.keep, kept))
    ranking = rank(small_dcgan, ["main.5"], range(400), k=2, batch_size=8)
    assert max(kept) <= 2 * 8 * 2
    assert set(ranking.thumbnails) == set(ranking["main.5"].top_seeds.flatten().tolist())
    assert [largest_thumbnail(most) for most in (100, 6144, 24_576, 10**7)] == [128, 128, 73, 32]


def watching(keep, kept: list[int]):  # type: ignore[no-untyped-def]
    def keep_and_count(winners: Winners, *given: object) -> None:
        keep(winners, *given)
        kept.append(len(winners._pixels))

    return keep_and_count


def test_fewer_images_than_k(small_dcgan: Generator) -> None:
    assert rank(small_dcgan, ["main.5"], range(3), k=12)["main.5"].top_seeds.shape == (8, 3)


def test_a_layer_without_maps_can_be_ranked() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 12), torch.nn.ReLU(), torch.nn.Unflatten(1, (3, 2, 2)))
    torch.manual_seed(0)
    generator = ganpatch.load(module, latent="normal:4")
    ranking = rank(generator, ["1"], range(9), k=3)
    assert ranking["1"].top_maps.shape == (12, 3, 1, 1)


def test_a_saved_run_reads_back(small_dcgan: Generator, tmp_path: Path) -> None:
    ranking = rank(small_dcgan, ["main.5", "main.2"], range(30), k=4)
    ranking.save(tmp_path)
    found = Ranking.load(tmp_path)
    assert found.model == ranking.model
    assert list(found.seeds) == list(range(30))
    for layer in ("main.5", "main.2"):
        for name in ("top_seeds", "top_scores", "top_maps", "mean", "firing_rate", "peak", "q99", "q999"):
            assert torch.equal(getattr(found[layer], name), getattr(ranking[layer], name))
    assert found.thumbnails.keys() == ranking.thumbnails.keys()
    assert all(np.array_equal(found.thumbnails[seed], ranking.thumbnails[seed]) for seed in ranking.thumbnails)
    with safe_open(tmp_path / "ranking.safetensors", "pt") as file:
        assert "main.5.top_seeds" in file.keys()  # noqa: SIM118
    assert "8 units" in found._repr_html_()
    assert found.contact_sheet("main.5", [0, 7]).size[0] > 64


def test_what_a_ranking_does_not_hold(small_dcgan: Generator) -> None:
    ranking = rank(small_dcgan, ["main.5"], range(5))
    with pytest.raises(GanpatchError) as fault:
        ranking["main.4"]
    assert str(fault.value) == "layer 'main.4' is not in this run; it ranks main.5; did you mean 'main.5'?"
    with pytest.raises(GanpatchError) as fault:
        ranking.contact_sheet("main.5", [3, 8])
    assert str(fault.value) == "unit 8 is outside layer 'main.5' (8 units, 0-7)"


def test_an_interrupted_ranking_goes_on(small_dcgan: Generator, tmp_path: Path) -> None:
    whole = rank(small_dcgan, ["main.5", "main.2"], range(60), k=5, batch_size=8)
    said: list[str] = []
    with pytest.raises(StopHere):
        rank_to_folder(small_dcgan, RunFolder(tmp_path / "run", say=said.append), ["main.5", "main.2"], range(60), k=5,
                       batch_size=8, progress=interrupting(24))  # fmt: skip
    assert said == [f"saved in '{tmp_path / 'run'}'; use --resume to continue"]
    with pytest.raises(GanpatchError, match="has an interrupted run; use --resume to continue"):
        rank_to_folder(small_dcgan, tmp_path / "run", ["main.5", "main.2"], range(60), k=5)
    seen: list[int] = []
    resumed = rank_to_folder(small_dcgan, RunFolder(tmp_path / "run", resume=True), ["main.5", "main.2"], range(60),
                             k=5, batch_size=8, progress=lambda done, total: seen.append(done))  # fmt: skip
    assert seen[0] == 24
    assert not (tmp_path / "run" / PARTIAL).exists()
    for layer in ("main.5", "main.2"):
        assert torch.equal(resumed[layer].top_seeds, whole[layer].top_seeds)
        assert torch.equal(resumed[layer].top_maps, whole[layer].top_maps)
        assert torch.equal(resumed[layer].q99, whole[layer].q99)
        assert torch.equal(resumed[layer].mean, whole[layer].mean)
    assert resumed.thumbnails.keys() == whole.thumbnails.keys()


def test_another_ranking_is_not_continued(small_dcgan: Generator, tmp_path: Path) -> None:
    with pytest.raises(StopHere):
        rank_to_folder(small_dcgan, tmp_path, ["main.5"], range(60), batch_size=8, progress=interrupting(16))
    with pytest.raises(GanpatchError) as fault:
        rank_to_folder(small_dcgan, RunFolder(tmp_path, resume=True), ["main.2"], range(60))
    assert str(fault.value) == "cannot resume: the interrupted run had layers ['main.5'], this one ['main.2']"
    (tmp_path / PARTIAL).write_bytes(b"broken")
    with pytest.raises(GanpatchError, match="is broken; remove it to start over"):
        rank_to_folder(small_dcgan, RunFolder(tmp_path, resume=True), ["main.5"], range(60))


def test_a_finished_run_is_not_overwritten_unasked(small_dcgan: Generator, tmp_path: Path) -> None:
    first = rank_to_folder(small_dcgan, tmp_path, ["main.5"], range(6))
    (tmp_path / "verdicts.json").write_text("{}")
    with pytest.raises(GanpatchError) as fault:
        rank_to_folder(small_dcgan, tmp_path, ["main.5"], range(6))
    assert str(fault.value) == f"'{tmp_path}' already has a run; choose another -o, or use --overwrite"
    rank_to_folder(small_dcgan, RunFolder(tmp_path, overwrite=True), ["main.5"], range(7))
    assert len(Ranking.load(tmp_path).seeds) == 7
    assert (tmp_path / f"verdicts-{first.run}.json").exists(), "what was flagged before is kept"


def test_activations_that_are_not_finite_are_named() -> None:
    module, latent = dcgan()
    generator = ganpatch.load(module, latent=latent)

    def spoil(y: torch.Tensor, call: int) -> torch.Tensor:
        y = y.clone()
        y[3, 2, 0, 0] = torch.nan
        return y

    with hooked(module, {"main.2": spoil}), pytest.raises(GanpatchError) as fault:
        rank(generator, ["main.2"], range(10, 20))
    assert str(fault.value) == "layer 'main.2' has activations that are not finite at seed 13"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["main.55"]}, "layer 'main.55' not found in DCGANGenerator; did you mean 'main.5'?"),
        ({"seeds": []}, "there are no seeds to rank; give at least one"),
        ({"k": 0}, "k is 0; at least one image per unit is kept"),
        ({"score": "median"}, "score 'median' is not one of max, mean, q99, relative"),
    ],
)
def test_refusals(small_dcgan: Generator, options: dict[str, object], message: str) -> None:
    with pytest.raises(GanpatchError) as fault:
        rank(small_dcgan, **{"layers": ["main.5"], **options})  # type: ignore[arg-type]
    assert str(fault.value) == message


def test_a_layer_that_never_runs() -> None:
    module, latent = dcgan()
    module.unused = torch.nn.Linear(1, 1)
    generator = ganpatch.load(module, latent=latent)
    with pytest.raises(GanpatchError) as fault:
        rank(generator, ["unused"], range(4))
    assert str(fault.value) == "layer 'unused' does not run in a forward pass of DCGANGenerator"


@pytest.mark.parametrize("damage", ["missing", "text", "cut", "other"])
def test_broken_run_folders_are_named(small_dcgan: Generator, tmp_path: Path, damage: str) -> None:
    rank(small_dcgan, ["main.5"], range(6)).save(tmp_path)
    manifest = tmp_path / "manifest.json"
    if damage == "missing":
        manifest.unlink()
    elif damage == "text":
        manifest.write_text('{"format": "ganpatch-run/1"}')
    elif damage == "cut":
        (tmp_path / "ranking.safetensors").write_bytes((tmp_path / "ranking.safetensors").read_bytes()[:200])
    else:
        (tmp_path / "thumbs-000.png").write_bytes(b"no picture")
    with pytest.raises(GanpatchError) as fault:
        Ranking.load(tmp_path)
    assert str(tmp_path) in str(fault.value)


def test_a_run_interrupted_after_its_last_image_goes_on(small_dcgan: Generator, tmp_path: Path) -> None:
    """Ctrl-C comes when everything is ranked and nothing is written."""
    partial = tmp_path / "partial.safetensors"

    def interrupt(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rank(small_dcgan, ["main.5"], range(12), k=3, batch_size=4, partial=partial, progress=interrupt)
    again = rank(small_dcgan, ["main.5"], range(12), k=3, batch_size=4, partial=partial)
    whole = rank(small_dcgan, ["main.5"], range(12), k=3)
    assert again["main.5"].top_seeds.equal(whole["main.5"].top_seeds)
