"""Upstream through operations on values: functions of one value, sums and products of two."""

from collections.abc import Callable

import torch
from torch import Tensor

from ganpatch.fold.affine import Affine, Unfoldable, known_shape
from ganpatch.fold.upstream import Changes, Upstream, first_of, joined, rule
from ganpatch.graph.operations import Operation, Value


@rule("rectifier")
def _rectifier(up: Upstream, operation: Operation, change: Affine) -> Changes:
    """Rectifiers are positively homogeneous: f(s * x) = s * f(x), and reach any constant (relu: from 0 on)."""
    scale, shift = change.broadcast()
    slope = _slope(up, operation, change)
    if bool(((shift != 0) & (scale != 0)).any()):
        raise Unfoldable(f"{operation} does not pass on a shift")
    if bool(((shift < 0) & (slope <= 0)).any()):
        raise Unfoldable(f"the value is outside what {operation} can output")
    needed = torch.where(shift < 0, shift / slope, shift)
    return up.push(operation.inputs["value"], Affine.of(scale, needed))


def _slope(up: Upstream, operation: Operation, change: Affine) -> Tensor:
    """Return the slope for negative values, in as many dimensions as the value; 0 where it is not known."""
    slope = operation.inputs.get("slope")
    if slope is None or not slope.is_fixed:
        return torch.tensor(operation.attributes.get("slope", 0.0), dtype=torch.float64)
    number = up.graph.number(slope)
    return number.view(1, -1, *[1] * (change.dims - 2)) if operation.attributes.get("is_per_unit") else number


_INVERSES: dict[str, Callable[..., Tensor]] = {
    "tanh": torch.atanh,
    "sigmoid": torch.logit,
    "self_gated": lambda value: torch.where(value == 0, 0.0, torch.nan),
    "elu": lambda value, alpha: torch.where(value >= 0, value, torch.log1p(value / alpha)),
    "softplus": lambda value: torch.where(value > 0, torch.log(torch.expm1(value)), torch.nan),
    "clamp": lambda value, low, high: torch.where((value >= low) & (value <= high), value, torch.nan),
    "exp": torch.log,
}


@rule(*_INVERSES)
def _constant_through(up: Upstream, operation: Operation, change: Affine) -> Changes:
    """Other functions pass on only a constant, as the input at which they reach it."""
    scale, shift = change.broadcast()
    untouched = (scale == 1) & (shift == 0)
    if bool(((scale != 0) & ~untouched).any()):
        raise Unfoldable(f"{operation} does not scale")
    needed = _INVERSES[operation.kind](shift, **operation.attributes)
    if not bool(torch.isfinite(needed)[~untouched].all()):
        raise Unfoldable(f"the value is outside what {operation} can output")
    return up.push(operation.inputs["value"], Affine.of(scale, torch.where(untouched, 0.0, needed)))


@rule("mark", "identity")
def _unchanged(up: Upstream, operation: Operation, change: Affine) -> Changes:
    return up.push(operation.inputs["value"], change)


@rule("negation")
def _negation(up: Upstream, operation: Operation, change: Affine) -> Changes:
    return up.push(operation.inputs["value"], change.with_shift(-change.shift))


@rule("sum")
def _sum(up: Upstream, operation: Operation, change: Affine) -> Changes:
    """s * (a + c * b) + t: both terms are scaled and one takes the shift, or a fixed term stays as it is."""
    one, other, factor = operation.inputs["one"], operation.inputs["other"], operation.attributes["factor"]

    def shifting(first: bool) -> Changes:
        of_other = change.scaled_only() if first else change.with_shift(change.shift / factor)
        return joined(up.operand(one, change if first else change.scaled_only()), up.operand(other, of_other))

    def around(fixed: Value, value: Value, of_fixed: float, of_value: float) -> Changes:
        shift = change.shift + (change.scale - 1) * up.graph.number(fixed) * of_fixed
        return up.operand(value, change.with_shift(shift / of_value))

    return first_of(
        lambda: shifting(True),
        lambda: shifting(False),
        *([lambda: around(other, one, factor, 1.0)] if other.is_fixed else []),
        *([lambda: around(one, other, 1.0, factor)] if one.is_fixed else []),
    )


@rule("product", "quotient")
def _product(up: Upstream, operation: Operation, change: Affine) -> Changes:
    """s * (a * b) + t: one factor is scaled; a shift passes only through a fixed factor."""
    one, other = operation.inputs["one"], operation.inputs["other"]
    divides = operation.kind == "quotient"
    return first_of(
        lambda: _scaled_factor(up, one, other, change, divides),
        *([] if divides else [lambda: _scaled_factor(up, other, one, change, divides)]),
    )


def _scaled_factor(up: Upstream, value: Value, factor: Value, change: Affine, divides: bool) -> Changes:
    if not change.shifts:
        return up.operand(value, change)
    if not factor.is_fixed:
        raise Unfoldable("a product with another value does not pass on a shift")
    known = up.graph.number(factor)
    by = known if divides else 1 / known
    if not bool(torch.isfinite(by).all()):
        raise Unfoldable("a product with zero does not pass on a shift")
    return up.operand(value, change.with_shift(change.shift * by))


@rule("gated_halves")
def _gated_halves(up: Upstream, operation: Operation, change: Affine) -> Changes:
    """glu(x) = a * sigmoid(b) with x = (a | b): the linear half is scaled."""
    if change.shifts:
        raise Unfoldable("a gated unit does not pass on a shift")
    axis = operation.attributes["axis"] % change.dims
    half = known_shape(operation.output)[axis]
    return up.push(operation.inputs["value"], change.embedded(axis, 0, half, 2 * half))
