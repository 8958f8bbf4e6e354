"""What is tried and painted: one unit with other numbers, strokes of a brush; and the edits that they mean.

    painted_edit(brush, Painting(brush=brush.name, point=…, size=(64, 64), strokes=…), LayerShape(256, (8, 8)))

The edit of a painting has a mask: the share of each feature's area that is under the strokes.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from ganpatch.errors import GanpatchError
from ganpatch.option_values import Level
from ganpatch.patch.edit import Edit, Mask, Part
from ganpatch.segmenters.strokes_file import ImageSize
from ganpatch.studio.changes import ChangeId, EditName, LayerName, UnitNumber, check_unit
from ganpatch.studio.palette import Brush, BrushName
from ganpatch.studio.state import Point
from ganpatch.studio.strokes import Mode, Stroke, painted


@dataclass(frozen=True, slots=True)
class LayerShape:
    """Units and map size (h, w) of a layer."""

    units: int
    size: tuple[int, ...]


class Painting(Part):
    """Strokes with a brush on the image of a point: how many of its units, how strongly, inserted at which level."""

    brush: BrushName
    mode: Mode = "remove"
    count: Annotated[int, Field(ge=1, le=10_000)] = 10
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    level: Level = "q99"
    point: Point
    size: ImageSize
    strokes: Annotated[tuple[Stroke, ...], Field(strict=False, max_length=500)] = ()


class Paint(Painting):
    """A painting to be kept as the edit called `edit`: a new one, or a replacement for the one that it continues."""

    id: ChangeId
    edit: EditName


class UnitTrial(Part):
    """One unit of a layer, tried without being kept."""

    layer: LayerName
    unit: UnitNumber
    alpha: Annotated[float, Field(ge=0, le=1)] = 1.0
    value: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    above: Annotated[float, Field(allow_inf_nan=False)] | None = None


def trial_edit(trial: UnitTrial, shape: LayerShape) -> Edit:
    """Make the edit that tries one unit."""
    check_unit(trial.layer, trial.unit, {trial.layer: shape.units})
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
    values = brush.values(painting.level) if painting.mode == "insert" else (0.0,) * len(brush.units)
    mask = painted(painting.strokes, image=painting.size, layer=(shape.size[0], shape.size[1]))
    if not mask.any():
        return None
    chosen = sorted(zip(brush.units[: painting.count], values[: painting.count], strict=True))
    verb = "add" if painting.mode == "insert" else "remove"
    return Edit(
        id=name,
        layer=brush.layer,
        channels=brush.channels,
        units=tuple(unit for unit, _ in chosen),
        alpha=(painting.strength,),
        value=tuple(value for _, value in chosen) if painting.mode == "insert" else (0.0,),
        mask=Mask.of(mask),
        reason=f"{verb} {brush.label}, painted",
    )
