"""A studio: a generator, its session on disk, its rankings, and the threads that work for the page.

studio = Studio.open(Opening(model=None, out=Path("churches-studio")))
"""

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from ganpatch.activations import LayerFacts, Progress, default_layer, layer_facts
from ganpatch.causes import MANIFEST as CAUSES
from ganpatch.causes import Causes
from ganpatch.edit import Edit
from ganpatch.errors import GanpatchError, near_miss
from ganpatch.files import file_name
from ganpatch.generator import Generator
from ganpatch.models import BUNDLED, load
from ganpatch.patch import Model, Patch
from ganpatch.ranking import ARRAYS, MANIFEST, LayerRanking, Manifest, read_layers, read_manifest
from ganpatch.studio.engine import Engine
from ganpatch.studio.folder import Folder
from ganpatch.studio.frames import Frames, Levels
from ganpatch.studio.jobs import Jobs, JobView
from ganpatch.studio.palette import Brush, LayerShape, Paint, Painting, concept_brush, painted_edit, unit_brush
from ganpatch.studio.state import Entry, Painted, State
from ganpatch.studio.tasks import bake_task, in_child, onnx_task, rank_task, weights_task
from ganpatch.suggestions import read_suggestions

EXPORTS = "exports"
QUICK = 0.1  # seconds of a pass that answers a brush as it is: tracing a model takes as long as many strokes


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a studio is opened with: a model, how to load it, finished runs and causes, a patch to begin with.

    `out` is the folder of the session, `n` how many images are ranked at first where no run is given.
    """

    model: str | None = None
    loading: Mapping[str, Any] = field(default_factory=dict)
    runs: Sequence[Path] = ()
    causes: Sequence[Path] = ()
    patch: Path | None = None
    out: Path | None = None
    n: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished ranking: its folder and manifest."""

    folder: Path
    manifest: Manifest

    def layer(self, name: str) -> LayerRanking:
        """Read one layer's arrays."""
        only = self.manifest.model_copy(update={"layers": {name: self.manifest.layers[name]}})
        return read_layers(self.folder / ARRAYS, only)[name]

    def suggested(self, name: str) -> dict[str, list[float]]:
        """Read the scores that `ganpatch suggest` left in the folder for a layer, by method."""
        try:
            found = read_suggestions(self.folder, self.manifest)
        except GanpatchError:  # a broken file of scores takes no order away that is there without it
            return {}
        return {
            f"suggested: {method}": one.layers[name].score.tolist()
            for method, one in found.items()
            if name in one.layers
        }


