"""The report of a dissection: how many units each layer has for each concept, and the units' top images, outlined.

See Figures 3 and 5 of Bau et al. 2018. The pictures are in the folder `dissection` next to the page.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from ganpatch.dissection.iou import Upsampler
from ganpatch.dissection.result import LEAST_ACCURACY, LEAST_IOU, Dissection
from ganpatch.pages.charts import stacked_bars
from ganpatch.pages.image_grids import Pixels, contact_sheet, outlined, save_picture
from ganpatch.pages.report_frame import heading, paragraph, picture, table, write_report

PAGE = "dissection.html"
_PICTURES = "dissection"
_UNITS, _IMAGES = 6, 8  # shown per concept


def write_dissection_page(dissection: Dissection, folder: Path) -> Path:
    """Write dissection.html and its pictures into a run folder; return the path of the page."""
    parts = [paragraph(_lead(dissection)), heading("Interpretable units per layer")]
    parts.append(stacked_bars({layer: dissection.counts(layer) for layer in dissection.layers}, "units"))
    parts.append(paragraph(f"A unit counts for the concept that it agrees with best, where IoU > {LEAST_IOU:g} and "
                           f"pixel accuracy > {LEAST_ACCURACY:g}.", "faint"))  # fmt: skip
    for index, layer in enumerate(dissection.layers):
        parts += _layer_parts(dissection, layer, folder, index)
    write_report(folder / PAGE, f"Dissection of {dissection.ranking.model.name}", parts)
    return folder / PAGE


def _lead(dissection: Dissection) -> str:
    return (
        f"{len(dissection.ranking.seeds)} images against {len(dissection.concepts)} concepts of the segmenter "
        f"{dissection.segmenter}; thresholds '{dissection.threshold}' from seeds {dissection.threshold_seeds}."
    )


def _layer_parts(dissection: Dissection, layer: str, folder: Path, index: int) -> list[str]:
    found = dissection[layer]
    rows = []
    for place, concept in enumerate(dissection.concepts):
        unit = int(found.iou[:, place].argmax())
        rows.append([concept, f"{dissection.shares[place]:.2%}", str(len(dissection.units_of(layer, concept))),
                     str(unit), f"{found.iou[unit, place]:.3f}"])  # fmt: skip
    total = int(dissection.interpretable(layer).sum())
    parts = [heading(layer), paragraph(f"{total} of {len(found.iou)} units are interpretable.")]
    parts.append(table(["concept", "of all pixels", "units", "best unit", "its IoU"], rows))
    for place, concept in enumerate(dissection.concepts):
        units = _shown(dissection, layer, concept)
        if units:
            name = f"{index}-{place}.png"
            save_picture(units_sheet(dissection, layer, concept, units), folder / _PICTURES / name)
            what = ", ".join(f"unit {unit} ({found.iou[unit, place]:.3f})" for unit in units)
            parts.append(heading(concept, 3) + picture(f"{_PICTURES}/{name}", f"{layer}, {concept}, by IoU: {what}"))
    return parts


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
