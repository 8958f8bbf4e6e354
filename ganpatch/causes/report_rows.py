"""Causes as a table and as JSON, for the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganpatch.causes.result import Causes


def causes_rows(causes: "Causes") -> tuple[list[str], list[list[str]]]:
    """Return a heading and a table: per concept and order, the share of its pixels that ablation removes."""
    curves = [(concept, curve) for concept, found in causes.concepts.items() for curve in found.curves]
    rows = [[concept, curve.by, *(f"{share:.1%}" for share in curve.removed)] for concept, curve in curves]
    return ["removed of", "units by", *(f"{count} units" for count in curves[0][1].units)], rows


def causes_json(causes: "Causes", folder: Path) -> dict[str, Any]:
    """Return the units of each concept, the most causal first, with their alphas, and the curves."""
    return {
        "folder": str(folder),
        "layer": causes.layer,
        "concepts": {
            concept: {
                "presence": found.presence,
                "units": [{"unit": u, "alpha": round(found.alpha[u].item(), 4)} for u in found.ranked()[:50]],
                "curves": [curve.model_dump() for curve in found.curves],
            }
            for concept, found in causes.concepts.items()
        },
    }
