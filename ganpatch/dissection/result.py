"""The result of dissecting: the agreement of each unit with each concept; saved in the run folder next to the ranking.

Example:

    dissection = Dissection.load("run")
    layer = dissection["layer4"]
    layer.iou, layer.best                   # [C, K], [C] indices into dissection.concepts
    dissection.interpretable("layer4")      # [C] bool: accuracy > 0.75 and IoU > 0.05
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from ganpatch.disk.array_files import read_arrays, write_arrays
from ganpatch.disk.atomic_files import replacing_together
from ganpatch.disk.json_files import Section, read_section, write_section
from ganpatch.errors import GanpatchError, near_miss
from ganpatch.html_tables import html_table
from ganpatch.patch.edit import LayerName
from ganpatch.ranking.result import MANIFEST, Ranking

DISSECTION = "dissection.json"
ARRAYS = "dissection.safetensors"
LEAST_IOU, LEAST_ACCURACY = 0.05, 0.75
_NAMES = ("thresholds", "iou", "accuracy")
_LARGEST = 16_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDissection:
    """One layer: `thresholds` (activations), `iou` and pixel `accuracy` per unit and concept, each [C, K]."""

    thresholds: Tensor
    iou: Tensor
    accuracy: Tensor

    @property
    def best(self) -> Tensor:
        """The concept with the highest IoU per unit, [C]."""
        return self.iou.argmax(1)


class _Manifest(Section):
    format: Literal["ganpatch-dissection/1"] = "ganpatch-dissection/1"
    run: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    segmenter: str
    threshold: str
    threshold_seeds: str
    concepts: Annotated[tuple[str, ...], Field(min_length=1, max_length=10_000)]
    shares: tuple[float, ...]
    layers: tuple[LayerName, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dissection:
    """All dissected layers of one run; `shares` is the share of the images that each concept covers."""

    ranking: Ranking
    segmenter: str
    threshold: str
    threshold_seeds: str
    concepts: tuple[str, ...]
    shares: tuple[float, ...]
    layers: Mapping[str, LayerDissection]

    def __getitem__(self, layer: str) -> LayerDissection:
        if layer not in self.layers:
            raise GanpatchError(
                f"layer '{layer}' is not dissected in this run; it has {', '.join(self.layers)}"
                f"{near_miss(layer, self.layers)}"
            )
        return self.layers[layer]

    def interpretable(self, layer: str, least_iou: float = LEAST_IOU) -> Tensor:
        """Return which units [C] agree with their best concept: accuracy > 0.75 and IoU > 0.05 (Bau et al. 2018)."""
        found = self[layer]
        best = found.best.unsqueeze(1)
        return (found.iou.gather(1, best) > least_iou)[:, 0] & (found.accuracy.gather(1, best) > LEAST_ACCURACY)[:, 0]

    def units_of(self, layer: str, concept: str) -> list[int]:
        """Return the interpretable units of a concept, the highest IoU first."""
        place = self.index(concept)
        chosen = self.interpretable(layer) & (self[layer].best == place)
        order = self[layer].iou[:, place].argsort(descending=True, stable=True)
        return [unit for unit in order.tolist() if chosen[unit]]

    def index(self, concept: str) -> int:
        """Return the index of a concept; raise GanpatchError with the nearest match."""
        if concept not in self.concepts:
            raise GanpatchError(
                f"concept '{concept}' is not in this run; it has {', '.join(self.concepts)}"
                f"{near_miss(concept, self.concepts)}"
            )
        return self.concepts.index(concept)

    def counts(self, layer: str) -> dict[str, int]:
        """Count the interpretable units of each concept that has any, the most first."""
        counts = {concept: len(self.units_of(layer, concept)) for concept in self.concepts}
        return dict(sorted(((name, n) for name, n in counts.items() if n), key=lambda item: -item[1]))

    def save(self, folder: str | Path) -> None:
        """Write the ranking's run folder with the dissection in it; the ranking's manifest comes last."""
        arrays = {f"{layer}.{name}": getattr(found, name) for layer, found in self.layers.items() for name in _NAMES}
        manifest = _Manifest(
            run=self.ranking.run,
            segmenter=self.segmenter,
            threshold=self.threshold,
            threshold_seeds=self.threshold_seeds,
            concepts=self.concepts,
            shares=self.shares,
            layers=tuple(self.layers),
        )
        with replacing_together(Path(folder), MANIFEST) as room:
            write_arrays(room / ARRAYS, arrays)
            write_section(room / DISSECTION, manifest)
            self.ranking.write(room)

    @classmethod
    def load(cls, folder: str | Path) -> "Dissection":
        """Read a run folder; raise GanpatchError naming the file that is missing or broken."""
        folder = Path(folder)
        ranking = Ranking.load(folder)
        path = folder / DISSECTION
        if not path.is_file():
            raise GanpatchError(f"'{folder}' has a ranking but no dissection; make one with ganpatch dissect")
        manifest = read_section(path, _Manifest, limit=_LARGEST)
        if manifest.run != ranking.run or len(manifest.shares) != len(manifest.concepts):
            raise GanpatchError(f"'{path}' does not belong to the ranking next to it; dissect again")
        return cls(
            ranking=ranking,
            segmenter=manifest.segmenter,
            threshold=manifest.threshold,
            threshold_seeds=manifest.threshold_seeds,
            concepts=manifest.concepts,
            shares=manifest.shares,
            layers=_read_layers(folder / ARRAYS, ranking, manifest),
        )

    def _repr_html_(self) -> str:
        rows = []
        for layer in self.layers:
            counts = ", ".join(f"{concept} {count}" for concept, count in self.counts(layer).items())
            rows.append((layer, str(int(self.interpretable(layer).sum())), counts))
        title = f"{self.ranking.model.name}: concepts of {self.segmenter}"
        return html_table(["layer", "interpretable units", "by concept"], rows, title=title, numeric=False)


def _read_layers(path: Path, ranking: Ranking, manifest: _Manifest) -> dict[str, LayerDissection]:
    concepts = len(manifest.concepts)
    shapes = {f"{layer}.{name}": (ranking[layer].units, concepts) for layer in manifest.layers for name in _NAMES}
    arrays = read_arrays(path, shapes)
    return {layer: LayerDissection(**{name: arrays[f"{layer}.{name}"] for name in _NAMES}) for layer in manifest.layers}
