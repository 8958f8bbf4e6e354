"""Sets: units that draw a fault together are found without truth, and their edit takes the fault away."""

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from torch import Tensor, nn

import ganpatch
from ganpatch import Generator, Patch, Ranking, rank
from ganpatch.cli import cli
from ganpatch.errors import GanpatchError
from ganpatch.finding import set_search
from ganpatch.finding.set_search import searched_layers, suggest_sets
from ganpatch.finding.shared_places import Places, groups_of_rows
from ganpatch.finding.suggestions import UnitSet, read_sets, save_suggestions
from ganpatch.finding.task import Task
from ganpatch.forward.layer_facts import LayerFacts
from ganpatch.patch.applying import edits_applied
from ganpatch.ranking.result import read_manifest
from ganpatch.review.flags import flag_suggested, where_weights_fail
from ganpatch.runs.suggestion_run import broken_seeds, propose

DRAW = (2, 5, 7)  # together they draw the stamp: two rise with it, one falls
SEEDS = range(160)


class Stamped(nn.Module):
    """A generator of scenes, and in some images of a stamp in a corner, which three units of `front` draw together."""

    def __init__(self) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(5)
        self.front = nn.Unflatten(1, (24, 4, 4))
        self.register_buffer("mix", torch.randn(11, 384, generator=source) / 3)
        paint = torch.randn(3, 24, 3, 3, generator=source) / 16
        paint[:, DRAW] = 0  # they draw the stamp and nothing else
        self.register_buffer("paint", paint)

    def forward(self, z: Tensor) -> Tensor:
        flat = (z[:, 1:] @ self.mix).clone()
        shown = (z[:, :1] > 1.3).float()
        for unit, sign in zip(DRAW, (1, 1, -1), strict=True):
            flat[:, 16 * unit : 16 * unit + 16] += sign * 4 * shown
        y = self.front(flat)
        scene = F.conv2d(F.interpolate(y.clamp(-1, 1), scale_factor=8), self.paint, padding=1)
        levels = y.mean((2, 3))
        stamp = ((levels[:, 2] + levels[:, 5] - levels[:, 7]) / 12 - 0.1).clamp(0, 1).view(-1, 1, 1, 1)
        corner = torch.zeros(1, 1, 32, 32)
        corner[..., 24:, 22:] = 1
        return scene / 2 + stamp * corner * 0.6


@pytest.fixture(scope="module")
def stamped() -> Generator:
    return ganpatch.load(Stamped().eval(), latent="normal:12")


@pytest.fixture(scope="module")
def ranking(stamped: Generator) -> Ranking:
    return rank(stamped, ["front"], SEEDS, k=6)


@pytest.fixture(scope="module")
def sets(stamped: Generator, ranking: Ranking) -> tuple[UnitSet, ...]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(set_search, "MOST", 3)
        return suggest_sets(Task(generator=stamped, ranking=ranking))


def shown(generator: Generator) -> list[int]:
    return [seed for seed in SEEDS if float(generator.inputs_of([seed])[0][0, 0]) > 1.3]


def corner(generator: Generator, seeds: list[int]) -> float:
    return float(generator.sample(seeds)[:, :, 25:, 23:].mean())


def test_the_first_set_takes_the_fault_away_without_truth(stamped: Generator, sets: tuple[UnitSet, ...]) -> None:
    broken = shown(stamped)
    assert 0.05 < len(broken) / len(SEEDS) < 0.15
    first = sets[0]
    assert first.name == "set-1"
    assert first.layer == "front"
    assert set(first.units) >= set(DRAW)
    assert first.gain > 0.9
    assert first.harm < 0.1
    assert len(set(first.images) & set(broken)) > 0.8 * len(broken)
    others = [seed for seed in SEEDS if seed not in broken]
    before, wanted = corner(stamped, broken), corner(stamped, others)
    with edits_applied(stamped.module, [first.edit()]):
        after = corner(stamped, broken)
    assert abs(after - wanted) < 0.1 * abs(before - wanted)
    assert [one.name for one in sets] == [f"set-{n}" for n in range(1, len(sets) + 1)]


