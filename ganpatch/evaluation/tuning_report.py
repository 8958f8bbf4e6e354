"""The result of tuning a patch, as rows and as a page with the curve of gain against damage."""

from collections import Counter
from pathlib import Path

from ganpatch.evaluation.tuner import Stop, Tuned
from ganpatch.pages.charts import curves
from ganpatch.pages.report_frame import heading, paragraph, table, write_report


def tuning_rows(tuned: Tuned) -> list[list[str]]:
    """Return the given patch, every stop and the chosen one as rows of text, under their heading."""
    rows = [["patch", "units", "off", "half", "held at a level", "gain", "damage"]]
    gain, harm = tuned.given
    rows.append(["as given", "", "", "", "", f"{gain:.4f}", f"{harm:.4f}"])
    for stop in tuned.curve:
        words = "chosen" if stop is tuned.chosen else ""
        rows += [[words, *_counts(stop), f"{stop.gain:.4f}", f"{stop.damage:.4f}"]]
    return rows


def write_tuning(tuned: Tuned, path: Path) -> None:
    """Write the page."""
    rows = tuning_rows(tuned)
    line = [(stop.damage, stop.gain) for stop in tuned.curve]
    marks = {"softened": line, "as given": [tuned.given[::-1]], "chosen": [(tuned.chosen.damage, tuned.chosen.gain)]}
    words = "gain in usualness of the images that most activate its units"
    parts = [
        paragraph(
            "Damage is the mean change, of [0, 1], of images that hardly activate the units; gain is how much less odd "
            "the images become that activate them most (docs/finding.md)."
        ),
        heading("Gain against damage"),
        curves(marks, x="damage", y=words),
        heading("Stops"),
        table(rows[0], rows[1:]),
    ]
    write_report(path, f"{tuned.patch.name}: gain and damage", parts)


def _counts(stop: Stop) -> list[str]:
    kinds = Counter("held" if o.above is not None else "off" if o.alpha == 1 else "half" for o in stop.options)
    return [str(len(stop.options)), *(str(kinds[kind]) for kind in ("off", "half", "held"))]
