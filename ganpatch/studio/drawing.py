"""The routes that run the model: images under edits, the units that are active in them, where and how strongly.

Requests of one `stream` replace each other while they wait, and one whose asker has left is not begun.
"""

import asyncio
import base64
from concurrent.futures import Future
from typing import Any

from fastapi import APIRouter, Query, Request, Response

from ganpatch.studio.frames import encoded, small_maps
from ganpatch.studio.painting import trial_edit
from ganpatch.studio.session import Studio
from ganpatch.studio.views import (
    ActiveUnit,
    ActivityRequest,
    ActivityView,
    HistogramView,
    ImagesRequest,
    MapsRequest,
    MapsView,
    Missing,
)

_OVERTAKEN: dict[int | str, dict[str, Any]] = {
    204: {"description": "A newer request of the same stream took its place."}
}
_IMAGE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}, "image/jpeg": {}}, "description": "The images."},
    **_OVERTAKEN,
}


def drawing_routes(router: APIRouter, studio: Studio) -> None:
    """Add the routes that run the model."""
    engine, frames = studio.engine, studio.frames

    def edits_of(wanted: bool, without: str | None = None) -> tuple[Any, ...]:
        return tuple(edit for edit in studio.folder.state.active() if edit.id != without) if wanted else ()

    @router.post("/images", response_class=Response, responses=_IMAGE)
    async def images(request: Request, asked: ImagesRequest) -> Response:
        """Draw images, with or without the patch, a unit or a stroke tried."""
        trial = trial_edit(asked.unit, studio.shape(asked.unit.layer)) if asked.unit else None
        stroke = studio.painting(asked.painting) if asked.painting else None
        edits = (*edits_of(asked.patch, asked.without), *(edit for edit in (trial, stroke) if edit))

        layout = min(asked.columns, len(asked.points)), asked.largest
        if asked.calm:
            steps = frames.images_in_steps(asked.points, edits, *layout)
            future = engine.submit_calm(steps, stream=asked.stream or "calm")
        else:
            live = studio.live_layer(asked.unit, asked.painting)
            future = engine.submit(
                lambda: encoded(frames.images(asked.points, edits, live=live), *layout), stream=asked.stream
            )
        drawn = await _answered(request, future)
        return Response(status_code=204) if drawn is None else Response(drawn[0], media_type=drawn[1])

    @router.post("/activity", responses=_OVERTAKEN)
    async def activity(request: Request, asked: ActivityRequest) -> Any:
        """Return which units are active in an image, or at a place in it."""
        studio.shape(asked.layer)
        edits = edits_of(asked.patch)
        future = engine.submit(lambda: _activity(studio, asked, edits), stream=asked.stream)
        found = await _answered(request, future)
        return Response(status_code=204) if found is None else found

    @router.post("/maps", responses=_OVERTAKEN)
    async def maps(request: Request, asked: MapsRequest) -> Any:
        """Show where a unit is active."""
        if asked.unit >= studio.shape(asked.layer).units:
            raise Missing(f"layer '{asked.layer}' has no unit {asked.unit}")
        edits = edits_of(asked.patch)

        def draw() -> MapsView:
            own = frames.activation(asked.points, asked.layer, edits)[:, asked.unit]
            small = small_maps(own)
            return MapsView(size=(small.shape[1], small.shape[2]), maps=_base64(small), peaks=own.amax((1, 2)).tolist())

        found = await _answered(request, engine.submit(draw))
        return Response(status_code=204) if found is None else found

    @router.get("/levels", responses=_OVERTAKEN)
    async def levels(layer: str = Query(max_length=500), unit: int = Query(ge=0, lt=1_000_000)) -> HistogramView:
        """Return the histogram of a unit's activations."""
        if unit >= studio.shape(layer).units:
            raise Missing(f"layer '{layer}' has no unit {unit}")
        found = await asyncio.wrap_future(studio.levels(layer))
        return HistogramView(**found.histogram(unit))


async def _answered(request: Request, future: "Future[Any]") -> Any:
    """Wait for the engine; None when a newer request of the stream took its place, or the one who asked has left."""
    waiting, leaving = asyncio.wrap_future(future), asyncio.ensure_future(_left(request))
    await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if not waiting.done():
        waiting.cancel()  # and with it the future: what has not begun is not begun
        return None
    return None if waiting.cancelled() else waiting.result()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _activity(studio: Studio, asked: ActivityRequest, edits: tuple[Any, ...]) -> ActivityView:
    maps = studio.frames.activation([asked.point], asked.layer, edits)[0]
    region = maps.flatten(1)
    if asked.x is not None and asked.y is not None:
        region = maps[:, *_window(asked, maps.shape[1:], studio.image_size)].flatten(1)
    peaks = region.amax(1)
    levels = studio.known_levels(asked.layer).get("q99")
    scores = peaks if levels is None else peaks / peaks.new_tensor(levels).abs().clamp(min=1e-6)
    best = scores.topk(min(asked.first, len(scores))).indices.tolist()
    units = [
        ActiveUnit(
            unit=unit,
            activation=float(peaks[unit]),
            relative=None if levels is None else float(scores[unit]),
            level=_level_in_map(maps[unit], None if levels is None else levels[unit]),
            map=_base64(small_maps(maps[unit : unit + 1])),
        )
        for unit in best
    ]
    small = small_maps(maps[:1]).shape
    return ActivityView(size=(small[1], small[2]), label=studio.frames.label(asked.point), units=units)


def _level_in_map(values: Any, q99: float | None) -> float:
    """Return where to outline a map that ends at 255: at the 99 % level if it rises above that, else half-way."""
    peak = float(values.amax())
    return 255 * q99 / peak if q99 is not None and 0 < q99 < peak else 127.5


def _window(asked: ActivityRequest, size: Any, image: tuple[int, int]) -> tuple[slice, slice]:
    """Return the features within `radius` of (x, y), at least the one that is there."""
    spans = []
    for place, edge, whole in ((asked.y or 0.0, size[0], image[0]), (asked.x or 0.0, size[1], image[1])):
        low = int(max(0.0, min(edge - 1, (place - asked.radius) / whole * edge)))
        high = int(max(low, min(edge - 1, (place + asked.radius) / whole * edge)))
        spans.append(slice(low, high + 1))
    return spans[0], spans[1]


def _base64(values: Any) -> str:
    return base64.b64encode(values.numpy().tobytes()).decode()
