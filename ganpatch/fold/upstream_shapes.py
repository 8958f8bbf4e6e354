"""Upstream through operations that move values around: resampling, padding, reshaping, joining, cutting."""

from ganpatch.fold.affine import Affine, Unfoldable, known_shape
from ganpatch.fold.upstream import Changes, Upstream, joined, rule
from ganpatch.graph.operations import Operation, Value, parts_of


@rule("per_map")
def _per_map(up: Upstream, operation: Operation, change: Affine) -> Changes:
    refuse_across_maps(operation, change)
    return up.push(operation.inputs["value"], change)


def refuse_across_maps(operation: Operation, change: Affine) -> None:
    """Raise Unfoldable when an operation that works on each map alone does not pass on `change`."""
    change.only_over(1, operation.name)
    if known_shape(operation.inputs["value"])[:2] != known_shape(operation.output)[:2]:
        raise Unfoldable(f"{operation} changes the number of units")
    if change.shifts and operation.attributes.get("is_padded"):
        raise Unfoldable("a padded pooling does not pass on a shift")


@rule("padding")
def _padding(up: Upstream, operation: Operation, change: Affine) -> Changes:
    refuse_at_border(operation, change)
    return up.push(operation.inputs["value"], change)


def refuse_at_border(operation: Operation, change: Affine) -> None:
    """Raise Unfoldable when the constants that a padding sets would have to change too."""
    refuse_across_maps(operation, change)
    number = operation.attributes["number"]
    if bool((change.scale * number + change.shift != number).any()):
        raise Unfoldable("its padding would have to change too")


@rule("pixel_shuffle")
def _pixel_shuffle(up: Upstream, operation: Operation, change: Affine) -> Changes:
    return up.push(operation.inputs["value"], change.spread(operation.attributes["factor"] ** 2))


@rule("pixel_unshuffle")
def _pixel_unshuffle(up: Upstream, operation: Operation, change: Affine) -> Changes:
    units = known_shape(operation.output)[1]
    return up.push(operation.inputs["value"], change.gathered(operation.attributes["factor"] ** 2, units))


@rule("reshape")
def _reshape(up: Upstream, operation: Operation, change: Affine) -> Changes:
    inner = operation.inputs["value"]
    return up.push(inner, change.reshaped(known_shape(operation.output), known_shape(inner)))


@rule("permute")
def _permute(up: Upstream, operation: Operation, change: Affine) -> Changes:
    order = operation.attributes["order"]
    return up.push(operation.inputs["value"], change.permuted([order.index(dim) for dim in range(change.dims)]))


@rule("expand")
def _expand(up: Upstream, operation: Operation, change: Affine) -> Changes:
    return up.operand(operation.inputs["value"], change)


@rule("concatenation")
def _concatenation(up: Upstream, operation: Operation, change: Affine) -> Changes:
    axis = operation.attributes["axis"] % change.dims
    start, changes = 0, []
    for part in parts_of(operation):
        length = known_shape(part)[axis]
        changes.append(up.push(part, change.part(axis, start, length)))
        start += length
    return joined(*changes)


@rule("slice")
def _slice(up: Upstream, operation: Operation, change: Affine) -> Changes:
    """The other parts of the whole are left alone; nobody may read what two parts share."""
    whole = operation.inputs["value"]
    axis, start, stop = (operation.attributes[name] for name in ("axis", "start", "stop"))
    _refuse_other_readers(whole, operation)
    return up.through(whole, change.embedded(axis, start, stop - start, known_shape(whole)[axis]))


def _refuse_other_readers(whole: Value, operation: Operation) -> None:
    own = operation.attributes
    for reader in whole.readers:
        if reader is operation:
            continue
        other = reader.attributes
        if reader.kind != "slice" or other["axis"] != own["axis"]:
            raise Unfoldable(f"the value is also used by {reader.name}")
        if other["start"] < own["stop"] and own["start"] < other["stop"]:
            raise Unfoldable("a part of the value is taken twice")
    if whole.outputs:
        raise Unfoldable("the value is also the model's output")
