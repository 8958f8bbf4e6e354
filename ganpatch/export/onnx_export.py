"""ONNX: a generator with a patch inside, one file, proved in onnxruntime against the hooks before it is written.

    export_onnx(generator, Path("fixed.onnx"), patch=patch)

What weights can hold is folded, the rest is inserted as Mul, Add and Where behind its layer. The batch size is
dynamic. The metadata names the patch, the model, and for every layer the value that it outputs: LAYERS below.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import onnx
import onnx_ir
import torch

from ganpatch.disk.atomic_files import refuse_other_names, replacing
from ganpatch.errors import GanpatchError, first_line
from ganpatch.export.file_runners import TOLERANCES, compared, open_onnx, output_of
from ganpatch.export.onnx_patching import patch_onnx
from ganpatch.export.patch_record import KEY, AppliedPatch, Record
from ganpatch.fold.baking import Baked, bake
from ganpatch.fold.planning import Decision
from ganpatch.generator.fingerprints import fingerprint
from ganpatch.generator.generator import Generator
from ganpatch.generator.input_files import Images
from ganpatch.generator.layers import layer_names
from ganpatch.graph.grouped_convolutions import Unfused
from ganpatch.graph.onnx_graphs import CROPPED
from ganpatch.graph.onnx_layers import LARGEST_SINGLE, LAYERS, layer_values
from ganpatch.graph.onnx_module import GraphModule
from ganpatch.graph.onnx_parts import RANDOM
from ganpatch.graph.onnx_scopes import SCOPES, scopes_of
from ganpatch.graph.traced_graph import dynamic_batch
from ganpatch.option_values import Mode
from ganpatch.patch.applying import edits_applied
from ganpatch.patch.edit import Edit
from ganpatch.patch.patch_file import Patch, Prints
from ganpatch.version import VERSION

_BATCHES = (3, 1)
_SEEDS = 200  # the first seed of the comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An ONNX file: its largest difference to the hooks in torch, the largest output, the outcome of each edit."""

    path: Path
    difference: float
    largest: float
    decisions: tuple[Decision, ...]
    size: int


def export_onnx(
    generator: Generator,
    path: str | Path,
    *,
    patch: Patch | None = None,
    mode: Mode = "auto",
    batch: int | None = None,
    allow_other_weights: bool = False,
) -> Exported:
    """Write `generator`, with `patch` inside, as one ONNX file with a dynamic batch size, or a fixed one.

    Raises GanpatchError, and writes nothing, when torch cannot export the model, it draws random numbers in its
    forward pass, or onnxruntime differs from torch by more than TOLERANCES["onnx"] of the largest output value.
    """
    path = Path(path)
    refuse_other_names(path)
    if isinstance(generator.module, GraphModule):
        return _patched(generator.module, path, patch, mode, allow_other_weights=allow_other_weights)
    baked = bake(generator, patch, mode=mode, allow_other_weights=allow_other_weights) if patch else None
    model = _export(generator, baked, batch)
    _refuse_random(model)
    _refuse_large(generator, model)
    _clean(model)
    model.metadata_props.update(_metadata(generator, model))
    with replacing(path) as temporary:
        onnx_ir.save(model, temporary)
        _check(temporary)
        edits = patch.edits if patch else ()
        difference, largest = _compare(generator, edits, temporary, (batch,) if batch else _BATCHES)
        if not difference <= TOLERANCES["onnx"] * largest:
            raise GanpatchError(
                f"'{path}' is not written: onnxruntime differs from torch by {difference:.2g} "
                f"where outputs reach {largest:.3g}"
            )
        model.metadata_props.update(_record(generator, patch, baked, {"onnxruntime": difference, "largest": largest}))
        onnx_ir.save(model, temporary)
    decisions = baked.decisions if baked else ()
    return Exported(path=path, difference=difference, largest=largest, decisions=decisions, size=path.stat().st_size)


def _patched(
    module: GraphModule, path: Path, patch: Patch | None, mode: Mode, *, allow_other_weights: bool
) -> Exported:
    """Write a generator that is a graph, with `patch` in it."""
    if patch is None:
        raise GanpatchError(f"'{module.source}' is an ONNX graph already; with a patch it is written with that inside")
    done = patch_onnx(module.source, patch, path, mode=mode, allow_other_weights=allow_other_weights)
    return Exported(
        path=path,
        difference=done.difference,
        largest=done.largest,
        decisions=done.decisions,
        size=path.stat().st_size,
    )


