"""DCGAN that begins with a linear layer, as in Udacity's course, and the many models derived from it.

z [N, Z] uniform in [-1, 1] -> fc (4x4) -> t_conv1, t_conv2, … -> tanh -> image [N, 1 or 3, H, W]:

    {"fc.weight": [2048, 100], "t_conv1.0.weight": [128, 64, 4, 4], "t_conv1.1.running_mean": [64], …}

A layer is a transposed convolution alone, or a sequence of one and its BatchNorm. The tensors do not show how z
is distributed: the course draws it uniformly; --latent normal:100 changes that.
"""

import re
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganpatch.families.family import Built, Wish
from ganpatch.generator.latents import Latent
from ganpatch.untrusted.state_dicts import State

NAME = "DCGAN with a linear layer"

_WEIGHT = re.compile(r"([A-Za-z_]+?)_?(\d+)(\.0)?\.weight")


class LinearDCGAN(nn.Module):
    """The generator, its layers under the names of the tensors."""

    def __init__(self, state: State, first: str, convolutions: dict[str, Tensor]) -> None:
        super().__init__()
        wide, latent = state[f"{first}.weight"].shape
        self.first, self.later = first, [name.partition(".")[0] for name in convolutions]
        self.channels = next(iter(convolutions.values())).shape[0]
        self.add_module(first, nn.Linear(latent, wide, bias=f"{first}.bias" in state))
        for name, weight in convolutions.items():
            kernel = weight.shape[2]
            padding = (kernel - 2) // 2
            place = name.removesuffix(".weight")
            before, after = weight.shape[:2]
            conv = nn.ConvTranspose2d(before, after, kernel, 2, padding, bias=f"{place}.bias" in state)
            layer, _, inner = place.partition(".")
            normed = f"{layer}.1.running_mean" in state
            parts = [conv, nn.BatchNorm2d(after)] if normed else [conv]
            self.add_module(layer, nn.Sequential(*parts) if inner else conv)

    def forward(self, z: Tensor) -> Tensor:
        x = self.get_submodule(self.first)(z.flatten(1))
        side = round((x.shape[1] / self.channels) ** 0.5)
        x = x.unflatten(1, (self.channels, side, side))
        for name in self.later[:-1]:
            x = F.relu(self.get_submodule(name)(x))
        return torch.tanh(self.get_submodule(self.later[-1])(x))


def detect(state: State) -> bool:
    """Return whether `state` is a linear layer and a chain of numbered transposed convolutions to 1 or 3 channels."""
    first, convolutions = _linear(state), list(_convolutions(state).values())
    if first is None or len(convolutions) < 2 or len(convolutions) + 1 != sum(t.ndim in (2, 4) for t in state.values()):
        return False
    chained = all(one.shape[1] == two.shape[0] for one, two in pairwise(convolutions))
    area = state[f"{first}.weight"].shape[0] / convolutions[0].shape[0]
    even = all(w.shape[2] == w.shape[3] and w.shape[2] % 2 == 0 for w in convolutions)
    return chained and even and area**0.5 % 1 == 0 and convolutions[-1].shape[1] in (1, 3)


def build(state: State, wish: Wish) -> Built:
    """Build the generator of `state`."""
    wish.without(NAME, "labels", "repo", "truncation")
    first = _linear(state)
    assert first is not None
    latent = Latent(kind="uniform", shape=(state[f"{first}.weight"].shape[1],))
    return Built(module=LinearDCGAN(state, first, _convolutions(state)), latent=latent)


def _linear(state: State) -> str | None:
    """Return the name of the only linear layer."""
    found = [name for name, tensor in state.items() if tensor.ndim == 2]
    return found[0].removesuffix(".weight") if len(found) == 1 and re.fullmatch(r"\w+\.weight", found[0]) else None


def _convolutions(state: State) -> dict[str, Tensor]:
    """Return the 4-D weights by name, in the order of their numbers; empty if the names are of several kinds."""
    found = {name: match for name, t in state.items() if t.ndim == 4 and (match := _WEIGHT.fullmatch(name))}
    if len({match[1] for match in found.values()}) != 1:
        return {}
    return {name: state[name] for name in sorted(found, key=lambda name: int(found[name][2]))}
