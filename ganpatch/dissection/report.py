"""The report of a dissection: how many units each layer has for each concept, and the units' top images, outlined.

See Figures 3 and 5 of Bau et al. 2018. The pictures are in the folder `dissection` next to the page.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from ganpatch.dissection.iou import Upsampler
from ganpatch.dissection.result import LEAST_ACCURACY, LEAST_IOU, Dissection
from ganpatch.pages.charts import bars, histogram, stacked_bars
from ganpatch.pages.image_grids import Pixels, contact_sheet, outlined, save_picture
from ganpatch.pages.report_frame import heading, paragraph, picture, table, write_report

PAGE = "dissection.html"
_PICTURES = "dissection"
_UNITS, _IMAGES = 6, 8  # shown per concept
RULE = f"if that is above {LEAST_IOU:g} and its pixel accuracy above {LEAST_ACCURACY:g}"


def write_dissection_page(dissection: Dissection, folder: Path) -> Path:
    """Write dissection.html and its pictures into a run folder; return the path of the page."""
    layers = list(dissection.layers)
    parts = [paragraph(" ".join(_conclusion(dissection, layer) for layer in layers), "lead")]
    parts += [paragraph(_lead(dissection), "faint"), *_charts(dissection)]
    for index, layer in enumerate(layers):
        parts += _layer_parts(dissection, layer, folder, index)
    write_report(folder / PAGE, f"Dissection of {dissection.ranking.model.name}", parts)
    return folder / PAGE


def _conclusion(dissection: Dissection, layer: str) -> str:
    """Return what to conclude about a layer: how many units are interpretable, and the clearest of them."""
    iou, chosen = dissection[layer].iou, dissection.interpretable(layer)
    if not chosen.any():
        return f"No unit of {layer} is interpretable."
    best = iou.amax(1).where(chosen, 0.0)
    unit = int(best.argmax())
    concept = dissection.concepts[int(dissection[layer].best[unit])]
    kinds = len(dissection.counts(layer))
    return (
        f"{int(chosen.sum())} of {len(iou)} units of {layer} are interpretable, as {kinds} of "
        f"{len(dissection.concepts)} concepts; the clearest is unit {unit} for {concept} (IoU {best[unit]:.3f})."
    )


def _lead(dissection: Dissection) -> str:
    return (
        f"{len(dissection.ranking.seeds)} images and {len(dissection.concepts)} concepts of the segmenter "
        f"{dissection.segmenter}; thresholds '{dissection.threshold}' from seeds {dissection.threshold_seeds}. "
        f"A unit is interpretable as the concept with its highest IoU, {RULE}."
    )


def _charts(dissection: Dissection) -> list[str]:
    """Draw units and concepts per layer, and how the best IoU of each unit is distributed (Bau et al. 2018, Fig. 5)."""
    counts = {layer: dissection.counts(layer) for layer in dissection.layers}
    best = {layer: found.iou.amax(1).tolist() for layer, found in dissection.layers.items()}
    return [
        stacked_bars(counts, title="Interpretable units by concept", x="units"),
        bars({layer: len(kinds) for layer, kinds in counts.items()}, title="Concepts with a unit", x="concepts"),
        histogram(best, title="Best IoU of each unit", x="IoU", y="units", at=LEAST_IOU),
    ]


def _layer_parts(dissection: Dissection, layer: str, folder: Path, index: int) -> list[str]:
    found, parts = dissection[layer], [heading(layer)]
    for place, concept in enumerate(dissection.concepts):
        units = _shown(dissection, layer, concept)
        if units:
            name = f"{index}-{place}.png"
            save_picture(units_sheet(dissection, layer, concept, units), folder / _PICTURES / name)
            what = ", ".join(f"unit {unit} ({found.iou[unit, place]:.3f})" for unit in units)
            parts.append(heading(concept, 3) + picture(f"{_PICTURES}/{name}", f"{layer}, {concept}, by IoU: {what}"))
    columns = ["concept", "of all pixels", "units", "best unit", "its IoU", "its accuracy", "rule that it misses"]
    rows = [_concept_row(dissection, layer, place) for place in range(len(dissection.concepts))]
    return [*parts, table(columns, rows)]


def _concept_row(dissection: Dissection, layer: str, place: int) -> list[str]:
    found, concept = dissection[layer], dissection.concepts[place]
    unit = int(found.iou[:, place].argmax())
    iou, accuracy = f"{found.iou[unit, place]:.3f}", f"{found.accuracy[unit, place]:.3f}"
    units = str(len(dissection.units_of(layer, concept)))
    missed = missed_rule(dissection, layer, unit, place)
    return [concept, f"{dissection.shares[place]:.2%}", units, str(unit), iou, accuracy, missed]


def missed_rule(dissection: Dissection, layer: str, unit: int, place: int) -> str:
    """Return which rule keeps a unit from being interpretable as the concept at `place`; empty where none does."""
    found = dissection[layer]
    best = int(found.best[unit])
    if found.iou[unit, place] <= LEAST_IOU:
        return f"IoU is at most {LEAST_IOU:g}"
    if best != place:
        return f"agrees better with {dissection.concepts[best]} ({found.iou[unit, best]:.3f})"
    if found.accuracy[unit, place] <= LEAST_ACCURACY:
        return f"accuracy is at most {LEAST_ACCURACY:g}"
    return ""


def _shown(dissection: Dissection, layer: str, concept: str) -> list[int]:
    """Return the units to show for a concept: its interpretable units, else the best unit if its IoU is high enough."""
    units = dissection.units_of(layer, concept)[:_UNITS]
    column = dissection[layer].iou[:, dissection.index(concept)]
    return units or ([int(column.argmax())] if column.max() > LEAST_IOU else [])


def units_sheet(dissection: Dissection, layer: str, concept: str, units: list[int]) -> Image.Image:
    """Draw the top images of `units`, one row each, outlined where the unit is above its threshold for the concept."""
    ranked, place = dissection.ranking[layer], dissection.index(concept)
    rows: list[tuple[str, list[Pixels]]] = []
    for unit in units:
        images = []
        for seed, activation in zip(ranked.top_seeds[unit, :_IMAGES].tolist(), ranked.top_maps[unit], strict=False):
            pixels = dissection.ranking.thumbnails[seed]
            images.append(outlined(pixels, _mask(activation, pixels, dissection[layer].thresholds[unit, place])))
        rows.append((f"unit {unit}", images))
    return contact_sheet(rows)


def _mask(activation: Tensor, pixels: Pixels, threshold: Tensor) -> np.ndarray:
    height, width = activation.shape
    upsampler = Upsampler((height, width), (pixels.shape[0], pixels.shape[1]))
    mask: np.ndarray = (upsampler(activation.float().unsqueeze(0))[0] > threshold).numpy()
    return mask
