"""ONNX graphs as files: loaded with the shapes of their values, saved with their tensors inside or beside them.

Example:

    model = load_graph(Path("model.onnx"))
    save_graph(model, Path("fixed.onnx"), "fixed.onnx.data")
"""

import os
import re
import secrets
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from ganpatch.errors import GanpatchError, explained, silenced
from ganpatch.graph.onnx_layers import LARGEST_SINGLE
from ganpatch.untrusted.onnx_files import external_places, read_onnx

_OLDEST_OPSET = 9


def load_graph(source: Path, *, shapes: bool = True) -> ir.Model:
    """Load an ONNX file, with the shapes of its values; raise GanpatchError when it is broken or too old."""
    with explained(f"'{source}' is not a readable ONNX file"), silenced("onnx_ir"):
        model = ir.from_proto(read_onnx(source))
        ir.external_data.set_base_dir(model.graph, str(source.parent))
    opset = model.opset_imports.get("", 0)
    if opset < _OLDEST_OPSET:
        raise GanpatchError(f"'{source}' is of opset {opset}; {_OLDEST_OPSET} or later is needed")
    if shapes and any(value.shape is None for node in model.graph for value in node.outputs):
        what = f"'{source}': its shapes do not go together"
        with explained(what), silenced("onnx_ir"):
            ShapeInferencePass()(model)
    return model


def save_graph(model: ir.Model, path: Path, data: str = "") -> None:
    """Write a graph; its tensors into `data` beside it where they came from such a file, or are too large for one."""
    tensors = [value.const_value for value in model.graph.initializers.values() if value.const_value is not None]
    external = any(isinstance(tensor, ir.ExternalTensor) for tensor in tensors)
    large = sum(tensor.nbytes for tensor in tensors) > LARGEST_SINGLE
    with explained("the patched graph cannot be written"), silenced("onnx_ir"):
        ir.save(model, path, external_data=data or f"{path.name}.data" if external or large else None)


def _data_names(output: Path) -> list[str]:
    """List the files of tensors that graphs at `output` have."""
    own = re.compile(re.escape(output.name) + r"(\.[0-9a-f]{8})?\.data")
    return [name for name in os.listdir(output.parent) if own.fullmatch(name)]


def free_data_name(output: Path) -> str:
    """Name a file for the tensors of a graph; an existing graph at `output` keeps its own until it is replaced."""
    taken = _data_names(output)
    return f"{output.name}.{secrets.token_hex(4)}.data" if taken else f"{output.name}.data"


def move_into_place(folder: Path, source: Path, output: Path, data: str) -> None:
    """Move a graph, and before it the file of its tensors, into place; then delete the files of the former graph."""
    former = set(_data_names(output)) - external_places(source)
    if (folder / data).exists():
        (folder / data).replace(output.with_name(data))
    (folder / output.name).replace(output)
    for name in former:
        output.with_name(name).unlink(missing_ok=True)
