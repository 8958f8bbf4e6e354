"""Every kind of file that ganpatch reads: a valid one of each, and all that is done with it when it is read.

    target = TARGETS["patch"]
    target.make(folder)                 # valid files
    attempt(target, folder, b"\\x07…")  # one of them spoilt, read, and put back; only GanpatchError may come out

tools/robustness/fuzz.py runs them for as long as asked, tests/untrusted/test_fuzz.py for some seconds each.
"""

import contextlib
import json
import pickle
import random
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

import ganpatch
from ganpatch import GanpatchError, Generator, Mask, Patch, rank
from ganpatch.causes.result import Causes, ConceptCauses, ContextRow, Curve
from ganpatch.dissection.comparison import compare
from ganpatch.dissection.report import write_dissection_page
from ganpatch.dissection.result import Dissection, LayerDissection
from ganpatch.export.onnx_export import export_onnx
from ganpatch.export.onnx_patching import graph_layers, onnx_inputs, patch_onnx
from ganpatch.export.patch_record import read_record
from ganpatch.export.repairing import repair
from ganpatch.export.reverting import revert
from ganpatch.finding.suggestions import Found, MethodFacts, Suggested, read_suggestions, save_suggestions
from ganpatch.generator.configuration import read_settings
from ganpatch.generator.input_files import given_inputs, read_latent
from ganpatch.generator.latents import parse_labels, parse_latent
from ganpatch.number_ranges import parse_spans
from ganpatch.pages.image_grids import read_images, read_mask
from ganpatch.patch.combining import diff_patches
from ganpatch.patch.edit import Edit
from ganpatch.patch.patch_file import Model
from ganpatch.ranking.result import Ranking, read_manifest
from ganpatch.review.flags import chosen_flags, patch_from_suggestion
from ganpatch.review.page import write_page
from ganpatch.review.verdicts import Flag, Verdicts, patch_from_flags, save_verdicts
from ganpatch.segmenters.strokes_file import PaintedImage, Stroke, Strokes
from ganpatch.studio.changes import AddConcept, Label, Undo
from ganpatch.studio.changes import Flag as Flagging
from ganpatch.studio.folder import Folder
from ganpatch.studio.server import kept_server
from ganpatch.studio.strokes import LabelStroke
from ganpatch.studio.strokes import Stroke as LabelLine
from ganpatch.untrusted.exported_programs import load_program, load_script
from ganpatch.untrusted.nvlabs_pickles import read_networks
from tests.support.conformance import Fixture, photos
from tests.support.mutations import NUMBERS, TEXTS, Dice, spoilt
from tests.support.nets import dcgan

ROOT = Path(__file__).parents[2]
LAYER = "main.5"
Read = Callable[[Path], object]
Bounds = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True)
class Target:
    """Files of one kind: how valid ones are made, how they are read, and which of them are spoilt."""

    make: Callable[[Path], object]
    read: Read
    files: tuple[str, ...]
    spoil: Callable[[Path, Dice], None] | None = None
    slow: bool = False
    memory: int = 1 << 30  # bytes that reading may take
    content: dict[str, bytes] = field(default_factory=dict)


def attempt(target: Target, folder: Path, choices: bytes, bounds: Bounds = contextlib.nullcontext) -> str:
    """Spoil a file of the target by `choices`, and read it; give what was said, or raise what must not come out.

    Reading happens inside `bounds`.
    """
    for name in target.files:
        if name not in target.content:
            target.content[name] = (folder / name).read_bytes()
    dice = Dice(choices)
    if target.spoil is None:
        name = dice.one(target.files)
        (folder / name).write_bytes(spoilt(name, target.content[name], dice))
    else:
        target.spoil(folder, dice)
    try:
        with quiet(), bounds():
            target.read(folder)
    except GanpatchError as fault:
        refuse_swallowed(fault)
        return str(fault)
    finally:
        for name in target.files:
            (folder / name).write_bytes(target.content[name])
    return ""


class TooMuch(Exception):
    """Reading took more memory than a small file may take, and said so as if the file were broken."""


