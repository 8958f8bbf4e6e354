"""An evaluation as a page: the verdict, the figures beside random units, and the images, the most changed first."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import torch

from ganpatch.evaluation.evaluator import LEAST, MOST, Evaluation
from ganpatch.number_ranges import format_spans
from ganpatch.pages.charts import bars
from ganpatch.pages.image_grids import before_after
from ganpatch.pages.report_frame import heading, paragraph, picture, table, write_report

PAIRS = 32
_WHERE = {"most": f"images that most activate its units ({MOST:.0%})", "all": "all images"}


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write the page; it holds its pictures."""
    patch, choices = evaluation.patch, evaluation.choices
    name = choices.features.distance_name
    parts = [
        paragraph(evaluation.verdict),
        paragraph(
            f"Patch {patch.name}, {sum(len(edit.units) for edit in patch.edits)} units; {len(choices.seeds)} images of "
            f"seeds {format_spans(choices.seeds)}, against {evaluation.reference}; features {choices.features.name}.",
            "faint",
        ),
    ]
    for where, words in _WHERE.items():
        values = {"before": evaluation.before[where].frechet, "after": evaluation.after[where].frechet}
        values |= {f"random units {n}": one.frechet for n, one in enumerate(evaluation.random[where], 1)}
        parts += [heading(f"{name}, {words}"), bars(values)]
    rows = evaluation_rows(evaluation)
    parts += [heading("Figures"), table(rows[0], rows[1:])]
    parts.append(paragraph("Lower is better for distances, higher for precision and recall.", "faint"))
    parts += [heading(f"Images that were fine: the {LEAST:.0%} that activate its units least")]
    parts.append(table(["measure", "value"], [[_FINE[key], f"{value:.4g}"] for key, value in evaluation.fine.items()]))
    if "lpips" not in evaluation.fine:
        parts.append(paragraph("LPIPS is left out: its weights are not in the cache; --lpips fetches them.", "faint"))
    parts += [heading("Before and after, the most changed first"), picture(*_pairs(evaluation))]
    write_report(path, f"{patch.name}: better?", parts)


_FINE = {
    "unchanged": "share of images without a visible change",
    "ssim": "SSIM to before",
    "psnr": "PSNR to before, dB",
    "lpips": "LPIPS to before",
}


def evaluation_rows(evaluation: Evaluation) -> list[list[str]]:
    """Return the figures as rows of text, under their heading."""
    rows = [["images", "patch", evaluation.choices.features.distance_name, "kernel distance", "precision", "recall"]]
    for where in _WHERE:
        each = [("before", evaluation.before[where]), ("after", evaluation.after[where])]
        each += [(f"random {n}", one) for n, one in enumerate(evaluation.random[where], 1)]
        for words, one in each:
            numbers = [f"{value:.4g}" for value in one.rounded().values()]
            rows.append([where, words, *numbers])
    return rows


def _pairs(evaluation: Evaluation) -> tuple[str, str]:
    before, after = evaluation.pictures
    order: Sequence[int] = torch.argsort(evaluation.damage.changed, descending=True, stable=True)[:PAIRS].tolist()
    seeds = [evaluation.choices.seeds[place] for place in order]
    buffer = io.BytesIO()
    before_after(before[order], after[order], seeds).save(buffer, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return source, f"The {len(order)} most changed of {len(before)} images."
