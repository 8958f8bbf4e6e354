"""A studio: a generator, its session on disk, its rankings, and the threads that work for the page.

Example:

    studio = Studio.open(Opening(model=None, out=Path("churches-studio")))
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ganpatch.causes.result import MANIFEST as CAUSES
from ganpatch.causes.result import Causes
from ganpatch.disk.atomic_files import file_name
from ganpatch.dissection.result import Dissection
from ganpatch.errors import GanpatchError, near_miss
from ganpatch.families.loading import load
from ganpatch.forward.activations import Progress
from ganpatch.forward.default_layer import default_layer
from ganpatch.forward.layer_facts import LayerFacts, list_layers
from ganpatch.generator.generator import Generator
from ganpatch.option_values import FEWEST_IMAGES, Level
from ganpatch.patch.edit import Edit
from ganpatch.patch.evidence import Evidence, Record
from ganpatch.patch.patch_file import Model, Patch
from ganpatch.ranking.result import LayerRanking, read_manifest
from ganpatch.studio.bundled import Study
from ganpatch.studio.changes import Overtaken
from ganpatch.studio.child_process import in_child
from ganpatch.studio.engine import Engine
from ganpatch.studio.frames import Frames, Levels
from ganpatch.studio.history import STROKES, Folder
from ganpatch.studio.jobs import Jobs, JobView
from ganpatch.studio.painting import LayerShape, Paint, Painting, UnitTrial, painted_edit
from ganpatch.studio.palette import Brush, Palette
from ganpatch.studio.runs import Order, Run, cause_orders, check_run, concept_orders, finished_runs, model_of
from ganpatch.studio.state import Entry, Painted, State
from ganpatch.studio.views import Adopt, JobRequest

EXPORTS, FIGURES, RUNS, CONCEPTS = "exports", "figures", "runs", "concepts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a studio is opened with: a model, how to load it, finished runs and causes, a patch to begin with.

    `out` is the folder of the session, `n` how many images are ranked at first where no run is given, `real` a folder
    of real images for quality figures, `in_frames` whether a notebook may show the page.
    """

    model: str | None = None
    loading: Mapping[str, Any] = field(default_factory=dict)
    runs: Sequence[Path] = ()
    causes: Sequence[Path] = ()
    patch: Path | None = None
    out: Path | None = None
    n: int = 1000
    real: Path | None = None
    in_frames: bool = False


