"""A pass without what stood before a layer gives the bits of the whole pass, whatever the net."""

import pytest
import torch
from torch import Tensor, nn

import ganpatch
from ganpatch import Edit
from ganpatch.errors import GanpatchError
from ganpatch.forward.activations import list_layers
from ganpatch.graph.replay import Replay
from ganpatch.patch.applying import edits_applied
from tests.support.nets import NETS, loaded_net


@pytest.mark.parametrize("net", NETS)
@torch.inference_mode()
def test_images_are_those_of_the_whole_pass_at_every_layer(net: str) -> None:
    generator = loaded_net(net, range=(-3, 3))
    module, (args, _) = generator.module, generator.inputs([5, 6, 7])
    shown = 0
    for fact in [fact for fact in list_layers(generator) if fact.units]:
        edits = [Edit(id="e", layer=fact.name, channels=fact.units, units=(0,), value=(value,)) for value in (0.0, 2.0)]
        replay = Replay(module, fact.name)
        with replay.recorded(), edits_applied(module, edits[:1]):
            first = generator.images(module(*args))
        generator.sample([1])  # another input in between
        for edit, wanted in ((edits[0], first), (edits[1], None)):
            with edits_applied(module, [edit]):
                whole = generator.images(module(*args))
            with replay.played(), edits_applied(module, [edit]):
                again = generator.images(module(*args))
            assert torch.equal(again, whole), fact.name
            assert wanted is None or torch.equal(again, wanted), fact.name
        shown += not torch.equal(first, whole)
    assert shown > 1, "edits show"
    assert not any("forward" in inner.__dict__ for inner in module.modules())


@torch.inference_mode()
def test_what_stands_before_the_layer_does_not_run() -> None:
    generator = loaded_net("dcgan", range=(-3, 3))
    main = generator.module.get_submodule("main")
    replay, (args, _) = Replay(generator.module, "main.3"), generator.inputs([2])
    with replay.recorded():
        generator.module(*args)
    assert replay.nbytes == 4 * (2 * 12 * 4 * 4 + 8 * 8 * 8)
    ran: list[int] = []
    for place, inner in enumerate(main):
        inner.forward = lambda x, place=place, own=inner.forward: (ran.append(place), own(x))[1]
    with replay.played():
        generator.module(*args)
    assert ran == [2, 4, 5, 6, 7], "the rectifier in place, and what stands behind the layer"
    generator.module(*args)
    assert ran[5:] == list(range(8)), "nothing is left of it, and what stood in forward stands there again"


class Shared(nn.Module):
    """One convolution inside a block before the layer, alone before it, and once more behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.block = nn.Sequential(self.conv, nn.ReLU(inplace=True))
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(self.conv(self.block(x)).mul_(2))
        return self.conv(y.relu_()) + self.layer(y)


@torch.inference_mode()
def test_a_module_that_runs_before_and_behind_the_layer() -> None:
    generator = ganpatch.load(Shared(), latent="normal:3,4,4")
    edit = Edit(id="e", layer="layer", channels=3, units=(1,), value=(0.7,))
    (args, _), replay = generator.inputs([1, 2]), Replay(generator.module, "layer")
    with replay.recorded():
        generator.module(*args)
    with edits_applied(generator.module, [edit]):
        whole = generator.module(*args)
        with replay.played():
            assert torch.equal(generator.module(*args), whole)


def test_a_layer_that_is_not_there() -> None:
    with pytest.raises(GanpatchError, match=r"^layer 'main.33' not found in DCGANGenerator; did you mean 'main.3'\?$"):
        Replay(loaded_net("dcgan", range=(-3, 3)).module, "main.33")
