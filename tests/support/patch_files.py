"""A patch file that uses every field, and the faults that a file is refused for."""

from pathlib import Path

import pytest

from ganpatch import GanpatchError, Patch

FULL = f"""format: ganpatch/1
name: churches-smears
description: Smeared skies and broken roofs, flagged by eye among 512 units.
model:
  name: churches
  fingerprint:
    structure: sha256:{"0" * 64}
    weights: sha256:{"1" * 64}
edits:
  - id: smears
    layer: layer4
    channels: 512
    units: [12, 77, 301]
    reason: smeared sky
  - id: soft
    layer: layer6
    channels: 256
    units: [5, 9]
    alpha: [0.8, 0.5]
    value: [0.031, -0.12]
    above: 2.5
    call: 0
evidence:
  seeds: 0-999
  fd:
    before: 0
    after: 0.5
provenance:
  tool: ganpatch 0.1.0
  created: '2026-11-23T07:50:00Z'
"""


def write(folder: Path, text: str) -> Path:
    """Write `text` as fix.yaml."""
    path = folder / "fix.yaml"
    path.write_text(text)
    return path


def faults(path: Path) -> list[str]:
    """Return the faults that a patch file is refused for, one per line."""
    with pytest.raises(GanpatchError) as fault:
        Patch.load(path)
    return str(fault.value).replace(str(path), "fix.yaml").splitlines()
