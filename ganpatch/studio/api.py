"""The studio's routes; each only checks, asks the session or the engine, and shows what came of it."""

import asyncio
import base64
import re
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse, JSONResponse

from ganpatch.errors import GanpatchError
from ganpatch.loopback import own_file
from ganpatch.models import weights_file
from ganpatch.review.page import layer_data, run_data
from ganpatch.studio.changes import Change, Overtaken
from ganpatch.studio.downloads import patch_download
from ganpatch.studio.engine import Busy
from ganpatch.studio.folder import STROKES
from ganpatch.studio.frames import encoded, small_maps
from ganpatch.studio.jobs import JobView
from ganpatch.studio.palette import Paint, trial_edit
from ganpatch.studio.session import EXPORTS, Studio
from ganpatch.studio.views import (
    ActiveUnit,
    ActivityRequest,
    ActivityView,
    BrushesView,
    Fault,
    HistogramView,
    ImagesRequest,
    JobRequest,
    LayerView,
    MapsRequest,
    MapsView,
    ModelView,
    PulseView,
    RankingView,
    SessionView,
)

_SHEET = re.compile(r"thumbs-\d{3,6}\.png")
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Fault, "description": "The body is no JSON."},
    403: {"description": "No token, or a stranger's Host or Origin.", "content": {"text/plain": {}}},
    404: {"model": Fault, "description": "There is no such thing."},
    409: {"model": Fault, "description": "Changed in another tab since."},
    413: {"description": "The body is too large.", "content": {"text/plain": {}}},
    422: {"description": "It does not fit the model or the session, or not what this route takes."},
    503: {"model": Fault, "description": "Too many requests wait for the model."},
}
_OVERTAKEN: dict[int | str, dict[str, Any]] = {
    204: {"description": "A newer request of the same stream took its place."}
}
_IMAGE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}, "image/jpeg": {}}, "description": "The images."},
    **_OVERTAKEN,
}


class Missing(GanpatchError):
    """What a request names is not there."""


def routes(studio: Studio) -> APIRouter:
    """Make the routes of a studio."""
    router = APIRouter(prefix="/api", responses=_REFUSALS)
    _session_routes(router, studio)
    _ranking_routes(router, studio)
    _model_routes(router, studio)
    _job_routes(router, studio)
    return router


def refusal(fault: Exception) -> Response:
    """Put a fault into an answer."""
    status = 409 if isinstance(fault, Overtaken) else 404 if isinstance(fault, Missing) else 422
    return JSONResponse({"detail": str(fault)}, 503 if isinstance(fault, Busy) else status)


def _session_routes(router: APIRouter, studio: Studio) -> None:
    folder = studio.folder
    saved = str(folder.path / "patch.yaml")

    @router.get("/pulse")
    def pulse() -> PulseView:
        """Say whether anything has changed, and what the jobs do."""
        return PulseView(studio=folder.state.studio, revision=folder.state.revision, jobs=studio.jobs.all())

    @router.get("/model")
    def model() -> ModelView:
        """Describe the model and its layers."""
        return _model_view(studio)

    @router.get("/session")
    def session() -> SessionView:
        """Give the session as it stands."""
        return SessionView.of(folder.state, saved)

    @router.post("/changes")
    def change(change: Change) -> SessionView:
        """Make a change and save it; the same change, by its id, is made once."""
        return SessionView.of(folder.change(change), saved)

    @router.post("/paint")
    def paint(paint: Paint) -> SessionView:
        """Keep a painting as an edit with a mask, and save it."""
        return SessionView.of(studio.paint(paint), saved)

    @router.get("/brushes")
    def brushes() -> BrushesView:
        """List the brushes."""
        return BrushesView(brushes=studio.brushes())

    @router.get("/download/patch", responses={200: {"content": {"application/yaml": {}, "application/zip": {}}}})
    def download_patch() -> Response:
        """Give the patch file, in a zip with its masks where it has some."""
        patch = folder.patch()
        if patch is None:
            raise Missing("no edit is on: there is no patch")
        return patch_download(patch)

    @router.get("/download/strokes", responses={200: {"content": {"application/json": {}}}})
    def download_strokes() -> Response:
        """Give the strokes for new concepts."""
        return _attached(folder.path / STROKES, "application/json")

    @router.get("/download/{name}", responses={200: {"content": {"application/octet-stream": {}}}})
    def download(name: str) -> Response:
        """Give a file that a job has written."""
        known = {job.result.get("file") for job in studio.jobs.all()}
        if name not in known:
            raise Missing("no job has written such a file")
        return _attached(folder.path / EXPORTS / name)


def _ranking_routes(router: APIRouter, studio: Studio) -> None:
    @router.get("/ranking")
    def ranking(layer: str = Query(max_length=500)) -> RankingView:
        """Give the top images of every unit of a layer."""
        run = studio.run_of(layer)
        if run is None:
            raise Missing(f"layer '{layer}' is not ranked yet")
        return RankingView(
            run=run_data(run.folder, run.manifest), layer=layer_data(studio.ranking(layer)), scores=studio.scores(layer)
        )

    @router.get("/runs/{run}/{sheet}", responses={200: {"content": {"image/png": {}}}})
    def sheet(run: str, sheet: str) -> Response:
        """Give a sheet of thumbnails."""
        path = own_file(studio.runs[run].folder, sheet) if run in studio.runs and _SHEET.fullmatch(sheet) else None
        if path is None:
            raise Missing("no such sheet")
        return FileResponse(path, media_type="image/png")

    @router.get("/levels", responses=_OVERTAKEN)
    async def levels(layer: str = Query(max_length=500), unit: int = Query(ge=0, lt=1_000_000)) -> HistogramView:
        """Give the histogram of a unit's activations."""
        if unit >= studio.shape(layer).units:
            raise Missing(f"layer '{layer}' has no unit {unit}")
        found = await asyncio.wrap_future(studio.levels(layer))
        return HistogramView(**found.histogram(unit))


