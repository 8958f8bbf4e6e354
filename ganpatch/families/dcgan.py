"""DCGAN (Radford et al. 2016) as in the PyTorch tutorial, and the many checkpoints derived from it.

z [N, Z, 1, 1] -> transposed convolutions with BatchNorm and ReLU between -> tanh -> image [N, 1 or 3, H, W]:

    {"main.0.weight": [100, 512, 4, 4], "main.1.weight": [512], ..., "main.12.weight": [64, 3, 4, 4]}

A conditional DCGAN takes z and a one-hot class concatenated (--labels onehot:10), or it embeds the class:

    {"label_emb.weight": [10, 10], "main.0.weight": [110, 512, 4, 4], ...}

The first convolution makes a 4x4 map, each further one doubles it. Module names are those of the tensors, so layers
have the same names as in the code that trained it: main.5 is the ReLU after the 8x8 convolution.
"""

import re
from itertools import pairwise

import torch
from torch import Tensor, nn

from ganpatch.errors import GanpatchError
from ganpatch.families.class_guesses import classes_beside
from ganpatch.families.family import Built, Wish
from ganpatch.generator.latents import Labels, Latent
from ganpatch.untrusted.state_dicts import State

NAME = "DCGAN"

_ENTRY = re.compile(r"(?:(?P<parent>[A-Za-z_]\w*)\.)?(?P<place>\d+)\.(?P<kind>\w+)")


class DCGANGenerator(nn.Module):
    """A sequence of layers under its name in the checkpoint; without a name, the layers are its own."""

    def __init__(self, layers: nn.Sequential, parent: str) -> None:
        super().__init__()
        self.parent = parent
        if parent:
            self.add_module(parent, layers)
        else:
            for name, layer in layers.named_children():
                self.add_module(name, layer)

    def forward(self, z: Tensor) -> Tensor:
        return self._drawn(z)

    def _drawn(self, z: Tensor) -> Tensor:
        x = z.view(z.shape[0], -1, 1, 1)
        for layer in [self.get_submodule(self.parent)] if self.parent else self._sequence():
            x = layer(x)
        return x

    def _sequence(self) -> list[nn.Module]:
        return [layer for name, layer in self.named_children() if name.isdigit()]


class ConditionalDCGAN(DCGANGenerator):
    """A DCGAN of z and the class, concatenated: a one-hot row, or an index that `embedding` turns into a row."""

    def __init__(self, layers: nn.Sequential, parent: str, embedding: str, sizes: tuple[int, int] | None) -> None:
        super().__init__(layers, parent)
        self.embedding = embedding
        if sizes is not None:
            self.add_module(embedding, nn.Embedding(*sizes))

    def forward(self, z: Tensor, label: Tensor) -> Tensor:  # type: ignore[override]
        row = self.get_submodule(self.embedding)(label) if self.embedding else label
        return self._drawn(torch.cat((z.flatten(1), row.flatten(1)), 1))


def detect(state: State) -> bool:
    """Return whether `state` is a chain of 4x4 transposed convolutions from a latent to 1 or 3 channels."""
    _, state = _without_embedding(state)
    convolutions = _convolutions(state)
    if len(convolutions) < 2 or len({_parent(name) for name in state}) != 1:
        return False
    weights = list(convolutions.values())
    chained = all(one.shape[1] == two.shape[0] for one, two in pairwise(weights))
    return chained and weights[-1].shape[1] in (1, 3) and all(w.shape[2:] == (4, 4) for w in weights)


def build(state: State, wish: Wish) -> Built:
    """Build the generator of `state`, with the sizes, biases and BatchNorms of its tensors."""
    wish.without(NAME, "repo", "truncation")
    embedding, state = _without_embedding(state)
    layers, parent = _layers(state)
    inputs = _convolutions(state)[min(_convolutions(state))].shape[0]
    if not embedding and wish.labels is None:
        found = classes_beside(inputs)
        remark = (
            f"{NAME}: its first layer takes {inputs} numbers; if these are a latent and a class, say --labels onehot:"
        )
        return Built(
            module=DCGANGenerator(layers, parent),
            latent=Latent(kind="normal", shape=(inputs, 1, 1)),
            remarks=(f"{remark}{found[1]}",) if found else (),
        )
    if embedding:
        name, weight = embedding
        labels, width = Labels.all_of("index", weight.shape[0]), weight.shape[1]
        module = ConditionalDCGAN(layers, parent, name, (weight.shape[0], width))
    else:
        assert wish.labels is not None
        labels, width = wish.labels, wish.labels.classes
        if labels.kind == "index":
            raise GanpatchError(f"{NAME}: the tensors contain no embedding of classes; add --labels onehot:{width}")
        module = ConditionalDCGAN(layers, parent, "", None)
    if inputs <= width:
        raise GanpatchError(f"{NAME}: its first layer takes {inputs} numbers, too few for a latent and {width} classes")
    return Built(module=module, latent=Latent(kind="normal", shape=(inputs - width, 1, 1)), labels=labels)


def _layers(state: State) -> tuple[nn.Sequential, str]:
    """Build the sequence, and return it with its name."""
    convolutions = _convolutions(state)
    parent = _parent(next(iter(state)))
    dotted = f"{parent}." if parent else ""
    layers = nn.Sequential()
    last = max(convolutions)
    for place, weight in convolutions.items():
        first, bias = place == min(convolutions), f"{dotted}{place}.bias" in state
        stride, padding = (1, 0) if first else (2, 1)
        before, after = weight.shape[:2]
        layers.add_module(str(place), nn.ConvTranspose2d(before, after, 4, stride, padding, bias=bias))
        follow = place + 1
        if f"{dotted}{follow}.running_mean" in state:
            layers.add_module(str(follow), nn.BatchNorm2d(after))
            follow += 1
        layers.add_module(str(follow), nn.Tanh() if place == last else nn.ReLU(inplace=True))
    return layers, parent


def _without_embedding(state: State) -> tuple[tuple[str, Tensor] | None, State]:
    """Separate an embedding of classes, the only 2-D tensor, from the others: (its name and tensor, the others)."""
    found = [name for name, tensor in state.items() if tensor.ndim == 2]
    if len(found) != 1 or not re.fullmatch(r"[A-Za-z_]\w*\.weight", found[0]):
        return None, state
    rest = {name: tensor for name, tensor in state.items() if name != found[0]}
    return (found[0].removesuffix(".weight"), state[found[0]]), rest


def _convolutions(state: State) -> dict[int, Tensor]:
    """Return the 4-D weights by their index in the sequence, in order; empty if the names are not a sequence."""
    found: dict[int, Tensor] = {}
    for name, tensor in state.items():
        match = _ENTRY.fullmatch(name)
        if match is None:
            return {}
        if match["kind"] == "weight" and tensor.ndim == 4:
            found[int(match["place"])] = tensor
    return dict(sorted(found.items()))


def _parent(name: str) -> str:
    match = _ENTRY.fullmatch(name)
    return (match["parent"] or "") if match else name
