"""What a brush paints with: units of a layer, the most important first, and the value that inserts what they draw.

    palette = Palette(channels)
    palette.edit(brush, Painting(...), size=(8, 8))         # the Edit that a stroke makes

Brushes come from the edits of the session ("what these units draw"), from single units, and from concepts of a
`ganpatch cause` run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from ganpatch.causes import Causes
from ganpatch.edit import Edit, Mask, Part
from ganpatch.errors import GanpatchError
from ganpatch.studio.changes import ChangeId, EditName, LayerName, UnitNumber
from ganpatch.studio.state import Point
from ganpatch.studio.strokes import ImageSize, Mode, Stroke, painted

BrushName = Annotated[str, Field(min_length=1, max_length=700)]


class Brush(Part):
    """Units of a layer, the most important first; `insert` holds the value per unit that draws their concept."""

    name: BrushName
    label: str
    source: str
    layer: str
    channels: int
    units: tuple[int, ...]
    insert: tuple[float, ...] | None = None


class Painting(Part):
    """Strokes with a brush on the image of a point: how many of its units, how strongly."""

    brush: BrushName
    mode: Mode = "remove"
    count: Annotated[int, Field(ge=1, le=10_000)] = 10
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    point: Point
    size: ImageSize
    strokes: Annotated[tuple[Stroke, ...], Field(strict=False, max_length=500)] = ()


class UnitTrial(Part):
    """One unit of a layer, tried without being kept."""

    layer: LayerName
    unit: UnitNumber
    alpha: Annotated[float, Field(ge=0, le=1)] = 1.0
    value: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    above: Annotated[float, Field(allow_inf_nan=False)] | None = None


class Paint(Painting):
    """A painting to be kept as the edit called `edit`: a new one, or in the place of the one that it goes on with."""

    id: ChangeId
    edit: EditName


@dataclass(frozen=True, slots=True)
class LayerShape:
    """Units and map size (h, w) of a layer."""

    units: int
    size: tuple[int, ...]


def unit_brush(layer: str, shape: LayerShape, unit: int, level: float | None) -> Brush:
    """Make the brush of one unit, which inserts at `level`."""
    if unit >= shape.units:
        raise GanpatchError(f"unit {unit} is outside layer '{layer}' ({shape.units} units, 0-{shape.units - 1})")
    return Brush(
        name=f"unit:{layer}:{unit}",
        label=f"unit {unit}",
        source="unit",
        layer=layer,
        channels=shape.units,
        units=(unit,),
        insert=None if level is None else (level,),
    )


def concept_brush(causes: Causes, concept: str) -> Brush:
    """Make the brush of a concept: its most causal units, which insert at their 99 % level."""
    order = causes[concept].ranked()
    values = causes.insertion_values(concept, "q99").tolist()
    return Brush(
        name=f"concept:{causes.layer}:{concept}",
        label=concept,
        source="concept",
        layer=causes.layer,
        channels=causes.channels,
        units=tuple(order),
        insert=tuple(float(f"{values[unit]:.6g}") for unit in order),
    )


def trial_edit(trial: UnitTrial, shape: LayerShape) -> Edit:
    """Make the edit that tries one unit."""
    if trial.unit >= shape.units:
        raise GanpatchError(
            f"unit {trial.unit} is outside layer '{trial.layer}' ({shape.units} units, 0-{shape.units - 1})"
        )
    return Edit(
        id="trial",
        layer=trial.layer,
        channels=shape.units,
        units=(trial.unit,),
        alpha=(trial.alpha,),
        value=(trial.value,),
        above=None if trial.above is None else (trial.above,),
    )


def painted_edit(brush: Brush, painting: Painting, shape: LayerShape, name: str = "trial") -> Edit | None:
    """Make the edit that strokes mean, or None where they cover nothing."""
    if len(shape.size) != 2:
        raise GanpatchError(f"layer '{brush.layer}' has no maps to paint on")
    if painting.mode == "insert" and brush.insert is None:
        raise GanpatchError(f"brush '{brush.label}' removes only: it has no values to insert")
    mask = painted(painting.strokes, image=painting.size, layer=(shape.size[0], shape.size[1]))
    if not mask.any():
        return None
    values = brush.insert if painting.mode == "insert" else None
    chosen = sorted(_chosen(brush.units, values or (0.0,) * len(brush.units), painting.count))
    verb = "add" if painting.mode == "insert" else "remove"
    return Edit(
        id=name,
        layer=brush.layer,
        channels=brush.channels,
        units=tuple(unit for unit, _ in chosen),
        alpha=(painting.strength,),
        value=tuple(value for _, value in chosen) if values else (0.0,),
        mask=Mask.of(mask),
        reason=f"{verb} {brush.label}, painted",
    )


def _chosen(units: Sequence[int], values: Sequence[float], count: int) -> list[tuple[int, float]]:
    return list(zip(units, values, strict=True))[:count]
