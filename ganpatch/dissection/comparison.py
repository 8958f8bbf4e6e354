"""Dissections side by side: layers, checkpoints or models, by number and kind of interpretable units.

Example:

    comparison = compare(["run-a", "run-b"])
    comparison.rows()
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpatch.dissection.result import Dissection
from ganpatch.errors import GanpatchError
from ganpatch.pages.charts import bars, stacked_bars
from ganpatch.pages.report_frame import paragraph, table, write_report


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One layer of one run: its units, its interpretable units by concept, and the quality of the model if given."""

    name: str
    units: int
    counts: dict[str, int]
    quality: float | None

    @property
    def interpretable(self) -> int:
        """The number of interpretable units."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All layers of all runs; `differing` lists settings that should be equal in all runs but are not."""

    entries: tuple[Compared, ...]
    differing: tuple[str, ...]

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return a heading and a table."""
        with_quality = any(entry.quality is not None for entry in self.entries)
        heading = ["run, layer", "units", "interpretable", "kinds", "concepts", *(["quality"] if with_quality else [])]
        rows = []
        for entry in self.entries:
            kinds = ", ".join(f"{concept} {count}" for concept, count in entry.counts.items())
            row = [entry.name, str(entry.units), f"{entry.interpretable} ({entry.interpretable / entry.units:.0%})"]
            row += [str(len(entry.counts)), kinds or "none"]
            rows.append([*row, *([] if not with_quality else ["" if entry.quality is None else f"{entry.quality:g}"])])
        return heading, rows

    def as_json(self) -> list[dict[str, Any]]:
        """Return the entries as plain data."""
        return [
            {
                "name": e.name,
                "units": e.units,
                "interpretable": e.interpretable,
                "counts": e.counts,
                "quality": e.quality,
            }
            for e in self.entries
        ]

    def conclusion(self) -> str:
        """Return which entry has the largest share of interpretable units."""
        best = max(self.entries, key=lambda entry: entry.interpretable / entry.units)
        share = f"{best.interpretable} of {best.units} ({best.interpretable / best.units:.0%})"
        return f"{best.name} has the largest share of interpretable units: {share}, of {len(best.counts)} concepts."

    def write_page(self, path: Path) -> None:
        """Write a report page with a chart of units per concept (Bau et al. 2018, Figures 5 and 6)."""
        counts = {entry.name: entry.counts for entry in self.entries}
        kinds = {entry.name: len(entry.counts) for entry in self.entries}
        parts = [paragraph(self.conclusion(), "lead")]
        parts += [paragraph(f"Not alike, so read with care: {text}") for text in self.differing]
        parts.append(stacked_bars(counts, title="Interpretable units by concept", x="units"))
        parts.append(bars(kinds, title="Concepts with a unit", x="concepts"))
        quality = {entry.name: entry.quality for entry in self.entries if entry.quality is not None}
        if quality:
            parts.append(bars(quality, title="Quality, as given", x="quality"))
        parts.append(table(*self.rows()))
        write_report(path, "Dissections compared", parts)


def compare(folders: Sequence[str | Path], quality: Sequence[float] = ()) -> Comparison:
    """Read dissections and compare them; `quality` is one figure per folder, or empty.

    Raises GanpatchError if a folder has no dissection, or the numbers of figures and folders differ.
    """
    if quality and len(quality) != len(folders):
        raise GanpatchError(
            f"{len(quality)} quality figures for {len(folders)} runs; give one per run, in the same order"
        )
    found = [(Path(folder), Dissection.load(folder)) for folder in folders]
    entries = [
        Compared(
            name=f"{folder.name}, {layer}",
            units=dissection.ranking[layer].units,
            counts=dissection.counts(layer),
            quality=quality[index] if quality else None,
        )
        for index, (folder, dissection) in enumerate(found)
        for layer in dissection.layers
    ]
    facts = {
        "segmenters": {dissection.segmenter for _, dissection in found},
        "thresholds": {dissection.threshold for _, dissection in found},
        "numbers of images": {str(len(dissection.ranking.seeds)) for _, dissection in found},
    }
    differing = tuple(f"{what} {', '.join(sorted(values))}" for what, values in facts.items() if len(values) > 1)
    return Comparison(entries=tuple(entries), differing=differing)
