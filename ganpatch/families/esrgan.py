"""ESRGAN and its kin (Wang et al. 2018, 2021): RRDBNet, the most common upscaler, under each of its tensor names.

image [N, 3, h, w] in 0..1 -> a convolution -> dense blocks in blocks, scaled by 0.2 and added -> doubled 0 to 3 times
-> two convolutions -> image [N, 3, sh, sw].

    conv_first, body.0.rdb1.conv1, conv_body, conv_up1, conv_hr, conv_last              of Real-ESRGAN
    conv_first, RRDB_trunk.0.RDB1.conv1, trunk_conv, upconv1, HRconv, conv_last         of BSRGAN and RealSR
    model.0, model.1.sub.0.RDB1.conv1.0, model.1.sub.23, model.3, model.8, model.10     of the first release

A first convolution of 12 or 48 channels is behind a pixel-unshuffle by 2 or 4, so that the network as a whole enlarges
by 2 or not at all. ESRGAN+ adds a 1x1 convolution to each dense block.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import conv_like, numbered
from ganpatch.generator.input_files import Images
from ganpatch.untrusted.state_dicts import State

NAME = "ESRGAN"

_SIDE = 64
_PLACES = r"model\.(\d+)\.weight"
_SCALED = 0.2  # of what a block adds to its input


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the parts of a network are called."""

    body: str
    dense: str
    trunk: str
    up: str
    high: str


_NEW = Names(body="body", dense="rdb", trunk="conv_body", up="conv_up", high="conv_hr")
_MIDDLE = Names(body="RRDB_trunk", dense="RDB", trunk="trunk_conv", up="upconv", high="HRconv")


class DenseBlock(nn.Module):
    """Five convolutions, each of all maps before it; the last one is scaled and added to the input."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        paired = f"{name}.conv1.0.weight" in state  # the first release has each convolution and rectifier in a sequence
        for number in range(1, 6):
            layer = conv_like(state, f"{name}.conv{number}{'.0' if paired else ''}")
            rectifier = [nn.LeakyReLU(0.2)] if number < 5 else []
            self.add_module(f"conv{number}", nn.Sequential(layer, *rectifier) if paired else layer)
        self.lrelu = nn.Identity() if paired else nn.LeakyReLU(0.2)
        self.conv1x1 = conv_like(state, f"{name}.conv1x1") if f"{name}.conv1x1.weight" in state else None

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.lrelu(self.conv1(x))
        x2 = self.lrelu(self.conv2(torch.cat((x, x1), 1)))
        if self.conv1x1 is not None:
            x2 = x2 + self.conv1x1(x)
        x3 = self.lrelu(self.conv3(torch.cat((x, x1, x2), 1)))
        x4 = self.lrelu(self.conv4(torch.cat((x, x1, x2, x3), 1)))
        if self.conv1x1 is not None:
            x4 = x4 + x2
        return self.conv5(torch.cat((x, x1, x2, x3, x4), 1)) * _SCALED + x


class ResidualBlock(nn.Module):
    """Three dense blocks, scaled and added to the input."""

    def __init__(self, state: State, name: str, dense: str) -> None:
        super().__init__()
        self.dense = dense
        for number in (1, 2, 3):
            self.add_module(f"{dense}{number}", DenseBlock(state, f"{name}.{dense}{number}"))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for number in (1, 2, 3):
            y = self.get_submodule(f"{self.dense}{number}")(y)
        return y * _SCALED + x


class RRDBNet(nn.Module):
    """The network under the names of Real-ESRGAN or of BSRGAN."""

    def __init__(self, state: State, names: Names, unshuffle: int) -> None:
        super().__init__()
        self.names, self.unshuffle = names, unshuffle
        self.conv_first = conv_like(state, "conv_first")
        blocks = [
            ResidualBlock(state, f"{names.body}.{number}", names.dense)
            for number in numbered(state, rf"{names.body}\.(\d+)\.")
        ]
        self.add_module(names.body, nn.Sequential(*blocks))
        self.ups = [f"{names.up}{number}" for number in numbered(state, rf"{names.up}(\d)\.")]
        for name in (names.trunk, *self.ups, names.high, "conv_last"):
            self.add_module(name, conv_like(state, name))
        self.lrelu = nn.LeakyReLU(0.2)

    def forward(self, x: Tensor) -> Tensor:
        names = self.names
        x = self.conv_first(F.pixel_unshuffle(x, self.unshuffle) if self.unshuffle > 1 else x)
        x = x + self.get_submodule(names.trunk)(self.get_submodule(names.body)(x))
        for name in self.ups:
            x = self.lrelu(self.get_submodule(name)(F.interpolate(x, scale_factor=2, mode="nearest")))
        return self.conv_last(self.lrelu(self.get_submodule(names.high)(x)))


class Shortcut(nn.Module):
    """The blocks `sub`, added to their input."""

    def __init__(self, sub: nn.Sequential) -> None:
        super().__init__()
        self.sub = sub

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sub(x)


class FirstRRDBNet(nn.Module):
    """The network under the names of the first release: one sequence `model`."""

    def __init__(self, state: State, unshuffle: int) -> None:
        super().__init__()
        self.unshuffle = unshuffle
        *blocks, trunk = numbered(state, r"model\.1\.sub\.(\d+)\.")
        sub = [ResidualBlock(state, f"model.1.sub.{number}", "RDB") for number in blocks]
        layers = [
            conv_like(state, "model.0"),
            Shortcut(nn.Sequential(*sub, conv_like(state, f"model.1.sub.{trunk}"))),
        ]
        *ups, high, last = numbered(state, _PLACES)[1:]
        for number in ups:
            upsampled = nn.Upsample(scale_factor=2, mode="nearest")
            layers += [upsampled, conv_like(state, f"model.{number}"), nn.LeakyReLU(0.2)]
        layers += [conv_like(state, f"model.{high}"), nn.LeakyReLU(0.2), conv_like(state, f"model.{last}")]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(F.pixel_unshuffle(x, self.unshuffle) if self.unshuffle > 1 else x)


def detect(state: State) -> bool:
    """Return whether `state` has dense blocks under any of the names."""
    return _names(state) is not None or _is_first(state)


def build(state: State, wish: Wish) -> Built:
    """Build the network of `state`; the number of blocks, their width and the scale are those of its tensors."""
    wish.without(NAME, "labels", "repo", "truncation")
    names = _names(state)
    first, last = ("conv_first", "conv_last") if names else ("model.0", f"model.{max(numbered(state, _PLACES))}")
    before, after = state[f"{first}.weight"].shape[1], state[f"{last}.weight"].shape[0]
    unshuffle = math.isqrt(before // after)
    module = FirstRRDBNet(state, unshuffle) if names is None else RRDBNet(state, names, unshuffle)
    latent = Images(shape=(before // unshuffle**2, _SIDE, _SIDE), cropped=True, multiple=unshuffle)
    return Built(module=module, latent=latent, range=(0.0, 1.0))


def _names(state: State) -> Names | None:
    wanted = ((names, f"{names.body}.0.{names.dense}1.conv1.weight") for names in (_NEW, _MIDDLE))
    return next(
        (names for names, block in wanted if {"conv_first.weight", block, "conv_last.weight"} <= set(state)), None
    )


def _is_first(state: State) -> bool:
    return {"model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"} <= set(state)
