"""Decisions and proofs as rows and sentences for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganpatch.causes.result import Causes
    from ganpatch.dissection.result import Dissection
    from ganpatch.export.onnx_export import Exported
    from ganpatch.export.onnx_patching import PatchedGraph
    from ganpatch.export.verifying import Agreement, Verification
    from ganpatch.fold.baking import Proof
    from ganpatch.fold.planning import Decision


def decision_rows(decisions: Sequence["Decision"]) -> list[tuple[str, ...]]:
    """Return a heading and a table with the outcome of each edit."""
    rows = [(d.edit, d.layer, d.outcome, ", ".join(d.where) or d.reason) for d in decisions]
    return [("edit", "layer", "outcome", "where or why"), *rows]


def proof_text(proof: "Proof") -> str:
    """Describe how equal hooks and bake are."""
    return (
        f"hooks and bake differ by at most {proof.float64:.1e} in float64 and {proof.float32:.1e} in float32; "
        f"the patch changes outputs by up to {proof.effect:.2g}, they reach {proof.largest:.3g}"
    )


def exported_text(exported: "Exported") -> str:
    """Describe how equal onnxruntime and torch are, and how large the file is."""
    return (
        f"onnxruntime and torch differ by at most {exported.difference:.2g}; outputs reach {exported.largest:.3g}\n"
        f"{exported.path}: {exported.size / 1e6:.1f} MB"
    )


def graph_text(graph: "PatchedGraph") -> str:
    """Describe how a patched graph was checked."""
    return (
        f"{graph.identity}\nfolded and inserted edits differ by at most {graph.difference:.2g} in onnxruntime; "
        f"the patch changes outputs by up to {graph.effect:.2g}, they reach {graph.largest:.3g}"
    )


def agreement_rows(report: "Verification") -> list[tuple[str, ...]]:
    """Return a table that compares every candidate with the hooks, its heading first."""
    rows = [_agreement_row(one, "agrees" if one.agrees else "DIFFERS") for one in report.candidates]
    heading = ("compared with the hooks", "as", "largest", "mean", "tolerance", "seed", "at", "")
    return [heading, *rows, _agreement_row(report.effect, "(the patch's effect)")]


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


def _agreement_row(one: "Agreement", verdict: str) -> tuple[str, ...]:
    place = ",".join(map(str, one.place))
    figures = (f"{one.largest:.2g}", f"{one.mean:.2g}", f"{one.tolerance:.2g}")
    return (one.name, one.kind, *figures, str(one.seed), place, verdict)
