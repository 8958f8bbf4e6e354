import pytest
import torch

from ganpatch import GanpatchError
from ganpatch.generator.latents import draw_inputs, parse_labels, parse_latent


@pytest.mark.parametrize("text", ["normal:100", "normal:100,1,1", "uniform:-1,1:100", "uniform:0,0.5:4,4,4"])
def test_a_latent_reads_back_as_written(text: str) -> None:
    assert str(parse_latent(text)) == text


@pytest.mark.parametrize("text", ["onehot:8", "index:10", "index:10=3,5-7"])
def test_labels_read_back_as_written(text: str) -> None:
    assert str(parse_labels(text)) == text


def test_a_row_depends_on_its_seed_alone() -> None:
    latent, labels = parse_latent("normal:5"), parse_labels("onehot:4")
    together = draw_inputs(latent, labels, [3, 1, 4, 1_000_000_007])
    for place, seed in enumerate([3, 1, 4, 1_000_000_007]):
        alone = draw_inputs(latent, labels, [seed])
        assert all(torch.equal(one[0], many[place]) for one, many in zip(alone, together, strict=True))
    assert not torch.equal(together[0][0], together[0][1])


def test_the_distributions() -> None:
    (uniform,) = draw_inputs(parse_latent("uniform:-1,3:20"), None, range(500))
    assert uniform.min() >= -1
    assert uniform.max() < 3
    assert abs(uniform.mean() - 1) < 0.05
    (normal,) = draw_inputs(parse_latent("normal:20"), None, range(500))
    assert abs(normal.mean()) < 0.05
    assert abs(normal.std() - 1) < 0.05


def test_labels_cover_the_chosen_classes() -> None:
    _, index = draw_inputs(parse_latent("normal:1"), parse_labels("index:10=3,5-7"), range(200))
    assert index.dtype == torch.int64
    assert sorted(set(index.tolist())) == [3, 5, 6, 7]
    _, onehot = draw_inputs(parse_latent("normal:1"), parse_labels("onehot:4"), range(50))
    assert onehot.shape == (50, 4)
    assert onehot.dtype == torch.float32
    assert torch.equal(onehot.sum(1), torch.ones(50))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("normel:100", "latent 'normel:100' is not one of normal:100, normal:100,1,1, uniform:-1,1:100; did you mean 'normal'?"),
        ("uniform:100", "latent 'uniform:100' is not one of normal:100, normal:100,1,1, uniform:-1,1:100; did you mean 'uniform'?"),
        ("uniform:1,1:5", "latent 'uniform:1,1:5': 1 is not below 1"),
        ("normal:0", "latent 'normal:0': a size of 0 draws nothing"),
    ],
)  # fmt: skip
def test_latents_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(GanpatchError) as fault:
        parse_latent(text)
    assert str(fault.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("onehott:3", "labels 'onehott:3' are not one of onehot:8, index:10, index:10=3,5-7; did you mean 'onehot'?"),
        ("index:0", "labels 'index:0': there are no classes"),
        ("index:5=2,7", "labels 'index:5=2,7': class 7 is outside 0-4"),
    ],
)
def test_labels_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(GanpatchError) as fault:
        parse_labels(text)
    assert str(fault.value) == message