def refuse_swallowed(fault: BaseException) -> None:
    """Raise TooMuch where an error that is put into words was want of memory."""
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, MemoryError) or "allocate" in str(cause) or "out of memory" in str(cause).lower():
            raise TooMuch(str(cause)) from cause
        cause = cause.__cause__


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore what libraries warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# ---- what ganpatch writes -----------------------------------------------------------------------------------------


def generator() -> Generator:
    module, latent = dcgan()
    return ganpatch.load(module, latent=latent)


def model() -> Model:
    made = generator()
    return Model.of("small", made.fingerprint)


def make_patch(folder: Path) -> None:
    mask = Mask.of(torch.rand(8, 8))
    edits = [
        Edit(id="a", layer=LAYER, channels=8, units=[1, 3], alpha=[0.5, 1], value=[0.1, 2], above=0.5, reason="smear"),
        Edit(id="b", layer=LAYER, channels=8, units=[2], mask=mask),
    ]
    Patch(name="fix", model=model(), edits=edits, evidence={"flagged": {"seeds": "0-9"}}).save(folder / "fix.yaml")


def read_patch(folder: Path) -> None:
    patch = Patch.load(folder / "fix.yaml")
    assert patch.digest == Patch.load(folder / "fix.yaml").digest
    diff_patches(patch, patch)
    patch.save(folder / "again.yaml")


def make_run(folder: Path) -> None:
    ranking = rank(generator(), [LAYER], range(10), k=3)
    layer = LayerDissection(thresholds=torch.rand(8, 2), iou=torch.rand(8, 2), accuracy=torch.ones(8, 2))
    Dissection(
        ranking=ranking,
        segmenter="s",
        threshold="best",
        threshold_seeds="10-17",
        concepts=("sky", "tree"),
        shares=(0.5, 0.5),
        layers={LAYER: layer},
    ).save(folder)
    manifest = read_manifest(folder)
    found = Found(score=torch.arange(8.0), alpha=torch.ones(8), mask=torch.ones(8, 8, 8))
    facts = MethodFacts(explains="outbursts", layers=(LAYER,))
    save_suggestions(folder, manifest, {"spike": Suggested(facts=facts, layers={LAYER: found})})
    save_verdicts(folder, Verdicts(run=manifest.run, flags=(Flag(layer=LAYER, unit=3, reason="smear"),)))


def read_run(folder: Path) -> None:
    dissection = Dissection.load(folder)
    manifest = read_manifest(folder)
    write_page(folder)
    write_dissection_page(dissection, folder)
    compare([folder, folder])
    if read_suggestions(folder, manifest):
        patch_from_suggestion(folder, manifest, "spike", 3, name="x")
    Ranking.load(folder)._repr_html_()
    flags = chosen_flags(folder, manifest, units=None, layer=None, reason="", verdicts=None)
    patch_from_flags(manifest, flags, name="x")


def make_partial(folder: Path) -> None:
    """Keep what an interruption half way leaves."""

    def interrupt(done: int, total: int) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        rank(generator(), [LAYER], range(12), k=3, batch_size=4, partial=folder / "partial.safetensors", progress=interrupt)  # fmt: skip


def read_partial(folder: Path) -> None:
    shutil.copy(folder / "partial.safetensors", folder / "used.safetensors")
    rank(generator(), [LAYER], range(12), k=3, batch_size=4, partial=folder / "used.safetensors")


def make_causes(folder: Path) -> None:
    curve = Curve(by="alpha", units=(2, 5), removed=(0.1, 0.2), ace=(0.0, 0.1))
    context = (ContextRow(before="sky", places=3, gain=0.5),)
    numbers = torch.rand(3, 8)
    tree = ConceptCauses(alpha=numbers[0], iou=numbers[1], conditional_mean=numbers[2], ace=None, presence=0.5, curves=(curve,), context=context)  # fmt: skip
    plain = {"segmenter": "s", "preset": "sparse", "steps": 3, "radius": 1, "seeds": "0-9", "held_out": "10-12"}
    Causes(
        model=model(),
        layer=LAYER,
        channels=8,
        size=(8, 8),
        all_concepts=("sky", "tree"),
        concepts={"tree": tree},
        q99=torch.rand(8),
        q999=torch.rand(8),
        single=torch.rand(8, 2),
        **plain,
    ).save(folder)


