"""A pass without what is before a layer returns the bits of the whole pass, whatever the net."""

import pytest
import torch
from torch import Tensor, nn

import ganpatch
from ganpatch import Edit
from ganpatch.errors import GanpatchError
from ganpatch.forward.layer_facts import list_layers
from ganpatch.graph.remainder import Remainder
from ganpatch.graph.replay import RecordedPrefix
from ganpatch.patch.applying import as_change, edits_applied
from tests.support.nets import NETS, loaded_net


@pytest.mark.parametrize("net", NETS)
@torch.inference_mode()
def test_images_are_those_of_the_whole_pass_at_every_layer(net: str) -> None:
    generator = loaded_net(net, range=(-3, 3))
    seeds, shown = [5, 6, 7], 0
    for fact in [fact for fact in list_layers(generator) if fact.units]:
        edits = [Edit(id="e", layer=fact.name, channels=fact.units, units=(0,), value=(value,)) for value in (0.0, 2.0)]
        remainder = Remainder.replayed(generator, fact.name)
        prefix = remainder.prefix(seeds)
        generator.sample([1])  # another input in between
        wholes = []
        for edit in edits:
            with edits_applied(generator.module, [edit]):
                wholes.append(generator.sample(seeds))
            assert torch.equal(remainder(prefix, as_change([edit])), wholes[-1]), fact.name
        rows = remainder(prefix.rows([2, 0]), as_change([edits[1]]))
        assert torch.allclose(rows, wholes[1][[2, 0]], atol=1e-5), fact.name
        shown += not torch.equal(*wholes)
    assert shown > 1, "edits show"
    assert not any("forward" in inner.__dict__ for inner in generator.module.modules())


@torch.inference_mode()
def test_hooks_on_other_layers_are_called() -> None:
    generator = loaded_net("dcgan", range=(-3, 3))
    channels = {fact.name: fact.units for fact in list_layers(generator)}
    before, after = (
        Edit(id=layer[-1], layer=layer, channels=channels[layer], units=(1,)) for layer in ("main.1", "main.4")
    )
    own = Edit(id="own", layer="main.3", channels=channels["main.3"], units=(2,), value=(0.5,))
    remainder = Remainder.replayed(generator, "main.3")
    with edits_applied(generator.module, [before, own, after]):
        whole = generator.sample([4])
    with edits_applied(generator.module, [before, after]):
        assert torch.equal(remainder(remainder.prefix([4]), as_change([own])), whole)


@torch.inference_mode()
def test_what_is_before_the_layer_does_not_run() -> None:
    generator = loaded_net("dcgan", range=(-3, 3))
    main = generator.module.get_submodule("main")
    remainder = Remainder.replayed(generator, "main.3")
    prefix = remainder.prefix([2])
    assert isinstance(prefix, RecordedPrefix)
    assert prefix.nbytes == 4 * (2 * 12 * 4 * 4 + 8 * 8 * 8)
    ran: list[int] = []
    for place, inner in enumerate(main):
        inner.forward = lambda x, place=place, own=inner.forward: (ran.append(place), own(x))[1]
    remainder(prefix, lambda y: y)
    assert ran == [2, 4, 5, 6, 7], "the rectifier in place, and what is after the layer"
    remainder.prefix([2])
    assert ran[5:] == [0, 1, 2, 3], "the prefix ends with the layer"
    generator.sample([2])
    assert ran[9:] == list(range(8)), "nothing is left of it, and each forward is what it was"


class Shared(nn.Module):
    """One convolution inside a block before the layer, alone before it, and once more after it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.block = nn.Sequential(self.conv, nn.ReLU(inplace=True))
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(self.conv(self.block(x)).mul_(2))
        return self.conv(y.relu_()) + self.layer(y)


@torch.inference_mode()
def test_a_module_that_runs_before_and_after_the_layer() -> None:
    generator = ganpatch.load(Shared(), latent="normal:3,4,4")
    edit = Edit(id="e", layer="layer", channels=3, units=(1,), value=(0.7,))
    remainder = Remainder.replayed(generator, "layer")
    with edits_applied(generator.module, [edit]):
        whole = generator.sample([1, 2])
    assert torch.equal(remainder(remainder.prefix([1, 2]), as_change([edit])), whole)


class Counting(Shared):
    """A module that keeps something of one pass for the next."""

    passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return super().forward(x) + 0.01 * self.passes


@pytest.mark.parametrize(("module", "agrees"), [(Shared, True), (Counting, False)])
def test_whether_it_agrees_is_found_out(module: type[nn.Module], agrees: bool) -> None:
    generator = ganpatch.load(module(), latent="normal:3,4,4")
    assert Remainder.replayed(generator, "layer").agrees([[0], [1]]) is agrees


def test_a_layer_that_is_not_there() -> None:
    with pytest.raises(GanpatchError, match=r"^layer 'main.33' not found in DCGANGenerator; did you mean 'main.3'\?$"):
        Remainder.replayed(loaded_net("dcgan", range=(-3, 3)), "main.33")
