"""Read ONNX files from untrusted sources. External tensor files are read only from the same folder.

Example:

    read_onnx(Path("model.onnx")).metadata_props
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
import onnxruntime
import torch

from ganpatch.disk.atomic_files import plain_size, refuse_other_names
from ganpatch.errors import GanpatchError, explained

_LARGEST = 1 << 31  # protobuf holds no more
_SIZES: dict[int, int] = {
    onnx.TensorProto.FLOAT: 4,
    onnx.TensorProto.FLOAT16: 2,
    onnx.TensorProto.DOUBLE: 8,
    onnx.TensorProto.INT64: 8,
    onnx.TensorProto.INT32: 4,
}


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read a graph without its external tensors; raise GanpatchError when it is broken or they are elsewhere."""
    refuse_other_names(path)
    if plain_size(path) > _LARGEST:
        raise GanpatchError(f"'{path}' is not a readable ONNX file: it is larger than {_LARGEST:,} bytes")
    with explained(f"'{path}' is not a readable ONNX file"):
        model = onnx.load(path, format="protobuf", load_external_data=False)
        for message in _messages(model):
            _check_texts(message)
            if isinstance(message, onnx.TensorProto):
                _check_tensor(path, message)
    return model


def open_session(
    path: Path, providers: Sequence[str] = ("CPUExecutionProvider",), threads: int = 0
) -> onnxruntime.InferenceSession:
    """Open a graph in onnxruntime; raise GanpatchError when it is broken, or points out of its folder."""
    read_onnx(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it says is raised as well
    options.intra_op_num_threads = threads
    with explained(f"onnxruntime cannot load '{path}'"):
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))


def open_parts(path: Path, part: onnx.ModelProto, shared: Mapping[str, Any]) -> onnxruntime.InferenceSession:
    """Open a part of the graph in `path`; `shared` are the weights that are held in memory outside of it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_external_initializers(list(shared), list(shared.values()))
    with explained(f"onnxruntime cannot load '{path}'"):
        return onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])


def onnx_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of an ONNX file."""
    return {entry.key: entry.value for entry in read_onnx(path).metadata_props}


def external_places(path: Path) -> set[str]:
    """Return the files beside a graph that hold its tensors."""
    tensors = [part for part in _messages(read_onnx(path)) if isinstance(part, onnx.TensorProto)]
    outside = [tensor for tensor in tensors if tensor.data_location == onnx.TensorProto.EXTERNAL]
    return {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"}


def _check_tensor(path: Path, tensor: onnx.TensorProto) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        found = {entry.key: entry.value for entry in tensor.external_data}
        _check_place(path, found.get("location", ""))
    elif tensor.HasField("raw_data") and tensor.data_type in _SIZES:
        wanted = math.prod(tensor.dims) * _SIZES[tensor.data_type]
        if len(tensor.raw_data) != wanted:
            raise ValueError(f"'{tensor.name[:60]}' has {len(tensor.raw_data):,} bytes and should have {wanted:,}")


def _check_place(path: Path, location: str) -> None:
    """Raise for a file outside the graph's folder, also through a link."""
    place, folder = PurePosixPath(location), path.parent.resolve()
    outside = not location or place.is_absolute() or ".." in place.parts or "\\" in location or ":" in location
    if outside or not (folder / location).resolve().is_relative_to(folder):
        raise GanpatchError(f"'{path}' takes tensors from '{location[:60]}', which leaves its folder")
    plain_size(path.parent / location)


def _check_texts(message: Any) -> None:
    """Raise ValueError for a name that is not UTF-8, which protobuf returns as bytes."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            for text in value if field.is_repeated else (value,):
                if isinstance(text, bytes):
                    raise ValueError(f"{type(message).__name__}.{field.name} {text[:60]!r} is not UTF-8")


def _messages(message: Any) -> Iterator[Any]:
    """Yield a message and all messages in it: of a graph its nodes, functions, subgraphs and tensors."""
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in value if field.is_repeated else (value,):
                yield from _messages(part)
