"""Upstream through operations with weights: convolutions, linear layers, normalisations. Here wishes are granted."""

from typing import Any

import torch
from torch import Tensor, fx

from ganpatch.fold.affine import Affine, Unfoldable
from ganpatch.fold.upstream import Changes, Upstream, joined, rule
from ganpatch.graph.traced_graph import Graph, argument, module_of, operation, shape


@rule("conv1d", "conv2d", "conv3d")
def _convolution(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    scale, shift = _per_channel(node, wish)
    rows = scale.view(-1, *[1] * (len(shape(argument(node, 1))) - 1))
    return _weight_and_bias(up, node, Affine(rows, torch.zeros_like(rows)), Affine(scale, shift))


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _transposed_convolution(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    scale, shift = _per_channel(node, wish)
    before, after, *kernel = shape(argument(node, 1))
    groups = int(argument(node, 6, "groups", 1))
    by_group = scale.expand(groups * after).view(groups, 1, after).expand(groups, before // groups, after)
    columns = by_group.reshape(before, after, *[1] * len(kernel))
    return _weight_and_bias(up, node, Affine.of(columns, torch.zeros_like(columns)), Affine(scale, shift))


def _per_channel(node: fx.Node, wish: Affine) -> tuple[Tensor, Tensor]:
    if wish.dims != len(shape(argument(node, 1))):
        raise Unfoldable("the convolution runs without a batch")
    return wish.only_over(1, "a convolution's weight")


@rule("linear")
def _linear(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    scale, shift = wish.only_over(-1, "a linear layer's weight")
    rows = scale.view(-1, 1)
    return _weight_and_bias(up, node, Affine(rows, torch.zeros_like(rows)), Affine(scale, shift))


def _weight_and_bias(up: Upstream, node: fx.Node, weight: Affine, bias: Affine) -> Changes:
    given = argument(node, 2, "bias")
    if given is None and bias.shifts:
        raise Unfoldable(f"{operation(node)} in {module_of(node)} has no bias")
    changed = {} if given is None else up.push(given, bias)
    return joined(up.push(argument(node, 1), weight), changed)


@rule("_native_batch_norm_legit_no_training", "batch_norm")
def _batch_norm(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    gain, bias = argument(node, 1), argument(node, 2)
    if gain is not None:
        return _gain_and_bias(up, gain, bias, wish)
    mean, deviation = batch_statistics(up.graph, node)
    shift = (1 - wish.scale) * mean + deviation * wish.shift
    return up.push(argument(node, 0), wish.with_shift(shift))


@rule("group_norm", "native_group_norm")
def _group_norm(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    gain_place = 2 if operation(node) == "group_norm" else 1
    return _gain_and_bias(up, argument(node, gain_place), argument(node, gain_place + 1), wish)


@rule("instance_norm", "_native_batch_norm_legit")
def _instance_norm(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    return _gain_and_bias(up, argument(node, 1), argument(node, 2), wish)


@rule("layer_norm", "native_layer_norm")
def _layer_norm(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    gain, bias = argument(node, 2), argument(node, 3)
    if gain is None or bias is None:
        raise Unfoldable("a normalisation without gain and bias mixes its units")
    return joined(
        up.push(gain, wish.scaled_only().on_operand(shape(gain))), up.push(bias, wish.on_operand(shape(bias)))
    )


def _gain_and_bias(up: Upstream, gain: Any, bias: Any, wish: Affine) -> Changes:
    if gain is None or bias is None:
        raise Unfoldable("a normalisation without gain and bias mixes its units")
    scale, shift = wish.only_over(1, "a normalisation's gain")
    return joined(up.push(gain, Affine(scale, torch.zeros_like(scale))), up.push(bias, Affine(scale, shift)))


def batch_statistics(graph: Graph, node: fx.Node) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation [1, C, 1, ...] of a BatchNorm in eval mode."""
    is_legit = operation(node) == "_native_batch_norm_legit_no_training"
    epsilon = float(argument(node, 6 if is_legit else 7))
    mean, variance = graph.value(argument(node, 3)), graph.value(argument(node, 4))
    across = [1, -1, *[1] * (len(shape(argument(node, 0))) - 2)]
    return mean.view(across), torch.sqrt(variance + epsilon).view(across)
