"""Writing a repaired file: the user's file with a patch in it, of the kind that its name asks for, and proved.

    repaired = repair(generator, patch, source=Path("model.pt"), output=Path("model.fixed.pt"))

Weights keep the shape of the input, optimisers and all, so that the code that made it loads them unchanged; an
exported program (.pt2) also holds what weights cannot. Next to weights is a small backup of the tensors that were
touched, from which `ganpatch revert` restores them bit for bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ganpatch.disk.atomic_files import enduring, refuse_same_file, replacing_both
from ganpatch.errors import GanpatchError, near_miss
from ganpatch.export.file_runners import compared, open_runner, output_of
from ganpatch.export.patch_record import (
    ENTRY,
    KEY,
    AppliedPatch,
    Record,
    Touched,
    is_made_for_base,
    read_record,
    refuse_repetition,
    write_into_zip,
)
from ganpatch.families.loading import BUNDLED, weights_file
from ganpatch.fold.baking import Baked, bake, refusal, with_state
from ganpatch.generator.configuration import NAME
from ganpatch.generator.fingerprints import fingerprint, tensor_digest
from ganpatch.generator.generator import Generator
from ganpatch.graph.traced_graph import dynamic_batch, exported
from ganpatch.option_values import Mode
from ganpatch.patch.applying import edits_applied
from ganpatch.patch.patch_file import Patch, Prints
from ganpatch.untrusted.exported_programs import load_script
from ganpatch.untrusted.weight_files import Checkpoint, kind_of, read_checkpoint, write_checkpoint

KINDS = {
    ".safetensors": "safetensors",
    **dict.fromkeys((".pt", ".pth", ".tar", ".ckpt", ".bin"), "torch"),
    ".ts": "torchscript",
    ".pt2": "pt2",
    ".onnx": "onnx",
}
_BATCHES = (3, 2)
_SEEDS = 300  # the first seed of the comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """A repaired file: the bake behind it, and how far the file itself, read back and run, is from the hooks."""

    path: Path
    baked: Baked
    difference: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options of `repair`: how to read the source, and how strict to be."""

    key: str | None = None
    mode: Mode = "auto"
    allow_other_weights: bool = False
    sequence: bool = False


_PLAIN = Request()


def repair(
    generator: Generator,
    patch: Patch,
    *,
    source: Path,
    output: Path,
    request: Request = _PLAIN,
) -> Repaired:
    """Write `source`, from which `generator` was loaded, with `patch` in it, as the kind of file that `output` names.

    Raises GanpatchError, and writes nothing, when the patch is already in the file, an edit does not fit into that kind
    of file, or what was written does not equal the hooks.
    """
    kind = file_kind(output, source)
    if kind == "onnx":
        raise GanpatchError(f"'{output}': ONNX is written by 'ganpatch export', in Python by export_onnx")
    refuse_same_file(output, source)
    before = read_record(source)
    refuse_repetition(source, before, patch, sequence=request.sequence)
    known = is_made_for_base(before, patch, generator.fingerprint.weights)
    baked = bake(generator, patch, mode=request.mode, allow_other_weights=request.allow_other_weights or known)
    if baked.inserted and kind != "pt2":
        raise GanpatchError(refusal(patch, baked.decisions))
    stored = generator.module.state_dict() if kind == "pt2" else stored_tensors(source, generator, request.key)
    record = _record(generator, patch, baked, before, stored)
    with replacing_both(output, backup_path(output)) as (temporary, backup):
        _write(generator, baked, kind, (source, temporary), request, record)
        difference = _proved(generator, patch, temporary, output)
        if kind != "pt2":
            _write_backup(backup, {name: stored[name] for name in baked.changed}, record, before)
    return Repaired(path=output, baked=baked, difference=difference)


def file_kind(path: Path, source: Path) -> str:
    """Return from a file name which kind to write; TorchScript has no suffix of its own, and stays what it is."""
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise GanpatchError(f"'{path}': a repaired file ends in {', '.join(KINDS)}{near_miss(path.suffix, KINDS)}")
    return "torchscript" if kind == "torch" and kind_of(source) == "torchscript" else kind


def source_file(model: str | Path | None) -> Path:
    """Return the file that holds the weights of MODEL; raise GanpatchError when code makes them."""
    source = weights_file(model)
    if source is None:
        raise GanpatchError(
            f"'{model or NAME}' has no file of weights to repair; export it with 'ganpatch export', "
            "or save its state_dict and name the code with --arch"
        )
    return source


def repaired_path(source: Path) -> Path:
    """Name the repaired file: model.pt -> model.fixed.pt next to it; a bundled model's in the working folder."""
    folder = Path() if source in BUNDLED.values() else source.parent
    suffix = ".pt" if source.suffix == ".pkl" else source.suffix  # a pickle is not written again: it holds code
    return folder / f"{source.stem}.fixed{suffix}"