def _export(generator: Generator, baked: Baked | None, batch: int | None) -> onnx_ir.Model:
    module = baked.module(generator.module) if baked else generator.module
    inserted = baked.inserted if baked else ()
    args = generator.inputs_of(range(batch or 2))
    names = ["z", "labels"][: len(args)]
    shapes = None if batch else dynamic_batch(module, args)
    with edits_applied(module, inserted), torch.inference_mode():
        module(*args)  # the edits' tensors are made for real here, not while tracing
        try:
            with _quiet(), torch.inference_mode(False), torch.no_grad(), Unfused():
                args = tuple(arg.clone() for arg in args)
                program = torch.onnx.export(
                    module,
                    args,
                    dynamo=True,
                    dynamic_shapes=shapes,
                    external_data=False,
                    input_names=names,
                    output_names=["images"],
                    verbose=False,
                )
        except Exception as fault:
            wish = "" if batch else " with a dynamic batch size"
            hint = "" if batch else "; --batch 1 fixes the batch size"
            raise GanpatchError(
                f"torch cannot export {generator.name} to ONNX{wish}: {_root_cause(fault)}{hint}"
            ) from fault
    assert program is not None
    shape = program.model.graph.inputs[0].shape
    if batch is None and shape is not None and isinstance(shape[0], int):
        raise GanpatchError(
            f"torch cannot export {generator.name} to ONNX with a dynamic batch size: its forward pass fixes it; "
            "--batch 1 fixes the batch size"
        )
    return program.model


def _root_cause(fault: BaseException) -> str:
    """Return the first line of the innermost cause: the exporter wraps it in pages of advice."""
    while fault.__cause__ is not None:
        fault = fault.__cause__
    lines = [line for line in str(fault).strip().splitlines() if line.strip()]
    return lines[0][:300] if lines else type(fault).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress lines and warnings to ourselves; its errors are raised."""
    import warnings

    with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _refuse_random(model: onnx_ir.Model) -> None:
    drawn = [node for node in model.graph if node.op_type in RANDOM]
    if drawn:
        scopes = scopes_of(drawn[0])
        raise GanpatchError(
            f"the model draws random numbers in its forward pass ({drawn[0].op_type} in "
            f"'{scopes[-1] if scopes else ''}'), which ONNX would draw without a seed; "
            "use constant or zero noise, or make the noise an input"
        )


def _refuse_large(generator: Generator, model: onnx_ir.Model) -> None:
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    if size > LARGEST_SINGLE:
        raise GanpatchError(
            f"{generator.name} has {size / 1e9:.1f} GB of weights, and one ONNX file holds 2 GB; export it with torch "
            "(external_data=True) and patch the graph: ganpatch apply model.onnx fix.yaml -o fixed.onnx"
        )


def _clean(model: onnx_ir.Model) -> None:
    """Remove local paths and code from the metadata."""
    for node in model.graph:
        for key in [key for key in node.metadata_props if key != SCOPES]:
            del node.metadata_props[key]
        node.doc_string = None
    model.producer_name, model.producer_version, model.doc_string = "ganpatch", VERSION, None


def _metadata(generator: Generator, model: onnx_ir.Model) -> dict[str, str]:
    low, high = generator.range
    found = {
        "ganpatch.model": generator.name,
        "ganpatch.latent": str(generator.latent),
        "ganpatch.range": f"{low:g},{high:g}",
        "ganpatch.weights": fingerprint(generator.module).weights,
        LAYERS: json.dumps(layer_values(model, layer_names(generator.module))),
    }
    if isinstance(generator.latent, Images) and generator.latent.cropped:
        found[CROPPED] = "true"
    if generator.labels:
        found["ganpatch.labels"] = str(generator.labels)
    return found


def _record(generator: Generator, patch: Patch | None, baked: Baked | None, proof: dict[str, float]) -> dict[str, str]:
    base = Prints.of(generator.fingerprint)
    if patch is None or baked is None:
        return {KEY: Record(base=base, patches=(), proof=proof).model_dump_json()}
    proof |= {"float64": baked.proof.float64, "float32": baked.proof.float32, "effect": baked.proof.effect}
    record = Record(base=base, patches=(AppliedPatch.of(patch, {edit.id for edit in baked.inserted}),), proof=proof)
    return {"ganpatch.patch": patch.to_yaml(), "ganpatch.patch.digest": patch.digest, KEY: record.model_dump_json()}


def _check(path: Path) -> None:
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as fault:
        raise GanpatchError(f"the exported graph is not valid ONNX: {first_line(fault, None)}") from fault


def _compare(generator: Generator, edits: Sequence[Edit], path: Path, batches: Sequence[int]) -> tuple[float, float]:
    """Return the largest difference between onnxruntime and the hooks in torch, and the largest output value."""
    runner = open_onnx(path)
    difference = largest = 0.0
    for size in batches:
        inputs = generator.inputs_of(range(_SEEDS, _SEEDS + size))
        wanted = output_of(generator.module, inputs, edits)
        difference = max(difference, compared(wanted, runner.run(inputs)).largest)
        largest = max(largest, wanted.abs().max().item())
    return difference, largest
