"""The result of ranking: per unit, the images that activate it most, where it is active in them, and how often.

    ranking = Ranking.load("run")
    ranking["layer4"].top_seeds[12]         # the seeds [K] of unit 12's top images, best first
    ranking.contact_sheet("layer4", [12, 77])

A run folder holds manifest.json (written last: a folder without it is not complete), ranking.safetensors and
sprite sheets with the thumbnails. The review stage adds index.html.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import Field
from torch import Tensor

from ganpatch.disk.array_files import read_arrays, write_arrays
from ganpatch.disk.atomic_files import replacing_together
from ganpatch.disk.json_files import Section, read_section, write_section
from ganpatch.errors import GanpatchError, near_miss
from ganpatch.html_tables import html_table
from ganpatch.number_ranges import format_spans, parse_spans
from ganpatch.option_values import Dtype, Score
from ganpatch.pages.image_grids import Pixels, contact_sheet, save_picture, sprite_layout, sprite_sheets
from ganpatch.patch.edit import LayerName
from ganpatch.patch.patch_file import Model
from ganpatch.untrusted.picture_files import opened_picture

MANIFEST = "manifest.json"
_SHOWN = 8  # units in a notebook
ARRAYS = "ranking.safetensors"
STATISTICS = ("mean", "firing_rate", "peak", "q99", "q999")
_LARGEST_MANIFEST = 64_000_000

Count = Annotated[int, Field(gt=0, le=10_000_000)]


class RankedLayer(Section):
    """A layer in the manifest: number of units, size of its maps, and of the small maps that are kept."""

    units: Count
    size: tuple[int, ...]
    map_size: tuple[Count, Count]


class Thumbnails(Section):
    """Which seeds the sprite sheets show, in their order, and how large each thumbnail is.

    With `inputs`, the left half of a thumbnail is the picture that went in, and the right half what came out.
    """

    seeds: tuple[int, ...]
    height: Count
    width: Count
    inputs: bool = False
    sheets: tuple[Annotated[str, Field(pattern=r"^thumbs-\d{3,6}\.png$")], ...]


class Computed(Section):
    """How the forward passes ran, because this can change the last digits."""

    device: str = "cpu"
    dtype: Dtype = "float32"
    channels_last: bool = False
    compiled: bool = False
    processes: Count = 1


class Manifest(Section):
    """manifest.json of a run folder."""

    format: Literal["ganpatch-run/1"] = "ganpatch-run/1"
    run: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    model: Model
    latent: str
    labels: str | None
    range: tuple[float, float]
    seeds: str
    n: Count
    k: Count
    score: Score
    layers: Annotated[dict[LayerName, RankedLayer], Field(min_length=1, max_length=10_000)]
    thumbnails: Thumbnails
    versions: dict[str, str]
    created: str
    seconds: float
    computed: Computed = Computed()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRanking:
    """One layer: per unit [C] or per unit and rank [C, K], best first.

    `top_maps` [C, K, h, w] is the activation in each top image, maximum-pooled to at most 16x16. `mean`, `peak` and the
    quantiles are activations over all pixels of all images; `firing_rate` is the share of pixels above zero.
    """

    size: tuple[int, ...]
    top_seeds: Tensor
    top_scores: Tensor
    top_maps: Tensor
    mean: Tensor
    firing_rate: Tensor
    peak: Tensor
    q99: Tensor
    q999: Tensor

    @property
    def units(self) -> int:
        """The number of units C."""
        return self.top_seeds.shape[0]

    def _repr_html_(self) -> str:
        best = self.top_scores[:, 0].topk(min(_SHOWN, self.units)).indices.tolist()
        rows = [
            (
                str(unit),
                f"{self.top_scores[unit, 0]:.3g}",
                f"{self.mean[unit]:.3g}",
                f"{self.firing_rate[unit]:.1%}",
                " ".join(str(seed) for seed in self.top_seeds[unit].tolist()),
            )
            for unit in best
        ]
        columns = ["unit", "highest score", "mean", "firing rate", "top seeds"]
        return html_table(columns, rows, title=f"{self.units} units, the {len(best)} most active")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """All ranked layers of one run; `thumbnails` [H, W, 3] uint8 by seed, and the pictures that went in, if any did."""

    run: str
    model: Model
    latent: str
    labels: str | None
    range: tuple[float, float]
    seeds: Sequence[int]
    score: Score
    layers: Mapping[str, LayerRanking]
    thumbnails: Mapping[int, Pixels]
    versions: Mapping[str, str]
    created: str
    seconds: float
    computed: Computed = field(default_factory=Computed)
    inputs: Mapping[int, Pixels] = field(default_factory=dict)

    def __getitem__(self, layer: str) -> LayerRanking:
        if layer not in self.layers:
            raise GanpatchError(
                f"layer '{layer}' is not in this run; it ranks {', '.join(self.layers)}{near_miss(layer, self.layers)}"
            )
        return self.layers[layer]

    @property
    def k(self) -> int:
        """The number of top images K per unit."""
        return next(iter(self.layers.values())).top_seeds.shape[1]

    def contact_sheet(self, layer: str, units: Sequence[int]) -> Image.Image:
        """Draw the top images of `units`, one row per unit."""
        ranked = self[layer]
        outside = [unit for unit in units if not 0 <= unit < ranked.units]
        if outside:
            raise GanpatchError(
                f"unit {outside[0]} is outside layer '{layer}' ({ranked.units} units, 0-{ranked.units - 1})"
            )
        return contact_sheet(
            [(f"unit {unit}", [self.shown(seed) for seed in ranked.top_seeds[unit].tolist()]) for unit in units]
        )

    def shown(self, seed: int) -> Pixels:
        """Return the thumbnail of a seed, behind the picture that went in, if one did."""
        return np.concatenate((self.inputs[seed], self.thumbnails[seed]), 1) if self.inputs else self.thumbnails[seed]

    def save(self, folder: str | Path) -> None:
        """Write a run folder; the manifest comes last."""
        with replacing_together(Path(folder), MANIFEST) as room:
            self.write(room)

    def write(self, folder: Path) -> None:
        """Write the files of a run folder into an empty one."""
        seeds = sorted(self.thumbnails)
        sheets = []
        for index, sheet in enumerate(sprite_sheets([self.shown(seed) for seed in seeds])):
            sheets.append(f"thumbs-{index:03d}.png")
            save_picture(sheet, folder / sheets[-1])
        write_arrays(folder / ARRAYS, _arrays(self.layers))
        height, width = self.shown(seeds[0]).shape[:2]
        manifest = Manifest(
            run=self.run,
            model=self.model,
            latent=self.latent,
            labels=self.labels,
            range=self.range,
            seeds=format_spans(self.seeds),
            n=len(self.seeds),
            k=self.k,
            score=self.score,
            layers={
                name: RankedLayer(
                    units=ranked.units, size=ranked.size, map_size=(ranked.top_maps.shape[2], ranked.top_maps.shape[3])
                )
                for name, ranked in self.layers.items()
            },
            thumbnails=Thumbnails(
                seeds=tuple(seeds), height=height, width=width, inputs=bool(self.inputs), sheets=tuple(sheets)
            ),
            versions=dict(self.versions),
            created=self.created,
            seconds=self.seconds,
            computed=self.computed,
        )
        write_section(folder / MANIFEST, manifest)

    @classmethod
    def load(cls, folder: str | Path) -> "Ranking":
        """Read a run folder; raise GanpatchError naming the file that is missing or broken."""
        folder = Path(folder)
        manifest = read_manifest(folder)
        layers = read_layers(folder / ARRAYS, manifest)
        thumbnails, inputs = _read_thumbnails(folder, manifest.thumbnails), {}
        if manifest.thumbnails.inputs:
            middle = manifest.thumbnails.width // 2
            inputs = {seed: pixels[:, :middle] for seed, pixels in thumbnails.items()}
            thumbnails = {seed: pixels[:, middle:] for seed, pixels in thumbnails.items()}
        for name, ranked in layers.items():
            if not thumbnails.keys() >= set(ranked.top_seeds.flatten().tolist()):
                raise GanpatchError(f"'{folder / ARRAYS}' is broken: layer '{name}' names seeds without a thumbnail")
        return cls(
            run=manifest.run,
            model=manifest.model,
            latent=manifest.latent,
            labels=manifest.labels,
            range=manifest.range,
            seeds=parse_spans(manifest.seeds, what="seed"),
            score=manifest.score,
            layers=layers,
            thumbnails=thumbnails,
            versions=manifest.versions,
            created=manifest.created,
            seconds=manifest.seconds,
            computed=manifest.computed,
            inputs=inputs,
        )

    def _repr_html_(self) -> str:
        parts = [f"<b>{escape(self.model.name)}</b>: {len(self.seeds)} images, top {self.k} by {self.score}"]
        for name, ranked in self.layers.items():
            best = ranked.top_scores[:, 0].topk(min(_SHOWN, ranked.units)).indices.tolist()
            buffer = io.BytesIO()
            self.contact_sheet(name, best).save(buffer, "PNG")
            picture = base64.b64encode(buffer.getvalue()).decode()
            lead = f"{escape(name)}, {ranked.units} units, the most active:"
            parts.append(f"<p>{lead}</p><img src='data:image/png;base64,{picture}' alt='{lead}'>")
        return "<br>".join(parts)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a run folder; raise GanpatchError if the folder is not a complete run."""
    path = folder / MANIFEST
    if not path.is_file():
        if not folder.is_dir():
            raise GanpatchError(f"'{folder}' is not a run folder: no such folder")
        raise GanpatchError(
            f"'{folder}' is not a finished run; if it was interrupted, repeat its command "
            "(rank, dissect or cause) with --resume"
        )
    return read_section(path, Manifest, limit=_LARGEST_MANIFEST)