def backup_path(output: Path) -> Path:
    """Name the backup of the touched tensors: model.fixed.pt -> model.fixed.pt.backup."""
    return output.with_name(f"{output.name}.backup")


def stored_tensors(source: Path, generator: Generator, key: str | None) -> Mapping[str, Tensor]:
    """Return the tensors of `source` by their names in the generator's module, in their stored dtypes."""
    if kind_of(source) == "torchscript":
        return load_script(source).state_dict()
    return read_source(source, generator, key).state


def _record(
    generator: Generator, patch: Patch, baked: Baked, before: Record | None, stored: Mapping[str, Tensor]
) -> Record:
    rounded = {name: tensor.to(stored[name].dtype) for name, tensor in baked.changed.items()}
    applied = AppliedPatch.of(patch, {edit.id for edit in baked.inserted})
    proof = baked.proof
    return Record(
        base=before.base if before and before.base else Prints.of(generator.fingerprint),
        result=Prints.of(fingerprint(with_state(generator.module, rounded))),
        patches=(*(before.patches if before else ()), applied),
        touched={
            name: Touched(before=tensor_digest(stored[name]), after=tensor_digest(tensor))
            for name, tensor in rounded.items()
        },
        proof={"float64": proof.float64, "float32": proof.float32, "largest": proof.largest, "effect": proof.effect},
    )


def _write(
    generator: Generator, baked: Baked, kind: str, paths: tuple[Path, Path], request: Request, record: Record
) -> None:
    """Write from `paths` (source, output) one kind of file, with the record in it."""
    source, output = paths
    text = record.model_dump_json()
    if kind == "pt2":
        program = _program(generator, baked)
        with enduring(output) as file:
            torch.export.save(program, file, extra_files={ENTRY: text})
    elif kind == "torchscript":
        if kind_of(source) != "torchscript":
            raise GanpatchError(f"TorchScript is written from TorchScript only; '{source}' is not")
        script = load_script(source)
        state = script.state_dict()
        with torch.no_grad():
            for name, tensor in baked.changed.items():
                state[name].copy_(tensor)
        with enduring(output) as file:
            torch.jit.save(script, file, _extra_files={ENTRY: text})
    else:
        checkpoint = read_source(source, generator, request.key)
        write_checkpoint(checkpoint, baked.changed, kind, output, metadata={**checkpoint.metadata, KEY: text})
        if kind == "torch":
            write_into_zip(output, record)


def read_source(source: Path, generator: Generator, key: str | None) -> Checkpoint:
    """Read the checkpoint that `generator` was loaded from."""
    if kind_of(source) not in ("safetensors", "torch"):
        raise GanpatchError(f"'{source}' holds no plain weights; write a .pt2 or .onnx instead")
    return read_checkpoint(source, key=key, recognised=generator.fits)


def _program(generator: Generator, baked: Baked) -> torch.export.ExportedProgram:
    """Export the repaired module, inserted edits and all, with a dynamic batch size where the model has one."""
    module = baked.module(generator.module)
    inputs = generator.inputs_of(range(2))
    with edits_applied(module, baked.inserted), torch.no_grad():
        module(*inputs)  # the edits' tensors are made for real here, not while tracing
        return exported_program(module, inputs)


def exported_program(module: torch.nn.Module, inputs: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    """Export a module with a dynamic batch size, or with that of `inputs` if it allows no other."""
    try:
        return exported(module, inputs, dynamic_batch(module, inputs))
    except GanpatchError:
        return exported(module, inputs)


def _proved(generator: Generator, patch: Patch, written: Path, output: Path) -> float:
    """Compare what was written with the hooks; raise GanpatchError when they disagree."""
    runner = open_runner(written, generator)
    difference = largest = 0.0
    for size in (runner.batch,) if runner.batch else _BATCHES:
        inputs = generator.inputs_of(range(_SEEDS, _SEEDS + size))
        wanted = output_of(generator.module, inputs, patch.edits)
        difference = max(difference, compared(wanted, runner.run(inputs)).largest)
        largest = max(largest, wanted.abs().max().item())
    if not difference <= runner.tolerance * largest:
        gap = f"differs from the hooks by {difference:.2g} where outputs reach {largest:.3g}"
        raise GanpatchError(f"'{output}' is not written: it {gap}")
    return difference


def _write_backup(path: Path, tensors: Mapping[str, Tensor], record: Record, before: Record | None) -> None:
    """Keep the touched tensors as they were in the source."""
    metadata = {KEY: record.model_dump_json()} | ({"previous": before.model_dump_json()} if before else {})
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, path, metadata)
