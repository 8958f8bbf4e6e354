"""The remainder of a forward pass returns the images of the whole pass, whatever the net."""

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import ganpatch
from ganpatch import Edit, Generator
from ganpatch.errors import GanpatchError
from ganpatch.graph.prefix import Prefix
from ganpatch.graph.remainder import Remainder
from ganpatch.patch.applying import as_change, edits_applied
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
    remainder = Remainder.of(generator, layer)
    assert remainder.is_split
    seeds = [5, 6, 7, 8, 9]
    with torch.no_grad():
        prefix = remainder.prefix(seeds)
        assert torch.allclose(remainder(prefix, lambda y: y), generator.sample(seeds), atol=1e-5)
        edit = Edit(id="off", layer=layer, channels=prefix.activation.shape[1], units=(1,))
        before = generator.sample([8, 5, 5])
        with edits_applied(generator.module, [edit]):
            wanted = generator.sample([8, 5, 5])
        assert not torch.allclose(wanted, before, atol=1e-4), "the edit shows"
        assert torch.allclose(remainder(prefix.rows([3, 0, 0]), ablating), wanted, atol=1e-5)
        assert torch.allclose(remainder(prefix, lambda y: y), generator.sample(seeds), atol=1e-5), (
            "the prefix is not changed"
        )


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
    """A forward pass that looks at its batch: no graph is right for every size."""

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return super().forward(z, label) + (0.1 if z.shape[0] % 2 else 0.0) * 0


@pytest.mark.parametrize(("module", "is_split"), [(TwoInputs, True), (FixedBatch, False)])
def test_conditional_inputs_and_the_whole_pass_as_a_way_out(module: type[nn.Module], is_split: bool) -> None:
    generator = ganpatch.load(module().eval(), latent="normal:6", labels="onehot:3", range=(-3, 3))
    remainder = Remainder.of(generator, "layer")
    assert remainder.is_split == is_split
    prefix = Prefix.joined([remainder.prefix([0, 1]), remainder.prefix([2, 3, 4])])
    assert len(prefix) == 5
    edit = Edit(id="off", layer="layer", channels=4, units=(1,))
    with edits_applied(generator.module, [edit]):
        wanted = generator.sample([4, 2, 0])
    with torch.no_grad():
        assert torch.allclose(remainder(prefix.rows([4, 2, 0]), ablating), wanted, atol=1e-5)


@pytest.mark.parametrize("module", [TwoInputs, FixedBatch])
def test_gradients_reach_the_change(module: type[nn.Module]) -> None:
    generator = ganpatch.load(module().eval(), latent="normal:6", labels="onehot:3", range=(-3, 3))
    remainder = Remainder.of(generator, "layer")
    alpha = torch.zeros(4, requires_grad=True)
    remainder(remainder.prefix([0, 1]), lambda y: y * (1 - alpha).view(-1, 1, 1)).sum().backward()
    assert alpha.grad is not None
    assert (alpha.grad != 0).any()


class LooksAtValues(TwoInputs):
    """A forward pass that branches on what it computes: torch cannot trace it, and says so at length."""

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        images = super().forward(z, label)
        return images if images.mean() > -100 else -images


def test_what_cannot_be_traced_is_run_whole_and_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    generator = ganpatch.load(LooksAtValues().eval(), latent="normal:6", labels="onehot:3", range=(-3, 3))
    remainder = Remainder.of(generator, "layer")
    assert not remainder.is_split
    with torch.no_grad():
        assert torch.allclose(remainder(remainder.prefix([3]), lambda y: y), generator.sample([3]), atol=1e-6)
    assert capfd.readouterr() == ("", "")


def test_a_layer_that_is_not_there(small_dcgan: Generator) -> None:
    with pytest.raises(GanpatchError, match=r"did you mean 'main\.2'"):
        Remainder.of(small_dcgan, "main.22")


def test_messages_of_a_change_are_its_own(small_dcgan: Generator) -> None:
    remainder = Remainder.of(small_dcgan, "main.2")
    edit = Edit(id="e", layer="main.2", channels=9, units=(1,))
    with pytest.raises(GanpatchError) as found:
        remainder(remainder.prefix([0]), as_change([edit]))
    assert str(found.value) == "edit 'e' expects 9 channels, layer 'main.2' has 12"


def test_values_are_released_after_their_last_use() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 1), *(nn.Hardtanh() for _ in range(20)))
    generator = ganpatch.load(module.eval(), latent="normal:3,64,64")
    remainder = Remainder.of(generator, "0")
    assert remainder.is_split
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal most
            made = func(*args, **(kwargs or {}))
            if isinstance(made, Tensor):
                alive.append(weakref.ref(made))
            most = max(most, sum(one() is not None for one in alive))
            return made

    with torch.no_grad():
        prefix = remainder.prefix([0])
        with Watching():
            remainder(prefix, lambda y: y * 2)
    assert len(alive) > 20
    assert most <= 4, "a value and what is made of it"


class Squeezed(nn.Module):
    """What the layer is multiplied with loses the dimension of the batch where that is one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.layer = nn.Linear(6, 12), nn.Conv2d(12, 12, 1)

    def forward(self, z: Tensor) -> Tensor:
        style = self.first(z)[:, :, None].squeeze()
        y = self.layer(style.reshape(-1, 12, 1, 1)).flatten(1) * style
        return y.reshape(-1, 3, 2, 2).tanh()


def test_a_batch_of_one_keeps_its_row() -> None:
    torch.manual_seed(0)
    generator = ganpatch.load(Squeezed().eval(), latent="normal:6")
    remainder = Remainder.of(generator, "layer")
    assert remainder.is_split
    with torch.no_grad():
        prefix = remainder.prefix([5])
        assert [len(read) for read in prefix.read] == [1] * len(prefix.read)
        images = remainder(prefix.rows([0, 0, 0]), lambda y: y)
        assert torch.allclose(images, generator.sample([5]).expand(3, -1, -1, -1), atol=1e-6)
