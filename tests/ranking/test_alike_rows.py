"""Rows that are alike are noticed, and a relative score distinguishes them."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ganpatch
from ganpatch import Generator, rank
from ganpatch.ranking.alike_rows import Alikeness, alike_layers, rows_by_image
from ganpatch.ranking.layer_stats import LayerTally, Plan
from ganpatch.runs.ranking_run import rank_to_folder
from tests.support.nets import dcgan

SEEDS = range(200)


class Conditional(nn.Module):
    """A generator of images of several classes, in one of which, 3 % of the images, all units are strongly active."""

    def __init__(self) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(4)
        self.register_buffer("mix", torch.randn(8, 640, generator=source))
        self.gained = nn.Unflatten(1, (40, 4, 4))

    def forward(self, z: Tensor) -> Tensor:
        of_class = (z[:, :1] > 1.9).float()
        y = self.gained((z[:, 1:] @ self.mix).relu() * (1 + 7 * of_class))
        return F.interpolate(y[:, :3].tanh(), scale_factor=4)


@pytest.fixture(scope="module")
def conditional() -> Generator:
    return ganpatch.load(Conditional().eval(), latent="normal:9")


def test_a_relative_score_tells_rows_apart_that_are_alike(conditional: Generator) -> None:
    found = {
        score: Alikeness.of(rank(conditional, ["gained"], SEEDS, k=4, score=score)["gained"])
        for score in ("max", "relative")
    }
    assert found["max"].are_alike
    assert found["max"].share > 0.5
    assert found["relative"].share < 0.5 * found["max"].share
    assert found["relative"].rows < found["max"].rows


def test_what_is_alike_is_counted(conditional: Generator) -> None:
    ranked = rank(conditional, ["gained"], SEEDS, k=4)["gained"]
    rows = ranked.top_seeds.tolist()
    counts = {seed: sum(seed in row for row in rows) for row in rows for seed in row}
    found = Alikeness.of(ranked)
    assert rows_by_image(ranked) == counts
    assert found.share == pytest.approx(sum(sorted(counts.values())[-4:]) / 160)
    assert (found.images, found.units) == (4, 40)
    assert found.rows == max(counts.values()) == counts[found.seed]
    assert found.text("gained") == (
        f"the rows of gained are alike: 4 images fill {found.share:.0%} of all places, "
        f"and the image of seed {found.seed} is in {found.rows} of 40 rows"
    )


def test_the_ranking_says_so(conditional: Generator, tmp_path: Path) -> None:
    for score, advice in (("max", "; --score relative distinguishes them"), ("relative", None)):
        said: list[str] = []
        run = ganpatch.RunFolder(tmp_path / score, say=said.append)
        rank_to_folder(conditional, run, ["gained"], SEEDS, k=4, score=score)
        remarks = [text for text in said if text.startswith("the rows of gained are alike: 4 images fill")]
        assert [text.partition(" rows;")[2] for text in remarks] == ([advice[1:]] if advice else [])
        assert f'"score":"{score}"' in (tmp_path / score / "index.html").read_text()
        assert '"rows_by_image":{"' in (tmp_path / score / "layer-0.js").read_text()


def test_few_images_are_no_reason_for_a_remark(conditional: Generator) -> None:
    assert alike_layers(rank(conditional, ["gained"], range(31), k=4)) == {}


def test_relative_scores_do_not_depend_on_how_images_are_split(conditional: Generator) -> None:
    plan = Plan.of(conditional, ("gained",), SEEDS, 3, "relative")
    source = torch.Generator().manual_seed(1)
    activation = torch.randn(20, 5, 4, 4, generator=source) * torch.rand(20, 1, 1, 1, generator=source) * 9
    whole, one, two = (LayerTally(5, (4, 4), plan) for _ in range(3))
    whole.update(activation, range(20))
    one.update(activation[:7], range(7))
    two.update(activation[7:], range(7, 20))
    one.merge(LayerTally.of(two.tensors(), plan).tensors())
    peaks = activation.amax((2, 3))
    wanted = (peaks / peaks.abs().mean(1, keepdim=True)).sort(0, descending=True)
    for result in (whole.result(), one.result()):
        assert torch.equal(result.top_seeds, wanted.indices[:3].T)
        assert torch.allclose(result.top_scores, wanted.values[:3].T)


def test_an_image_in_which_nothing_is_active_has_a_score() -> None:
    plan = Plan.of(ganpatch.load(dcgan()[0], latent="normal:8,1,1"), ("main.5",), range(4), 2, "relative")
    tally = LayerTally(3, (2, 2), plan)
    tally.update(torch.zeros(4, 3, 2, 2), range(4))
    assert tally.result().top_scores.abs().sum() == 0
