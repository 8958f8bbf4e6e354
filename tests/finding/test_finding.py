"""Finding: a planted unit comes first, every method's numbers are those of brute force, suggestions survive the disk."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import ganpatch
from ganpatch import Edit, Generator, Patch, Ranking, rank
from ganpatch.cli import cli
from ganpatch.errors import GanpatchError
from ganpatch.finding.closer_look import CLOSER, MORE, Look, cut
from ganpatch.finding.defect import probe, scaled
from ganpatch.finding.first_look import FENCE, FLOOR, joined
from ganpatch.finding.image_features import load_features, plain_maps
from ganpatch.finding.methods import METHODS, suggest
from ganpatch.finding.suggestions import read_suggestions
from ganpatch.finding.task import Task
from ganpatch.finding.typical import CLOSEST, NEIGHBOURS, Typical
from ganpatch.forward.layer_facts import list_layers
from ganpatch.generator.layers import hooked
from ganpatch.patch.applying import edits_applied
from ganpatch.ranking.result import read_manifest
from ganpatch.review.flags import patch_from_suggestion
from ganpatch.review.page import write_page
from ganpatch.runs.suggestion_run import suggest_for_run
from tests.support.nets import dcgan

LAYER = "main.5"


class Blotched(nn.Module):
    """A generator of which unit 3 of its layer, above a level of its own, whitens a corner of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.base = dcgan()[0]
        self.front, self.rest = self.base.main[:6], self.base.main[6:]  # type: ignore[index]

    def forward(self, z: Tensor) -> Tensor:
        y = self.front(z.view(z.shape[0], -1, 1, 1))
        image = self.rest(y.clone())
        active = (y[:, 3].amax((1, 2)) > LEVEL).float().view(-1, 1, 1, 1)
        corner = torch.zeros(1, 1, *image.shape[-2:])
        corner[..., :5, :5] = 1
        return image + active * corner * (1 - image)


LEVEL = 0.955  # nine of 200 images reach it


@pytest.fixture(scope="module")
def blotched() -> Generator:
    return ganpatch.load(Blotched().eval(), latent="normal:8,1,1")


@pytest.fixture(scope="module")
def ranking(blotched: Generator) -> Ranking:
    found = rank(blotched, ["front.5"], range(200), k=6)
    share = (found["front.5"].top_scores[3] > LEVEL).float().mean()
    assert share == 1, "all top images of the unit have the fault"
    return found


def task_of(generator: Generator, ranking: Ranking, **given: Any) -> Task:
    return Task(generator=generator, ranking=ranking, images=6, references=100, **given)


@pytest.mark.parametrize("method", ["typicality", "first-look"])
def test_the_unit_that_draws_a_fault_comes_first(blotched: Generator, ranking: Ranking, method: str) -> None:
    found = METHODS[method].find(task_of(blotched, ranking), "front.5")
    assert found.first(1) == [3]
    assert found.above is not None
    assert found.above.equal(ranking["front.5"].q99)


