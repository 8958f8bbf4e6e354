"""What an ONNX graph costs as a generator: over bare passes of onnxruntime, and next to the same generator in torch."""

import tempfile
from pathlib import Path

import torch

import ganpatch
from ganpatch.forward.activations import batched
from ganpatch.graph.remainder import Remainder
from ganpatch.ranking.ranker import rank
from ganpatch.untrusted.onnx_files import open_session
from tools.benchmarks.measure import Case, How, bare, ratios


def on_graph(case: Case, how: How) -> dict[str, str]:
    """Rank an export, and run the torch module that it was made of; in units of onnxruntime's own passes."""
    torch.set_num_threads(1)
    module, seeds, given = ganpatch.load(case.model), range(case.images), {"batch_size": how.batch_size}
    with tempfile.TemporaryDirectory() as folder:
        path = ganpatch.export_onnx(module, Path(folder) / "g.onnx").path
        graph, session = ganpatch.load(path), open_session(path, threads=1)
        names = [entry.name for entry in session.get_inputs()]

        def limit() -> None:
            for part in batched(seeds, how.batch_size):
                inputs = graph.inputs_of(part)
                session.run(None, dict(zip(names, (tensor.numpy() for tensor in inputs), strict=True)))

        jobs = {
            "rank a graph, 1 layer": lambda: rank(graph, [case.one], seeds, **given),
            "bare forward in torch": lambda: bare(module, case.images, how.batch_size),
        }
        found = {f"{name} [x onnxruntime]": f"{ratio:.2f}" for name, ratio in ratios(limit, jobs, how).items()}
        return {**found, "one image after an edited layer of a graph [ms]": f"{1000 * _edited(graph, case, how):.0f}"}


@torch.inference_mode()
def _edited(graph: ganpatch.Generator, case: Case, how: How) -> float:
    remainder = Remainder.of(graph, case.one)
    prefix = remainder.prefix([0])
    remainder(prefix, lambda y: y * 0)
    return min(how.seconds(lambda: remainder(prefix, lambda y: y * 0)) for _ in range(10))
