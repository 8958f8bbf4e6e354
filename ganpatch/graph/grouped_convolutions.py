"""Grouped convolutions with one group per image, in a form that allows any batch size.

    with Unfused():
        torch.export.export(module, args, dynamic_shapes=...)

StyleGAN2's fused modulated convolution folds the batch into channels and convolves with `groups=batch` (Karras et al.
2020, appendix B). Neither torch.export nor ONNX has a dynamic number of groups; the same sums as one matrix product per
image have.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Unfused(TorchFunctionMode):
    """Inside this block, convolutions whose number of groups is a traced batch size become matrix products."""

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        unfused = _FORMS.get(func)
        if unfused is not None:
            given = dict(zip(_NAMES[func], args, strict=False)) | dict(kwargs or {})
            if isinstance(given.get("groups"), torch.SymInt) and isinstance(
                given.get("padding", 0), int | tuple | list
            ):
                return unfused(given)
        return func(*args, **(kwargs or {}))


def _convolution(given: Mapping[str, Any]) -> Tensor:
    """Convolve [1, N * I, H, W] with weights [N * O, I, kh, kw] -> [1, N * O, H', W']."""
    images, groups = given["input"], given["groups"]
    weight = given["weight"]
    inner, height, width = weight.shape[1:]
    top, left = _pair(given.get("padding", 0))
    padded = F.pad(images.reshape(groups, inner, *images.shape[2:]), (left, left, top, top))
    return _product(padded, weight.reshape(groups, -1, inner, height, width), given)


def _transposed_convolution(given: Mapping[str, Any]) -> Tensor:
    """Convolve [1, N * I, H, W], spread by the stride, with turned weights [N * I, O, kh, kw] -> [1, N * O, H', W']."""
    images, groups, weight = given["input"], given["groups"], given["weight"]
    outer, height, width = weight.shape[1:]
    (down, right), (top, left) = _pair(given.get("stride", 1)), _pair(given.get("padding", 0))
    (below, beside), (dilated, across) = _pair(given.get("output_padding", 0)), _pair(given.get("dilation", 1))
    rows, columns = images.shape[2:]
    images = images.reshape(groups, -1, rows, 1, columns, 1)
    spread = F.pad(images, (0, right - 1, 0, 0, 0, down - 1)).reshape(groups, -1, rows * down, columns * right)
    spread = spread[:, :, : (rows - 1) * down + 1, : (columns - 1) * right + 1]
    across, dilated = (width - 1) * across, (height - 1) * dilated
    edges = (across - left, across - left + beside, dilated - top, dilated - top + below)
    turned = weight.reshape(groups, -1, outer, height, width).transpose(1, 2).flip(3, 4)
    return _product(F.pad(spread, edges), turned, {**given, "stride": 1})


def _product(padded: Tensor, weight: Tensor, given: Mapping[str, Any]) -> Tensor:
    """Multiply weights [N, O, I, kh, kw] with the patches of [N, I, H, W], and add the bias."""
    groups, outer, _, height, width = weight.shape
    (down, right), (far, wide) = _pair(given.get("stride", 1)), _pair(given.get("dilation", 1))
    rows = (padded.shape[2] - far * (height - 1) - 1) // down + 1
    columns = (padded.shape[3] - wide * (width - 1) - 1) // right + 1
    taps = [
        padded[
            :,
            :,
            y * far : y * far + (rows - 1) * down + 1 : down,
            x * wide : x * wide + (columns - 1) * right + 1 : right,
        ]
        for y in range(height)
        for x in range(width)
    ]
    patches = torch.stack(taps, 2).reshape(groups, -1, rows * columns)
    output = torch.bmm(weight.reshape(groups, outer, -1), patches).reshape(1, groups * outer, rows, columns)
    bias = given.get("bias")
    return output if bias is None else output + bias.view(1, -1, 1, 1)


def _pair(value: Any) -> tuple[int, int]:
    both = tuple(value) if isinstance(value, tuple | list) else (value,)
    return (both[0], both[-1])


_FORMS: dict[Any, Callable[[Mapping[str, Any]], Tensor]] = {
    torch.conv2d: _convolution,
    torch.conv_transpose2d: _transposed_convolution,
}
_NAMES: dict[Any, tuple[str, ...]] = {
    torch.conv2d: ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    torch.conv_transpose2d: ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
}
