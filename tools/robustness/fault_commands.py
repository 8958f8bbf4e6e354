"""The commands that tools/robustness/faults.py disturbs: what each does, what it leaves, and how that is read again."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

LAYER = "main.5"
EYE = """
import torch
class Eye(torch.nn.Module):
    concepts = ("bright", "dark")
    def forward(self, images):
        grey = images.mean(1, keepdim=True)
        return torch.cat([grey - 0.5, 0.5 - grey], 1) * 20
"""
Work = Sequence[str] | Callable[[], object]


@dataclass(frozen=True)
class Command:
    """A command: what it does, what it writes, and how what is there afterwards is read."""

    work: Work
    outputs: tuple[str, ...]
    read: Callable[[], str]
    before: tuple[Sequence[str], ...] = ()
    resumes: bool = False


# ---- what is there after a fault -----------------------------------------------------------------------------------


def read_run() -> str:
    """Read a run folder with all its files; "" where it is not finished."""
    from ganpatch.dissection.result import DISSECTION, Dissection
    from ganpatch.finding.suggestions import read_suggestions
    from ganpatch.ranking.result import MANIFEST, Ranking, read_manifest
    from ganpatch.review.verdicts import VERDICTS, read_verdicts

    folder = Path("out")
    if not (folder / MANIFEST).exists():
        return ""
    found = Dissection.load(folder).ranking if (folder / DISSECTION).exists() else Ranking.load(folder)
    manifest = read_manifest(folder)
    if (folder / VERDICTS).exists():
        read_verdicts(folder / VERDICTS, manifest)
    read_suggestions(folder, manifest)
    return found.run


def read_causes() -> str:
    from ganpatch.causes.result import MANIFEST, Causes

    folder = Path("out")
    return str(Causes.load(folder).concepts.keys()) if (folder / MANIFEST).exists() else ""


def read_patch() -> str:
    from ganpatch.patch.patch_file import Patch

    path = Path("out.yaml")
    return Patch.load(path).digest if path.exists() else ""


def recorded(path: Path):
    """Read the record of a repaired file, which a file that is not whole has not."""
    from ganpatch import GanpatchError
    from ganpatch.export.patch_record import read_record

    record = read_record(path)
    if record is None:
        raise GanpatchError(f"'{path}' has no record")
    return record


def read_weights() -> str:
    """Read a repaired file, and take the patch out of it again: the backup must be the one that belongs to it."""
    from ganpatch.export.reverting import revert
    from ganpatch.untrusted.weight_files import read_checkpoint

    path = Path("out.pt")
    if not path.exists():
        return ""
    record = recorded(path)
    with tempfile.TemporaryDirectory() as folder:
        restored = Path(folder) / "again.pt"
        revert(path, restored)
        original, again = read_checkpoint(Path("model.pt")).state, read_checkpoint(restored).state
        assert all(bool((again[name] == tensor).all()) for name, tensor in original.items())
    return record.patches[-1].digest


def read_graph() -> str:
    from ganpatch.untrusted.onnx_files import open_session

    path = Path("out.onnx")
    if not path.exists():
        return ""
    record = recorded(path)
    open_session(path)
    return record.patches[-1].digest


def read_judged() -> str:
    """Read the pairs of a comparison, whose pictures must be there; "" where it was not drawn."""
    from ganpatch.evaluation.judging import COMPARISON, PAIRS, read_comparison

    if not Path("out", COMPARISON).exists():
        return ""
    comparison = read_comparison(Path("out"))
    for pair in comparison.pairs:
        for side in ("left", "right"):
            assert Path("out", PAIRS, f"{pair.id}-{side}.png").is_file(), f"{pair.id}-{side}.png is missing"
    return comparison.id


def read_studio() -> str:
    from ganpatch.studio.history import STATE

    if not Path("out", STATE).exists():
        return ""
    return str(open_studio().state.revision)


def open_studio():
    import ganpatch
    from ganpatch.patch.patch_file import Model
    from ganpatch.studio.history import Folder

    generator = ganpatch.load("model.pt")
    return Folder.open(Path("out"), Model.of(generator.name, generator.fingerprint), {LAYER: 8, "main.2": 12})


# ---- the commands ----------------------------------------------------------------------------------------------------


def save_studio() -> None:
    """What a person does in a session: flags, a painted mask, undo, a concept."""
    from ganpatch.disk.locks import locked

    with locked(Path("out")):
        _changes(open_studio())


def _changes(folder) -> None:
    import torch

    from ganpatch.patch.edit import Edit, Mask
    from ganpatch.studio.changes import AddConcept, Flag, Redo, Undo
    from ganpatch.studio.state import Entry

    for unit in (1, 2, 5):
        folder.change(Flag(id=f"f{unit}", layer=LAYER, unit=unit, reason="smear"))
    mask = Mask.of(torch.linspace(0, 1, 64).view(8, 8))
    edit = Edit(id="painted", layer=LAYER, channels=8, units=(3,), mask=mask)
    folder.put("p", lambda revision: Entry(edit=edit, rev=revision))
    folder.change(AddConcept(id="c", concept="tree"))
    if "u" not in folder.state.seen:
        folder.change(Undo(id="u", revision=folder.state.revision))
    if folder.state.redo:
        folder.change(Redo(id="r", revision=folder.state.revision))


def save_masks() -> None:
    """Save a patch with a mask over one with another mask."""
    import torch

    from ganpatch.patch.edit import Mask
    from ganpatch.patch.patch_file import Patch

    patch = Patch.load("masked.yaml")
    other = patch.edits[0].model_copy(update={"mask": Mask.of(torch.rand(8, 8))})
    patch.model_copy(update={"edits": (other,)}).save("out.yaml")


RANK = ("rank", "model.pt", "--layer", LAYER, "--n", "24", "--batch-size", "4", "--k", "3", "-o", "out")
DISSECT = (
    "dissect",
    "model.pt",
    "--layer",
    LAYER,
    "--segmenter",
    "eye.py:Eye",
    "--n",
    "24",
    "--batch-size",
    "8",
    "--k",
    "3",
    "-o",
    "out",
)
CAUSE = (
    "cause",
    "model.pt",
    "--layer",
    LAYER,
    "--concept",
    "bright",
    "--segmenter",
    "eye.py:Eye",
    "--steps",
    "3",
    "--n",
    "32",
    "--held-out",
    "8",
    "-o",
    "out",
)
FLAG = ("flag", "out", "--units", "1,3", "--reason", "smear", "-o", "out.yaml")
APPLY = ("apply", "model.pt", "plain.yaml", "-o", "out.pt")
SEEDS = ("--seeds", "0-31")
JUDGED = ("--pairs", "4", "--seeds", "60000-60059", "--baselines", "2")

COMMANDS: dict[str, Command] = {
    "rank": Command(work=RANK, outputs=("out",), read=read_run, resumes=True),
    "rank over a run": Command(
        work=(*RANK, "--overwrite"), outputs=("out",), read=read_run, before=(RANK,), resumes=True
    ),
    "dissect": Command(work=DISSECT, outputs=("out",), read=read_run, resumes=True),
    "cause": Command(work=CAUSE, outputs=("out",), read=read_causes, resumes=True),
    "suggest": Command(
        work=("suggest", "out", "--model", "model.pt", "--by", "spike"), outputs=("out",), read=read_run, before=(RANK,)
    ),
    "flag": Command(work=(*FLAG, "--overwrite"), outputs=("out.yaml",), read=read_patch, before=(RANK, FLAG)),
    "patch with masks": Command(
        work=save_masks, outputs=("out.yaml", "out.safetensors"), read=read_patch, before=(("copy", "masked", "out"),)
    ),
    "apply": Command(work=APPLY, outputs=("out.pt", "out.pt.backup"), read=read_weights),
    "apply over a file": Command(
        work=("apply", "model.pt", "other.yaml", "-o", "out.pt"),
        outputs=("out.pt", "out.pt.backup"),
        read=read_weights,
        before=(APPLY,),
    ),
    "apply to a graph": Command(
        work=("apply", "model.onnx", "plain.yaml", "-o", "out.onnx"), outputs=("out.onnx",), read=read_graph
    ),
    "graph with data": Command(
        work=("apply", "large.onnx", "other.yaml", "-o", "out.onnx"),
        outputs=("out.onnx",),
        read=read_graph,
        before=(("apply", "large.onnx", "plain.yaml", "-o", "out.onnx"),),
    ),
    "export": Command(
        work=("export", "model.pt", "plain.yaml", "-o", "out.onnx"), outputs=("out.onnx",), read=read_graph
    ),
    "tune": Command(
        work=("tune", "model.pt", "plain.yaml", *SEEDS, "-o", "out.yaml", "--overwrite"),
        outputs=("out.yaml", "out.html"),
        read=read_patch,
    ),
    "evaluate": Command(
        work=(
            "evaluate",
            "model.pt",
            "out.yaml",
            "--seeds",
            "40-119",
            "--references",
            "50",
            "--baselines",
            "1",
            "--write",
        ),
        outputs=("out.yaml", "out.safetensors", "out.html"),
        read=read_patch,
        before=(("copy", "masked", "out"),),
    ),
    "judge": Command(
        work=("judge", "model.pt", "plain.yaml", *JUDGED, "-o", "out", "--page-only"),
        outputs=("out",),
        read=read_judged,
    ),
    "studio": Command(work=save_studio, outputs=("out",), read=read_studio),
}


def prepare(folder: Path, names: Iterable[str] = tuple(COMMANDS)) -> None:
    """Make what the commands of these names read: a model of a few kilobytes, patches, a graph of it, a segmenter."""
    import torch

    import ganpatch
    from ganpatch import Edit, Mask, Patch
    from ganpatch.patch.patch_file import Model
    from tests.support.nets import dcgan

    torch.save(dict(dcgan()[0].state_dict()), folder / "model.pt")
    generator = ganpatch.load(folder / "model.pt")
    model = Model.of("model", generator.fingerprint)
    for name, units in (("plain", (1, 3)), ("other", (2,))):
        Patch(name=name, model=model, edits=[Edit(id="a", layer=LAYER, channels=8, units=units)]).save(
            folder / f"{name}.yaml"
        )
    mask = Mask.of(torch.linspace(0, 1, 64).view(8, 8))
    edit = Edit(id="a", layer=LAYER, channels=8, units=(1,), mask=mask)
    Patch(name="masked", model=model, edits=[edit]).save(folder / "masked.yaml")
    (folder / "eye.py").write_text(EYE)
    if any(word.endswith(".onnx") for name in names if not callable(work := COMMANDS[name].work) for word in work):
        _make_graphs(generator, folder)


def _make_graphs(generator, folder: Path) -> None:
    import onnx

    from ganpatch import export_onnx

    export_onnx(generator, folder / "model.onnx")
    graph = onnx.load(folder / "model.onnx")
    onnx.save(graph, folder / "large.onnx", save_as_external_data=True, location="large.onnx.data", size_threshold=1000)
