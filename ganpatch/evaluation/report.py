"""The report of an evaluation: the verdict, the scores beside the baselines, and the most changed images first."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import torch

from ganpatch.evaluation.evaluator import Evaluation
from ganpatch.evaluation.measuring import LEAST
from ganpatch.number_ranges import format_spans
from ganpatch.pages.charts import AFTER, BASELINE, BEFORE, bars, histogram, strips
from ganpatch.pages.image_grids import before_after
from ganpatch.pages.report_frame import heading, paragraph, picture, table, write_report

PAIRS = 32
_WHERE = ("most", "all")


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write the page; it holds its pictures."""
    patch, choices = evaluation.patch, evaluation.choices
    parts = [
        paragraph(evaluation.words, "lead"),
        paragraph(
            f"Patch {patch.name}, {sum(len(edit.units) for edit in patch.edits)} units; {len(choices.seeds)} images of "
            f"seeds {format_spans(choices.seeds)}, against {evaluation.reference.description}; features "
            f"{choices.features.name}.",
            "faint",
        ),
        heading("Before and after, the most changed first"),
        picture(*_pairs(evaluation)),
        *_charts(evaluation),
    ]
    rows = evaluation_rows(evaluation)
    parts += [heading("Figures"), table(rows[0], rows[1:])]
    parts.append(paragraph("Lower is better for distances and errors, higher for the others.", "faint"))
    parts += [heading(f"Images that were fine: the {LEAST:.0%} that activate its units least")]
    parts.append(table(["measure", "value"], [[_FINE[key], f"{value:.4g}"] for key, value in evaluation.fine.items()]))
    if "lpips" not in evaluation.fine:
        parts.append(paragraph("LPIPS is left out: its weights are not in the cache; --lpips fetches them.", "faint"))
    write_report(path, f"{patch.name}: better?", parts)


_FINE = {
    "unchanged": "share of images without a visible change",
    "ssim": "SSIM to before",
    "psnr": "PSNR to before, dB",
    "lpips": "LPIPS to before",
}


def evaluation_rows(evaluation: Evaluation) -> list[list[str]]:
    """Return the figures as rows of text, under their heading."""
    distance = evaluation.choices.features.distance_name
    score = [] if distance == evaluation.found.score else [evaluation.found.score]
    head = ["images", "patch", *score, distance, "kernel distance", "precision", "recall", "density", "coverage"]
    like = list(evaluation.likeness["all"][0]) if evaluation.likeness else []
    rows = [[*head, *(f"{name.upper()} to targets" for name in like)]]
    for where in _WHERE:
        change = getattr(evaluation.found, where)
        for place, (words, of, value) in enumerate(
            (("before", evaluation.before, change.before), ("after", evaluation.after, change.after))
        ):
            numbers = [f"{number:.4g}" for number in of[where].rounded().values()]
            numbers += [f"{evaluation.likeness[where][place][name]:.4g}" for name in like]
            rows.append([where, words, *[f"{value:.4g}" for _ in score], *numbers])
    return rows


def measure_rows(evaluation: Evaluation) -> list[list[str]]:
    """Return the figures as one row of text per measure, under their heading, which fits a terminal."""
    images, patch, *measures = (list(column) for column in zip(*evaluation_rows(evaluation), strict=True))
    heading = [f"{where.partition(' ')[0]}, {when}" for where, when in zip(images[1:], patch[1:], strict=True)]
    return [["measure", *heading], *measures]


def _charts(evaluation: Evaluation) -> list[str]:
    """Draw the patch among its baselines, the score of each set of images, and how much all images change."""
    found = evaluation.found
    changes = {"patch": [100 * found.most.relative]}
    changes |= {"random units": [100 * one.relative for one in evaluation.baselines]} if evaluation.baselines else {}
    scores: dict[str, float] = {}
    for name in ("most", "all", "fine"):
        change = getattr(found, name)
        scores |= {f"{name}, before": change.before, f"{name}, after": change.after}
    colours = {name: BEFORE if name.endswith("before") else AFTER for name in scores}
    among = strips(
        changes, title=f"Change of the {found.score} with the patch and with random units", x="%, most active images",
        colours={"patch": AFTER, "random units": BASELINE},
    )  # fmt: skip
    changed = {"images": (255 * evaluation.damage.changed).tolist()}
    return [
        among,
        paragraph("Each baseline edits other, random units, and is scored on its own most active images.", "faint"),
        bars(scores, title=f"The {found.score} before and after", x=found.score, colours=colours),
        histogram(changed, title="How much the images change", x="mean absolute change, of 255", y="images"),
    ]


def _pairs(evaluation: Evaluation) -> tuple[str, str]:
    before, after = evaluation.pictures
    order: Sequence[int] = torch.argsort(evaluation.damage.changed, descending=True, stable=True)[:PAIRS].tolist()
    seeds = [evaluation.choices.seeds[place] for place in order]
    buffer = io.BytesIO()
    before_after(before[order], after[order], seeds).save(buffer, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return source, f"The {len(order)} most changed of {len(before)} images."
