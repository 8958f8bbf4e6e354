"""Progressive GAN (Karras et al. 2018) with the tensor names of the GAN Dissection release.

z [N, Z] -> layer1 (4x4) -> layer2 -> layer3 (8x8) -> ... -> output -> image [N, 3, H, W] in [-1, 1]:

    generator = ProgressiveGenerator([512, 512, 512, 512, 256], output="output_32x32")

Every layer is PixelNorm, (nearest upsampling), convolution, equalised scale and bias, LeakyReLU, so
a layer's output is a plain activation. The channel counts are read from the tensors.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import PixelNorm
from ganpatch.generator.latents import Latent
from ganpatch.untrusted.state_dicts import State

NAME = "Progressive GAN"

_LAYER_WEIGHT = re.compile(r"layer(\d+)\.conv\.weight")


class ScaleBias(nn.Module):
    """The run-time scale of an equalised convolution, gain / sqrt(fan_in), and its bias `b` [C]."""

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.b = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(self.b.view(1, -1, 1, 1), x, alpha=self.scale)


class Block(nn.Sequential):
    """PixelNorm, optional doubling of the resolution, equalised convolution, LeakyReLU."""

    def __init__(self, channels: tuple[int, int], kernel: int, *, padding: int, up: bool = False) -> None:
        before, after = channels
        parts: dict[str, nn.Module] = {"norm": PixelNorm()}
        if up:
            parts["up"] = nn.Upsample(scale_factor=2, mode="nearest")
        parts["conv"] = conv = nn.Conv2d(before, after, kernel, padding=padding, bias=False)
        parts["wscale"] = ScaleBias(after, 2**0.5 / kernel / before**0.5)
        parts["relu"] = nn.LeakyReLU(0.2)
        super().__init__(OrderedDict(parts))
        nn.init.normal_(conv.weight)


class OutputBlock(nn.Sequential):
    """PixelNorm and an equalised 1x1 convolution to three channels."""

    def __init__(self, channels: int) -> None:
        conv = nn.Conv2d(channels, 3, 1, bias=False)
        nn.init.normal_(conv.weight)
        super().__init__(OrderedDict(norm=PixelNorm(), conv=conv, wscale=ScaleBias(3, channels**-0.5)))


class ProgressiveGenerator(nn.Sequential):
    """The generator; `sizes` is [latent, channels at 4x4, at 8x8, ...], `output` the last layer's name."""

    def __init__(self, sizes: Sequence[int], output: str) -> None:
        blocks = [Block((sizes[0], sizes[1]), 4, padding=3), Block((sizes[1], sizes[1]), 3, padding=1)]
        for before, after in pairwise(sizes[1:]):
            blocks += [Block((before, after), 3, padding=1, up=True), Block((after, after), 3, padding=1)]
        layers: dict[str, nn.Module] = {f"layer{number}": block for number, block in enumerate(blocks, 1)}
        layers[output] = OutputBlock(sizes[-1])
        super().__init__(OrderedDict(layers))

    def forward(self, z: Tensor) -> Tensor:
        x = z.view(z.shape[0], -1, 1, 1)
        for layer in self:
            x = layer(x)
        return x


def detect(state: State) -> bool:
    """Return whether `state` has layer1 … layerN, with convolutions and equalised biases, and one output block."""
    numbers = _layer_numbers(state)
    if not numbers or numbers != list(range(1, len(numbers) + 1)) or len(numbers) % 2:
        return False
    output = _output_name(state)
    expected = {f"layer{n}.{part}" for n in numbers for part in ("conv.weight", "wscale.b")}
    expected |= {f"{output}.conv.weight", f"{output}.wscale.b"}
    return set(state) == expected and all(state[name].ndim == 4 for name in expected if name.endswith("weight"))


def build(state: State, wish: Wish) -> Built:
    """Build the generator of `state`, sizes and the output's name read from its tensors."""
    wish.without(NAME, "labels", "repo", "truncation")
    weights = [state[f"layer{number}.conv.weight"] for number in _layer_numbers(state)]
    sizes = [weights[0].shape[1], *(weight.shape[0] for weight in weights[::2])]
    module = ProgressiveGenerator(sizes, str(_output_name(state)))
    return Built(module=module, latent=Latent(kind="normal", shape=(sizes[0],)))


def _layer_numbers(state: State) -> list[int]:
    return sorted(int(match[1]) for name in state if (match := _LAYER_WEIGHT.fullmatch(name)))


def _output_name(state: State) -> str | None:
    names = {name.split(".")[0] for name in state if not name.startswith("layer")}
    return names.pop() if len(names) == 1 else None
