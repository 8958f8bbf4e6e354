"""A net with one short branch per rule of folding: each has a layer whose edit can only fold through that rule.

    module = branches()
    EDITS["up_tanh"]            # {"value": 0.3}: how to edit the layer "up_tanh.1"

Upstream a branch is convolution and operation, and the operation's output is edited. Downstream it is convolution,
square, operation and convolution, and the square's output is edited: nothing upstream of a square can be changed.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

UNITS = 4


class Function(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class WithParameter(nn.Module):
    """A function of a value and of one number per unit."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], *shape: int) -> None:
        super().__init__()
        self.function, self.numbers = function, nn.Parameter(torch.rand(*(shape or (1, UNITS, 1, 1))) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.numbers)


class ChannelsLast(nn.Module):
    """A layer that works on the last dimension."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Joined(nn.Module):
    """Two convolutions beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(UNITS, 1, 1), nn.Conv2d(UNITS, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.other(x)], 1)


class Beside(nn.Module):
    """An operation on a value and on the input of the net."""

    def __init__(self, units: int, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.other, self.function = nn.Conv2d(3, units, 1), function

    def forward(self, x: Tensor, origin: Tensor) -> Tensor:
        return self.function(x, self.other(origin))


class DownstreamBranch(nn.Sequential):
    """Convolution, square, operation, convolution."""

    def forward(self, origin: Tensor) -> Tensor:
        before, square, operation, read = self
        x = square(before(origin))
        return read(operation(x, origin) if isinstance(operation, Beside) else operation(x))


def _normed(norm: nn.Module) -> nn.Module:
    nn.init.uniform_(norm.weight, 0.5, 1.5)  # type: ignore[arg-type]
    nn.init.uniform_(norm.bias, -0.5, 0.5)  # type: ignore[arg-type]
    return norm


def _batch_norm(**options: Any) -> nn.Module:
    norm = nn.BatchNorm2d(UNITS, **options)
    nn.init.uniform_(norm.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
    nn.init.uniform_(norm.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    return _normed(norm) if norm.affine else norm


CONSTANT, NEGATIVE, SCALED, BLENDED, ABLATED = (
    {"value": 0.3},
    {"value": -0.2},
    {"alpha": 0.5},
    {"alpha": 0.5, "value": 0.4},
    {},
)

UPSTREAM: dict[str, tuple[Callable[[], nn.Module], dict[str, float]]] = {
    "convolution": (lambda: nn.Conv2d(UNITS, UNITS, 3, padding=1), BLENDED),
    "grouped_convolution": (lambda: nn.Conv2d(UNITS, UNITS, 1, groups=2), BLENDED),
    "transposed_convolution": (lambda: nn.ConvTranspose2d(UNITS, UNITS, 3, padding=1, groups=2), BLENDED),
    "linear": (lambda: ChannelsLast(nn.Linear(UNITS, UNITS)), BLENDED),
    "linear_without_bias": (lambda: ChannelsLast(nn.Linear(UNITS, UNITS, bias=False)), SCALED),
    "batch_norm": (lambda: nn.Sequential(nn.MaxPool2d(3, 1, 1), _batch_norm()), BLENDED),
    "batch_norm_without_gain": (lambda: nn.Sequential(nn.MaxPool2d(3, 1, 1), _batch_norm(affine=False)), BLENDED),
    "group_norm": (lambda: _normed(nn.GroupNorm(2, UNITS)), BLENDED),
    "instance_norm": (lambda: _normed(nn.InstanceNorm2d(UNITS, affine=True)), BLENDED),
    "layer_norm": (lambda: ChannelsLast(_normed(nn.LayerNorm(UNITS))), BLENDED),
    "relu": (nn.ReLU, CONSTANT),
    "leaky_relu": (lambda: nn.LeakyReLU(0.2), NEGATIVE),
    "prelu": (lambda: nn.PReLU(UNITS), NEGATIVE),
    "prelu_of_one_slope": (nn.PReLU, SCALED),
    "tanh": (nn.Tanh, CONSTANT),
    "sigmoid": (nn.Sigmoid, CONSTANT),
    "softplus": (nn.Softplus, CONSTANT),
    "exponential": (lambda: Function(torch.exp), CONSTANT),
    "elu": (lambda: nn.ELU(0.7), NEGATIVE),
    "hardtanh": (nn.Hardtanh, NEGATIVE),
    "silu": (nn.SiLU, ABLATED),
    "gelu": (nn.GELU, ABLATED),
    "mish": (nn.Mish, ABLATED),
    "written_swish": (lambda: Function(lambda x: x * torch.sigmoid(x)), ABLATED),
    "written_gelu": (lambda: Function(lambda x: x * (torch.erf(x / 1.4142) + 1) * 0.5), ABLATED),
    "negation": (lambda: Function(lambda x: -x), BLENDED),
    "sum_with_number": (lambda: Function(lambda x: x + 0.5), BLENDED),
    "difference": (lambda: Function(lambda x: 0.5 - x), BLENDED),
    "sum_with_parameter": (lambda: WithParameter(lambda x, p: x + p), BLENDED),
    "residual_scaling": (lambda: WithParameter(lambda x, p: x * 0.2 + p), BLENDED),
    "product_with_parameter": (lambda: WithParameter(lambda x, p: x * p), BLENDED),
    "quotient": (lambda: Function(lambda x: x / 2.5), BLENDED),
    "gated_halves": (lambda: nn.Sequential(nn.Conv2d(UNITS, 2 * UNITS, 1), nn.GLU(1)), SCALED),
    "zero_padding": (lambda: nn.Sequential(nn.Conv2d(UNITS, UNITS, 3), nn.ZeroPad2d(1)), SCALED),
    "reflection": (lambda: nn.Sequential(nn.Conv2d(UNITS, UNITS, 3), nn.ReflectionPad2d(1)), BLENDED),
    "upsampling": (lambda: nn.Sequential(nn.Conv2d(UNITS, UNITS, 2, 2), nn.Upsample(scale_factor=2)), BLENDED),
    "average_pooling": (lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False), BLENDED),
    "padded_average_pooling": (lambda: nn.AvgPool2d(3, 1, 1), SCALED),
    "max_pooling": (lambda: nn.MaxPool2d(3, 1, 1), BLENDED),
    "mean_of_maps": (lambda: Function(lambda x: x.mean((2, 3), keepdim=True).expand(-1, -1, 6, 6)), BLENDED),
    "reshape": (lambda: Function(lambda x: torch.tanh(x.flatten(2))), CONSTANT),
    "concatenation": (Joined, BLENDED),
    "slice": (lambda: nn.Sequential(nn.Conv2d(UNITS, 7, 1), Function(lambda x: x[:, 2:6])), BLENDED),
    "split": (
        lambda: nn.Sequential(nn.Conv2d(UNITS, 9, 1), Function(lambda x: torch.tanh(x.split([2, 4, 3], 1)[1]))),
        CONSTANT,
    ),
    "pixel_unshuffle": (lambda: nn.Sequential(nn.Conv2d(UNITS, 1, 1), nn.PixelUnshuffle(2)), BLENDED),
    "pixel_shuffle": (lambda: nn.Sequential(nn.Conv2d(UNITS, 4 * UNITS, 2, 2), nn.PixelShuffle(2)), BLENDED),
    "dropout": (nn.Dropout, BLENDED),
}  # fmt: skip

DOWNSTREAM: dict[str, tuple[Callable[[], nn.Module], dict[str, float]]] = {
    "convolution": (lambda: nn.Conv2d(UNITS, UNITS, 3), BLENDED),
    "grouped_convolution": (lambda: nn.Conv2d(UNITS, UNITS, 1, groups=2, bias=False), BLENDED),
    "transposed_convolution": (lambda: nn.ConvTranspose2d(UNITS, UNITS, 3, padding=1), SCALED),
    "linear": (lambda: ChannelsLast(nn.Linear(UNITS, UNITS)), ABLATED),
    "batch_norm": (_batch_norm, BLENDED),
    "batch_norm_without_gain": (lambda: _batch_norm(affine=False), BLENDED),
    "rectifier": (lambda: nn.PReLU(UNITS), SCALED),
    "zero_padding": (lambda: nn.ZeroPad2d(1), SCALED),
    "pooling": (lambda: nn.MaxPool2d(3, 1, 1), BLENDED),
    "dropout": (nn.Dropout, BLENDED),
    "residual_scaling": (lambda: Function(lambda x: x * 0.2 + 0.5), BLENDED),
    "gate": (lambda: Beside(UNITS, lambda x, other: x * torch.sigmoid(other)), SCALED),
    "sum_with_parameter": (lambda: WithParameter(lambda x, p: p - x * 0.5), BLENDED),
    "reshape": (lambda: Function(lambda x: x.flatten(2)), BLENDED),
    "pixel_unshuffle": (lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * UNITS, UNITS, 1)), BLENDED),
    "pixel_shuffle": (
        lambda: nn.Sequential(nn.PixelShuffle(2), nn.Conv2d(1, UNITS, 2, 2)),
        {"alpha": 0.5, "value": 0.4},
    ),
    "dense_concatenation": (lambda: Beside(3, lambda x, other: torch.cat([other, x, other], 1)), BLENDED),
}


class Branches(nn.Module):
    """All branches on one input, and all that they compute as one image."""

    def __init__(self) -> None:
        super().__init__()
        read = {name: nn.Conv2d(UNITS, UNITS, 1) for name in DOWNSTREAM}
        read["reshape"] = nn.Conv1d(UNITS, UNITS, 1)
        read["dense_concatenation"] = nn.Conv2d(UNITS + 6, UNITS, 1)
        for name, (make, _) in UPSTREAM.items():
            setattr(self, f"up_{name}", nn.Sequential(nn.Conv2d(3, UNITS, 1), make()))
        for name, (make, _) in DOWNSTREAM.items():
            parts = nn.Conv2d(3, UNITS, 1), Function(torch.square), make(), read[name]
            setattr(self, f"down_{name}", DownstreamBranch(*parts))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x).flatten(1) for branch in self.children()], 1)[:, None, None]


EDITS: dict[str, dict[str, float]] = {
    **{f"up_{name}": edit for name, (_, edit) in UPSTREAM.items()},
    **{f"down_{name}": edit for name, (_, edit) in DOWNSTREAM.items()},
}


def branches() -> nn.Module:
    torch.manual_seed(12)
    return Branches().eval()
