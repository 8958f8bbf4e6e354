"""ONNX graphs as files: loaded with the shapes of their values, saved with their tensors inside or beside them.

Example:

    model = load_graph(Path("model.onnx"))
    save_graph(model, Path("fixed.onnx"), "fixed.onnx.data")
"""

import os
import re
import secrets
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ShapeInferencePass

from ganpatch.disk.json_files import parsed_json
from ganpatch.errors import GanpatchError, explained, silenced
from ganpatch.generator.fingerprints import Fingerprint, fingerprint_of
from ganpatch.graph.onnx_addresses import values_read
from ganpatch.graph.onnx_layers import LARGEST_SINGLE
from ganpatch.graph.onnx_scopes import is_float
from ganpatch.untrusted.onnx_files import external_places, read_onnx

CROPPED = "ganpatch.cropped"  # in the metadata: pictures keep their scale
_RECORD = "ganpatch.record"
_OLDEST_OPSET = 7
_FIRST_WITH_DEFAULTS = 4  # version of the format: before it, every weight had to be an input too


def load_graph(source: Path, *, shapes: bool = True) -> ir.Model:
    """Load an ONNX file, with the shapes of its values; raise GanpatchError when it is broken or too old.

    Nodes are sorted where they are not, and weights that are inputs too are only weights.
    """
    with explained(f"'{source}' is not a readable ONNX file"), silenced("onnx_ir"):
        model = ir.from_proto(read_onnx(source))
        ir.external_data.set_base_dir(model.graph, str(source.parent))
    _drop_weights_from_inputs(model)
    if not _is_sorted(model.graph):
        with explained(f"'{source}': its operations depend on each other in a circle"):
            model.graph.sort()
    opset = model.opset_imports.get("", 0)
    if opset < _OLDEST_OPSET:
        raise GanpatchError(f"'{source}' is of opset {opset}; {_OLDEST_OPSET} or later is needed")
    if shapes and any(value.shape is None for node in model.graph for value in node.outputs):
        what = f"'{source}': its shapes do not go together"
        with explained(what), silenced("onnx_ir"):
            ShapeInferencePass()(model)
    return model


def _drop_weights_from_inputs(model: ir.Model) -> None:
    inputs = model.graph.inputs
    weights = [value for value in inputs if value.is_initializer()]
    for value in weights:
        inputs.remove(value)
    if weights and model.ir_version < _FIRST_WITH_DEFAULTS:
        model.ir_version = _FIRST_WITH_DEFAULTS


def _is_sorted(graph: ir.Graph) -> bool:
    seen: set[ir.Node] = set()
    for node in graph:
        makers = [value.producer() for value in values_read(node)]
        if any(maker is not None and maker not in seen for maker in makers):
            return False
        seen.add(node)
    return True


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


def graph_fingerprint(model: ir.Model) -> tuple[Fingerprint, bool]:
    """Return the fingerprint of a graph, and whether it is that of the torch model that it was exported from.

    A graph that `ganpatch export` wrote without a patch records it; else it is that of the graph's own weights, which
    equals the torch model's where the exporter kept them as they were.
    """
    record = parsed_json(model.metadata_props.get(_RECORD) or "{}", f"the metadata {_RECORD}")
    base = record.get("base") if isinstance(record, dict) and not record.get("patches") else None
    if isinstance(base, dict) and all(_is_print(base.get(part)) for part in ("structure", "weights")):
        return Fingerprint(base["structure"], base["weights"]), True
    buffers = {
        value
        for node in model.graph
        if node.op_type == "BatchNormalization"
        for value in node.inputs[3:5]
        if value is not None
    }
    own = {str(name): value for name, value in model.graph.initializers.items() if value not in buffers}
    return fingerprint_of((name, _tensor(value)) for name, value in own.items() if is_float(value)), False


def _is_print(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(r"sha256:[0-9a-f]{64}", text) is not None


def _tensor(value: ir.Value) -> torch.Tensor:
    assert value.const_value is not None
    array = np.array(value.const_value.numpy())  # a copy: those of a file cannot be written to
    return torch.from_numpy(array if array.dtype.kind == "f" else array.view(np.uint8))
