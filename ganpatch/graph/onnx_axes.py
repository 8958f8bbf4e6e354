"""Which axis of a value in an ONNX graph holds the units: the second, or the last in graphs made from TensorFlow.

    has_units_last(value)                   # True for [N, h, w, C]

Operations of ONNX on maps take [N, C, h, w]; converters put a Transpose around them. A value's axis follows from the
operation that made it.
"""

import onnx_ir as ir

_TO_LAST = [0, 2, 3, 1]
_FARTHEST = 200  # operations looked back through
_FEWEST = 8  # height and width of an image
_SECOND = {
    *("Conv", "ConvTranspose", "QLinearConv", "BatchNormalization", "InstanceNormalization", "GroupNormalization"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "DepthToSpace", "SpaceToDepth", "Upsample"),
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Gather", "Einsum", "Gemm"),
}


def has_units_last(value: ir.Value) -> bool:
    """Return whether the units of a value with four axes are the last axis."""
    for _ in range(_FARTHEST):
        if value.shape is not None and len(value.shape) != 4:
            return False
        node = value.producer()
        if node is None:
            return is_image_last(value)
        if node.op_type == "Transpose":
            order = node.attributes.get("perm")
            return order is not None and list(order.as_ints()) == _TO_LAST
        if node.op_type == "MatMul":
            return value.shape is not None
        inputs = [one for one in node.inputs if one is not None and not one.is_initializer()]
        made = [one for one in inputs if one.producer() is None or one.producer().op_type != "Constant"]  # type: ignore[union-attr]
        if node.op_type in _SECOND or not made:
            return False
        value = made[0]
    return False


def is_image_last(value: ir.Value) -> bool:
    """Return whether a value is declared as images [N, H, W, 1 or 3]."""
    shape = list(value.shape) if value.shape is not None else []
    edges = [edge for edge in shape[1:3] if isinstance(edge, int)]
    return len(shape) == 4 and shape[3] in (1, 3) and min(edges, default=_FEWEST) >= _FEWEST


def declared_sizes(value: ir.Value, *, units_last: bool) -> tuple[int | None, ...]:
    """Return the sizes of a value with the units second, open ones as None; () where nothing is declared."""
    sizes = tuple(size if isinstance(size, int) else None for size in value.shape or ())
    return (sizes[0], sizes[-1], *sizes[1:-1]) if units_last and sizes else sizes
