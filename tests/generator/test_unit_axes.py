"""Layers of tokens are named and refused; layers of channels with one dimension stay what they are."""

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import ganpatch
from ganpatch import GanpatchError
from ganpatch.cli import cli
from tests.support.shared import patch_for


class Tokens(nn.Module):
    """A small transformer: tokens [N, 16, 8] to an image of 4x4 patches."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.act = nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU()
        self.block = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
        self.last = nn.Linear(8, 12)
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.block(self.act(self.norm(self.first(z.view(len(z), 16, 4)))))
        x = self.last(x).view(-1, 4, 4, 3, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, 8, 8)
        return torch.tanh(self.conv(x))


class Waves(nn.Module):
    """1-D convolutions before an image: the second dimension is channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act, self.out = nn.Conv1d(2, 12, 3, padding=1), nn.ReLU(), nn.Conv1d(12, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        return self.out(self.act(self.conv(z))).unflatten(2, (4, 4))


@pytest.fixture(scope="module")
def tokens() -> ganpatch.Generator:
    torch.manual_seed(0)
    return ganpatch.load(Tokens().eval(), latent="normal:64")


MESSAGE = (
    "layer '{}' returns tokens [N, 16, 8]: its second dimension is not its units, which can be neither ranked nor "
    "edited; choose a layer that returns maps, as 'ganpatch layers' lists them"
)


@pytest.mark.parametrize("layer", ["first", "norm", "act", "block"])
def test_tokens_are_neither_ranked_nor_edited(tokens: ganpatch.Generator, layer: str) -> None:
    fact = {fact.name: fact for fact in ganpatch.list_layers(tokens)}[layer]
    assert (fact.units, fact.size, fact.tokens) == (0, (), (16, 8))
    with pytest.raises(GanpatchError) as fault:
        ganpatch.rank(tokens, layers=[layer], seeds=range(4))
    assert str(fault.value) == MESSAGE.format(layer)
    patch = patch_for(tokens, {"layer": layer, "channels": 16, "units": [3]})
    with pytest.raises(GanpatchError) as fault, ganpatch.applied(tokens.module, patch):
        tokens.sample([0])
    assert str(fault.value) == MESSAGE.format(layer)


def test_channels_of_one_dimension_are_units() -> None:
    generator = ganpatch.load(Waves().eval(), latent="normal:2,16")
    facts = {fact.name: (fact.units, fact.size, fact.tokens) for fact in ganpatch.list_layers(generator)}
    assert facts["conv"] == facts["act"] == (12, (16,), ())
    assert ganpatch.rank(generator, layers=["act"], seeds=range(4), k=2)["act"].units == 12


def test_layers_lists_models_without_large_maps(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """A table, where there is no layer to rank by default: small ones, flat ones, tokens."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.py").write_text(
        "from torch import nn\n"
        "def make():\n    return nn.Sequential(nn.Linear(4, 12), nn.Unflatten(1, (3, 2, 2)), nn.Conv2d(3, 3, 1))\n"
    )
    done = CliRunner().invoke(cli, ["layers", "small.py:make", "--latent", "normal:4"])
    assert done.exit_code == 0, done.output
    assert [line.split()[:4] for line in done.output.splitlines()[1:]] == [
        ["0", "Linear", "12", "-"],
        ["1", "Unflatten", "3", "2x2"],
        ["2", "Conv2d", "3", "2x2"],
    ]


def test_an_image_that_depends_on_its_batch_is_refused() -> None:
    module = nn.Sequential(
        nn.ConvTranspose2d(4, 8, 4), nn.BatchNorm2d(8, track_running_stats=False), nn.Conv2d(8, 3, 1)
    )
    with pytest.raises(GanpatchError) as fault:
        ganpatch.load(module.eval(), latent="normal:4,1,1")
    assert str(fault.value) == (
        "Sequential: 1: BatchNorm without running statistics, so an image depends on the others in its batch; collect "
        "them (track_running_stats=True, and a pass in training mode), or use InstanceNorm"
    )
