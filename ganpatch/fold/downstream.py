"""Pushing an edit downstream: which parameters of everything that reads a value make it look edited to them.

    changes = push_down(graph, value, change, blocked)  # {"layer5.conv.weight": Affine, ...}, or raises Unfoldable

Tried after `upstream`: where the producer cannot compute scale * y + shift, all consumers may read y that way.
"""

from collections.abc import Callable, Container

from torch import Tensor

from ganpatch.fold.affine import Affine, Unfoldable, known_shape
from ganpatch.fold.upstream import Changes, Upstream, first_of, joined, otherwise
from ganpatch.fold.upstream_shapes import refuse_across_maps, refuse_at_border
from ganpatch.fold.upstream_weights import batch_norm_terms, batch_statistics
from ganpatch.graph.operations import Graph, Operation, Value, parts_of

Rule = Callable[["Downstream", Operation, Value, Affine], Changes]

_RULES: dict[str, Rule] = {}
_DEEPEST = 60  # operations between a layer and the parameters that read it


def rule(*kinds: str) -> Callable[[Rule], Rule]:
    """Register the rule of some kinds of operations."""

    def register(function: Rule) -> Rule:
        _RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


def push_down(graph: Graph, value: Value, change: Affine, blocked: Container[Value]) -> Changes:
    """Find the changes of parameters that make all readers of `value` see scale * value + shift."""
    return Downstream(graph, blocked).push(value, change)


class Downstream:
    """A push through one graph; it cannot pass the marks whose outputs are `blocked` by another edit."""

    def __init__(self, graph: Graph, blocked: Container[Value]) -> None:
        self.graph, self.blocked = graph, blocked
        self.up = Upstream(graph, blocked)
        self._depth = 0

    def push(self, value: Value, change: Affine) -> Changes:
        """Make every reader of `value` work as if it were changed."""
        if change.is_nothing:
            return {}
        if value.outputs:
            raise Unfoldable("the value is the model's output")
        if self._depth >= _DEEPEST:
            raise Unfoldable("no parameters are near enough")
        self._depth += 1
        try:
            return joined(*(self._through(reader, value, change) for reader in value.readers))
        finally:
            self._depth -= 1

    def _through(self, reader: Operation, value: Value, change: Affine) -> Changes:
        if reader.output in self.blocked:
            raise Unfoldable(f"another edit at '{self.graph.layer_at(reader.output)}' is behind it")
        found, roles = _RULES.get(reader.kind), reader.roles_of(value)
        if len(roles) > 1:
            raise Unfoldable(f"{reader} takes the value twice")
        if found is None or not roles[0].startswith(("value", "one", "other", "part")):
            raise Unfoldable(f"{reader} does not take it")
        return found(self, reader, value, change)


