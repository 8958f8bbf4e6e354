"""Upstream through operations on values: functions of one value, sums and products of two."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from ganpatch.fold.affine import Affine, Unfoldable
from ganpatch.fold.upstream import Changes, Upstream, joined, rule
from ganpatch.graph.traced_graph import argument, operation, shape


@rule("relu", "leaky_relu", "prelu", "rrelu_with_noise_functional")
def _rectifier(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    """Rectifiers are positively homogeneous: f(s * x) = s * f(x), and reach any constant (relu: from 0 on)."""
    scale, shift = wish.broadcast()
    slope = 0.0 if operation(node) == "relu" else argument(node, 1, default=0.01)
    if not isinstance(slope, int | float):
        slope = 0.0 if wish.shifts else 1.0
    if bool(((shift != 0) & (scale != 0)).any()):
        raise Unfoldable(f"{operation(node)} does not pass on a shift")
    if slope <= 0 and bool((shift < 0).any()):
        raise Unfoldable(f"the value is outside what {operation(node)} gives")
    needed = torch.where(shift < 0, shift / slope, shift) if slope > 0 else shift
    return up.push(argument(node, 0), Affine.of(scale, needed))


_INVERSES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.atanh,
    "sigmoid": torch.logit,
    "silu": lambda value: torch.where(value == 0, 0.0, torch.nan),
    "gelu": lambda value: torch.where(value == 0, 0.0, torch.nan),
    "mish": lambda value: torch.where(value == 0, 0.0, torch.nan),
    "elu": lambda value: torch.where(value >= 0, value, torch.log1p(value)),
    "softplus": lambda value: torch.where(value > 0, torch.log(torch.expm1(value)), torch.nan),
    "hardtanh": lambda value: torch.where(value.abs() <= 1, value, torch.nan),
    "exp": torch.log,
}


@rule(*_INVERSES)
def _constant_through(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    """Other functions pass on only a constant, as the input at which they reach it."""
    scale, shift = wish.broadcast()
    untouched = (scale == 1) & (shift == 0)
    if bool(((scale != 0) & ~untouched).any()):
        raise Unfoldable(f"{operation(node)} does not scale")
    needed = _INVERSES[operation(node)](shift)
    if not bool(torch.isfinite(needed)[~untouched].all()):
        raise Unfoldable(f"the value is outside what {operation(node)} gives")
    return up.push(argument(node, 0), Affine.of(scale, torch.where(untouched, 0.0, needed)))


@rule("mark", "clone", "alias", "_to_copy", "detach", "contiguous", "lift_fresh_copy", "dropout", "feature_dropout")
def _unchanged(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    return up.push(argument(node, 0), wish)


@rule("neg")
def _negation(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    return up.push(argument(node, 0), wish.with_shift(-wish.shift))


@rule("add", "sub")
def _sum(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    """s * (a + c * b) + t: both terms are scaled, one takes the shift."""
    one, other = (argument(node, 0), argument(node, 1))
    factor = float(argument(node, 2, "alpha", 1)) * (-1 if operation(node) == "sub" else 1)
    if not isinstance(other, fx.Node):
        constant = float(other) * factor
        return up.push(one, wish.with_shift(wish.shift + (wish.scale - 1) * constant))
    if not isinstance(one, fx.Node):
        raise Unfoldable("it would change a constant of the code")

    def shifting(first: bool) -> Changes:
        return joined(
            up.push(one, _operand(one, wish if first else wish.scaled_only())),
            up.push(other, _operand(other, wish.scaled_only() if first else wish.with_shift(wish.shift / factor))),
        )

    return up.first_of(lambda: shifting(True), lambda: shifting(False))


@rule("mul", "div")
def _product(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    """s * (a * b) + t: one factor is scaled; a shift passes only through a fixed factor."""
    one, other = (argument(node, 0), argument(node, 1))
    divides = operation(node) == "div"
    return up.first_of(
        lambda: _scaled_factor(up, one, other, wish, divides),
        *([] if divides else [lambda: _scaled_factor(up, other, one, wish, divides)]),
    )


def _scaled_factor(up: Upstream, value: Any, factor: Any, wish: Affine, divides: bool) -> Changes:
    if not isinstance(value, fx.Node):
        raise Unfoldable("it would change a constant of the code")
    if not wish.shifts:
        return up.push(value, _operand(value, wish))
    if not up.graph.is_fixed(factor):
        raise Unfoldable("a product with another value does not pass on a shift")
    known = torch.as_tensor(up.graph.value(factor), dtype=torch.float64)
    by = known if divides else 1 / known
    if not bool(torch.isfinite(by).all()):
        raise Unfoldable("a product with zero does not pass on a shift")
    return up.push(value, _operand(value, wish.with_shift(wish.shift * by)))


def _operand(node: fx.Node, wish: Affine) -> Affine:
    return wish.on_operand(shape(node))


@rule("glu")
def _gated(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    """glu(x) = a * sigmoid(b) with x = (a | b): the linear half is scaled."""
    if wish.shifts:
        raise Unfoldable("a gated unit does not pass on a shift")
    dim = int(argument(node, 1, default=-1)) % wish.dims
    half = shape(node)[dim]
    scale = wish.scale.expand(*[half if place == dim else -1 for place in range(wish.dims)])
    both = torch.cat([scale, torch.ones_like(scale)], dim)
    return up.push(argument(node, 0), Affine.of(both, torch.zeros([1] * wish.dims, dtype=torch.float64)))
