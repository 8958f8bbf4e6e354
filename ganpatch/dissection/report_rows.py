"""A dissection as a table and as JSON, for the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganpatch.dissection.result import Dissection


def dissection_rows(dissection: "Dissection") -> tuple[list[str], list[list[str]]]:
    """Return a heading and a table: interpretable units of each layer per concept, and the best IoU."""
    rows = []
    for place, concept in enumerate(dissection.concepts):
        cells = []
        for layer, found in dissection.layers.items():
            best, unit = found.iou[:, place].max(0)
            cells.append(f"{len(dissection.units_of(layer, concept))} units, best {best:.3f} (unit {int(unit)})")
        rows.append([concept, *cells])
    return ["concept", *dissection.layers], rows


def dissection_json(dissection: "Dissection", folder: Path) -> dict[str, Any]:
    """Return the interpretable units per layer and concept with their IoU."""

    def of_layer(layer: str) -> dict[str, Any]:
        found = dissection[layer]
        return {
            concept: [
                {"unit": unit, "iou": round(found.iou[unit, place].item(), 4)}
                for unit in dissection.units_of(layer, concept)
            ]
            for place, concept in enumerate(dissection.concepts)
        }

    return {
        "folder": str(folder),
        "run": dissection.ranking.run,
        "segmenter": dissection.segmenter,
        "shares": dict(zip(dissection.concepts, dissection.shares, strict=True)),
        "layers": {layer: of_layer(layer) for layer in dissection.layers},
    }