def _arrays(layers: Mapping[str, LayerRanking]) -> dict[str, Tensor]:
    names = ("top_seeds", "top_scores", "top_maps", *STATISTICS)
    return {f"{layer}.{name}": getattr(ranked, name) for layer, ranked in layers.items() for name in names}


def read_layers(path: Path, manifest: Manifest) -> dict[str, LayerRanking]:
    """Read the arrays of a run folder; raise GanpatchError if they do not match its manifest."""
    shapes = {layer: _shapes(facts, manifest.k) for layer, facts in manifest.layers.items()}
    of_layers = {f"{layer}.{name}": shape for layer, named in shapes.items() for name, shape in named.items()}
    arrays = read_arrays(path, of_layers)
    return {
        layer: LayerRanking(
            size=manifest.layers[layer].size, **{name: arrays[f"{layer}.{name}"] for name in shapes[layer]}
        )
        for layer in manifest.layers
    }


def _shapes(facts: RankedLayer, k: int) -> dict[str, tuple[int, ...]]:
    top = {"top_seeds": (facts.units, k), "top_scores": (facts.units, k), "top_maps": (facts.units, k, *facts.map_size)}
    return {**top, **dict.fromkeys(STATISTICS, (facts.units,))}


def _read_thumbnails(folder: Path, index: Thumbnails) -> dict[int, Pixels]:
    columns, rows = sprite_layout(index.height, index.width)
    found: dict[int, Pixels] = {}
    for number, name in enumerate(index.sheets):
        with opened_picture(folder / name, f"'{folder / name}' is broken") as picture:
            sheet = np.asarray(picture.convert("RGB"))
        for place, seed in enumerate(index.seeds[number * columns * rows : (number + 1) * columns * rows]):
            y, x = place // columns * index.height, place % columns * index.width
            if y + index.height > sheet.shape[0] or x + index.width > sheet.shape[1]:
                raise GanpatchError(f"'{folder / name}' is broken: it is smaller than its thumbnails")
            found[seed] = sheet[y : y + index.height, x : x + index.width]
    return found
