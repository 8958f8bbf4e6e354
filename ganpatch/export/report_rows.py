"""Decisions and proofs as rows and sentences for people."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


def _agreement_row(one: "Agreement", verdict: str) -> tuple[str, ...]:
    place = ",".join(map(str, one.place))
    figures = (f"{one.largest:.2g}", f"{one.mean:.2g}", f"{one.tolerance:.2g}")
    return (one.name, one.kind, *figures, str(one.seed), place, verdict)