class Studio:
    """Everything behind the page: `folder` takes changes of the session, `engine` whatever runs the model."""

    def __init__(self, generator: Generator, facts: Sequence[LayerFacts], folder: Folder, opening: Opening) -> None:
        self.generator, self.folder = generator, folder
        self.model, self.loading = opening.model, opening.loading
        self.layers = {fact.name: LayerShape(fact.units, fact.size) for fact in facts if fact.units}
        self.default_layer = default_layer(facts).name
        self.engine, self.jobs, self.frames = Engine(), Jobs(), Frames(generator)
        height, width = generator.sample([0]).shape[2:]  # the first pass is slower than all others
        started = perf_counter()
        generator.sample([0])
        self.image_size, self.seconds = (height, width), perf_counter() - started
        self._cut: set[str] = set()
        self._levels: dict[str, Future[Levels]] = {}
        self._rankings: dict[tuple[str, str], LayerRanking] = {}
        self.causes = [Causes.load(path) for path in opening.causes]
        for causes in self.causes:
            if causes.model.fingerprint != folder.state.model.fingerprint:
                raise GanpatchError(f"the causes of {causes.model.name} are of other weights than {generator.name}")
        runs = opening.runs
        self.runs = {run.manifest.run: run for run in _finished(runs, folder.path / "runs", folder.state.model)}
        folder.evidence = self._evidence()

    @classmethod
    def open(cls, opening: Opening, hold: Callable[[Path], object] = lambda path: None) -> "Studio":
        """Load the model and open the session; raise GanpatchError when they do not fit each other.

        `hold` is called with the session's folder before anything is read from it or written there.
        """
        name = opening.model or _model_of(opening.runs)
        generator = load(name, **opening.loading)
        model = Model.of(generator.name, generator.fingerprint)
        for path in opening.runs:
            _check_run(read_manifest(path), path, model)
        path = opening.out or Path(f"{file_name(generator.name)}-studio")
        start = Patch.load(opening.patch) if opening.patch else None
        if start is not None and start.model.fingerprint != model.fingerprint:
            raise GanpatchError(f"patch '{start.name}' is for other weights than {generator.name}")
        facts = layer_facts(generator)
        hold(path)
        folder = Folder.open(path, model, {fact.name: fact.units for fact in facts}, start)
        return cls(generator, facts, folder, replace(opening, model=name))

    def shape(self, layer: str) -> LayerShape:
        """Give units and size of a layer; raise GanpatchError when there is none."""
        if layer not in self.layers:
            raise GanpatchError(f"layer '{layer}' is not among those with maps{near_miss(layer, self.layers)}")
        return self.layers[layer]

    def run_of(self, layer: str) -> Run | None:
        """Give the newest run that ranks a layer."""
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

    def scores(self, layer: str) -> dict[str, list[float]]:
        """Give more orders for the units of a layer, by name: what was suggested, what they cause."""
        run = self.run_of(layer)
        suggested = run.suggested(layer) if run else {}
        return suggested | {
            f"causes {concept}": record.alpha.tolist()
            for causes in self.causes
            if causes.layer == layer
            for concept, record in causes.concepts.items()
        }

    def levels(self, layer: str) -> "Future[Levels]":
        """Give a layer's levels, sampled once, between other work."""
        self.shape(layer)
        future = self._levels.get(layer)
        if future is None or (future.done() and (future.cancelled() or future.exception())):
            future = self._levels[layer] = self.engine.submit_calm(self.frames.levels(layer))
        return future

    def brushes(self) -> list[Brush]:
        """Give the brushes: concepts of the causes, then what the plain edits of the session draw."""
        made = [concept_brush(causes, concept) for causes in self.causes for concept in causes.concepts]
        for entry in self.folder.state.content.edits:
            edit = entry.edit
            if entry.is_plain and len(self.layers[edit.layer].size) == 2:
                levels = self.known_levels(edit.layer)
                made.append(
                    Brush(
                        name=f"edit:{edit.id}",
                        label=edit.reason or edit.id,
                        source="flagged",
                        layer=edit.layer,
                        channels=edit.channels,
                        units=edit.units,
                        insert=levels and tuple(levels[unit] for unit in edit.units),
                    )
                )
        return made

    def brush(self, name: str) -> Brush:
        """Find a brush by its name; `unit:LAYER:NUMBER` is any unit."""
        match = re.fullmatch(r"unit:(.+):(\d{1,6})", name)
        if match:
            unit, shape = int(match[2]), self.shape(match[1])
            levels = self.known_levels(match[1])
            return unit_brush(match[1], shape, unit, levels[unit] if levels and unit < len(levels) else None)
        found = {brush.name: brush for brush in self.brushes()}
        if name not in found:
            raise GanpatchError(f"there is no brush '{name}'{near_miss(name, found)}")
        return found[name]

    def expect_strokes(self, brush: str) -> None:
        """Cut the pass at the layer of a brush, once, when nobody waits, where the whole pass is not quick anyway."""
        layer = self.brush(brush).layer
        if layer not in self._cut and self.seconds > QUICK:
            self._cut.add(layer)
            self.engine.submit_calm(self.frames.cut(layer), stream=f"cut {layer}")

    def painting(self, painting: Painting, name: str = "trial") -> Edit | None:
        """Give the edit that a painting means; None where its strokes cover nothing."""
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

    def start(self, kind: str, layer: str | None, n: int) -> JobView:
        """Begin long work: rank a layer, bake the patch, write repaired weights or ONNX."""
        if kind == "rank":
            name = layer or self.default_layer
            self.shape(name)
            return self.jobs.start(kind, f"ranking {name} over {n} images", lambda report: self._rank(name, n, report))
        patch = self.folder.patch()
        if patch is None:
            raise GanpatchError("no edit is on: there is nothing to bake")
        what = {"bake": "fold or insert", "weights": "repaired weights", "onnx": "ONNX"}[kind]
        return self.jobs.start(kind, f"{what}, {patch.digest[7:15]}", lambda report: self._baked(kind, patch, report))

    def _rank(self, layer: str, n: int, report: Progress) -> dict[str, Any]:
        folder = self.folder.path / "runs" / file_name(layer)
        result = in_child(rank_task, report, **self._model, layer=layer, n=n, folder=folder)
        run = Run(folder=folder, manifest=read_manifest(folder))
        self.runs[run.manifest.run] = run
        self.folder.evidence = self._evidence()
        return result

    def _baked(self, kind: str, patch: Patch, report: Progress) -> dict[str, Any]:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "patch.yaml"
            patch.save(path)
            given = {**self._model, "patch": path}
            if kind == "bake":
                result = in_child(bake_task, report, **given)
            else:
                task = weights_task if kind == "weights" else onnx_task
                result = in_child(task, report, **given, folder=self.folder.path / EXPORTS)
        return {"digest": patch.digest, **result}

    @property
    def _model(self) -> dict[str, Any]:
        return {"model": self.model, "loading": dict(self.loading)}

    def known_levels(self, layer: str) -> tuple[float, ...] | None:
        """Give the 99 % level of every unit, of a run or of the levels that were sampled, or None."""
        if self.run_of(layer) is not None:
            return tuple(self.ranking(layer).q99.tolist())
        future = self._levels.get(layer)
        if future is None or not future.done() or future.cancelled() or future.exception():
            return None
        return tuple(future.result().q99.tolist())

    def _evidence(self) -> dict[str, Any]:
        seen = [
            {"layers": list(run.manifest.layers), "seeds": run.manifest.seeds, "run": run.manifest.run}
            for run in self.runs.values()
        ]
        return {"looked_at": seen} if seen else {}


