"""Run any file that contains a generator on the same inputs: weights, .pt2, TorchScript, ONNX.

Example:

    runner = open_runner(Path("fixed.onnx"), generator)
    gap = compared(wanted, runner.run(inputs))          # Gap(largest=…, mean=…, place=…)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ganpatch.errors import GanpatchError, explained
from ganpatch.fold.baking import with_state
from ganpatch.generator.backend import Backend
from ganpatch.generator.generator import Generator
from ganpatch.generator.layers import tensor_of
from ganpatch.generator.random_state import random_state_kept
from ganpatch.patch.applying import edits_applied
from ganpatch.patch.edit import Edit
from ganpatch.untrusted.exported_programs import load_program, load_script
from ganpatch.untrusted.weight_files import kind_of, read_checkpoint

if TYPE_CHECKING:
    import onnxruntime

# What a kind of file may differ by, relative to the largest output value. torch does the same sums in another order;
# onnxruntime too, and 1e-7 to 3e-6 was seen on six families; rounding weights to half precision costs more.
TOLERANCES = {"float32": 1e-5, "onnx": 5e-5, "float16": 1e-2, "bfloat16": 5e-2}

Inputs = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A file that can be run: what it is, the batch size if that is fixed, and how much it may differ."""

    kind: str
    run: Callable[[Inputs], Tensor]
    tolerance: float
    batch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The difference of two outputs: its largest value and where that is, (image, channel, y, x), and its mean."""

    largest: float
    mean: float
    place: tuple[int, ...]


def compared(one: Tensor, other: Tensor) -> Gap:
    """Measure the difference of two outputs; one of another shape, or not finite, differs by infinity."""
    if one.shape != other.shape:
        return Gap(largest=float("inf"), mean=float("inf"), place=())
    gap = (one.double() - other.double()).abs().nan_to_num(nan=float("inf"))
    place = np.unravel_index(int(gap.argmax()), gap.shape)
    return Gap(largest=gap.max().item(), mean=gap.mean().item(), place=tuple(int(index) for index in place))


@torch.inference_mode()
def output_of(module: nn.Module, inputs: Inputs, edits: Sequence[Edit] = ()) -> Tensor:
    """Run a module, with `edits` as hooks; random numbers inside it are the same every time."""
    with edits_applied(module, edits), random_state_kept(seed=0):
        output = tensor_of(module(*inputs))
    if output is None:
        raise GanpatchError("the model's output has no tensor")
    return output


def open_runner(path: Path, generator: Generator, key: str | None = None) -> Runner:
    """Open a file of any kind; weights are put into a copy of the generator's module."""
    kind = kind_of(path)
    if kind == "onnx":
        return _open_graph(path, generator.module) if isinstance(generator.module, Backend) else open_onnx(path)
    if kind == "pt2":
        program = load_program(path)
        return Runner(
            kind="exported program",
            run=lambda inputs: output_of(program.module, inputs),
            tolerance=TOLERANCES["float32"],
            batch=program.batch,
        )
    if kind == "torchscript":
        script = load_script(path)
        return Runner(
            kind="TorchScript", run=lambda inputs: _run_script(script, inputs), tolerance=TOLERANCES["float32"]
        )
    return _open_weights(path, generator, key)


def _open_weights(path: Path, generator: Generator, key: str | None) -> Runner:
    checkpoint = read_checkpoint(path, key=key, recognised=generator.fits)
    stored = generator.own_tensors(checkpoint.state)
    unknown = sorted(set(stored) - set(generator.module.state_dict()))
    if unknown or not stored:
        raise GanpatchError(f"'{path}' does not hold weights of {generator.name}: it has '{[*unknown, 'none'][0]}'")
    module = with_state(generator.module, stored)
    dtypes = {str(tensor.dtype).removeprefix("torch.") for tensor in stored.values()}
    tolerance = max(TOLERANCES.get(dtype, TOLERANCES["float32"]) for dtype in dtypes)
    return Runner(kind="weights", run=lambda inputs: output_of(module, inputs), tolerance=tolerance)


def _open_graph(path: Path, module: Backend) -> Runner:
    """Open an ONNX file that is fed as the graph of `module` is."""
    other = module.reopened(path)
    return Runner(kind="ONNX graph", run=lambda inputs: output_of(other, inputs), tolerance=TOLERANCES["onnx"])


def open_onnx(path: Path) -> Runner:
    """Open an ONNX file in onnxruntime on the CPU; its first output is compared."""
    from ganpatch.untrusted.onnx_files import open_session  # onnxruntime takes long to import

    session = open_session(path)
    entries = session.get_inputs()
    size = entries[0].shape[0] if entries and entries[0].shape else None

    def run(inputs: Inputs) -> Tensor:
        return torch.from_numpy(_outputs(path, session, inputs)[0])

    half = any(entry.type == "tensor(float16)" for entry in entries)
    return Runner(
        kind="ONNX graph",
        run=run,
        tolerance=TOLERANCES["float16" if half else "onnx"],
        batch=size if isinstance(size, int) else None,
    )


def outputs_by_name(path: Path, inputs: Inputs) -> dict[str, np.ndarray]:
    """Run an ONNX file and return all of its outputs."""
    from ganpatch.untrusted.onnx_files import open_session  # onnxruntime takes long to import

    session = open_session(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, _outputs(path, session, inputs), strict=True))


def _outputs(path: Path, session: "onnxruntime.InferenceSession", inputs: Inputs) -> list[np.ndarray]:
    fed = _feed(path, session, inputs)
    with explained(f"'{path}' fails on inputs {', '.join(str(list(part.shape)) for part in inputs)}"):
        return [np.array(array) for array in session.run(None, fed)]


def _feed(path: Path, session: "onnxruntime.InferenceSession", inputs: Inputs) -> dict[str, np.ndarray]:
    entries = session.get_inputs()
    if len(inputs) != len(entries):
        raise GanpatchError(f"'{path}' takes {len(entries)} inputs, not {len(inputs)}")
    wide = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
    return {
        entry.name: tensor.cpu().numpy().astype(wide.get(entry.type, np.int64), copy=False)
        for entry, tensor in zip(entries, inputs, strict=True)
    }


@torch.inference_mode()
def _run_script(script: torch.jit.ScriptModule, inputs: Inputs) -> Tensor:
    output = tensor_of(script(*inputs))
    if output is None:
        raise GanpatchError("the TorchScript model's output has no tensor")
    return output