def read_causes(folder: Path) -> None:
    causes = Causes.load(folder)
    for concept in causes.concepts:
        causes.removal(concept, units=2)
        causes.insertion(concept, units=2, level="q99", mask=torch.ones(8, 8))
        causes[concept].ranked("iou")
    parse_spans(causes.seeds, what="seed")


def make_studio(folder: Path) -> None:
    studio = Folder.open(folder / "s", model(), {LAYER: 8})
    studio.change(Flagging(id="1", layer=LAYER, unit=3))
    stroke = LabelLine(radius=2, points=[(1, 2), (3, 4)])
    studio.change(AddConcept(id="2", concept="tree"))
    label = LabelStroke(id="l", seed=4, size=(16, 16), concept="tree", stroke=stroke)
    studio.change(Label(id="3", label=label))
    (folder / "s" / "server.json").write_text(json.dumps({"port": 5000, "token": "t"}))


STUDIO = ("s/studio.json", "s/history/000001.json", "s/strokes.json", "s/patch.yaml", "s/server.json")


def read_studio(folder: Path) -> None:
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / "s", copy)
    kept_server(copy / "server.json")
    Strokes.load(copy / "strokes.json") if (copy / "strokes.json").exists() else None
    studio = Folder.open(copy, model(), {LAYER: 8})
    studio.change(Undo(id="u", revision=studio.state.revision)) if studio.state.undo else None
    studio.state.conflicts()
    Folder.open(copy, model(), {LAYER: 8})


def make_strokes(folder: Path) -> None:
    strokes = (Stroke(concept="tree", radius=2, points=((20.5, 30.5), (22, 31))),)
    image = PaintedImage(seed=12, size=(64, 64), strokes=strokes)
    Strokes(model=model(), concepts=("sky", "tree"), images=(image,)).save(folder / "strokes.json")


def read_strokes(folder: Path) -> None:
    strokes = Strokes.load(folder / "strokes.json")
    for image in strokes.images[:2]:
        strokes.labels(image, (32, 32))


# ---- models -------------------------------------------------------------------------------------------------------


def make_weights(folder: Path) -> None:
    state = dict(dcgan()[0].state_dict())
    torch.save({"g": state, "epoch": 3, "opt": {0: torch.ones(3)}}, folder / "zip.pt")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
    save_file(state, folder / "a.safetensors")


def read_weights(folder: Path) -> None:
    for name in ("zip.pt", "old.pt", "a.safetensors"):
        ganpatch.load(folder / name)
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
    graph_layers(folder / "a.onnx")
    onnx_inputs(folder / "a.onnx")
    read_record(folder / "a.onnx")


def patch_graph(folder: Path) -> None:
    patch_onnx(folder / "a.onnx", Patch.load(folder / "fix.yaml"), folder / "out.onnx", allow_other_weights=True)


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
        revert(folder / name, folder / f"again-{name}")


FIXTURES = [Fixture.read(path) for path in sorted((ROOT / "tests" / "families" / "checkpoints").glob("*.json"))]


def make_family(folder: Path) -> None:
    photos(folder / "photos")
    (folder / "config.json").write_text("{}")


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
    state = {
        name: torch.full(shape, 0.1, dtype=getattr(torch, kind))
        if kind != "bool"
        else torch.ones(shape, dtype=torch.bool)
        for name, (kind, shape) in tensors.items()
        if np.prod(shape, dtype=float) < 2e6
    }
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "options.json").write_text(json.dumps(fixture.options))


def read_family(folder: Path) -> None:
    options = json.loads((folder / "options.json").read_text())
    if "inputs" in options:
        options["inputs"] = folder / "photos"
    ganpatch.load(folder / "model.safetensors", **options)


