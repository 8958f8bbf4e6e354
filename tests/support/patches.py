"""Patches for tests: one of a made-up model, and one edit of each kind for a layer of a real one."""

from collections.abc import Callable
from typing import Any

import torch

from ganpatch import Edit, Generator, Mask, Patch
from ganpatch.forward.layer_facts import LayerFacts
from ganpatch.patch.patch_file import Model, Prints

PRINTS = Prints(structure=f"sha256:{'0' * 64}", weights=f"sha256:{'1' * 64}")

KINDS: dict[str, Callable[[LayerFacts], dict[str, Any]]] = {
    "ablate": lambda fact: {},
    "scale": lambda fact: {"alpha": 0.5},
    "constant": lambda fact: {"value": 0.3},
    "blend": lambda fact: {"alpha": 0.5, "value": 0.4},
    "gated": lambda fact: {"above": 0.1},
    "masked": lambda fact: {"mask": Mask.of(torch.rand(*fact.size, generator=torch.Generator().manual_seed(0)))},
}


def made_up_patch(*edits: Edit, **fields: Any) -> Patch:
    """Return a patch for a model that is not there."""
    return Patch(**{"name": "p", "model": Model(name="m", fingerprint=PRINTS), "edits": edits, **fields})


def edit_for(fact: LayerFacts, kind: str, *, edit: str = "e") -> Edit:
    """Return an edit of this kind of the first two units of a layer."""
    return Edit(id=edit, layer=fact.name, channels=fact.units, units=(0, 1), **KINDS[kind](fact))


def patch_of(generator: Generator, edits: list[Edit]) -> Patch:
    return Patch(name="p", model=Model.of(generator.name, generator.fingerprint), edits=edits)