class Studio:
    """Everything behind the page: `folder` takes changes of the session, `engine` whatever runs the model."""

    def __init__(self, generator: Generator, facts: Sequence[LayerFacts], folder: Folder, opening: Opening) -> None:
        self.generator, self.folder = generator, folder
        self.model, self.loading, self.real = opening.model, opening.loading, opening.real
        self.layers = {fact.name: LayerShape(fact.units, fact.size) for fact in facts if fact.units}
        self.default_layer = default_layer(facts).name
        self.engine, self.jobs, self.frames = Engine(), Jobs(), Frames(generator)
        self.image_size = self.engine.submit(self.frames.settle).result()
        self._expected: set[str] = set()
        self._levels: dict[str, Future[Levels]] = {}
        self._rankings: dict[tuple[str, str], LayerRanking] = {}
        self._dissections: dict[str, Dissection | None] = {}
        self.study = Study.of(folder.state.model)
        self.in_frames = opening.in_frames
        self.is_plain = not (opening.runs or opening.causes or opening.patch)
        self.causes = [*self.study.causes, *self._given_causes(opening.causes)]  # the later one is used
        own = folder.path / RUNS
        self.runs = {run.manifest.run: run for run in finished_runs(opening.runs, own, folder.state.model)}
        self.palette = self._palette()
        folder.evidence = self._evidence()

    @classmethod
    def open(cls, opening: Opening, hold: Callable[[Path], object] = lambda path: None) -> "Studio":
        """Load the model and open the session; raise GanpatchError when they do not fit each other.

        `hold` is called with the session's folder before anything is read from it or written there.
        """
        name = opening.model or model_of(opening.runs)
        generator = load(name, **opening.loading)
        model = Model.of(generator.name, generator.fingerprint)
        for path in opening.runs:
            check_run(path, model)
        path = opening.out or Path(f"{file_name(generator.name)}-studio")
        start = Patch.load(opening.patch) if opening.patch else None
        if start is not None and start.model.fingerprint != model.fingerprint:
            raise GanpatchError(f"patch '{start.name}' is for other weights than {generator.name}")
        facts = list_layers(generator)
        hold(path)
        folder = Folder.open(path, model, {fact.name: fact.units for fact in facts}, start)
        return cls(generator, facts, folder, replace(opening, model=name))

    def _given_causes(self, paths: Sequence[Path]) -> list[Causes]:
        found = [Causes.load(path) for path in paths]
        for causes in found:
            if causes.model.fingerprint != self.folder.state.model.fingerprint:
                name = self.generator.name
                raise GanpatchError(f"the causes of {causes.model.name} are of other weights than {name}")
        return found

    def shape(self, layer: str) -> LayerShape:
        """Return units and size of a layer; raise GanpatchError when there is none."""
        if layer not in self.layers:
            raise GanpatchError(f"layer '{layer}' is not among those with maps{near_miss(layer, self.layers)}")
        return self.layers[layer]

    def run_of(self, layer: str) -> Run | None:
        """Return the newest run that ranks a layer."""
        found = [run for run in self.runs.values() if layer in run.manifest.layers]
        return max(found, key=lambda run: run.manifest.created, default=None)

    def ranking(self, layer: str) -> LayerRanking:
        """Read a layer's ranking, once; raise GanpatchError when no run has it."""
        run = self.run_of(layer)
        if run is None:
            raise GanpatchError(f"layer '{layer}' is not ranked yet")
        key = (run.manifest.run, layer)
        if key not in self._rankings:
            self._rankings[key] = run.layer(layer)
        return self._rankings[key]

    def orders(self, layer: str) -> list[Order]:
        """Return more orders for the units of a layer: what was suggested, what they cause, which concepts they are."""
        run = self.run_of(layer)
        found = run.suggested(layer) if run else []
        found += cause_orders(self.causes, layer)
        for dissection in self._all_dissections():
            found += concept_orders(dissection, layer)
        return list({order.name: order for order in found}.values())

    def levels(self, layer: str) -> "Future[Levels]":
        """Return a layer's levels, sampled once, between other work."""
        self.shape(layer)
        future = self._levels.get(layer)
        if future is None or (future.done() and (future.cancelled() or future.exception())):
            future = self._levels[layer] = self.engine.submit_calm(self.frames.levels(layer))
        return future

    def brushes(self) -> list[Brush]:
        """Return all brushes, except those of single units."""
        return self.palette.all(self.folder.state.content.edits)

    def brush(self, name: str) -> Brush:
        """Find a brush by its name."""
        return self.palette.find(name, self.folder.state.content.edits)

    def live_layer(self, unit: UnitTrial | None, painting: Painting | None) -> str | None:
        """Name the layer at which something is tried; its images answer sooner from the next one on."""
        layer = self.brush(painting.brush).layer if painting else unit.layer if unit else None
        if layer is not None and layer not in self._expected:
            self._expected.add(layer)
            self.engine.submit_calm(self.frames.expect(layer), stream=f"expect {layer}")
        return layer

    def painting(self, painting: Painting, name: str = "trial") -> Edit | None:
        """Return the edit that a painting means; None where its strokes cover nothing."""
        brush = self.brush(painting.brush)
        return painted_edit(brush, painting, self.shape(brush.layer), name)

    def paint(self, paint: Paint) -> State:
        """Keep a painting as an edit."""
        brush = self.brush(paint.brush)
        edit = self.painting(paint, paint.edit)
        if edit is None:
            raise GanpatchError("the strokes cover no part of the image")
        how = Painted(label=brush.label, mode=paint.mode, seed=paint.point.seed, size=paint.size, strokes=paint.strokes)
        return self.folder.put(paint.id, lambda revision: Entry(edit=edit, rev=revision, painted=how))

    def adopt(self, adopted: Adopt) -> State:
        """Put an edit that ships with the model into the session; raise GanpatchError if there is none of this name."""
        known = {edit.id: edit for edit in self.study.edits}
        if adopted.edit not in known:
            raise GanpatchError(f"no edit '{adopted.edit}' ships with {self.generator.name}")
        if self.folder.state.entry(adopted.edit) and adopted.id not in self.folder.state.seen:
            raise Overtaken(f"edit '{adopted.edit}' is in the patch already")
        return self.folder.put(adopted.id, lambda revision: Entry(edit=known[adopted.edit], rev=revision))

    def start(self, asked: JobRequest) -> JobView:
        """Begin long work on a layer, or with the current patch."""
        layer, over = asked.layer or self.default_layer, f"over {asked.n} images"
        if asked.kind in ("rank", "learn"):
            self.shape(layer)
            if asked.kind == "rank":
                return self.jobs.start("rank", f"ranking {layer} {over}", partial(self._rank, layer, asked.n))
            return self.jobs.start(
                "learn", f"finding units of {layer} for your strokes {over}", partial(self._learn, layer, asked.n)
            )
        patch = self.folder.patch()
        if patch is None:
            raise GanpatchError("no edit is on: there is nothing to bake or to measure")
        what = {"bake": "fold or insert", "weights": "repaired weights", "onnx": "ONNX", "quality": "quality"}[
            asked.kind
        ]
        if asked.kind == "quality" and asked.n < FEWEST_IMAGES:
            raise GanpatchError(f"a quality figure of {asked.n} images says nothing; give {FEWEST_IMAGES} or more")
        about = f" by {asked.features} {over}" if asked.kind == "quality" else ""
        return self.jobs.start(asked.kind, what + about, partial(self._with_patch, asked, patch), of=patch.digest)

    def _rank(self, layer: str, n: int, report: Progress) -> dict[str, Any]:
        folder = self.folder.path / RUNS / file_name(layer)
        result = self._in_child("rank", report, layer=layer, n=n, folder=folder)
        run = Run(folder=folder, manifest=read_manifest(folder))
        self.runs[run.manifest.run] = run
        self.folder.evidence = self._evidence()
        return result

    def _learn(self, layer: str, n: int, report: Progress) -> dict[str, Any]:
        """Find the units that agree with the strokes; they are brushes and orders from now on."""
        folder, strokes = self.folder.path / CONCEPTS / file_name(layer), self.folder.path / STROKES
        if not strokes.is_file():
            raise GanpatchError(
                "there are no strokes yet: paint some for two concepts at least, one may be 'background'"
            )
        result = self._in_child("learn", report, strokes=strokes, layer=layer, n=n, folder=folder)
        self._dissections.clear()
        self.palette = self._palette()
        return result

    def _with_patch(self, asked: JobRequest, patch: Patch, report: Progress) -> dict[str, Any]:
        more: dict[str, Any] = {} if asked.kind == "bake" else {"folder": self.folder.path / EXPORTS}
        if asked.kind == "quality":
            wish = {"features": asked.features, "images": asked.n}
            more = {"folder": self.folder.path / FIGURES, "real": self.real, "wish": wish}
        with TemporaryDirectory() as folder:
            path = Path(folder) / "patch.yaml"
            patch.save(path)
            result = self._in_child(asked.kind, report, patch=path, **more)
        return {"digest": patch.digest, **result}

    def _in_child(self, kind: str, report: Progress, **given: Any) -> dict[str, Any]:
        """Do long work of this kind on the session's model, in a process of its own."""
        from ganpatch.studio.tasks import TASKS  # evaluation, dissection and export: imported once there is work

        return in_child(TASKS[kind], report, model=self.model, loading=dict(self.loading), **given)

    def known_levels(self, layer: str) -> dict[Level, tuple[float, ...]]:
        """Return levels of every unit of a layer, of a run or of what was sampled; as yet none: nothing."""
        if self.run_of(layer) is not None:
            ranked = self.ranking(layer)
            return {"q99": tuple(ranked.q99.tolist()), "q999": tuple(ranked.q999.tolist())}
        future = self._levels.get(layer)
        if future is None or not future.done() or future.cancelled() or future.exception():
            return {}
        found = future.result()
        return {"q99": tuple(found.q99.tolist()), "q999": tuple(found.q999.tolist())}

    def _palette(self) -> Palette:
        channels = {name: shape.units for name, shape in self.layers.items() if len(shape.size) == 2}
        palette = Palette(channels, self.known_levels)
        for causes in self.causes:
            palette.add_causes(causes)
        for dissection in self._all_dissections():
            palette.add_dissection(dissection.ranking.run, dissection)
        return palette

    def _all_dissections(self) -> list[Dissection]:
        """Read, once, the dissections of the runs, and those that were learned from strokes here.

        What ships is used for layers that none of them has.
        """
        learned = finished_runs((), self.folder.path / CONCEPTS, self.folder.state.model)
        for run in (*self.runs.values(), *learned):
            if run.manifest.run not in self._dissections:
                self._dissections[run.manifest.run] = run.dissection()
        own = [found for found in self._dissections.values() if found is not None]
        layers = {layer for found in own for layer in found.layers}
        return [*own, *(found for found in self.study.dissections if layers.isdisjoint(found.layers))]

    def _evidence(self) -> Evidence:
        """Return a record for each run whose images are shown: units are chosen by looking at them."""
        return Evidence.of(
            *(
                Record(
                    made_by="studio",
                    chosen_on=run.manifest.seeds,
                    settings={"layers": list(run.manifest.layers), "run": run.manifest.run},
                )
                for run in self.runs.values()
            ),
            *self.study.evidence.records,
        )


def opening_of(model_and_runs: Sequence[str], loading: Mapping[str, Any]) -> Opening:
    """Split the arguments [MODEL] [RUN|CAUSES...]: the latter are folders. Raise GanpatchError for two models."""
    folders = [Path(text) for text in model_and_runs if Path(text).is_dir()]
    models = [text for text in model_and_runs if Path(text) not in folders]
    if len(models) > 1:
        raise GanpatchError(f"give one model, not {' and '.join(models)}; a run is a folder that 'ganpatch rank' wrote")
    causes = [path for path in folders if (path / CAUSES).is_file()]
    runs = [path for path in folders if path not in causes]
    return Opening(model=models[0] if models else None, loading=loading, runs=runs, causes=causes)