def test_images_called_broken_are_the_start_of_one_set(stamped: Generator, ranking: Ranking) -> None:
    broken = [*shown(stamped)[:5], 1000 + shown_from(stamped, 1000)]
    (found,) = suggest_sets(Task(generator=stamped, ranking=ranking, broken=broken), ["front"])
    assert set(found.units) >= set(DRAW)
    assert found.start == "images called broken"
    assert sorted(found.images) == sorted(broken), "an image that was not ranked is looked at too"
    with pytest.raises(GanpatchError) as caught:
        suggest_sets(Task(generator=stamped, ranking=ranking, broken=[1, 2, 2]))
    assert str(caught.value) == "2 broken images are too few; name at least 4"


def shown_from(generator: Generator, start: int) -> int:
    return next(n for n in range(200) if float(generator.inputs_of([start + n])[0][0, 0]) > 1.3)


def test_localities_and_strengths_are_those_of_the_formula() -> None:
    maps = torch.randn(50, 3, 4, 8, generator=torch.Generator().manual_seed(1))
    maps[:9, :, 1, 2] += 3
    places = Places(maps)
    scaled = (maps - maps.mean(0)) / maps.std(0)
    group = places.group(torch.arange(9), "made")
    shift = scaled[:9].mean(0)
    sizes = 9 * shift.square().mean(0)
    top = sizes.flatten().sort(descending=True).values[:2].mean()
    assert group.locality == pytest.approx(float(top / sizes.median().clamp(min=1)), rel=1e-4)
    assert float(places.localities(torch.arange(9).view(1, 9))[0]) == pytest.approx(group.locality, rel=1e-4)
    assert 1 * 8 + 2 in group.places.tolist()
    flat, mean = scaled.flatten(2)[:, :, group.places], shift.flatten(1)[:, group.places]
    wanted = (flat * mean).sum((1, 2)) / mean.square().sum()
    assert places.strength(group, maps).tolist() == pytest.approx(wanted.tolist(), abs=1e-4)
    assert float(places.own_strength(group)[:9].mean()) == pytest.approx(1, abs=1e-4)


