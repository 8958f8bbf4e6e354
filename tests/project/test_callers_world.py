"""No public function changes its caller's world: random state, threads, modes, logging, warnings, hooks, flags, paths."""

import inspect
import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ganpatch
from tests.support.painter import eye
from tests.support.tiny_project import BOUND, QUICK, Setup


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    return Setup.made(tmp_path_factory.mktemp("world"))


def world(*modules: nn.Module) -> dict[str, Any]:
    """Return what a caller could see changed."""
    parts = [part for module in modules for part in module.modules()]
    loggers = [logging.getLogger(name) for name in ("", "torch", "ganpatch", "onnxscript", "PIL")]
    return {
        "torch's random state": torch.get_rng_state().tolist(),
        "NumPy's random state": str(np.random.get_state()),
        "Python's random state": random.getstate(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "defaults": (torch.get_default_dtype(), torch.get_default_device(), torch.get_float32_matmul_precision()),
        "determinism": (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark),
        "denormals": float(torch.tensor(1e-310, dtype=torch.float64) * 1),
        "logging": ([(one.level, list(one.handlers), one.disabled) for one in loggers], logging.root.manager.disable),
        "streams": (id(sys.stdout), id(sys.stderr), id(sys.excepthook)),
        "warnings": (list(warnings.filters), id(warnings.showwarning)),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "paths": (list(sys.path), os.getcwd(), dict(os.environ)),
        "hooks": [
            (len(part._forward_hooks), len(part._forward_pre_hooks), len(part._backward_hooks)) for part in parts
        ],
        "training": [part.training for part in parts],
        "parameters": [
            (name, tensor.requires_grad, tensor.dtype, tensor.grad is None, float(tensor.detach().double().sum()))
            for module in modules
            for name, tensor in [*module.named_parameters(), *module.named_buffers()]
        ],
    }


def with_patch_applied(setup: Setup) -> None:
    with ganpatch.applied(setup.dcgan.module, setup.patch):
        pass


def loaded_in_training(setup: Setup) -> None:
    module = deepcopy(setup.dcgan.module).train()
    before = world(module)
    generator = ganpatch.load(module, latent="normal:8,1,1")
    generator.sample(range(4))
    assert not any(part.training for part in generator.module.modules())
    assert world(module) == before
    shared = zip(generator.module.parameters(), module.parameters(), strict=True)
    assert all(one is other for one, other in shared), "what is learned later is seen"


def choice(**fields: Any) -> ganpatch.ConceptChoice:
    return ganpatch.ConceptChoice(concept="red", units=1, **fields)


def images(setup: Setup) -> ganpatch.ConceptImages:
    return ganpatch.ConceptImages(generator=setup.painter, segmenter=eye(), seeds=range(8))


CALLS: dict[str, Callable[[Setup], object]] = {
    "applied": with_patch_applied,
    "bake": lambda s: ganpatch.bake(s.dcgan, s.patch),
    "diff_patches": lambda s: ganpatch.diff_patches(s.patch, s.patch),
    "dissect": lambda s: ganpatch.dissect(s.painter, eye(), ["maps"], range(8), k=2),
    "evaluate": lambda s: s.evaluation,
    "export_onnx": lambda s: ganpatch.export_onnx(s.dcgan, s.folder / "fixed.onnx", patch=s.patch),
    "find_causes": lambda s: ganpatch.find_causes(s.painter, eye(), "maps", ["red"], QUICK),
    "fingerprint": lambda s: ganpatch.fingerprint(s.dcgan.module),
    "load": lambda s: ganpatch.load(s.folder / "model.pt"),
    "load_features": lambda s: ganpatch.load_features("churches"),
    "load_segmenter": lambda s: ganpatch.load_segmenter("churches", s.painter),
    "merge_patches": lambda s: ganpatch.merge_patches([s.patch], name="one"),
    "parse_latent": lambda s: ganpatch.parse_latent("normal:8"),
    "patch_rows": lambda s: ganpatch.patch_rows(s.patch),
    "rank": lambda s: ganpatch.rank(s.dcgan, ["main.5"], range(8), k=2),
    "repair": lambda s: ganpatch.repair(
        s.dcgan, s.patch, source=s.folder / "model.pt", output=s.folder / "model.fixed.pt"
    ),
    "apply_patch": lambda s: ganpatch.apply_patch(s.folder / "model.pt", s.patch),
    "cause_to_folder": lambda s: ganpatch.cause_to_folder(
        s.painter, eye(), ganpatch.RunFolder(s.folder / "causes", overwrite=True), "maps", ["red"], QUICK
    ),
    "compare": lambda s: ganpatch.compare([s.folder / "dissection"]),
    "dissect_to_folder": lambda s: ganpatch.dissect_to_folder(
        s.painter, eye(), ganpatch.RunFolder(s.folder / "again", overwrite=True), ["maps"], range(8)
    ),
    "flag_reviewed": lambda s: ganpatch.flag_reviewed(s.folder / "run", s.folder / "verdicts.json", name="fix"),
    "flag_suggested": lambda s: ganpatch.flag_suggested(s.folder / "run", "spike", first=2, name="fix"),
    "flag_units": lambda s: ganpatch.flag_units(s.folder / "run", {"main.5": [1, 3]}, name="fix"),
    "insert_concept": lambda s: ganpatch.insert_concept(s.causes, choice(mask=torch.ones(8, 8)), images(s)),
    "list_layers": lambda s: ganpatch.list_layers(s.dcgan),
    "list_onnx_layers": lambda s: ganpatch.list_onnx_layers(s.folder / "model.onnx"),
    "patch_onnx": lambda s: ganpatch.patch_onnx(s.folder / "model.onnx", s.patch, s.folder / "patched.onnx"),
    "probe": lambda s: ganpatch.probe(s.folder / "model.pt"),
    "rank_to_folder": lambda s: ganpatch.rank_to_folder(
        s.dcgan, ganpatch.RunFolder(s.folder / "ranked", overwrite=True), ["main.5"], range(8)
    ),
    "measure_effect": lambda s: ganpatch.measure_effect(s.dcgan, s.patch, range(4)).picture(),
    "remove_concept": lambda s: ganpatch.remove_concept(s.causes, choice(), images(s)),
    "revert": lambda s: ganpatch.revert(s.folder / "kept.fixed.pt"),
    "format_settings": lambda s: ganpatch.format_settings(
        str(s.folder / "model.pt"), ganpatch.LoadOptions(), ganpatch.probe(s.folder / "model.pt")
    ),
    "suggest": lambda s: ganpatch.suggest(
        ganpatch.Task(generator=s.dcgan, ranking=ganpatch.Ranking.load(s.folder / "run"), references=20)
    ),
    "suggest_for_run": lambda s: ganpatch.suggest_for_run(s.folder / "run", s.dcgan, ["rarity"]),
    "suggest_sets": lambda s: ganpatch.suggest_sets(s.broken_images, ["main.5"]),
    "suggest_sets_for_run": lambda s: ganpatch.suggest_sets_for_run(
        s.folder / "run", s.dcgan, ["main.5"], broken=range(4)
    ),
    "tune": lambda s: ganpatch.tune(s.painter, s.painters_patch, BOUND),
    "verify": lambda s: ganpatch.verify(
        s.dcgan, s.patch, [s.folder / "kept.fixed.pt", s.folder / "model.onnx"], range(4)
    ),
    "write_evaluation": lambda s: ganpatch.write_evaluation(s.evaluation, s.folder / "evaluation.html"),
    "write_tuning": lambda s: ganpatch.write_tuning(s.tuned, s.folder / "tuning.html"),
    "write_page": lambda s: ganpatch.write_page(s.folder / "run"),
    "finish_judging": lambda s: ganpatch.finish_judging(*s.judging),
    "prepare_judging": lambda s: s.judging,
    "save_evaluation": lambda s: ganpatch.save_evaluation(s.evaluation, s.folder / "painted.yaml"),
    "save_tuned": lambda s: ganpatch.save_tuned(s.tuned, s.folder / "tuned.yaml", overwrite=True),
}
METHODS: dict[str, Callable[[Setup], object]] = {
    "Generator.sample": lambda s: s.dcgan.sample(range(4)),
    "Generator.placed": lambda s: s.dcgan.placed(s.dcgan.compute),
    "Sample.pairs": lambda s: ganpatch.Sample(s.dcgan, range(4), patch=s.patch).pairs(),
    "Ranking.load": lambda s: ganpatch.Ranking.load(s.folder / "run").contact_sheet("main.5", [0, 1]),
    "Patch.save": lambda s: (s.patch.save(s.folder / "fix.yaml"), ganpatch.Patch.load(s.folder / "fix.yaml")),
    "load in training mode": loaded_in_training,
}


def test_every_public_function_is_called_here() -> None:
    functions = {name for name in ganpatch.__all__ if inspect.isroutine(getattr(ganpatch, name))}
    assert functions == CALLS.keys()


@pytest.mark.parametrize("name", [*CALLS, *METHODS])
def test_a_call_leaves_the_callers_world_as_it_was(
    name: str, setup: Setup, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(20)
    modules = (setup.dcgan.module, setup.painter.module)
    before = world(*modules)
    {**CALLS, **METHODS}[name](setup)
    after = world(*modules)
    assert [part for part in before if before[part] != after[part]] == []
    assert capfd.readouterr() == ("", "")


def test_a_change_would_be_seen(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: each kind of change is noticed."""
    module = setup.dcgan.module
    before = world(module)
    torch.rand(1)
    np.random.rand(1)
    random.random()
    logging.getLogger("torch").setLevel(logging.getLogger("torch").level + 1)
    monkeypatch.syspath_prepend("nowhere")
    handle = module.register_forward_hook(lambda *_: None)
    module.train()
    try:
        after = world(module)
    finally:
        handle.remove()
        module.eval()
        logging.getLogger("torch").setLevel(logging.getLogger("torch").level - 1)
    changed = {part for part in before if before[part] != after[part]}
    assert changed == {
        *("torch's random state", "NumPy's random state", "Python's random state"),
        *("logging", "paths", "hooks", "training"),
    }
