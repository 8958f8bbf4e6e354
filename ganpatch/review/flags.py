"""Which flags a command means: named units, a downloaded file, or what the review server saved."""

from pathlib import Path

from ganpatch.errors import GanpatchError
from ganpatch.ranking import Manifest
from ganpatch.review.verdicts import VERDICTS, Flag, read_verdicts
from ganpatch.spans import parse_spans


def chosen_flags(
    folder: Path, manifest: Manifest, *, units: str | None, layer: str | None, reason: str, verdicts: Path | None
) -> tuple[Flag, ...]:
    """Give the flags that were asked for; raise GanpatchError when the request is unclear."""
    if units is not None and verdicts is not None:
        raise GanpatchError("give --units or --verdicts, not both")
    if units is not None:
        name = layer or _only_layer(manifest)
        return tuple(Flag(layer=name, unit=unit, reason=reason) for unit in parse_spans(units, what="unit"))
    if layer or reason:
        raise GanpatchError("--layer and --reason go with --units")
    path = verdicts or folder / VERDICTS
    if not path.exists():
        raise GanpatchError(
            f"nothing is flagged in '{folder}' yet: give --units or --verdicts, or use 'ganpatch review'"
        )
    return read_verdicts(path, manifest).flags


def _only_layer(manifest: Manifest) -> str:
    if len(manifest.layers) > 1:
        raise GanpatchError(f"the run ranks {', '.join(manifest.layers)}; say which one with --layer")
    return next(iter(manifest.layers))
