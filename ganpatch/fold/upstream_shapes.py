"""Upstream through operations that move values around: resampling, padding, reshaping, joining, cutting."""

import torch
from torch import Tensor, fx

from ganpatch.fold.affine import Affine, Unfoldable
from ganpatch.fold.upstream import SPLITS, Changes, Upstream, joined, rule
from ganpatch.graph.traced_graph import argument, operation, shape

# Operations that work on each map alone, and keep a map that is constant constant.
PER_MAP = (
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "_upsample_nearest_exact2d",
    "upsample_bilinear2d",
    "upsample_bicubic2d",
    "avg_pool2d",
    "adaptive_avg_pool2d",
    "max_pool2d",
    "max_pool2d_with_indices",
    "reflection_pad2d",
    "replication_pad2d",
    "roll",
    "flip",
)


@rule(*PER_MAP)
def _per_map(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    refuse_across_maps(node, wish)
    return up.push(argument(node, 0), wish)


def refuse_across_maps(node: fx.Node, wish: Affine) -> None:
    """Raise Unfoldable when an operation of PER_MAP does not pass on `wish`."""
    wish.only_over(1, operation(node))
    if wish.shifts and operation(node) == "avg_pool2d" and any(argument(node, 3, default=[0])):
        raise Unfoldable("a padded pooling does not pass on a shift")


@rule("constant_pad_nd", "pad")
def _pad(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    refuse_at_border(node, wish)
    return up.push(argument(node, 0), wish)


def refuse_at_border(node: fx.Node, wish: Affine) -> None:
    """Raise Unfoldable when the constants that a padding sets would have to change as well."""
    scale, shift = wish.only_over(1, "padding")
    by_mode = operation(node) == "pad"
    if by_mode and argument(node, 2, "mode", "constant") != "constant":
        return  # reflected or repeated: each map from its own values
    value = float(argument(node, 3 if by_mode else 2, "value") or 0)
    if bool((scale * value + shift != value).any()):
        raise Unfoldable("its padding would have to change as well")


@rule("pixel_shuffle")
def _pixel_shuffle(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    scale, shift = wish.only_over(1, "pixel_shuffle")
    finer = int(argument(node, 1)) ** 2
    across = [1, -1, 1, 1]
    parts = [
        part.repeat_interleave(finer).view(across) if len(part) > 1 else part.view(across) for part in (scale, shift)
    ]
    return up.push(argument(node, 0), Affine.of(*parts))


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze")
def _reshape(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    inner = argument(node, 0)
    return up.push(inner, wish.reshaped(shape(node), shape(inner)))


@rule("permute", "transpose", "t")
def _permute(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    order = list(range(wish.dims))
    if operation(node) == "permute":
        order = [int(dim) % wish.dims for dim in argument(node, 1)]
    else:
        one, other = (int(argument(node, place, default=place - 1)) for place in (1, 2))
        order[one], order[other] = order[other], order[one]
    back = [order.index(dim) for dim in range(wish.dims)]
    return up.push(argument(node, 0), Affine(wish.scale.permute(back), wish.shift.permute(back)))


@rule("expand", "repeat")
def _expand(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    return up.push(argument(node, 0), wish.on_operand(shape(argument(node, 0))))


@rule("cat")
def _concatenation(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    parts, dim = list(argument(node, 0)), int(argument(node, 1, default=0)) % wish.dims
    sizes = [shape(part)[dim] for part in parts]

    def cut(tensor: Tensor) -> tuple[Tensor, ...]:
        return torch.split(tensor, sizes, dim) if tensor.shape[dim] > 1 else (tensor,) * len(sizes)

    wishes = [Affine.of(*pair) for pair in zip(cut(wish.scale), cut(wish.shift), strict=True)]
    return joined(*(up.push(part, of_part) for part, of_part in zip(parts, wishes, strict=True)))


@rule("slice")
def _slice(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    dim, start, stop = _span(node)
    whole = argument(node, 0)
    for user in whole.users:
        same = user is not node and operation(user) == "slice" and _span(user)[0] == dim
        if user is not node and not (same and (_span(user)[1] >= stop or _span(user)[2] <= start)):
            raise Unfoldable(f"the value is used by {operation(user)} as well")
    return up.through(whole, _embedded(wish, dim, start, stop - start, shape(whole)[dim]))


@rule(*SPLITS)
def _split(up: Upstream, node: fx.Node, wish: Affine) -> Changes:
    """`node` is one part taken out of a split; the other parts are left alone."""
    split, place = argument(node, 0), int(argument(node, 1))
    if [argument(user, 1) for user in split.users].count(place) != 1:
        raise Unfoldable("the part is taken twice")
    dim = int(argument(split, 2, "dim", 0)) % wish.dims
    sizes = [int(value.shape[dim]) for value in split.meta["val"]]
    return up.push(argument(split, 0), _embedded(wish, dim, sum(sizes[:place]), sizes[place], sum(sizes)))


def _span(node: fx.Node) -> tuple[int, int, int]:
    """Return dimension, start and stop of a slice."""
    whole = argument(node, 0)
    dim = int(argument(node, 1, default=0)) % len(shape(whole))
    if int(argument(node, 4, default=1)) != 1:
        raise Unfoldable("a slice with steps does not pass it on")
    start, stop, _ = slice(argument(node, 2), argument(node, 3)).indices(shape(whole)[dim])
    return dim, start, stop


def _embedded(wish: Affine, dim: int, start: int, length: int, size: int) -> Affine:
    """Return the wish for a whole of `size` along `dim`, of which only the part from `start` on is asked to change."""

    def embed(part: Tensor, rest: float) -> Tensor:
        sizes = list(part.shape)
        sizes[dim] = size
        whole = torch.full(sizes, rest, dtype=torch.float64)
        sizes[dim] = length
        whole.narrow(dim, start, length).copy_(part.expand(sizes))
        return whole

    return Affine.of(embed(wish.scale, 1.0), embed(wish.shift, 0.0))
