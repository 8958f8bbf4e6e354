"""Valid models of each kind that ganpatch reads: weights, networks, programs, graphs, and what it repaired."""

import json
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

import ganpatch
from ganpatch import Patch
from ganpatch.export.onnx_export import export_onnx
from ganpatch.export.onnx_patching import list_onnx_layers, patch_onnx
from ganpatch.export.patch_record import read_record
from ganpatch.export.repairing import repair
from ganpatch.export.reverting import revert
from ganpatch.patch.edit import Edit
from ganpatch.patch.patch_file import Model
from ganpatch.untrusted.onnx_files import read_onnx
from tests.support.conformance import Fixture, photos
from tests.support.fuzzing import passed, quiet
from tests.support.mutations import NUMBERS, TEXTS, Dice
from tests.support.nets import dcgan
from tests.support.own_files import LAYER, generator
from tests.support.shared import ROOT


def make_weights(folder: Path) -> None:
    state = dict(dcgan()[0].state_dict())
    torch.save({"g": state, "epoch": 3, "opt": {0: torch.ones(3)}}, folder / "zip.pt")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
    save_file(state, folder / "a.safetensors")


def read_weights(folder: Path) -> None:
    for name in ("zip.pt", "old.pt", "a.safetensors"):
        ganpatch.load(folder / name)
        passed()
        read_record(folder / name)


def make_network(folder: Path) -> None:
    """Write what looks like a pickle of NVlabs'."""
    head = b"\x80\x04ctorch_utils.persistence\n_reconstruct_persistent_obj\n"
    module = torch.nn.Linear(3, 2)
    state = {"_parameters": dict(module._parameters), "_buffers": {}, "_modules": {}, "_init_kwargs": {"z_dim": 3}}
    meta = pickle.dumps({"class_name": "G", "state": state, "version": 6}, protocol=2)[2:-1]
    (folder / "net.pkl").write_bytes(head + meta + b"\x85R.")


def make_program(folder: Path) -> None:
    module, _ = dcgan()
    dynamic = {0: torch.export.Dim("n")}
    with quiet():
        program = torch.export.export(module, (torch.randn(2, 8, 1, 1),), dynamic_shapes=(dynamic,))
        torch.export.save(program, folder / "a.pt2")


def make_script(folder: Path) -> None:
    with quiet():
        torch.jit.trace(dcgan()[0], torch.randn(1, 8, 1, 1)).save(folder / "a.ts")


def make_graph(folder: Path) -> None:
    made = generator()
    export_onnx(made, folder / "a.onnx")
    edit = Edit(id="a", layer=LAYER, channels=8, units=[1])
    Patch(name="fix", model=Model.of("small", made.fingerprint), edits=[edit]).save(folder / "fix.yaml")


def read_graph(folder: Path) -> None:
    list_onnx_layers(folder / "a.onnx")
    passed()
    ganpatch.load(folder / "a.onnx")
    read_record(folder / "a.onnx")


def patch_graph(folder: Path) -> None:
    patch = Patch.load(folder / "fix.yaml")
    read_onnx(folder / "a.onnx")
    passed()
    patch_onnx(folder / "a.onnx", patch, folder / "out.onnx", allow_other_weights=True)


def make_repaired(folder: Path) -> None:
    torch.save(dict(dcgan()[0].state_dict()), folder / "a.pt")
    save_file(dict(dcgan()[0].state_dict()), folder / "a.safetensors")
    for name in ("a.pt", "a.safetensors"):
        made = ganpatch.load(folder / name)
        edit = Edit(id="a", layer=LAYER, channels=8, units=[1])
        patch = Patch(name="fix", model=Model.of("small", made.fingerprint), edits=[edit])
        repair(made, patch, source=folder / name, output=folder / f"fixed-{name}")


REPAIRED = ("fixed-a.pt", "fixed-a.pt.backup", "fixed-a.safetensors", "fixed-a.safetensors.backup")


def read_repaired(folder: Path) -> None:
    for name in ("fixed-a.pt", "fixed-a.safetensors"):
        read_record(folder / name)
        passed()
        revert(folder / name, folder / f"again-{name}")


FIXTURES = [Fixture.read(path) for path in sorted((ROOT / "tests" / "families" / "checkpoints").glob("*.json"))]


def make_family(folder: Path) -> None:
    photos(folder / "photos")
    fixture = FIXTURES[0]
    _write_family(folder, fixture, fixture.tensors, fixture.config)


def spoil_family(folder: Path, dice: Dice) -> None:
    """Change names, shapes and the configuration of a small model of any family."""
    fixture = dice.one(FIXTURES)
    tensors = {name: (kind, list(shape)) for name, (kind, shape) in fixture.tensors.items()}
    config: dict[str, Any] = dict(fixture.config)
    for _ in range(1 + dice.below(3)):
        name = dice.one(sorted(tensors)) if tensors else ""
        how = dice.below(6)
        if how == 0:
            tensors.pop(name, None)
        elif how < 3 and name and tensors[name][1]:
            shape = tensors[name][1]
            shape[dice.below(len(shape))] = dice.one([0, 1, 2, 3, 5, 16, 64])
        elif how == 3:
            tensors[name][1].append(dice.one([0, 1, 3])) if name else None
        elif how == 4 and name:
            numbers = ["0", "1", "7", "64", "512", "999999999", "x", ""]
            tensors["".join(dice.one(numbers) if c.isdigit() and dice.below(3) == 0 else c for c in name)] = tensors.pop(name)  # fmt: skip
        elif config:
            config[dice.one(sorted(config))] = dice.one([*NUMBERS[:12], *TEXTS[:5], [], {}, [1, 2], [10**9]])
    _write_family(folder, fixture, tensors, config)


def _write_family(folder: Path, fixture: Fixture, tensors: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    small = {name: (kind, list(shape)) for name, (kind, shape) in tensors.items() if np.prod(shape, dtype=float) < 5e6}
    spoilt = replace(fixture, tensors=small)
    try:
        state = spoilt.state()
    except (KeyError, RuntimeError):  # a vector of a spectral norm is gone, or does not fit
        state = replace(spoilt, tensors={n: one for n, one in small.items() if not n.endswith("weight_orig")}).state()
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "options.json").write_text(json.dumps(fixture.options))


def read_family(folder: Path) -> None:
    options = json.loads((folder / "options.json").read_text())
    if "inputs" in options or str(options.get("latent")).startswith("images:"):
        options["inputs"] = folder / "photos"
    ganpatch.load(folder / "model.safetensors", **options)
