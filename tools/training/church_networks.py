"""The networks of `train_churches.py`: the generator as it grows, and the discriminator."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganpatch.families.churches.scenes import SLOTS
from ganpatch.families.progressive_gan import OutputBlock, ProgressiveGenerator

SIZES = [SLOTS, 256, 256, 96, 64, 24, 12]
OUTPUT = "to_rgb"
HEADS = (16, 32, 64)  # resolutions with an output of their own while training
LAYERS = {16: 6, 32: 8, 64: 10, 128: 12}  # number of layers up to a resolution
TRUNK, WINDOW, MARGIN = 32, 20, 2  # in pixels at 32x32: what is drawn of a window, and what of it is discarded
EDGE_TURNS = 4  # so many of the random windows more than by chance are at each border of the image


class Grown(nn.Module):
    """The generator, with outputs at smaller resolutions: z [N, 96] -> [N, 3, size, size]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = ProgressiveGenerator(SIZES, OUTPUT)
        self.heads = nn.ModuleDict({str(size): OutputBlock(SIZES[LAYERS[size] // 2]) for size in HEADS})

    def forward(self, z: Tensor, size: int = 128) -> Tensor:
        if size <= TRUNK:
            return self.head(self.trunk(z, size), size)
        return self.upper(self.trunk(z, TRUNK), size)

    def compile_parts(self) -> None:
        """Compile what training calls; measuring does without."""
        self.trunk = torch.compile(self.trunk)  # type: ignore[method-assign]
        self.upper = torch.compile(self.upper)  # type: ignore[method-assign]

    def trunk(self, z: Tensor, size: int) -> Tensor:
        """Return the features at `size`, at most 32."""
        return self._through(z.view(len(z), -1, 1, 1), 1, LAYERS[size])

    def upper(self, x: Tensor, size: int) -> Tensor:
        """Return the picture at `size` from features at 32x32, or the window of it from a window of them."""
        return self.head(self._through(x, LAYERS[TRUNK] + 1, LAYERS[size]), size)

    def head(self, x: Tensor, size: int) -> Tensor:
        """Return the picture of the features at `size`."""
        return self.layers.get_submodule(OUTPUT)(x) if size == 128 else self.heads[str(size)](x)

    def _through(self, x: Tensor, first: int, last: int) -> Tensor:
        for number in range(first, last + 1):
            x = self.layers.get_submodule(f"layer{number}")(x)
        return x


Slices = tuple[slice, slice]


def window(size: int) -> tuple[Slices, Slices, Slices]:
    """Return a random window for the layers after 32x32: of their input, what to keep of their output, and where it is.

    Zeros around a window are not what the layers see in the whole image, so a margin of its output is discarded, all of
    it on the other side at a border of the image.
    """
    places = [_span(int(torch.randint(-EDGE_TURNS, TRUNK - WINDOW + EDGE_TURNS + 1, ())), size // TRUNK) for _ in "yx"]
    inputs, outputs, images = zip(*places, strict=True)
    return inputs, outputs, images


def _span(start: int, times: int) -> tuple[slice, slice, slice]:
    start = max(0, min(TRUNK - WINDOW, start))
    low = {0: 0, TRUNK - WINDOW: 2 * MARGIN}.get(start, MARGIN)
    kept = WINDOW - 2 * MARGIN
    image = slice((start + low) * times, (start + low + kept) * times)
    return slice(start, start + WINDOW), slice(low * times, (low + kept) * times), image


class Discriminator(nn.Module):
    """Residual, on windows: image [N, 3, H, W] -> score [N]."""

    def __init__(self) -> None:
        super().__init__()
        widths = [16, 32, 64, 128, 192]
        self.first = EqualConv(3, widths[0], 1)
        self.blocks = nn.ModuleList(Down(a, b) for a, b in pairwise(widths))
        self.last = EqualConv(widths[-1] + 1, widths[-1], 3)
        self.score = EqualConv(widths[-1], 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(images), 0.2)
        for block in self.blocks:
            x = block(x)
        x = F.leaky_relu(self.last(torch.cat([x, _batch_spread(x)], 1)), 0.2)
        return self.score(x).mean([1, 2, 3])

    def compile_parts(self) -> None:
        """Compile what training calls, except for second derivatives, which `forward` is for."""
        self.fast = torch.compile(self.forward)


class Down(nn.Module):
    """Two convolutions beside a shorter way, then half the resolution."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.one, self.two = EqualConv(before, before, 3), EqualConv(before, after, 3)
        self.skip = EqualConv(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        straight = F.leaky_relu(self.two(F.leaky_relu(self.one(x), 0.2)), 0.2)
        return F.avg_pool2d(straight + self.skip(x), 2) * 0.5**0.5


class EqualConv(nn.Module):
    """A convolution with N(0, 1) weights that are scaled at run time (equalised learning rate)."""

    def __init__(self, before: int, after: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after))
        self.scale = 2**0.5 / (kernel * before**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.weight.shape[-1] // 2)


def _batch_spread(x: Tensor) -> Tensor:
    """Return the standard deviation over groups of 4 (Karras et al. 2018), as one map [N, 1, H, W]."""
    groups = x.float().view(4, -1, *x.shape[1:])
    spread = (groups.var(0, correction=0) + 1e-8).sqrt().mean([1, 2, 3], keepdim=True)
    return spread.repeat(4, 1, *x.shape[2:]).to(x.dtype)
