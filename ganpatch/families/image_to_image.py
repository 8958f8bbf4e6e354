"""The generators of CycleGAN and pix2pix (Zhu et al. 2017, Isola et al. 2017), from images to images.

ResNet: image -> model.1 (7x7) -> down twice -> model.10 … model.18 (blocks) -> up twice -> tanh -> image.
U-Net: image -> model.model.0 -> … nested blocks, each beside its skip … -> tanh -> image.

Their input is a folder of images: --inputs DIR. InstanceNorm has no tensors, so a file without those of BatchNorm has
InstanceNorm.
"""

import torch
from torch import Tensor, nn

from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import numbered
from ganpatch.generator.input_files import Images
from ganpatch.untrusted.state_dicts import State

NAME = "CycleGAN or pix2pix"

_SIZE = 256


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions over mirrored edges, added to their input."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        one, two = _convolutions(state, f"{name}.conv_block")
        layers: list[nn.Module] = [*_mirrored(state, f"{name}.conv_block.{one}"), nn.ReLU(inplace=True)]
        layers += [nn.Identity()] * (two - one - 4)  # dropout, in training
        self.conv_block = nn.Sequential(*layers, *_mirrored(state, f"{name}.conv_block.{two}"))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class ResnetGenerator(nn.Module):
    """One sequence `model`: convolutions that halve the size, blocks, convolutions that double it."""

    def __init__(self, state: State) -> None:
        super().__init__()
        blocks = numbered(state, r"model\.(\d+)\.conv_block")
        first, *down = [n for n in _convolutions(state, "model") if n < blocks[0]]
        *up, last = [n for n in _convolutions(state, "model") if n > blocks[-1]]
        layers: list[nn.Module] = []
        for number in (first, *down):
            after, before, kernel, _ = _shape(state, f"model.{number}")
            bias = f"model.{number}.bias" in state
            stride, padding = (1, 0) if number == first else (2, 1)
            layers += [nn.ReflectionPad2d(kernel // 2)] if number == first else []
            layers.append(nn.Conv2d(before, after, kernel, stride, padding, bias=bias))
            layers += [_norm(state, f"model.{number + 1}", after), nn.ReLU(inplace=True)]
        layers += [ResidualBlock(state, f"model.{number}") for number in blocks]
        for number in up:
            before, after, kernel, _ = _shape(state, f"model.{number}")
            bias = f"model.{number}.bias" in state
            layers.append(nn.ConvTranspose2d(before, after, kernel, 2, 1, output_padding=1, bias=bias))
            layers += [_norm(state, f"model.{number + 1}", after), nn.ReLU(inplace=True)]
        after, before, kernel, _ = _shape(state, f"model.{last}")
        layers += [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(before, after, kernel), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class UNetBlock(nn.Module):
    """Down, the block inside, up; joined with its input unless it is the outermost."""

    def __init__(self, state: State, name: str, *, outermost: bool) -> None:
        super().__init__()
        here = f"{name}.model"
        down, up = _convolutions(state, here)
        inner, outer = _shape(state, f"{here}.{down}"), _shape(state, f"{here}.{up}")
        layers: list[nn.Module] = [] if outermost else [nn.LeakyReLU(0.2, inplace=True)]
        layers.append(nn.Conv2d(inner[1], inner[0], 4, 2, 1, bias=f"{here}.{down}.bias" in state))
        innermost = up - down == 2
        if not innermost:
            layers += [] if outermost else [_norm(state, f"{here}.{down + 1}", inner[0])]
            layers.append(UNetBlock(state, f"{here}.{len(layers)}", outermost=False))
        layers.append(nn.ReLU(inplace=True))
        layers.append(nn.ConvTranspose2d(outer[0], outer[1], 4, 2, 1, bias=f"{here}.{up}.bias" in state))
        layers.append(nn.Tanh() if outermost else _norm(state, f"{here}.{up + 1}", outer[1]))
        self.model = nn.Sequential(*layers)
        self.outermost = outermost

    def forward(self, x: Tensor) -> Tensor:
        if self.outermost:
            return self.model(x)
        return torch.cat([x, self.model(x.clone())], 1)


class UNetGenerator(nn.Module):
    """The outermost block under the name `model`."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.model = UNetBlock(state, "model", outermost=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def detect(state: State) -> bool:
    """Return whether `state` is a ResNet between 7x7 convolutions, or nested U-Net blocks."""
    return _is_resnet(state) or _is_unet(state)


def build(state: State, wish: Wish) -> Built:
    """Build the generator of `state`; images are 256x256 by default; --latent images:3,512,512 changes that."""
    wish.without(NAME, "labels", "repo", "truncation")
    resnet = _is_resnet(state)
    channels = _shape(state, "model.1" if resnet else "model.model.0")[1]
    module = ResnetGenerator(state) if resnet else UNetGenerator(state)
    size = _SIZE if resnet else max(_SIZE, 2 ** _depth(state))
    old = r".*\.(running_mean|running_var|num_batches_tracked)"  # InstanceNorm kept these before torch 0.4
    unused = () if any(isinstance(layer, nn.BatchNorm2d) for layer in module.modules()) else (old,)
    return Built(module=module, latent=Images(shape=(channels, size, size)), unused=unused)


def _is_resnet(state: State) -> bool:
    first = state.get("model.1.weight")
    blocks = any(".conv_block." in name for name in state)
    return first is not None and first.shape[2:] == (7, 7) and blocks


def _is_unet(state: State) -> bool:
    first, inner = state.get("model.model.0.weight"), state.get("model.model.1.model.1.weight")
    return first is not None and inner is not None and first.shape[2:] == inner.shape[2:] == (4, 4)


def _depth(state: State) -> int:
    return max(name.count("model.") for name in state) - 1


def _shape(state: State, name: str) -> tuple[int, ...]:
    return tuple(state[f"{name}.weight"].shape)


def _mirrored(state: State, name: str) -> list[nn.Module]:
    """A 3x3 convolution over mirrored edges, and its norm."""
    place, number = name.rsplit(".", 1)
    shape = _shape(state, name)
    conv = nn.Conv2d(shape[1], shape[0], shape[2], bias=f"{name}.bias" in state)
    return [nn.ReflectionPad2d(shape[2] // 2), conv, _norm(state, f"{place}.{int(number) + 1}", shape[0])]


def _convolutions(state: State, name: str) -> list[int]:
    """Return the indices of the convolutions in the sequence `name`."""
    return [n for n in numbered(state, rf"{name}\.(\d+)\.weight") if state[f"{name}.{n}.weight"].ndim == 4]


def _norm(state: State, name: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if f"{name}.weight" in state else nn.InstanceNorm2d(channels)
