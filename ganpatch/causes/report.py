"""The report of an intervention study: curves of effect against units, and pictures with the concept removed.

The pictures are next to the page in the causes folder.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from ganpatch.causes.insertion_sites import Context
from ganpatch.causes.result import Causes, ConceptCauses, Curve
from ganpatch.generator.generator import Generator
from ganpatch.number_ranges import format_spans, parse_spans
from ganpatch.pages.charts import AFTER, BASELINE, bars, curves
from ganpatch.pages.image_grids import before_after, save_picture, to_pixels
from ganpatch.pages.report_frame import heading, paragraph, picture, table, write_report
from ganpatch.patch.applying import edits_applied

PAGE = "causes.html"
UNITS = 20
_RANDOM = "random"
_PAIRS = 12


def write_causes_page(causes: Causes, generator: Generator, folder: Path, contexts: Mapping[str, Context]) -> Path:
    """Write causes.html and its pictures into a causes folder; return the page's path."""
    parts = [paragraph(conclusion(concept, found), "lead") for concept, found in causes.concepts.items()]
    parts.append(paragraph(_lead(causes), "faint"))
    for number, concept in enumerate(causes.concepts):
        name = f"without-{number}.png"
        _save_pairs(causes, generator, concept, folder / name)
        text = f"held-out images before and after ablating the {UNITS} most causal units of {concept}"
        parts += [heading(concept), picture(name, text), *_curve_parts(concept, causes[concept])]
        if concept in contexts:
            parts += _context_parts(contexts[concept], folder, f"insertions-{number}.png")
    write_report(folder / PAGE, f"What causes what in {causes.layer} of {causes.model.name}", parts)
    return folder / PAGE


def conclusion(concept: str, found: ConceptCauses) -> str:
    """Return what to conclude: how much of the concept its most causal units remove, beside random units."""
    place = max(index for index, count in enumerate(found.curves[0].units) if count <= UNITS or index == 0)
    count = found.curves[0].units[place]
    removed = {curve.by: curve.removed[place] for curve in found.curves}
    others = [share for by, share in removed.items() if by.startswith(_RANDOM)]
    beside = f"; {count} random units remove {_share(min(others))} to {_share(max(others))}" if others else ""
    gone = _share(found.curves[0].removed[place])
    return f"Without its {count} most causal units, {gone} of the {concept} is gone{beside}."


def _share(share: float) -> str:
    return f"{round(share, 2) + 0.0:.0%}"  # without the sign of a zero


def _curve_parts(concept: str, found: ConceptCauses) -> list[str]:
    units = format_spans(sorted(found.ranked()[:UNITS]))
    colours = {"alpha": AFTER} | {curve.by: BASELINE for curve in found.curves if curve.by.startswith(_RANDOM)}
    removed, ace = (_lines(found.curves, what) for what in ("removed", "ace"))
    return [
        curves(removed, title=f"{concept}: removal", x="units ablated", y="share removed", colours=colours),
        curves(ace, title=f"{concept}: average causal effect", x="units", y="of mean presence", colours=colours),
        table(["order", *map(str, found.curves[0].units)], _rows(found.curves)),
        paragraph(f"{found.presence:.2%} of all pixels. The {UNITS} most causal units: {units}.", "faint"),
    ]


def _lead(causes: Causes) -> str:
    return (
        f"Alphas of preset '{causes.preset}' after {causes.steps} steps on seeds {causes.seeds}; effects on held-out "
        f"seeds {causes.held_out}, as the segmenter {causes.segmenter} sees them, beside random units."
    )


def _lines(found: tuple[Curve, ...], what: str) -> dict[str, list[tuple[float, float]]]:
    return {curve.by: list(zip(map(float, curve.units), getattr(curve, what), strict=True)) for curve in found}


def _rows(found: tuple[Curve, ...]) -> list[list[str]]:
    return [[f"{curve.by}, removed", *(f"{share:.1%}" for share in curve.removed)] for curve in found]


def _context_parts(context: Context, folder: Path, name: str) -> list[str]:
    """Show how much of the concept an insertion adds, by what was there before, with the best example of each."""
    rows = [(before, places, gain) for before, places, gain in context.rows() if before in context.examples]
    examples = [context.examples[before] for before, _, _ in rows]
    captions = [f"{before} {context.examples[before].gain:+.2f}" for before, _, _ in rows]
    pixels = [np.stack([getattr(one, when) for one in examples]) for when in ("before", "after")]
    save_picture(before_after(pixels[0], pixels[1], captions), folder / name)
    cells = [[before, str(places), f"{gain:+.3f}"] for before, places, gain in rows]
    text = f"{context.concept} inserted: the largest gain at each kind of place"
    return [
        heading(f"Where {context.concept} can be put", 3),
        picture(name, text),
        bars({before: gain for before, _, gain in rows}, title=f"{context.concept}: gain by what was there", x="gain"),
        table(["what was there", "places", f"mean gain in {context.concept} there"], cells),
    ]


def _save_pairs(causes: Causes, generator: Generator, concept: str, path: Path) -> None:
    """Draw the held-out images that change most when the concept is removed."""
    seeds = parse_spans(causes.held_out, what="seed")
    before = generator.sample(seeds)
    units = min(UNITS, causes.channels)
    with edits_applied(generator.module, [causes.removal(concept, units=units)]):
        after = generator.sample(seeds)
    order = (after - before).abs().mean((1, 2, 3)).topk(min(_PAIRS, len(seeds))).indices.cpu()
    pairs = before_after(to_pixels(before[order]), to_pixels(after[order]), torch.tensor(list(seeds))[order].tolist())
    save_picture(pairs, path)
