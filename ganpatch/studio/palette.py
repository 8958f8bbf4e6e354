"""What a brush paints with: units of a layer, the most important first, and the values that insert what they draw.

    palette = Palette(channels, levels)             # levels("layer4"): {"q99": (…), "q999": (…)}, as far as known
    palette.add_causes(causes)                      # a brush for each concept of a `ganpatch cause` run
    palette.add_dissection("run", dissection)       # … of a `ganpatch dissect` run, by IoU
    palette.find("concept:layer4:tree", entries)

Further brushes are the plain edits of the session ("what these units draw"), and any unit, "unit:LAYER:NUMBER".
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from ganpatch.causes.result import Causes
from ganpatch.dissection.result import Dissection
from ganpatch.errors import GanpatchError, near_miss
from ganpatch.number_ranges import format_spans
from ganpatch.option_values import LEVELS, Level
from ganpatch.patch.edit import Part
from ganpatch.studio.changes import check_unit
from ganpatch.studio.state import MOST_LABEL, Entry

LEAST_IOU = 0.02  # of a concept's best unit: with less, no unit of the layer means it

_MOST_LETTERS = 700
BrushName = Annotated[str, Field(min_length=1, max_length=_MOST_LETTERS)]
Source = Literal["causes", "agrees", "flagged", "unit"]
Values = Mapping[Level, tuple[float, ...]]
LevelsOf = Callable[[str], Values]


class Brush(Part):
    """Units of a layer, the most important first; `insert` has values per unit that draw their concept, by level."""

    name: BrushName
    label: str
    source: Source
    about: str = ""
    layer: str
    channels: int
    units: tuple[int, ...]
    insert: Values = {}

    def values(self, level: Level) -> tuple[float, ...]:
        """Return the values that insert; raise GanpatchError where they are not known."""
        if level not in self.insert:
            have = f"; there is {', '.join(self.insert)}" if self.insert else " yet: their activations are measured"
            raise GanpatchError(f"brush '{self.label}' has no values to insert at level '{level}'{have}")
        return self.insert[level]


class Palette:
    """The brushes of a session; `channels` are the units of every layer with maps."""

    def __init__(self, channels: Mapping[str, int], levels: LevelsOf) -> None:
        self._channels, self._levels = channels, levels
        self._concepts: dict[str, Brush] = {}

    def add_causes(self, causes: Causes) -> None:
        """Add a brush for each concept: its most causal units."""
        for concept, found in causes.concepts.items():
            order = found.ranked()
            values = {level: causes.insertion_values(concept, level).tolist() for level in LEVELS}
            self._add(
                Brush(
                    name=_name("concept", causes.layer, concept),
                    label=_label(concept),
                    source="causes",
                    about="the units that cause it",
                    layer=causes.layer,
                    channels=causes.channels,
                    units=tuple(order),
                    insert={level: _short(numbers, order) for level, numbers in values.items()},
                )
            )

    def add_dissection(self, name: str, dissection: Dissection) -> None:
        """Add a brush for each concept that some unit of a layer agrees with; `name` distinguishes dissections."""
        for layer, found in dissection.layers.items():
            ranked = dissection.ranking[layer]
            levels: dict[Level, list[float]] = {"q99": ranked.q99.tolist(), "q999": ranked.q999.tolist()}
            for place, concept in enumerate(dissection.concepts):
                best = float(found.iou[:, place].max())
                if best < LEAST_IOU or layer not in self._channels:
                    continue
                order = found.iou[:, place].argsort(descending=True, stable=True).tolist()
                self._add(
                    Brush(
                        name=_name("agrees", name, layer, concept),
                        label=_label(concept),
                        source="agrees",
                        about=f"the units that are active where it is, IoU up to {best:.2f}",
                        layer=layer,
                        channels=self._channels[layer],
                        units=tuple(order),
                        insert={level: _short(numbers, order) for level, numbers in levels.items()},
                    )
                )

    def all(self, entries: Sequence[Entry]) -> list[Brush]:
        """Return the brushes: concepts, those of causes where there are both kinds; then what plain edits draw."""
        caused = {(brush.layer, brush.label) for brush in self._concepts.values() if brush.source == "causes"}
        concepts = [b for b in self._concepts.values() if b.source == "causes" or (b.layer, b.label) not in caused]
        return [*concepts, *(self._of_edit(entry) for entry in entries if self._is_brush(entry))]

    def find(self, name: str, entries: Sequence[Entry]) -> Brush:
        """Find a brush by its name; raise GanpatchError with the near miss when there is none."""
        match = re.fullmatch(r"unit:(.+):(\d{1,6})", name)
        if match:
            return self._of_unit(match[1], int(match[2]))
        found = {brush.name: brush for brush in self.all(entries)}
        if name not in found:
            raise GanpatchError(f"there is no brush '{name}'{near_miss(name, found)}")
        return found[name]

    def _add(self, brush: Brush) -> None:
        self._concepts[brush.name] = brush

    def _is_brush(self, entry: Entry) -> bool:
        return entry.is_plain and entry.edit.layer in self._channels

    def _of_edit(self, entry: Entry) -> Brush:
        edit = entry.edit
        return Brush(
            name=f"edit:{edit.id}",
            label=_label(edit.reason) or _units(edit.units),
            source="flagged",
            about="flagged units",
            layer=edit.layer,
            channels=edit.channels,
            units=edit.units,
            insert={level: tuple(all_[u] for u in edit.units) for level, all_ in self._levels(edit.layer).items()},
        )

    def _of_unit(self, layer: str, unit: int) -> Brush:
        if layer not in self._channels:
            raise GanpatchError(f"layer '{layer}' is not among those with maps{near_miss(layer, self._channels)}")
        check_unit(layer, unit, self._channels)
        return Brush(
            name=f"unit:{layer}:{unit}",
            label=f"unit {unit}",
            source="unit",
            layer=layer,
            channels=self._channels[layer],
            units=(unit,),
            insert={level: (all_[unit],) for level, all_ in self._levels(layer).items()},
        )


def _name(*parts: str) -> str:
    """Return the name of a brush; concepts and folders may have names that are longer than a brush's may be."""
    name = ":".join(parts)
    return name if len(name) <= _MOST_LETTERS else f"{parts[0]}:{hashlib.sha256(name.encode()).hexdigest()}"


def _label(text: str) -> str:
    return text if len(text) <= MOST_LABEL else f"{text[: MOST_LABEL - 1]}…"


def _units(units: Sequence[int]) -> str:
    text = format_spans(units)
    return f"unit{'s' if len(units) > 1 else ''} {text if len(text) < 24 else text[:20] + ' …'}"


def _short(values: Sequence[float], order: Sequence[int]) -> tuple[float, ...]:
    return tuple(float(f"{values[unit]:.6g}") for unit in order)
