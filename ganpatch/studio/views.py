"""What the studio's routes take and give: JSON in and out, bounded."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ganpatch.edit import Part
from ganpatch.studio.changes import EditName, LayerName, UnitNumber
from ganpatch.studio.jobs import JobView
from ganpatch.studio.palette import Brush, Painting, UnitTrial
from ganpatch.studio.state import Conflict, Content, Point, State
from ganpatch.studio.strokes import Coordinate, Radius

Points = Annotated[tuple[Point, ...], Field(strict=False, min_length=1, max_length=64)]
Stream = Annotated[str, Field(max_length=80)]


class LayerView(BaseModel):
    """A layer: its units, map size, and the run that ranks it, if any."""

    name: str
    units: int
    size: tuple[int, ...]
    run: str | None


class SessionView(BaseModel):
    """The session as it stands."""

    studio: str
    model: str
    revision: int
    content: Content
    digest: str | None
    conflicts: tuple[Conflict, ...]
    concepts: tuple[str, ...]
    pins: tuple[Point, ...]
    can_undo: bool
    can_redo: bool
    path: str

    @classmethod
    def of(cls, state: State, path: str) -> "SessionView":
        """Show a state, saved at `path`."""
        patch = state.patch()
        return cls(
            studio=state.studio,
            model=state.model.name,
            revision=state.revision,
            content=state.content,
            digest=patch.digest if patch else None,
            conflicts=state.conflicts(),
            concepts=state.concepts,
            pins=state.pins,
            can_undo=bool(state.undo),
            can_redo=bool(state.redo),
            path=path,
        )


class ModelView(BaseModel):
    """The model: its layers, the one to begin with, the size of its images, what can be downloaded."""

    name: str
    layers: list[LayerView]
    default_layer: str
    image: tuple[int, int]
    has_weights: bool


class PulseView(BaseModel):
    """What changes by itself: the revision, and the jobs."""

    studio: str
    revision: int
    jobs: list[JobView]


class ImagesRequest(Part):
    """Images of points, in rows of `columns`: with the patch or without, with something tried on top.

    `without` leaves one edit of the patch out, which `painting` is about to replace; `calm` lets others go first.
    """

    points: Points
    columns: Annotated[int, Field(ge=1, le=64)] = 64
    patch: bool = False
    unit: UnitTrial | None = None
    painting: Painting | None = None
    without: EditName | None = None
    largest: Annotated[int, Field(ge=8, le=1024)] = 256
    stream: Stream | None = None
    calm: bool = False


class ActivityRequest(Part):
    """Which units are active at a point, everywhere in the image or near (x, y)."""

    point: Point
    layer: LayerName
    patch: bool = False
    x: Coordinate | None = None
    y: Coordinate | None = None
    radius: Radius = 4.0
    first: Annotated[int, Field(ge=1, le=200)] = 24


class ActiveUnit(BaseModel):
    """A unit, its strongest activation there, that over the unit's 99 % level, and its map as base64 of bytes."""

    unit: int
    activation: float
    relative: float | None
    map: str


class ActivityView(BaseModel):
    """The most active units, most first; maps are `size` (h, w)."""

    size: tuple[int, int]
    units: list[ActiveUnit]


class MapsRequest(Part):
    """Where one unit fires in images."""

    layer: LayerName
    unit: UnitNumber
    points: Points
    patch: bool = False


class MapsView(BaseModel):
    """Maps [N, h, w] of one unit as base64 of bytes, 255 the strongest of them, and the peak of each."""

    size: tuple[int, int]
    maps: str
    peaks: list[float]


class HistogramView(BaseModel):
    """Counts of a unit's activations in equal bins between `low` and `high`, over `images` images."""

    low: float
    high: float
    counts: list[int]
    q99: float
    images: int


class RankingView(BaseModel):
    """A ranked layer as the review page knows it, and the sprite sheets with its thumbnails."""

    run: dict[str, Any]
    layer: dict[str, Any]
    scores: dict[str, list[float]]


class BrushesView(BaseModel):
    """The brushes there are."""

    brushes: list[Brush]


class JobRequest(Part):
    """Long work to begin: rank `layer` over `n` images, or bake or write the patch as it stands."""

    kind: Literal["rank", "bake", "weights", "onnx"]
    layer: LayerName | None = None
    n: Annotated[int, Field(ge=1, le=1_000_000)] = 1000


class Fault(BaseModel):
    """Why a request was refused."""

    detail: str
