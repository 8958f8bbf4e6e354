"""Small ONNX graphs as other tools write them, with random weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ganpatch.families.loading import load
from ganpatch.generator.generator import Generator

Size = int | str  # a name for an open one
Declared = tuple[str, int, Sequence[Size] | None]
FLOAT, HALF, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64


def node(kind: str, inputs: str, output: str, **given: object) -> onnx.NodeProto:
    """Return a node without a name; `inputs` are names with spaces between them."""
    return helper.make_node(kind, inputs.split(), output.split(), **given)


def weights(**shapes: Sequence[int]) -> dict[str, np.ndarray]:
    source = np.random.default_rng(0)
    return {name: source.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Declared],
    outputs: Sequence[Declared],
    held: Mapping[str, np.ndarray],
    **given: int,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    opset = given.get("opset", 17)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=given.get("ir", 8))
    onnx.save(model, path)
    return path


def decoder(path: Path, *, batch: Size = "n", name: str = "") -> Path:
    """A latent of 6 numbers to pictures of 8x8 by two convolutions, without names."""
    nodes = [
        node("ConvTranspose", "z w0", "a", strides=[4, 4], kernel_shape=[4, 4]),
        node("Relu", "a", "b"),
        node("ConvTranspose", "b w1", "c", strides=[2, 2], kernel_shape=[2, 2], name=name),
        node("Tanh", "c", "img"),
    ]
    held = weights(w0=(6, 10, 4, 4), w1=(10, 3, 2, 2))
    return save(path, nodes, [("z", FLOAT, [batch, 6, 1, 1])], [("img", FLOAT, [batch, 3, 8, 8])], held)


def opened(path: Path, **options: object) -> Generator:
    return load(path, **options)
