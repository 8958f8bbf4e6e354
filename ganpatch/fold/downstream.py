"""Pushing an edit downstream: which parameters of everything that reads a value make it look edited to them.

    changes = push_down(graph, node, wish, blocked)     # {"layer5.conv.weight": Affine, ...}, or raises Unfoldable

Tried after `upstream.py`: where the producer cannot give scale * y + shift, all consumers may read y that way.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from ganpatch.fold.affine import Affine, Unfoldable
from ganpatch.fold.upstream import Changes, Upstream, joined
from ganpatch.fold.upstream_shapes import PER_MAP, refuse_across_maps, refuse_at_border
from ganpatch.fold.upstream_weights import batch_statistics
from ganpatch.graph.traced_graph import MARK, Graph, argument, module_of, operation, shape, uses

Rule = Callable[["Downstream", fx.Node, fx.Node, Affine], Changes]

_RULES: dict[str, Rule] = {}


def rule(*operations: str) -> Callable[[Rule], Rule]:
    """Register the rule of some operations."""

    def register(function: Rule) -> Rule:
        _RULES.update(dict.fromkeys(operations, function))
        return function

    return register


class Downstream:
    """A push through one graph; `blocked` marks cannot be passed, another edit stands there."""

    def __init__(self, graph: Graph, blocked: set[fx.Node]) -> None:
        self.graph, self.blocked = graph, blocked
        self.up = Upstream(graph, blocked)

    def push(self, node: fx.Node, wish: Affine) -> Changes:
        """Make every user of `node` work as if its value were as `wish` says."""
        if wish.is_nothing:
            return {}
        return joined(*(self._through(user, node, wish) for user in node.users))

    def _through(self, user: fx.Node, node: fx.Node, wish: Affine) -> Changes:
        if user.op == "output":
            raise Unfoldable("the value is the model's output")
        if user.target == MARK and user in self.blocked:
            raise Unfoldable(f"another edit at '{self.graph.site_of[user].layer}' stands behind it")
        found = _RULES.get(operation(user))
        if found is None or not any(arg is node for arg in _read_as_value(user)):
            place = module_of(user)
            raise Unfoldable(f"{operation(user)}{f' in {place}' if place else ''} does not take it")
        return found(self, user, node, wish)


def push_down(graph: Graph, node: fx.Node, wish: Affine, blocked: set[fx.Node]) -> Changes:
    """Find the changes of parameters that make all users of `node` see scale * value + shift."""
    return Downstream(graph, blocked).push(node, wish)


def _read_as_value(user: fx.Node) -> list[Any]:
    """Return the arguments in which an operation may read the edited value."""
    if operation(user) == "cat":
        return list(argument(user, 0))
    return list(user.args[:2]) if operation(user) in ("add", "mul") else [argument(user, 0)]


def _once(user: fx.Node, node: fx.Node) -> None:
    if sum(arg is node for arg in user.all_input_nodes) != 1 or uses(node) < 1 or user.args[:2].count(node) > 1:
        raise Unfoldable(f"{operation(user)} takes the value twice")


@rule("conv1d", "conv2d", "conv3d")
def _convolution(down: Downstream, user: fx.Node, node: fx.Node, wish: Affine) -> Changes:
    _once(user, node)
    scale, shift = wish.only_over(1, "a convolution's weight")
    weight = argument(user, 1)
    rows, per_group, *kernel = shape(weight)
    groups = int(argument(user, 6, "groups", 1))

    def by_row(vector: Tensor) -> Tensor:
        return (
            vector.expand(groups * per_group)
            .view(groups, 1, per_group)
            .expand(groups, rows // groups, per_group)
            .reshape(rows, per_group, *[1] * len(kernel))
        )

    changed: Changes = {}
    if wish.shifts:
        padding = argument(user, 4, "padding", [0])
        if padding == "same" or (padding != "valid" and any(padding)):
            raise Unfoldable("a shift into a zero-padded convolution is wrong at the border")
        added = (down.graph.value(weight) * by_row(shift)).flatten(1).sum(1)
        changed = _shift_bias(down, user, added)
    columns = by_row(scale)
    return joined(down.up.push(weight, Affine.of(columns, torch.zeros_like(columns))), changed)


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _transposed_convolution(down: Downstream, user: fx.Node, node: fx.Node, wish: Affine) -> Changes:
    _once(user, node)
    if wish.shifts:
        raise Unfoldable("a shift into a transposed convolution is wrong at the border")
    scale, _ = wish.only_over(1, "a convolution's weight")
    rows = scale.view(-1, *[1] * (wish.dims - 1))
    return down.up.push(argument(user, 1), Affine(rows, torch.zeros_like(rows)))


@rule("linear")
def _linear(down: Downstream, user: fx.Node, node: fx.Node, wish: Affine) -> Changes:
    _once(user, node)
    scale, shift = wish.only_over(-1, "a linear layer's weight")
    changed = _shift_bias(down, user, (down.graph.value(argument(user, 1)) * shift).sum(1)) if wish.shifts else {}
    columns = scale.view(1, -1)
    return joined(down.up.push(argument(user, 1), Affine(columns, torch.zeros_like(columns))), changed)


def _shift_bias(down: Downstream, user: fx.Node, added: Tensor) -> Changes:
    bias = argument(user, 2, "bias")
    if bias is None:
        across = [1] * len(shape(user))
        across[-1 if operation(user) == "linear" else 1] = -1
        return down.push(user, Affine.of(torch.ones([1] * len(across), dtype=torch.float64), added.view(across)))
    return down.up.push(bias, Affine(torch.ones_like(added), added))


@rule("_native_batch_norm_legit_no_training", "batch_norm")
def _batch_norm(down: Downstream, user: fx.Node, node: fx.Node, wish: Affine) -> Changes:
    _once(user, node)
    mean, deviation = batch_statistics(down.graph, user)
    moved = (wish.shift + (wish.scale - 1) * mean) / deviation
    gain, bias = argument(user, 1), argument(user, 2)
    if gain is None:
        results = [result for result in user.users if result.args[1:] == (0,)] or [user]
        return joined(*(down.push(result, wish.with_shift(moved)) for result in results))
    scale, moved = wish.with_shift(moved).only_over(1, "a normalisation's gain")
    added = down.graph.value(gain) * moved
    return joined(
        down.up.push(gain, Affine(scale, torch.zeros_like(scale))),
        down.up.push(bias, Affine(torch.ones_like(added), added)),
    )


@rule("relu", "leaky_relu", "prelu")
def _rectifier(down: Downstream, user: fx.Node, node: fx.Node, wish: Affine) -> Changes:
    """f(s * x) = s * f(x) for s >= 0."""
    _once(user, node)
    if wish.shifts:
        raise Unfoldable(f"{operation(user)} does not pass on a shift")
    return down.push(user, wish)


@rule("constant_pad_nd", "pad")
def _pad(down: Downstream, user: fx.Node, node: fx.Node, wish: Affine) -> Changes:
    _once(user, node)
    refuse_at_border(user, wish)
    return down.push(user, wish)


@rule(*PER_MAP)
def _per_map(down: Downstream, user: fx.Node, node: fx.Node, wish: Affine) -> Changes:
    _once(user, node)
    refuse_across_maps(user, wish)
    return down.push(user, wish)


@rule("mark", "clone", "alias", "_to_copy", "detach", "contiguous", "lift_fresh_copy", "dropout")
def _unchanged(down: Downstream, user: fx.Node, node: fx.Node, wish: Affine) -> Changes:
    _once(user, node)
    return down.push(user, wish)


@rule("mul")
def _product(down: Downstream, user: fx.Node, node: fx.Node, wish: Affine) -> Changes:
    _once(user, node)
    factor = argument(user, 1) if argument(user, 0) is node else argument(user, 0)
    if isinstance(factor, fx.Node) and shape(user) != shape(node):
        raise Unfoldable("it is combined with a larger value")
    if not wish.shifts:
        return down.push(user, wish)
    if not down.graph.is_fixed(factor):
        raise Unfoldable("a product with another value does not pass on a shift")
    return down.push(user, wish.with_shift(wish.shift * torch.as_tensor(down.graph.value(factor), dtype=torch.float64)))


@rule("add")
def _sum(down: Downstream, user: fx.Node, node: fx.Node, wish: Affine) -> Changes:
    """x + c with a fixed c: c takes a mere shift, or (s * x + t) + c = s * (x + c) + (t + c - s * c) goes on."""
    _once(user, node)
    first = argument(user, 0) is node
    other, factor = user.args[1 if first else 0], float(argument(user, 2, "alpha", 1))
    if not down.graph.is_fixed(other) or shape(user) != shape(node):
        raise Unfoldable("it is added to another value")
    wish = wish if first else wish.with_shift(wish.shift * factor)
    if isinstance(other, fx.Node) and bool((wish.scale == 1).all()):
        return down.up.push(other, wish.with_shift(wish.shift / (factor if first else 1)).on_operand(shape(other)))
    added = torch.as_tensor(down.graph.value(other), dtype=torch.float64) * (factor if first else 1)
    return down.push(user, wish.with_shift(wish.shift + (1 - wish.scale) * added))


@rule("view", "reshape", "_unsafe_view", "flatten", "squeeze", "unsqueeze")
def _reshape(down: Downstream, user: fx.Node, node: fx.Node, wish: Affine) -> Changes:
    _once(user, node)
    return down.push(user, wish.reshaped(shape(node), shape(user)))


@rule("pixel_shuffle")
def _pixel_shuffle(down: Downstream, user: fx.Node, node: fx.Node, wish: Affine) -> Changes:
    _once(user, node)
    finer = int(argument(user, 1)) ** 2
    parts = []
    for part in wish.only_over(1, "pixel_shuffle"):
        grouped = part.expand(shape(node)[1]).view(-1, finer)
        if bool((grouped != grouped[:, :1]).any()):
            raise Unfoldable("pixel_shuffle makes one unit of several that the edit treats differently")
        parts.append(grouped[:, 0].view(1, -1, 1, 1))
    return down.push(user, Affine.of(*parts))


@rule("cat")
def _concatenation(down: Downstream, user: fx.Node, node: fx.Node, wish: Affine) -> Changes:
    parts, dim = list(argument(user, 0)), int(argument(user, 1, default=0)) % wish.dims
    if parts.count(node) != 1:
        raise Unfoldable("cat takes the value twice")
    scales, shifts = [], []
    for part in parts:
        own = part is node
        sizes = [shape(part)[dim] if place == dim else size for place, size in enumerate(wish.scale.shape)]
        scales.append(wish.scale.expand(sizes) if own else torch.ones(sizes, dtype=torch.float64))
        sizes = [shape(part)[dim] if place == dim else size for place, size in enumerate(wish.shift.shape)]
        shifts.append(wish.shift.expand(sizes) if own else torch.zeros(sizes, dtype=torch.float64))
    return down.push(user, Affine.of(torch.cat(scales, dim), torch.cat(shifts, dim)))
