"""Upstream through operations with weights: convolutions, linear layers, normalisations. Most pushes end here."""

import torch
from torch import Tensor

from ganpatch.fold.affine import Affine, Unfoldable, known_shape
from ganpatch.fold.upstream import Changes, Upstream, joined, otherwise, rule
from ganpatch.graph.operations import Graph, Operation


@rule("convolution")
def _convolution(up: Upstream, operation: Operation, change: Affine) -> Changes:
    scale, shift = _per_channel(operation, change)
    rows = scale.view(-1, *[1] * (change.dims - 1))
    return _weight_and_bias(up, operation, rows, Affine(scale, shift))


@rule("transposed_convolution")
def _transposed_convolution(up: Upstream, operation: Operation, change: Affine) -> Changes:
    scale, shift = _per_channel(operation, change)
    before, after, *kernel = known_shape(operation.inputs["weight"])
    groups = operation.attributes["groups"]
    by_group = scale.expand(groups * after).view(groups, 1, after).expand(groups, before // groups, after)
    columns = by_group.reshape(before, after, *[1] * len(kernel))
    return _weight_and_bias(up, operation, columns, Affine(scale, shift))


def _per_channel(operation: Operation, change: Affine) -> tuple[Tensor, Tensor]:
    if change.dims != len(known_shape(operation.inputs["weight"])):
        raise Unfoldable("the convolution runs without a batch")
    return change.only_over(1, "a convolution's weight")


@rule("linear")
def _linear(up: Upstream, operation: Operation, change: Affine) -> Changes:
    scale, shift = change.only_over(-1, "a linear layer's weight")
    rows = scale.view(-1, 1) if operation.attributes["rows"] == 0 else scale.view(1, -1)
    return _weight_and_bias(up, operation, rows, Affine(scale, shift / operation.attributes["bias_factor"]))


def _weight_and_bias(up: Upstream, operation: Operation, rows: Tensor, of_bias: Affine) -> Changes:
    bias = operation.inputs.get("bias")
    if bias is None and of_bias.shifts:
        raise Unfoldable(f"{operation} has no bias")
    changed = {} if bias is None else up.push(bias, of_bias)
    return joined(up.push(operation.inputs["weight"], Affine.scaling(rows)), changed)


@rule("batch_norm")
def _batch_norm(up: Upstream, operation: Operation, change: Affine) -> Changes:
    """In eval mode it is affine itself: its gain and bias change, else its input."""
    if "gain" not in operation.inputs:
        return _into_batch_norm(up, operation, change)
    return otherwise(lambda: _unit_norm(up, operation, change), lambda: _into_batch_norm(up, operation, change))


def _into_batch_norm(up: Upstream, operation: Operation, change: Affine) -> Changes:
    mean, deviation = batch_statistics(up.graph, operation)
    shift = change.shift
    if "gain" in operation.inputs:
        gain, bias = batch_norm_terms(up.graph, operation)
        shift = (shift + (change.scale - 1) * bias) / gain
        if not bool(torch.isfinite(shift).all()):
            raise Unfoldable("a normalisation with a gain of zero does not pass it on")
    shift = (1 - change.scale) * mean + deviation * shift
    return up.push(operation.inputs["value"], change.with_shift(shift))


@rule("unit_norm")
def _unit_norm(up: Upstream, operation: Operation, change: Affine) -> Changes:
    _refuse_without_gain(operation)
    scale, shift = change.only_over(1, "a normalisation's gain")
    return joined(
        up.push(operation.inputs["gain"], Affine.scaling(scale)),
        up.push(operation.inputs["bias"], Affine(scale, shift)),
    )


@rule("layer_norm")
def _layer_norm(up: Upstream, operation: Operation, change: Affine) -> Changes:
    _refuse_without_gain(operation)
    return joined(
        up.operand(operation.inputs["gain"], change.scaled_only()), up.operand(operation.inputs["bias"], change)
    )


def _refuse_without_gain(operation: Operation) -> None:
    if not {"gain", "bias"} <= operation.inputs.keys():
        raise Unfoldable("a normalisation without gain and bias mixes its units")


def batch_norm_terms(graph: Graph, operation: Operation) -> tuple[Tensor, Tensor]:
    """Return gain and bias [1, C, 1, ...] of a BatchNorm that has them."""
    gain, bias = operation.inputs["gain"], operation.inputs["bias"]
    if not (gain.is_fixed and bias.is_fixed):
        raise Unfoldable(f"the gain of {operation} is computed")
    across = [1, -1, *[1] * (len(known_shape(operation.inputs["value"])) - 2)]
    return graph.number(gain).view(across), graph.number(bias).view(across)


def batch_statistics(graph: Graph, operation: Operation) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation [1, C, 1, ...] of a BatchNorm in eval mode."""
    mean, variance = operation.inputs["mean"], operation.inputs["variance"]
    if not (mean.is_fixed and variance.is_fixed):
        raise Unfoldable("the statistics of a BatchNorm are computed")
    across = [1, -1, *[1] * (len(known_shape(operation.inputs["value"])) - 2)]
    deviation = torch.sqrt(graph.number(variance) + operation.attributes["epsilon"])
    return graph.number(mean).view(across), deviation.view(across)