@rule("convolution")
def _convolution(down: Downstream, reader: Operation, _value: Value, change: Affine) -> Changes:
    scale, shift = change.only_over(1, "a convolution's weight")
    weight, groups = reader.inputs["weight"], reader.attributes["groups"]
    rows, per_group, *kernel = known_shape(weight)

    def by_row(vector: Tensor) -> Tensor:
        columns = vector.expand(groups * per_group).view(groups, 1, per_group)
        return columns.expand(groups, rows // groups, per_group).reshape(rows, per_group, *[1] * len(kernel))

    changed: Changes = {}
    if change.shifts:
        if reader.attributes["is_padded"]:
            raise Unfoldable("a shift into a zero-padded convolution is wrong at the border")
        changed = _shift_bias(down, reader, (_weight(down, reader) * by_row(shift)).flatten(1).sum(1), 1)
    return joined(down.up.push(weight, Affine.scaling(by_row(scale))), changed)


@rule("transposed_convolution")
def _transposed_convolution(down: Downstream, reader: Operation, _value: Value, change: Affine) -> Changes:
    if change.shifts:
        raise Unfoldable("a shift into a transposed convolution is wrong at the border")
    scale, _ = change.only_over(1, "a convolution's weight")
    return down.up.push(reader.inputs["weight"], Affine.scaling(scale.view(-1, *[1] * (change.dims - 1))))


@rule("linear")
def _linear(down: Downstream, reader: Operation, _value: Value, change: Affine) -> Changes:
    scale, shift = change.only_over(-1, "a linear layer's weight")
    across = (1, -1) if reader.attributes["rows"] == 0 else (-1, 1)
    changed: Changes = {}
    if change.shifts:
        added = (_weight(down, reader) * shift.view(across)).sum(across.index(-1))
        changed = _shift_bias(down, reader, added * reader.attributes["weight_factor"], -1)
    return joined(down.up.push(reader.inputs["weight"], Affine.scaling(scale.view(across))), changed)


def _weight(down: Downstream, reader: Operation) -> Tensor:
    if not reader.inputs["weight"].is_fixed:
        raise Unfoldable(f"the weight of {reader} is computed")
    return down.graph.number(reader.inputs["weight"])


def _shift_bias(down: Downstream, reader: Operation, added: Tensor, axis: int) -> Changes:
    """Shift what a reader computes by `added` along `axis`: by its bias, else downstream of it."""
    if "bias" in reader.inputs:
        return down.up.push(reader.inputs["bias"], Affine.shifting(added / reader.attributes.get("bias_factor", 1.0)))
    across = [1] * len(known_shape(reader.output))
    across[axis] = -1
    return down.push(reader.output, Affine.shifting(added.view(across)))


@rule("batch_norm")
def _batch_norm(down: Downstream, reader: Operation, _value: Value, change: Affine) -> Changes:
    mean, deviation = batch_statistics(down.graph, reader)
    moved = (change.shift + (change.scale - 1) * mean) / deviation
    if "gain" not in reader.inputs:
        return down.push(reader.output, change.with_shift(moved))
    gain, bias = batch_norm_terms(down.graph, reader)

    def by_gain() -> Changes:
        scale, shift = change.with_shift(gain * moved).only_over(1, "a normalisation's gain")
        return joined(
            down.up.push(reader.inputs["gain"], Affine.scaling(scale)),
            down.up.push(reader.inputs["bias"], Affine.shifting(shift)),
        )

    behind = change.with_shift(gain * moved + (1 - change.scale) * bias)
    return otherwise(by_gain, lambda: down.push(reader.output, behind))


@rule("rectifier")
def _rectifier(down: Downstream, reader: Operation, _value: Value, change: Affine) -> Changes:
    """f(s * x) = s * f(x) for s >= 0."""
    if change.shifts:
        raise Unfoldable(f"{reader} does not pass on a shift")
    return down.push(reader.output, change)


@rule("padding")
def _padding(down: Downstream, reader: Operation, _value: Value, change: Affine) -> Changes:
    refuse_at_border(reader, change)
    return down.push(reader.output, change)


@rule("per_map")
def _per_map(down: Downstream, reader: Operation, _value: Value, change: Affine) -> Changes:
    refuse_across_maps(reader, change)
    return down.push(reader.output, change)


@rule("mark", "identity")
def _unchanged(down: Downstream, reader: Operation, _value: Value, change: Affine) -> Changes:
    return down.push(reader.output, change)


@rule("product")
def _product(down: Downstream, reader: Operation, value: Value, change: Affine) -> Changes:
    factor = _other(reader, value)
    if known_shape(reader.output) != known_shape(value):
        raise Unfoldable("it is combined with a larger value")
    if not change.shifts:
        return down.push(reader.output, change)
    if not factor.is_fixed:
        raise Unfoldable("a product with another value does not pass on a shift")
    return down.push(reader.output, change.with_shift(change.shift * down.graph.number(factor)))


@rule("sum")
def _sum(down: Downstream, reader: Operation, value: Value, change: Affine) -> Changes:
    """x + c with a fixed c: c takes a mere shift, or s * x + t + c = s * (x + c) + (t + c - s * c) is pushed on."""
    term, factor = _other(reader, value), reader.attributes["factor"]
    of_value, of_term = (1.0, factor) if reader.inputs["one"] is value else (factor, 1.0)
    if not term.is_fixed or known_shape(reader.output) != known_shape(value):
        raise Unfoldable("it is added to another value")
    change = change.with_shift(change.shift * of_value)
    behind = change.with_shift(change.shift + (1 - change.scale) * down.graph.number(term) * of_term)
    return first_of(
        *([] if change.scales else [lambda: down.up.operand(term, change.with_shift(change.shift / of_term))]),
        lambda: down.push(reader.output, behind),
    )


def _other(reader: Operation, value: Value) -> Value:
    return reader.inputs["other" if reader.inputs["one"] is value else "one"]


@rule("reshape")
def _reshape(down: Downstream, reader: Operation, value: Value, change: Affine) -> Changes:
    return down.push(reader.output, change.reshaped(known_shape(value), known_shape(reader.output)))


@rule("permute")
def _permute(down: Downstream, reader: Operation, _value: Value, change: Affine) -> Changes:
    return down.push(reader.output, change.permuted(reader.attributes["order"]))


@rule("pixel_shuffle")
def _pixel_shuffle(down: Downstream, reader: Operation, value: Value, change: Affine) -> Changes:
    return down.push(reader.output, change.gathered(reader.attributes["factor"] ** 2, known_shape(value)[1]))


@rule("pixel_unshuffle")
def _pixel_unshuffle(down: Downstream, reader: Operation, _value: Value, change: Affine) -> Changes:
    return down.push(reader.output, change.spread(reader.attributes["factor"] ** 2))


@rule("concatenation")
def _concatenation(down: Downstream, reader: Operation, value: Value, change: Affine) -> Changes:
    axis = reader.attributes["axis"] % change.dims
    lengths = [known_shape(part)[axis] for part in parts_of(reader)]
    place = [part is value for part in parts_of(reader)].index(True)
    return down.push(reader.output, change.embedded(axis, sum(lengths[:place]), lengths[place], sum(lengths)))
