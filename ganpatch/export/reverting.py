"""Revert a repaired file: restore the touched tensors, bit for bit, from the backup next to it.

Example:

    revert(Path("model.fixed.pt"), Path("model.reverted.pt"))
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ganpatch.disk.atomic_files import candidates, enduring, refuse_same_file, replacing
from ganpatch.disk.tensor_files import opened_tensors
from ganpatch.errors import GanpatchError, listed
from ganpatch.export.patch_record import ENTRY, KEY, Record, parse_record, read_record, write_into_zip
from ganpatch.export.repairing import backup_path
from ganpatch.generator.fingerprints import tensor_digest
from ganpatch.untrusted.exported_programs import load_script
from ganpatch.untrusted.weight_files import kind_of, read_checkpoint, write_checkpoint


def revert(path: str | Path, output: str | Path | None = None) -> list[str]:
    """Write `path` as it was before its last patch, to `output`, and return the names of the restored tensors.

    Without `output`: next to `path`, as `reverted_path` names it.

    Raises GanpatchError, and writes nothing, when the file holds no patch, its backup is missing or of another file,
    the touched tensors have changed since, or it is of a kind that holds inserted operations.
    """
    path, output = Path(path), Path(output or reverted_path(Path(path)))
    kind = kind_of(path)
    if kind in ("onnx", "pt2"):
        what = "an ONNX graph" if kind == "onnx" else "an exported program"
        raise GanpatchError(
            f"'{path}' is {what}, which can hold inserted operations: go back to the file it was made from"
        )
    refuse_same_file(output, path)
    record = read_record(path)
    if record is None:
        raise GanpatchError(f"'{path}' holds no patch of ganpatch")
    backup, metadata = _read_backup(path, record)
    previous = metadata.get("previous")
    write = _revert_script if kind == "torchscript" else _revert_weights
    with replacing(output) as temporary:
        write(path, temporary, backup, record, previous)
    return sorted(backup)


def reverted_path(path: Path) -> Path:
    """Return the name of the restored file: model.fixed.pt -> model.fixed.reverted.pt."""
    return path.with_name(f"{path.stem}.reverted{path.suffix}")


def _read_backup(path: Path, record: Record) -> tuple[dict[str, Tensor], dict[str, str]]:
    place = backup_path(path)
    for candidate in candidates(place):
        if candidate.exists():
            with opened_tensors(candidate, f"the backup '{candidate}' is broken") as file:
                if file.metadata.get(KEY) == record.model_dump_json():
                    return file.tensors(), file.metadata
    if not place.exists():
        raise GanpatchError(f"the backup '{place}' is missing; without it, go back to the original file")
    raise GanpatchError(f"the backup '{place}' is of another file than '{path}'")


def _refuse_changed(path: Path, state: Mapping[str, Tensor], record: Record, backup: Mapping[str, Tensor]) -> None:
    """Raise GanpatchError when a touched tensor is not what the patch made of it."""
    after = {name: touched.after for name, touched in record.touched.items()}
    changed = [name for name in backup if name not in state or tensor_digest(state[name]) != after.get(name)]
    if changed:
        raise GanpatchError(f"'{path}' was changed after the patch ({listed(changed, 3)}); it is not reverted")


def _revert_weights(path: Path, output: Path, backup: dict[str, Tensor], record: Record, previous: str | None) -> None:
    checkpoint = read_checkpoint(path, recognised=lambda state: set(backup) <= set(state))
    _refuse_changed(path, checkpoint.state, record, backup)
    metadata = {name: text for name, text in checkpoint.metadata.items() if name != KEY}
    metadata |= {KEY: previous} if previous else {}
    write_checkpoint(checkpoint, backup, checkpoint.kind, output, metadata=metadata)
    if previous and checkpoint.kind == "torch":
        write_into_zip(output, parse_record(previous, path))


def _revert_script(path: Path, output: Path, backup: dict[str, Tensor], record: Record, previous: str | None) -> None:
    script = load_script(path)
    state = script.state_dict()
    _refuse_changed(path, state, record, backup)
    with torch.no_grad():
        for name, tensor in backup.items():
            state[name].copy_(tensor)
    with enduring(output) as file:
        torch.jit.save(script, file, _extra_files={ENTRY: previous} if previous else None)
