"""The torch modules that a node of an ONNX graph belongs to, as the two exporters of torch write them down.

    scopes_of(node)                         # ["layer1", "layer1.0"], outermost first

The exporter of torch >= 2.5 writes the module names around a node into its metadata, the older one into its name,
"/layer1/layer1.0/Conv".
"""

import re

import onnx_ir as ir

SCOPES = "pkg.torch.onnx.name_scopes"
_FLOATS = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16}


def scopes_of(node: ir.Node) -> list[str]:
    """Return the dotted names of the modules around a node, outermost first."""
    text = node.metadata_props.get(SCOPES)
    if text is not None:
        return [scope for scope in re.findall(r"'([^']*)'", text)[:-1] if scope]
    return _scopes_from_name(node.name or "")


def is_float(value: ir.Value) -> bool:
    """Return whether a value holds floating-point numbers; unknown types count as such."""
    return value.dtype is None or value.dtype in _FLOATS


def _scopes_from_name(name: str) -> list[str]:
    """Read "/layer1/layer1.0/Conv" as layer1, layer1.0: children of a Sequential repeat their parent's name."""
    if not name.startswith("/"):
        return []
    scopes: list[str] = []
    for part in name.split("/")[1:-1]:
        parent = scopes[-1] if scopes else ""
        head, _, tail = part.rpartition(".")
        own = tail if head and (parent == head or parent.endswith(f".{head}")) else part
        scopes.append(f"{parent}.{own}" if parent else own)
    return scopes