def test_groups_that_share_the_same_thing_are_one() -> None:
    maps = torch.randn(60, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    maps[:6, :, 0, 0] += 6
    maps[6:12, :, 3, 3] += 6
    levels = torch.randn(60, 3, generator=torch.Generator().manual_seed(2)) / 10
    levels[:6, 0] += 5
    levels[:6, 1] -= 5
    levels[6:12, 2] += 5
    found = groups_of_rows(Places(maps), {"layer": levels}, count=6, most=2)
    starts = {group.start for group in found}
    assert "images that most activate unit 2 of layer" in starts
    assert (
        len(starts & {"images that most activate unit 0 of layer", "images that least activate unit 1 of layer"}) == 1
    )


def test_features_without_positions_and_few_images_are_refused(stamped: Generator, ranking: Ranking) -> None:
    with pytest.raises(GanpatchError) as caught:
        Places(torch.randn(20, 5, 1, 1))
    assert str(caught.value) == (
        "sets need features with at least 16 positions, and these have 1; use --features plain"
    )
    few = rank(stamped, ["front"], range(39), k=2)
    with pytest.raises(GanpatchError) as caught:
        suggest_sets(Task(generator=stamped, ranking=few))
    assert str(caught.value) == "39 ranked images are too few to find sets; rank at least 40"


def test_the_layers_searched_are_the_last_blocks_of_each_size() -> None:
    def fact(name: str, edge: int, units: int = 8, calls: int = 1) -> LayerFacts:
        return LayerFacts(name=name, kind="Conv2d", units=units, size=(edge, edge), calls=calls)

    facts = [fact("a", 4), fact("b.conv", 4), fact("b", 4), fact("c", 8), fact("d", 16), fact("rgb", 16, units=3)]
    assert searched_layers([fact("z", 1), *facts, fact("twice", 8, calls=2), fact("e", 32)]) == ["b", "c", "d"]
    with pytest.raises(GanpatchError) as caught:
        searched_layers([fact("e", 32)])
    assert str(caught.value) == "no layer has maps of 4x4 to 16x16; choose one with --layer"


@pytest.fixture
def run(stamped: Generator, ranking: Ranking, sets: tuple[UnitSet, ...], tmp_path: Path) -> Path:
    ranking.save(tmp_path)
    save_suggestions(tmp_path, read_manifest(tmp_path), {}, sets)
    return tmp_path


def test_sets_are_kept_and_become_a_patch(
    stamped: Generator, ranking: Ranking, sets: tuple[UnitSet, ...], run: Path
) -> None:
    manifest = read_manifest(run)
    assert read_sets(run, manifest) == sets
    propose(run, stamped, ["spike"], references=40)
    assert read_sets(run, manifest) == sets, "another method leaves them"
    assert '"name":"set-1"' in (run / "index.html").read_text()
    second = sets[0].model_copy(update={"name": "set-2", "units": (*sets[0].units[:-1], 23), "images": (5000,)})
    save_suggestions(run, manifest, {}, [sets[0], second])
    patch = flag_suggested(run, "set-1,set-2", name="fix")
    assert patch.edits[0].units == sets[0].units
    assert set(patch.edits[1].units) == {23} - set(sets[0].units), "a unit is in the first set that has it"
    assert patch.edits[0].value == sets[0].values
    assert patch.evidence.records[0].chosen_on == "0-159,5000"
    assert where_weights_fail(patch) is None
    assert flag_suggested(run, "sets", first=1, name="fix").edits == patch.edits[:1]


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("set-99", {}, "has no set-99; it has set-1"),
        (
            "sets",
            {},
            "name the sets that draw a fault, as --suggested set-1,set-3, or how many: --suggested sets --first 4",
        ),
        ("set-1", {"first": 3}, "--first does not go with set-1; it goes with --suggested sets"),
        ("set-1", {"layers": ["front"]}, "--layer does not go with sets: each has its own layer"),
    ],
)
def test_unclear_requests_for_sets_are_refused(run: Path, method: str, given: dict, message: str) -> None:
    with pytest.raises(GanpatchError) as caught:
        flag_suggested(run, method, name="fix", **given)
    assert message in str(caught.value)


def test_a_set_that_contradicts_itself_is_refused(run: Path) -> None:
    path = run / "suggestions.json"
    whole = json.loads(path.read_text())
    for changes, message in (
        ({"units": [3, 2], "values": [0.0, 0.0]}, "units are not ascending numbers below 24"),
        ({"units": [3, 24], "values": [0.0, 0.0]}, "units are not ascending numbers below 24"),
        ({"units": [3], "values": [0.0, 0.0]}, "1 units have 2 values"),
    ):
        path.write_text(json.dumps(whole | {"sets": [whole["sets"][0] | changes]}))
        with pytest.raises(GanpatchError) as caught:
            read_sets(run, read_manifest(run))
        assert message in str(caught.value)


def test_broken_images_are_named_by_seed_or_by_row(run: Path, ranking: Ranking) -> None:
    assert list(broken_seeds(run, "3,17-19")) == [3, 17, 18, 19]
    assert broken_seeds(run, "front:2") == ranking["front"].top_seeds[2].tolist()
    with pytest.raises(GanpatchError) as caught:
        broken_seeds(run, "front:24")
    assert str(caught.value) == "--broken front:24: '24' is no unit of 'front' (0-23)"


def test_flag_says_before_apply_what_cannot_go_into_weights(run: Path, stamped: Generator) -> None:
    propose(run, stamped, ["spike"], references=40)
    asked = ["flag", str(run), "--suggested", "spike", "--first", "2", "-o", str(run / "fix.yaml")]
    done = CliRunner().invoke(cli, asked, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert (
        "front: held at a level (above:), which depends on the activation, so it cannot go into weights; "
        "apply it to .pt2 or .onnx, or as a hook\n"
    ) in done.stderr
    asked = ["flag", str(run), "--suggested", "set-1", "-o", str(run / "set.yaml")]
    assert "weights" not in CliRunner().invoke(cli, asked, catch_exceptions=False).stderr
    assert math.isfinite(Patch.load(run / "set.yaml").edits[0].value[0])
