"""The rest of a forward pass gives the images that the whole pass gives, whatever the net."""

import pytest
import torch
from torch import Tensor, nn

import ganpatch
from ganpatch import Edit, Generator
from ganpatch.errors import GanpatchError
from ganpatch.graph.split import Front, Tail
from ganpatch.patch.applying import edits_applied
from tests.support.nets import loaded_net

LAYERS = {
    "dcgan": ["main.2"],
    "progressive": ["layer3.norm"],
    "biggan": ["block1", "block1.bn1.gain"],
    "stylegan2": ["mapping.1", "conv0"],
    "fastgan": ["init.2"],
    "vae_decoder": ["attention.qkv"],
    "unet": ["act"],
    "repeated": ["twice"],
    "in_place_trap": ["bn"],
}
CASES = [(net, layer) for net, layers in LAYERS.items() for layer in layers]


def ablating(y: Tensor) -> Tensor:
    keep = torch.ones(y.shape[1])
    keep[1] = 0
    return y * keep.view(-1, *[1] * (y.ndim - 2))


@pytest.mark.parametrize(("net", "layer"), CASES, ids=lambda case: case)
def test_images_are_those_of_the_whole_pass(net: str, layer: str) -> None:
    generator = loaded_net(net, range=(-3, 3))
    tail = Tail.of(generator, layer)
    assert tail.is_split
    seeds = [5, 6, 7, 8, 9]
    with torch.no_grad():
        front = tail.front(seeds)
        assert torch.allclose(tail(front, lambda y: y), generator.sample(seeds), atol=1e-5)
        edit = Edit(id="off", layer=layer, channels=front.activation.shape[1], units=(1,))
        before = generator.sample([8, 5, 5])
        with edits_applied(generator.module, [edit]):
            wanted = generator.sample([8, 5, 5])
        assert not torch.allclose(wanted, before, atol=1e-4), "the edit shows"
        assert torch.allclose(tail(front.rows([3, 0, 0]), ablating), wanted, atol=1e-5)
        assert torch.allclose(tail(front, lambda y: y), generator.sample(seeds), atol=1e-5), "the front is not changed"


class TwoInputs(nn.Module):
    """Labels that are read before and after the layer, and a skip connection across it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.layer, self.out = nn.Linear(9, 4 * 16), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(5, 3, 1)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        x = self.first(torch.cat([z, label], 1)).view(-1, 4, 4, 4)
        y = torch.relu(self.layer(x)) + x
        return self.out(torch.cat([y, label.mean(1).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)], 1))


class FixedBatch(TwoInputs):
    """A forward pass that looks at its batch: no graph holds for every size."""

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return super().forward(z, label) + (0.1 if z.shape[0] % 2 else 0.0) * 0


@pytest.mark.parametrize(("module", "is_split"), [(TwoInputs, True), (FixedBatch, False)])
def test_conditional_inputs_and_the_whole_pass_as_a_way_out(module: type[nn.Module], is_split: bool) -> None:
    generator = ganpatch.load(module().eval(), latent="normal:6", labels="onehot:3", range=(-3, 3))
    tail = Tail.of(generator, "layer")
    assert tail.is_split == is_split
    front = Front.joined([tail.front([0, 1]), tail.front([2, 3, 4])])
    assert len(front) == 5
    edit = Edit(id="off", layer="layer", channels=4, units=(1,))
    with edits_applied(generator.module, [edit]):
        wanted = generator.sample([4, 2, 0])
    with torch.no_grad():
        assert torch.allclose(tail(front.rows([4, 2, 0]), ablating), wanted, atol=1e-5)


@pytest.mark.parametrize("module", [TwoInputs, FixedBatch])
def test_gradients_reach_the_change(module: type[nn.Module]) -> None:
    generator = ganpatch.load(module().eval(), latent="normal:6", labels="onehot:3", range=(-3, 3))
    tail = Tail.of(generator, "layer")
    alpha = torch.zeros(4, requires_grad=True)
    tail(tail.front([0, 1]), lambda y: y * (1 - alpha).view(-1, 1, 1)).sum().backward()
    assert alpha.grad is not None
    assert (alpha.grad != 0).any()


class LooksAtValues(TwoInputs):
    """A forward pass that branches on what it computes: torch cannot trace it, and says so at length."""

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        images = super().forward(z, label)
        return images if images.mean() > -100 else -images


def test_what_cannot_be_traced_is_run_whole_and_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    generator = ganpatch.load(LooksAtValues().eval(), latent="normal:6", labels="onehot:3", range=(-3, 3))
    tail = Tail.of(generator, "layer")
    assert not tail.is_split
    with torch.no_grad():
        assert torch.allclose(tail(tail.front([3]), lambda y: y), generator.sample([3]), atol=1e-6)
    assert capfd.readouterr() == ("", "")


def test_a_layer_that_is_not_there(small_dcgan: Generator) -> None:
    with pytest.raises(GanpatchError, match=r"did you mean 'main\.2'"):
        Tail.of(small_dcgan, "main.22")
