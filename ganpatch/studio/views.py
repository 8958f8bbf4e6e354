"""What the studio's routes accept and return: JSON in and out, bounded."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from ganpatch.errors import GanpatchError
from ganpatch.option_values import Level
from ganpatch.patch.edit import Part
from ganpatch.segmenters.strokes_file import Coordinate, Radius
from ganpatch.studio.bundled import FirstImages
from ganpatch.studio.changes import ChangeId, EditName, LayerName, UnitNumber
from ganpatch.studio.figures import FEATURES, Figure
from ganpatch.studio.jobs import JobView
from ganpatch.studio.painting import Painting, UnitTrial
from ganpatch.studio.palette import Brush, Source
from ganpatch.studio.runs import Order
from ganpatch.studio.state import Conflict, Content, Point, State
from ganpatch.studio.versions import VersionView

Points = Annotated[tuple[Point, ...], Field(strict=False, min_length=1, max_length=64)]
Stream = Annotated[str, Field(max_length=80)]


class Missing(GanpatchError):
    """What a request names is not there."""


class Adopt(Part):
    """Put an edit that ships with the model into the session."""

    id: ChangeId
    edit: EditName


class LayerView(BaseModel):
    """A layer: its units, map size, and the run that ranks it, if any."""

    name: str
    units: int
    size: tuple[int, ...]
    run: str | None


class SessionView(BaseModel):
    """The current session."""

    studio: str
    model: str
    revision: int
    version: int
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
            version=state.version,
            content=state.content,
            digest=patch.digest if patch else None,
            conflicts=state.conflicts(),
            concepts=state.concepts,
            pins=state.pins,
            can_undo=bool(state.undo),
            can_redo=bool(state.redo),
            path=path,
        )


class OfferView(BaseModel):
    """An edit that ships with the model."""

    edit: str
    reason: str


class ModelView(BaseModel):
    """The model: its layers, the one to begin with, the size of its images, the seconds that one takes.

    `argument` is the model as commands take it; `inputs` is how many different inputs there are, where they come from
    files; `features` are those that quality figures can be measured by, `real` the folder of real images that was given
    for them. `offered` are edits that ship with the model; `first` are images to begin with, where a bundled model is
    opened without a run.
    """

    name: str
    argument: str
    layers: list[LayerView]
    default_layer: str
    image: tuple[int, int]
    seconds: float
    inputs: int | None
    has_weights: bool
    features: list[str]
    real: str | None
    offered: list[OfferView]
    first: FirstImages | None


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
    stream: Stream | None = None


class ActiveUnit(BaseModel):
    """A unit, its strongest activation there, that over the unit's 99 % level, and its map as base64 of bytes.

    `level` is the value of the map at which the unit is outlined.
    """

    unit: int
    activation: float
    relative: float | None
    level: float
    map: str


class ActivityView(BaseModel):
    """The most active units, most first; maps are `size` (h, w). `label` is the class, of a conditional model."""

    size: tuple[int, int]
    label: int | None
    units: list[ActiveUnit]


class MapsRequest(Part):
    """Where one unit is active in images."""

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
    """A ranked layer as the review page knows it, the sprite sheets with its thumbnails, and further orders."""

    run: dict[str, Any]
    layer: dict[str, Any]
    orders: list[Order]


class BrushView(BaseModel):
    """A brush without its numbers: how many units it has, and the levels at which it inserts."""

    name: str
    label: str
    source: Source
    about: str
    layer: str
    count: int
    levels: list[Level]

    @classmethod
    def of(cls, brush: Brush) -> "BrushView":
        """Show a brush."""
        named = {name: getattr(brush, name) for name in ("name", "label", "source", "about", "layer")}
        return cls(**named, count=len(brush.units), levels=list(brush.insert))


class BrushesView(BaseModel):
    """The brushes there are."""

    brushes: list[BrushView]


class VersionsView(BaseModel):
    """The newest versions of the patch, the newest first."""

    versions: list[VersionView]


class FiguresView(BaseModel):
    """The quality figures that are kept, the newest first; each names the patch that it is of by its digest."""

    figures: list[Figure]


class JobRequest(Part):
    """Long work to begin.

    "rank" a layer over `n` images, or "learn" which of its units agree with the strokes; and with the current
    patch: "bake" it, write "weights" or "onnx", or measure its "quality" over `n` images by `features`.
    """

    kind: Literal["rank", "learn", "bake", "weights", "onnx", "quality"]
    layer: LayerName | None = None
    n: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    features: Annotated[str, Field(pattern=FEATURES)] = "plain"


class Fault(BaseModel):
    """Why a request was refused."""

    detail: str