def opening_of(model_and_runs: Sequence[str], loading: Mapping[str, Any]) -> Opening:
    """Tell [MODEL] [RUN|CAUSES...] apart: those are folders. Raise GanpatchError for two models."""
    folders = [Path(text) for text in model_and_runs if Path(text).is_dir()]
    models = [text for text in model_and_runs if Path(text) not in folders]
    if len(models) > 1:
        raise GanpatchError(f"give one model, not {' and '.join(models)}; a run is a folder that 'ganpatch rank' wrote")
    causes = [path for path in folders if (path / CAUSES).is_file()]
    runs = [path for path in folders if path not in causes]
    return Opening(model=models[0] if models else None, loading=loading, runs=runs, causes=causes)


def _model_of(runs: Sequence[Path]) -> str | None:
    """Name the model of a run, where only the run was given: bundled ones are known by name."""
    names = [read_manifest(path).model.name for path in runs]
    return names[0] if names and names[0] in BUNDLED else None


def _check_run(manifest: Manifest, path: Path, model: Model) -> None:
    if manifest.model.fingerprint != model.fingerprint:
        raise GanpatchError(
            f"'{path}' ranks {manifest.model.name}, and the model is {model.name} with other weights; "
            "name the model as well: ganpatch studio MODEL RUN"
        )


def _finished(runs: Sequence[Path], own: Path, model: Model) -> list[Run]:
    """Read the runs that were given, and those that the studio made of this model."""
    folders = [*runs, *(sorted(own.iterdir()) if own.is_dir() else ())]
    found = [Run(folder=path, manifest=read_manifest(path)) for path in folders if (path / MANIFEST).is_file()]
    return [run for run in found if run.manifest.model.fingerprint == model.fingerprint]
