"""The result of tuning a patch, as rows and as a page with the curve of gain against damage."""

from collections import Counter
from pathlib import Path

from ganpatch.evaluation.tuner import KINDS, Stop, Tuned
from ganpatch.pages.charts import AFTER, BEFORE, curves
from ganpatch.pages.report_frame import heading, paragraph, table, write_report


def tuning_rows(tuned: Tuned) -> list[list[str]]:
    """Return the given patch, every stop and the chosen one as rows of text, under their heading."""
    rows = [["patch", "units", *(_WORDS[kind] for kind in KINDS), "gain", "damage"]]
    gain, harm = tuned.given
    rows.append(["as given", "", *("" for _ in KINDS), f"{gain:.4f}", f"{harm:.4f}"])
    for stop in tuned.curve:
        words = "chosen" if stop is tuned.chosen else ""
        rows += [[words, *_counts(stop), f"{stop.gain:.4f}", f"{stop.damage:.4f}"]]
    return rows


def write_tuning(tuned: Tuned, path: Path) -> None:
    """Write the page."""
    rows = tuning_rows(tuned)
    lines = {
        "softened": [(stop.damage, stop.gain) for stop in tuned.curve],
        "as given": [tuned.given[::-1]],
        "chosen": [(tuned.chosen.damage, tuned.chosen.gain)],
    }
    colours = {"as given": BEFORE, "chosen": AFTER}
    parts = [
        paragraph(conclusion(tuned), "lead"),
        paragraph(
            "Damage is the mean change, of [0, 1], of the images that activate the units least; gain is how much less "
            "odd the images become that activate them most (docs/methods/evaluation.md).",
            "faint",
        ),
        curves(lines, title="Gain against damage", x="damage", y="gain", colours=colours),
        heading("Stops"),
        table(rows[0], rows[1:]),
    ]
    write_report(path, f"{tuned.patch.name}: gain and damage", parts)


_WORDS = {"off": "off", "mean": "at their mean", "fine mean": "at their mean of fine images", "held": "held at 99 %"}


def conclusion(tuned: Tuned) -> str:
    """Return what to conclude: the gain and the damage of the chosen patch, in relation to those of the given one."""
    gain, harm = tuned.given
    kept = f", {tuned.chosen.gain / gain:.0%} of the gain of the patch as given" if gain > 0 else ""
    cost = f", {tuned.chosen.damage / harm:.0%} of its damage" if harm > 0 else ""
    return (
        f"The chosen patch edits {len(tuned.chosen.options)} units: gain {tuned.chosen.gain:.4f}{kept}; "
        f"damage {tuned.chosen.damage:.4f}{cost}."
    )


def _counts(stop: Stop) -> list[str]:
    kinds = Counter(option.kind for option in stop.options)
    return [str(len(stop.options)), *(str(kinds[kind]) for kind in KINDS)]