# ---- what users write -----------------------------------------------------------------------------------------------


def make_settings(folder: Path) -> None:
    text = '[model]\npath = "a.pt"\narch_args = {ngf = 64, x = [1, 2]}\nrange = [-1, 1]\n[rank]\nlayers = ["main.5"]\n'
    (folder / "ganpatch.toml").write_text(text)


def make_inputs(folder: Path) -> None:
    photos(folder / "photos")
    np.save(folder / "rows.npy", np.ones((6, 4), np.float32))
    save_file({"z": torch.ones(6, 4)}, folder / "rows.safetensors")


def read_inputs(folder: Path) -> None:
    drawn = given_inputs(folder / "photos", read_latent("images:3,16,16"), (-1, 1))
    drawn.row(torch.Generator().manual_seed(0))
    for name in ("rows.npy", "rows.safetensors"):
        given_inputs(folder / name, parse_latent("normal:4"), (-1, 1)).row(torch.Generator().manual_seed(1))
    list(read_images(folder / "photos", (16, 16), 4))
    read_mask(folder / "photos" / "0.png", (8, 8))


def spoil_words(folder: Path, dice: Dice) -> None:
    words = ["normal:8", "uniform:-1,1:8", "onehot:8=1,3-5", "3,17-19", "truncated:.5:3,2", "index:3", *TEXTS]
    text = dice.one(words).encode("utf-8", "surrogatepass")
    (folder / "words").write_bytes(spoilt("words.yaml", text, dice))


def read_words(folder: Path) -> None:
    text = (folder / "words").read_bytes().decode(errors="replace")
    for parse in (parse_latent, parse_labels, lambda text: parse_spans(text, what="seed")):
        with contextlib.suppress(GanpatchError):
            drawn = parse(text)
            if hasattr(drawn, "row"):
                drawn.row(random_source())


def random_source() -> torch.Generator:
    return torch.Generator().manual_seed(random.Random(0).randrange(9))


TARGETS: dict[str, Target] = {
    "patch": Target(make=make_patch, read=read_patch, files=("fix.yaml", "fix.safetensors")),
    "run": Target(make=make_run, read=read_run, files=("manifest.json", "ranking.safetensors", "thumbs-000.png", "suggestions.json", "suggestions.safetensors", "verdicts.json", "dissection.json", "dissection.safetensors")),
    "partial": Target(make=make_partial, read=read_partial, files=("partial.safetensors",)),
    "causes": Target(make=make_causes, read=read_causes, files=("causes.json", "causes.safetensors")),
    "studio": Target(make=make_studio, read=read_studio, files=STUDIO),
    "strokes": Target(make=make_strokes, read=read_strokes, files=("strokes.json",)),
    "weights": Target(make=make_weights, read=read_weights, files=("zip.pt", "old.pt", "a.safetensors")),
    "network": Target(make=make_network, read=lambda folder: read_networks(folder / "net.pkl"), files=("net.pkl",)),
    "program": Target(make=make_program, read=lambda folder: load_program(folder / "a.pt2"), files=("a.pt2",), slow=True),
    "script": Target(make=make_script, read=lambda folder: load_script(folder / "a.ts").state_dict(), files=("a.ts",)),
    "graph": Target(make=make_graph, read=read_graph, files=("a.onnx",)),
    "graph-run": Target(make=make_graph, read=patch_graph, files=("a.onnx",), slow=True, memory=6 << 30),
    "repaired": Target(make=make_repaired, read=read_repaired, files=REPAIRED),
    "family": Target(make=make_family, read=read_family, files=(), spoil=spoil_family),
    "settings": Target(make=make_settings, read=read_settings, files=("ganpatch.toml",)),
    "inputs": Target(make=make_inputs, read=read_inputs, files=("photos/0.png", "rows.npy", "rows.safetensors")),
    "words": Target(make=lambda folder: None, read=read_words, files=(), spoil=spoil_words),
}  # fmt: skip
