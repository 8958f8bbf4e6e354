"""Finished runs: rankings, and dissections where a run has one; the orders of units that they know.

    runs = finished_runs([Path("run")], session_folder / "runs", model)
    runs[0].orders("layer4")                # [Order(name="suggested: typicality", explains="…", scores=[…])]

Orders come from the files in the folder: every method that `ganpatch suggest` has run there, every concept that
`ganpatch dissect` has looked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from ganpatch.causes.result import Causes
from ganpatch.dissection.result import DISSECTION, Dissection
from ganpatch.errors import GanpatchError
from ganpatch.families.loading import BUNDLED
from ganpatch.finding.suggestions import read_suggestions
from ganpatch.patch.patch_file import Model
from ganpatch.ranking.result import ARRAYS, MANIFEST, LayerRanking, Manifest, read_layers, read_manifest


class Order(BaseModel):
    """An order of a layer's units: the highest score comes first; `explains` says in a line what it measures."""

    name: str
    explains: str
    scores: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished ranking: its folder and manifest."""

    folder: Path
    manifest: Manifest

    def layer(self, name: str) -> LayerRanking:
        """Read one layer's arrays."""
        only = self.manifest.model_copy(update={"layers": {name: self.manifest.layers[name]}})
        return read_layers(self.folder / ARRAYS, only)[name]

    def dissection(self) -> Dissection | None:
        """Read what `ganpatch dissect` found; None where it did not look, or its files are broken."""
        if not (self.folder / DISSECTION).is_file():
            return None
        try:
            return Dissection.load(self.folder)
        except GanpatchError:  # the ranking can be used without it
            return None

    def suggested(self, layer: str) -> list[Order]:
        """Read the scores that `ganpatch suggest` left in the folder for a layer."""
        try:
            found = read_suggestions(self.folder, self.manifest)
        except GanpatchError:  # a broken file of scores takes no order away that is there without it
            return []
        return [
            Order(name=f"suggested: {method}", explains=one.facts.explains, scores=one.layers[layer].score.tolist())
            for method, one in found.items()
            if layer in one.layers
        ]


def concept_orders(dissection: Dissection, layer: str) -> list[Order]:
    """Return one order per concept that a dissection has found in a layer."""
    if layer not in dissection.layers:
        return []
    iou = dissection[layer].iou
    explains = f"how well the places where it is active agree with where {dissection.segmenter} sees"
    return [
        Order(name=f"agrees with {concept}", explains=f"{explains} {concept} (IoU)", scores=iou[:, place].tolist())
        for place, concept in enumerate(dissection.concepts)
    ]


def cause_orders(causes: Sequence[Causes], layer: str) -> list[Order]:
    """Return one order per concept whose causes were sought in a layer."""
    explains = "the share of it that is switched off to take away most of"
    return [
        Order(name=f"causes {concept}", explains=f"{explains} {concept} (alpha)", scores=found.alpha.tolist())
        for one in causes
        if one.layer == layer
        for concept, found in one.concepts.items()
    ]


def finished_runs(runs: Sequence[Path], own: Path, model: Model) -> list[Run]:
    """Read the runs that were given, and those of this model in `own`, where the studio puts its own."""
    folders = [*runs, *(sorted(own.iterdir()) if own.is_dir() else ())]
    found = [Run(folder=path, manifest=read_manifest(path)) for path in folders if (path / MANIFEST).is_file()]
    return [run for run in found if run.manifest.model.fingerprint == model.fingerprint]


def check_run(path: Path, model: Model) -> None:
    """Raise GanpatchError when a run is of another model."""
    manifest = read_manifest(path)
    if manifest.model.fingerprint != model.fingerprint:
        raise GanpatchError(
            f"'{path}' ranks {manifest.model.name}, and the model is {model.name} with other weights; "
            "name the model as well: ganpatch studio MODEL RUN"
        )


def model_of(runs: Sequence[Path]) -> str | None:
    """Name the model of a run, where only the run was given: bundled ones are known by name."""
    names = [read_manifest(path).model.name for path in runs]
    return names[0] if names and names[0] in BUNDLED else None