def test_gains_and_oddities_are_those_of_brute_force(blotched: Generator, ranking: Ranking) -> None:
    task = task_of(blotched, ranking)
    look = Look(task, "front.5", with_cuts=True)
    gain, oddity = look.gain(), look.oddity()
    layer, references = ranking["front.5"], list(task.reference_seeds())
    maps = maps_of(task, references)
    typical = Typical(maps)
    first = {
        unit: [gain_of(task, typical, unit, seed) for seed in layer.top_seeds[unit].tolist()]
        for unit in range(layer.units)
    }
    closer = sorted(first, key=lambda unit: -sum(first[unit]))[: round(layer.units * CLOSER)]
    peaks = torch.cat([peaks_of(blotched, [seed]) for seed in references])
    assert 3 in closer
    assert 1 < len(closer) < layer.units
    for unit, gains in first.items():
        if unit in closer:
            among = peaks[:, unit].topk(MORE * 6).indices.tolist()
            gains = gains + [gain_of(task, typical, unit, references[place], own=place) for place in among]
        upper = sorted(gains)[len(gains) // 2 :]
        assert float(gain[unit]) == pytest.approx(sum(upper) / len(upper), abs=1e-4), unit
    for unit, place in ((3, 0), (5, 4)):
        odd = typical.oddity(maps_of(task, [int(layer.top_seeds[unit, place])])).mean()
        assert float(oddity[unit, place]) == pytest.approx(float(odd), abs=1e-5)


def maps_of(task: Task, seeds: list[int]) -> Tensor:
    return torch.cat([task.features.maps(task.generator.sample([seed])) for seed in seeds])


def peaks_of(generator: Generator, seeds: list[int]) -> Tensor:
    kept: list[Tensor] = []
    with hooked(generator.module, {"front.5": lambda y, _call: kept.append(y.amax((2, 3)).clone())}):
        generator.sample(seeds)
    return kept[0]


def gain_of(task: Task, typical: Typical, unit: int, seed: int, own: int = -1) -> float:
    """Cut a unit in an image of a seed, by the hooks of a patch; return the mean of the two largest gains."""
    level = task.ranking["front.5"].q99[unit]
    edit = Edit(id="e", layer="front.5", channels=8, units=(unit,), above=(level,), value=(level,))
    left_out = torch.tensor([own])
    before = typical.distance(maps_of(task, [seed]), left_out)
    with edits_applied(task.generator.module, [edit]):
        change = before - typical.distance(maps_of(task, [seed]), left_out)
    return float(change.flatten().sort().values[-2:].mean())


def test_an_image_is_not_its_own_neighbour() -> None:
    maps = torch.randn(60, 4, 2, 2)
    typical = Typical(maps)
    own = torch.tensor([-1, 7, 8])
    asked = maps[[8, 7, 8]]
    found = typical.distance(asked, own)
    others = [place for place in range(0, 60, 2) if place != 8]  # every second one defines the typical distance
    for row, references in ((0, range(0, 60, 2)), (1, range(0, 60, 2)), (2, others)):
        points = (maps - maps.mean((0, 2, 3))[:, None, None])[:, :, 1, 0].double() @ typical._whiten.double().T
        near = torch.cdist(points[[(8, 7, 8)[row]]], points[list(references)]).sort().values[0, :NEIGHBOURS]
        assert float(found[row, 1, 0]) == pytest.approx(float(near.mean().log()), abs=1e-3)


def test_first_look_puts_what_stands_out_before_the_oddest() -> None:
    gains = torch.tensor([0.1, 0.2, 0.15, 0.12, 2.0, 0.18, 1.0, 0.11])
    oddity = torch.tensor([5.0, 1, 9, 2, 0, 3, 4, 8])
    assert joined(gains, oddity).argsort(descending=True).tolist() == [4, 6, 2, 7, 0, 5, 3, 1]
    quartiles = gains.quantile(torch.tensor([0.25, 0.75]))
    assert gains[6] > quartiles[1] + FENCE * (quartiles[1] - quartiles[0]) > gains[1]
    small = gains * 0.99 * FLOOR / gains.max()
    assert joined(small, oddity).argsort(descending=True).tolist() == [2, 7, 0, 6, 5, 3, 1, 4], (
        "no gain is large enough"
    )
    assert joined(torch.ones(8), oddity).argmax() == 2, "where nothing stands out, the oddest comes first"


def test_without_the_fault_it_does_not(ranking: Ranking) -> None:
    """The same scores on the generator without its fault do not put the unit first by such a margin."""
    blotched = Blotched().eval()
    plain = ganpatch.load(nn.Sequential(nn.Flatten(), _Unflat(), *blotched.base.main), latent="normal:8,1,1")  # type: ignore[arg-type]
    own = rank(plain, ["7"], range(200), k=6)
    found = METHODS["typicality"].find(task_of(plain, own), "7")
    faulty = METHODS["typicality"].find(task_of(ganpatch.load(blotched, latent="normal:8,1,1"), ranking), "front.5")
    assert faulty.score[3] > 2 * found.score[3]


class _Unflat(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z[:, :, None, None]


def test_distance_and_oddity_are_those_of_brute_force_at_the_same_place() -> None:
    maps = torch.randn(80, 4, 2, 3)
    typical = Typical(maps)
    far, odd = typical.distance(maps + 0.5), typical.oddity(maps + 0.5)
    near = typical.oddity(maps)  # each has itself among its neighbours
    whiten = typical._whiten.double()
    for place in ((0, 0), (1, 2)):
        own = (maps[:, :, place[0], place[1]] - maps.mean((0, 2, 3))).double() @ whiten.T
        asked = own + (torch.full((4,), 0.5).double() @ whiten.T)
        wanted = torch.cdist(asked, own[::2]).sort(1).values[:, :NEIGHBOURS].mean(1).log()
        assert torch.allclose(far[:, place[0], place[1]].double(), wanted, atol=1e-3)
        others = torch.cdist(own, own).sort(1).values[:, 1:CLOSEST].mean(1).log()
        low, middle, high = others.quantile(torch.tensor([0.25, 0.5, 0.75]).double())
        for found, images in ((odd, asked), (near, own)):
            beyond = torch.cdist(images, own).sort(1).values[:, :CLOSEST].mean(1).log() - middle
            wanted = torch.maximum(beyond, -beyond - (high - low))
            assert torch.allclose(found[:, place[0], place[1]].double(), wanted, atol=1e-3)
    white = torch.einsum("ij,njhw->nihw", typical._whiten, maps - maps.mean((0, 2, 3))[:, None, None])
    correlation = torch.corrcoef(white.permute(1, 0, 2, 3).flatten(1))
    assert (correlation - torch.eye(4)).abs().max() < 0.1


def test_what_is_always_the_same_is_odd_where_the_rest_is_not() -> None:
    """A black bar in one image of ten has the nearest neighbours of all; a density alone would call it most typical."""
    maps = torch.randn(200, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    bar = torch.tensor([1.0, -1, 1, 0.5])
    maps[:20, :, 0, 0] = bar + 1e-3 * maps[:20, :, 0, 0]
    maps[:20, :, 1, 1] = bar
    odd = Typical(maps).oddity(maps)
    for nearly_or_fully_equal in (odd[:, 0, 0], odd[:, 1, 1]):
        assert nearly_or_fully_equal[:20].min() > nearly_or_fully_equal[20:].max()
    assert torch.allclose(odd[:20, 0, 0], odd[:20, 1, 1], atol=0.5), "rounding makes nothing odder"


def test_a_cut_holds_one_unit_per_row() -> None:
    y = torch.arange(24.0).view(2, 3, 2, 2)
    changed = cut(torch.tensor([0, 2]), torch.tensor([1.0, 100.0]))(y)
    assert changed[0, 0].tolist() == [[0, 1], [1, 1]]
    assert changed[0, 1:].equal(y[0, 1:])
    assert changed[1].equal(y[1])
    assert y[0, 0].tolist() == [[0, 1], [2, 3]]


def test_rarity_counts_neurons(small_dcgan: Generator) -> None:
    ranking = rank(small_dcgan, [LAYER], range(50), k=3)
    found = METHODS["rarity"].find(task_of(small_dcgan, ranking), LAYER)
    kept: list[Tensor] = []
    with hooked(small_dcgan.module, {LAYER: lambda y, _call: kept.append(y.clone())}):
        small_dcgan.sample(range(50))
    share = (kept[0] > 0).double().mean(0)
    rare = (share > 0) & (share <= 0.3)
    assert torch.allclose(found.score.double(), ((1 - share) * rare).flatten(1).mean(1), atol=1e-6)
    assert found.mask is not None
    assert found.mask.bool().equal(rare)
    assert found.above is not None
    assert not found.above.any()


def test_spike_puts_an_outburst_first(small_dcgan: Generator) -> None:
    ranking = rank(small_dcgan, [LAYER], range(50), k=3)
    layer = ranking[LAYER]
    peak = layer.peak.clone()
    peak[5] = 100 * layer.q999[5]
    spiked = dataclasses.replace(ranking, layers={LAYER: dataclasses.replace(layer, peak=peak)})
    assert METHODS["spike"].find(task_of(small_dcgan, spiked), LAYER).first(1) == [5]
    assert METHODS["spike"].find(task_of(small_dcgan, ranking), LAYER).score[5] < 10


def test_defect_finds_where_broken_images_differ() -> None:
    torch.manual_seed(0)
    normal, broken = torch.randn(80, 5, 6, 6), torch.randn(12, 5, 6, 6)
    broken[:, 2, :2, :3] += 6
    where = scaled(probe(broken, normal)) > 0.3
    inside = torch.zeros(6, 6, dtype=torch.bool)
    inside[:2, :3] = True
    assert where[:, inside].float().mean() > 0.8
    assert where[:, ~inside].float().mean() < 0.2


def test_defect_and_fd_say_what_they_need(small_dcgan: Generator, tmp_path: Path) -> None:
    ranking = rank(small_dcgan, [LAYER], range(40), k=3)
    with pytest.raises(GanpatchError, match=r"fd compares with real images; name their folder with --real FOLDER"):
        METHODS["fd"].find(task_of(small_dcgan, ranking), LAYER)
    with pytest.raises(GanpatchError, match="name at least 4: --broken 3,17-19"):
        METHODS["defect"].find(task_of(small_dcgan, ranking, broken=[1]), LAYER)
    found = METHODS["defect"].find(task_of(small_dcgan, ranking, broken=[1, 2, 3, 4]), LAYER)
    assert found.alpha is not None
    assert ((found.score >= 0) & (found.score <= 1)).all()
    assert (found.alpha > 0).sum() == 2, "a fifth of eight units"


def test_suggestions_are_kept_shown_and_made_into_a_patch(
    blotched: Generator, ranking: Ranking, tmp_path: Path
) -> None:
    ranking.save(tmp_path)
    write_page(tmp_path)
    suggest_for_run(tmp_path, blotched, ["spike", "rarity"], references=100)
    suggest_for_run(tmp_path, blotched, ["typicality"], references=100)
    manifest = read_manifest(tmp_path)
    kept = read_suggestions(tmp_path, manifest)
    assert set(kept) == {"spike", "rarity", "typicality"}
    assert kept["typicality"].layers["front.5"].first(1) == [3]
    page, script = (tmp_path / "index.html").read_text(), (tmp_path / "layer-0.js").read_text()
    assert METHODS["typicality"].EXPLAINS in page
    assert json.loads(script.partition("0, ")[2].removesuffix(");\n"))["suggested"].keys() == kept.keys()
    patch = patch_from_suggestion(tmp_path, manifest, "typicality", 1, name="fix")
    assert patch.edits[0].units == (3,)
    assert patch.edits[0].above == patch.edits[0].value
    with ganpatch.applied(blotched.module, patch):
        worst = int(ranking["front.5"].top_seeds[3, 0])
        assert blotched.sample([worst])[0, :, :5, :5].mean() < 0.99, "the corner is not white any more"
    masked = patch_from_suggestion(tmp_path, manifest, "rarity", 2, name="fix")
    masked.save(tmp_path / "fix.yaml")
    assert Patch.load(tmp_path / "fix.yaml").edits[0].mask is not None
    with pytest.raises(
        GanpatchError, match="has no suggestions by 'typicalty'; there is .*; did you mean 'typicality'"
    ):
        patch_from_suggestion(tmp_path, manifest, "typicalty", 1, name="fix")
    dataclasses.replace(ranking, run="0" * 16).save(tmp_path)
    assert read_suggestions(tmp_path, read_manifest(tmp_path)) == {}, "those of another ranking are not read"


def test_another_generator_is_refused(
    blotched: Generator, small_dcgan: Generator, ranking: Ranking, tmp_path: Path
) -> None:
    ranking.save(tmp_path)
    with pytest.raises(GanpatchError, match="this model has other weights .*; name the ranked model with --model"):
        suggest_for_run(tmp_path, small_dcgan, ["spike"])
    with pytest.raises(GanpatchError, match="method 'spik' is not one of first-look, .*; did you mean 'spike'"):
        suggest(task_of(blotched, ranking), ["spik"])


def test_the_commands(small_dcgan: Generator, tmp_path: Path) -> None:
    torch.save(small_dcgan.module.state_dict(), tmp_path / "model.pt")
    run = str(tmp_path / "run")
    for arguments in (
        ["rank", str(tmp_path / "model.pt"), "--layer", LAYER, "--n", "24", "-o", run],
        ["suggest", run, "--model", str(tmp_path / "model.pt"), "--by", "spike", "--by", "rarity", "--first", "3"],
        ["flag", run, "--suggested", "spike", "--first", "2", "-o", str(tmp_path / "fix.yaml")],
    ):
        done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    patch = Patch.load(tmp_path / "fix.yaml")
    assert len(patch.edits[0].units) == 2
    assert patch.evidence.records[0].settings["method"] == "spike"


def test_features_by_name() -> None:
    images = torch.rand(2, 3, 40, 40)
    plain, churches = load_features("plain"), load_features("churches")
    assert plain.maps(images).shape == (2, 27, 16, 16)
    assert plain.vectors(images).shape == (2, 54)
    assert churches.maps(images).shape[2:] == (10, 10)
    assert plain.distance_name == "Fréchet distance (plain)", "only Inception's is called FID"
    with pytest.raises(GanpatchError, match="features 'plane' are not one of plain, .*; did you mean 'plain'"):
        load_features("plane")
    with pytest.raises(GanpatchError, match="torchvision has no model 'resnet17'"):
        load_features("torchvision:resnet17")


def test_checkered_pixels_show_in_plain_features() -> None:
    images = torch.full((1, 3, 64, 64), 0.5)
    checkered = images.clone()
    checkered[..., ::2, ::2] += 0.1
    checkered[..., 1::2, 1::2] += 0.1
    gap = (plain_maps(checkered) - plain_maps(images))[0].mean((1, 2))
    assert gap[9:].max() > 5, "in the energy of edges"
    assert gap[:9].abs().max() < 0.06, "and hardly in colour"


def test_plantings_have_their_faults_where_units_fire(monkeypatch: pytest.MonkeyPatch, small_dcgan: Generator) -> None:
    from tools.benchmarks import planting
    from tools.benchmarks.bench_finding import measured

    monkeypatch.setattr(planting, "MEASURED", range(500_000, 500_064))
    for kind in planting.KINDS:
        planted = planting.plant(small_dcgan, LAYER, planting.Planting(kind=kind, count=2, rate=0.25))
        before, after = small_dcgan.sample(range(64)), planted.generator.sample(range(64))
        changed = (before - after).abs().flatten(1).amax(1) > 1e-3
        assert 0.1 < changed.float().mean() < 0.8
        kept: list[Tensor] = []
        with hooked(planted.generator.module, {planted.layer: lambda y, _call, kept=kept: kept.append(y.clone())}):
            planted.generator.sample(range(64))
        active = (
            (kept[0][:, list(planted.units)] > planted.generator.module.defects.above[:, None, None]).flatten(1).any(1)
        )  # type: ignore[union-attr, index]
        assert not (changed & ~active).any()
    score = torch.tensor([9.0, 8, 7, 6, 5])
    assert measured(score, [0, 2], [1])[1] == 1.0, "flagged units are left out"
    assert measured(score, [0, 2], [])[1] == pytest.approx((1 + 2 / 3) / 2)


def test_units_flagged_by_eye_are_units_of_their_layers(monkeypatch: pytest.MonkeyPatch, faces: Path) -> None:
    from tools.benchmarks.bench_finding import FLAGGED, FRESH, MODELS, flagged

    for model, layers in FLAGGED.items():
        facts = {fact.name: fact.units for fact in list_layers(ganpatch.load(MODELS[model][0]))}
        assert not layers or {*layers} & {*FRESH}
        for layer in layers:
            for who, units in flagged(model, layer).items():
                assert len(set(units)) == len(units), (layer, who)
                assert max(units) < facts[layer], (layer, who)
    assert any("patches/" in who for who in flagged("faces", MODELS["faces"][1]))
    assert any("patches/" in who for who in flagged("churches", "layer2"))