def _model_routes(router: APIRouter, studio: Studio) -> None:
    engine, frames = studio.engine, studio.frames

    def edits_of(wanted: bool, without: str | None = None) -> tuple[Any, ...]:
        return tuple(edit for edit in studio.folder.state.active() if edit.id != without) if wanted else ()

    @router.post("/images", response_class=Response, responses=_IMAGE)
    async def images(asked: ImagesRequest) -> Response:
        """Draw images, with or without the patch, a unit or a stroke tried."""
        trial = trial_edit(asked.unit, studio.shape(asked.unit.layer)) if asked.unit else None
        stroke = studio.painting(asked.painting) if asked.painting else None
        edits = (*edits_of(asked.patch, asked.without), *(edit for edit in (trial, stroke) if edit))

        if asked.calm:
            future = engine.submit_calm(frames.images_in_steps(asked.points, edits), stream=asked.stream or "calm")
        else:
            future = engine.submit(lambda: frames.images(asked.points, edits), stream=asked.stream)
        if asked.painting:
            studio.expect_strokes(asked.painting.brush)
        drawn = await _answered(future)
        if drawn is None:
            return Response(status_code=204)
        content, kind = encoded(drawn, min(asked.columns, len(asked.points)), asked.largest)
        return Response(content, media_type=kind)

    @router.post("/activity", responses=_OVERTAKEN)
    async def activity(asked: ActivityRequest) -> Any:
        """Say which units are active in an image, or at a place in it."""
        studio.shape(asked.layer)
        edits = edits_of(asked.patch)
        found = await _answered(
            engine.submit(lambda: _activity(studio, asked, edits), stream=f"activity/{asked.layer}")
        )
        return Response(status_code=204) if found is None else found

    @router.post("/maps", responses=_OVERTAKEN)
    async def maps(asked: MapsRequest) -> Any:
        """Show where a unit fires."""
        if asked.unit >= studio.shape(asked.layer).units:
            raise Missing(f"layer '{asked.layer}' has no unit {asked.unit}")
        edits = edits_of(asked.patch)

        def draw() -> MapsView:
            own = frames.activation(asked.points, asked.layer, edits)[:, asked.unit]
            small = small_maps(own)
            return MapsView(size=(small.shape[1], small.shape[2]), maps=_base64(small), peaks=own.amax((1, 2)).tolist())

        found = await _answered(engine.submit(draw, stream=None))
        return Response(status_code=204) if found is None else found


def _job_routes(router: APIRouter, studio: Studio) -> None:
    @router.post("/jobs")
    def start(asked: JobRequest) -> JobView:
        """Begin long work."""
        return studio.start(asked.kind, asked.layer, asked.n)

    @router.delete("/jobs/{number}")
    def cancel(number: int) -> JobView:
        """Cancel long work."""
        view = studio.jobs.cancel(number)
        if view is None:
            raise Missing(f"there is no job {number}")
        return view


async def _answered(future: "Future[Any]") -> Any:
    """Wait for the engine; None when a newer request of the stream took its place."""
    waiting = asyncio.wrap_future(future)
    await asyncio.wait({waiting})
    return None if waiting.cancelled() else waiting.result()


def _activity(studio: Studio, asked: ActivityRequest, edits: tuple[Any, ...]) -> ActivityView:
    maps = studio.frames.activation([asked.point], asked.layer, edits)[0]
    region = maps.flatten(1)
    if asked.x is not None and asked.y is not None:
        region = maps[:, *_window(asked, maps.shape[1:], studio.image_size)].flatten(1)
    peaks = region.amax(1)
    levels = studio.known_levels(asked.layer)
    scores = peaks if levels is None else peaks / peaks.new_tensor(levels).abs().clamp(min=1e-6)
    best = scores.topk(min(asked.first, len(scores))).indices.tolist()
    units = [
        ActiveUnit(
            unit=unit,
            activation=float(peaks[unit]),
            relative=None if levels is None else float(scores[unit]),
            map=_base64(small_maps(maps[unit : unit + 1])),
        )
        for unit in best
    ]
    small = small_maps(maps[:1]).shape
    return ActivityView(size=(small[1], small[2]), units=units)


def _window(asked: ActivityRequest, size: Any, image: tuple[int, int]) -> tuple[slice, slice]:
    """Give the features within `radius` of (x, y), at least the one that is there."""
    spans = []
    for place, edge, whole in ((asked.y or 0.0, size[0], image[0]), (asked.x or 0.0, size[1], image[1])):
        low = int(max(0.0, min(edge - 1, (place - asked.radius) / whole * edge)))
        high = int(max(low, min(edge - 1, (place + asked.radius) / whole * edge)))
        spans.append(slice(low, high + 1))
    return spans[0], spans[1]


def _model_view(studio: Studio) -> ModelView:
    layers = []
    for name, shape in studio.layers.items():
        run = studio.run_of(name)
        layers.append(LayerView(name=name, units=shape.units, size=shape.size, run=run.manifest.run if run else None))
    return ModelView(
        name=studio.generator.name,
        layers=layers,
        default_layer=studio.default_layer,
        image=studio.image_size,
        has_weights=weights_file(studio.model) is not None,
    )


def _attached(path: Path, kind: str = "application/octet-stream") -> Response:
    if not path.is_file():
        raise Missing("there is no such file yet")
    return FileResponse(path, filename=path.name, media_type=kind)


def _base64(values: Any) -> str:
    return base64.b64encode(values.numpy().tobytes()).decode()
