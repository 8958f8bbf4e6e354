"""Valid files of each kind that ganpatch writes, or that its users write, and all that is done when they are read."""

import contextlib
import json
import random
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import ganpatch
from ganpatch import GanpatchError, Generator, Mask, Patch, rank
from ganpatch.causes.result import Causes, ConceptCauses, ContextRow, Curve
from ganpatch.dissection.comparison import compare
from ganpatch.dissection.report import write_dissection_page
from ganpatch.dissection.result import Dissection, LayerDissection
from ganpatch.families.choosing import choose_model
from ganpatch.families.origins import read_origin, write_origin
from ganpatch.finding.suggestions import Found, MethodFacts, Suggested, read_suggestions, save_suggestions
from ganpatch.generator.input_files import given_inputs, read_latent
from ganpatch.generator.latents import parse_labels, parse_latent
from ganpatch.generator.load_options import LoadOptions, Origin
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
from ganpatch.studio.history import Folder
from ganpatch.studio.strokes import LabelStroke
from ganpatch.studio.strokes import Stroke as LabelLine
from ganpatch.studio.trust import kept_server
from tests.support.conformance import photos
from tests.support.fuzzing import passed
from tests.support.mutations import TEXTS, Dice, spoilt
from tests.support.nets import dcgan

LAYER = "main.5"


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
    passed()
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
    passed()
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
    passed()
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
    studio.change(AddConcept(id="4", concept="sky"))  # a strokes file has two concepts at least
    label = LabelStroke(id="l", seed=4, size=(16, 16), concept="tree", stroke=stroke)
    studio.change(Label(id="3", label=label))
    (folder / "s" / "server.json").write_text(json.dumps({"port": 5000, "token": "t" * 32}))
    (folder / "s" / "server.json").chmod(0o600)


STUDIO = ("s/studio.json", "s/history/000001.json", "s/strokes.json", "s/patch.yaml", "s/server.json")


def read_studio(folder: Path) -> None:
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder / "s", copy)
    kept_server(copy)
    passed()
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
    passed()
    for image in strokes.images[:2]:
        strokes.labels(image, (32, 32))


def make_settings(folder: Path) -> None:
    text = '[model]\npath = "a.pt"\narch_args = {ngf = 64, x = [1, 2]}\nrange = [-1, 1]\n[rank]\nlayers = ["main.5"]\n'
    (folder / "ganpatch.toml").write_text(text)


def make_origin(folder: Path) -> None:
    torch.save(generator().module.state_dict(), folder / "a.pt")
    (folder / "run").mkdir()
    options = LoadOptions(key="netG", latent="normal:8,1,1", range=(-1.0, 1.0), call={"x": [1, 2]})
    write_origin(folder / "run", Origin(model=str(folder / "a.pt"), options=options))


def read_origin_of_run(folder: Path) -> None:
    """Read what a run was made with, and decide what would be loaded; nothing is loaded."""
    assert read_origin(folder / "run") is not None
    passed()
    choose_model(None, run=folder / "run").as_keywords()


def make_inputs(folder: Path) -> None:
    photos(folder / "photos")
    np.save(folder / "rows.npy", np.ones((6, 4), np.float32))
    save_file({"z": torch.ones(6, 4)}, folder / "rows.safetensors")


def read_inputs(folder: Path) -> None:
    drawn = given_inputs(folder / "photos", read_latent("images:3,16,16"), (-1, 1))
    passed()
    drawn.row(torch.Generator().manual_seed(0))
    for name in ("rows.npy", "rows.safetensors"):
        given_inputs(folder / name, parse_latent("normal:4"), (-1, 1)).row(torch.Generator().manual_seed(1))
    list(read_images(folder / "photos", (16, 16), 4))
    read_mask(folder / "photos" / "0.png", (8, 8))


def make_words(folder: Path) -> None:
    (folder / "words").write_text("normal:8")


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
