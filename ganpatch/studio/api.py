"""The studio's routes; each only checks, asks the session or the engine, and shows what came of it."""

import json
import re
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Query, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse

from ganpatch.disk.text_bounds import MOST_FAULTS
from ganpatch.families.loading import weights_file
from ganpatch.option_values import CHURCHES, INCEPTION, PLAIN
from ganpatch.pages.local_server import own_file
from ganpatch.review.page import layer_data, run_data
from ganpatch.studio.changes import Change, Overtaken
from ganpatch.studio.downloads import patch_download
from ganpatch.studio.drawing import drawing_routes
from ganpatch.studio.engine import Busy
from ganpatch.studio.figures import figures
from ganpatch.studio.history import STROKES
from ganpatch.studio.jobs import JobView
from ganpatch.studio.painting import Paint
from ganpatch.studio.session import EXPORTS, FIGURES, Studio
from ganpatch.studio.versions import versions
from ganpatch.studio.views import (
    Adopt,
    BrushesView,
    BrushView,
    Fault,
    FiguresView,
    JobRequest,
    LayerView,
    Missing,
    ModelView,
    OfferView,
    PulseView,
    RankingView,
    SessionView,
    VersionsView,
)

_SHEET = re.compile(r"thumbs-\d{3,6}\.png")
_REPORT = re.compile(r"[0-9a-f]{12}-[\w.-]{1,80}\.html")
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Fault, "description": "The body is no JSON."},
    403: {"description": "No token, or a stranger's Host or Origin.", "content": {"text/plain": {}}},
    404: {"model": Fault, "description": "There is no such thing."},
    409: {"model": Fault, "description": "Changed in another tab since."},
    413: {"description": "The body is too large.", "content": {"text/plain": {}}},
    422: {"description": "It does not fit the model or the session, or not what this route takes."},
    503: {"model": Fault, "description": "Too many requests wait for the model."},
}


def routes(studio: Studio) -> APIRouter:
    """Make the routes of a studio."""
    router = APIRouter(prefix="/api", responses=_REFUSALS)
    _session_routes(router, studio)
    _download_routes(router, studio)
    _ranking_routes(router, studio)
    drawing_routes(router, studio)
    _job_routes(router, studio)
    return router


def refusal(fault: Exception) -> Response:
    """Put a fault into an answer."""
    status = 409 if isinstance(fault, Overtaken) else 404 if isinstance(fault, Missing) else 422
    return JSONResponse({"detail": str(fault)}, 503 if isinstance(fault, Busy) else status)


def unfit_request(fault: RequestValidationError) -> Response:
    """Answer a request that does not fit its route, without repeating its content: no encoding may hold that."""
    faults = [{key: one[key] for key in ("loc", "msg", "type")} for one in fault.errors()[:MOST_FAULTS]]
    return Response(json.dumps({"detail": faults}), 422, media_type="application/json")


def _session_routes(router: APIRouter, studio: Studio) -> None:
    folder = studio.folder
    saved = str(folder.path / "patch.yaml")

    @router.get("/pulse")
    def pulse() -> PulseView:
        """Return whether anything has changed, and what the jobs do."""
        return PulseView(studio=folder.state.studio, revision=folder.state.revision, jobs=studio.jobs.all())

    @router.get("/model")
    def model() -> ModelView:
        """Describe the model and its layers."""
        return _model_view(studio)

    @router.get("/session")
    def session() -> SessionView:
        """Return the current session."""
        return SessionView.of(folder.state, saved)

    @router.post("/changes")
    def change(change: Change) -> SessionView:
        """Make a change and save it; the same change, by its id, is made once."""
        return SessionView.of(folder.change(change), saved)

    @router.post("/paint")
    def paint(paint: Paint) -> SessionView:
        """Keep a painting as an edit with a mask, and save it."""
        return SessionView.of(studio.paint(paint), saved)

    @router.post("/adopt")
    def adopt(adopted: Adopt) -> SessionView:
        """Put an edit that ships with the model into the session, and save it."""
        return SessionView.of(studio.adopt(adopted), saved)

    @router.get("/versions")
    def all_versions(first: int = Query(60, ge=1, le=1000)) -> VersionsView:
        """List what the patch was before."""
        return VersionsView(versions=versions(folder, first))

    @router.get("/brushes")
    def brushes() -> BrushesView:
        """List the brushes."""
        return BrushesView(brushes=[BrushView.of(brush) for brush in studio.brushes()])


def _download_routes(router: APIRouter, studio: Studio) -> None:
    folder = studio.folder

    @router.get("/download/patch", responses={200: {"content": {"application/yaml": {}, "application/zip": {}}}})
    def download_patch(version: int | None = Query(None, ge=1)) -> Response:
        """Return the current patch file, or that of an earlier version; in a zip with its masks if it has any."""
        if version is not None and version not in folder.versions():
            raise Missing(f"there is no version {version}")
        patch = folder.patch(version)
        if patch is None:
            raise Missing("no edit is on: there is no patch")
        return patch_download(patch)

    @router.get("/download/strokes", responses={200: {"content": {"application/json": {}}}})
    def download_strokes() -> Response:
        """Return the strokes for new concepts."""
        return _attached(folder.path / STROKES, "application/json")

    @router.get("/download/{name}", responses={200: {"content": {"application/octet-stream": {}}}})
    def download(name: str) -> Response:
        """Return a file that a job has written."""
        known = {job.result.get("file") for job in studio.jobs.all()}
        if name not in known:
            raise Missing("no job has written such a file")
        return _attached(folder.path / EXPORTS / name)


def _ranking_routes(router: APIRouter, studio: Studio) -> None:
    @router.get("/ranking")
    def ranking(layer: str = Query(max_length=500)) -> RankingView:
        """Return the top images of every unit of a layer."""
        run = studio.run_of(layer)
        if run is None:
            raise Missing(f"layer '{layer}' is not ranked yet")
        return RankingView(
            run=run_data(run.folder, run.manifest), layer=layer_data(studio.ranking(layer)), orders=studio.orders(layer)
        )

    @router.get("/runs/{run}/{sheet}", responses={200: {"content": {"image/png": {}}}})
    def sheet(run: str, sheet: str) -> Response:
        """Return a sheet of thumbnails."""
        path = own_file(studio.runs[run].folder, sheet) if run in studio.runs and _SHEET.fullmatch(sheet) else None
        if path is None:
            raise Missing("no such sheet")
        return FileResponse(path, media_type="image/png")


def _job_routes(router: APIRouter, studio: Studio) -> None:
    @router.post("/jobs")
    def start(asked: JobRequest) -> JobView:
        """Begin long work."""
        return studio.start(asked)

    @router.get("/figures")
    def known_figures() -> FiguresView:
        """List the quality figures that were measured."""
        return FiguresView(figures=figures(studio.folder.path / FIGURES))

    @router.get("/figures/{name}", responses={200: {"content": {"text/html": {}}}})
    def report(name: str, download: bool = False) -> Response:
        """Return the whole report of a figure, to be seen or kept."""
        path = studio.folder.path / FIGURES / name
        if not _REPORT.fullmatch(name) or not path.is_file():
            raise Missing("there is no such report")
        return FileResponse(path, filename=name if download else None, media_type="text/html")

    @router.delete("/jobs/{number}")
    def cancel(number: int) -> JobView:
        """Cancel long work."""
        view = studio.jobs.cancel(number)
        if view is None:
            raise Missing(f"there is no job {number}")
        return view


def _model_view(studio: Studio) -> ModelView:
    layers = []
    for name, shape in studio.layers.items():
        run = studio.run_of(name)
        layers.append(LayerView(name=name, units=shape.units, size=shape.size, run=run.manifest.run if run else None))
    return ModelView(
        name=studio.generator.name,
        argument=studio.model or studio.generator.name,
        layers=layers,
        default_layer=studio.default_layer,
        image=studio.image_size,
        seconds=round(studio.frames.seconds, 3),
        inputs=studio.generator.latent.count,
        has_weights=weights_file(studio.model) is not None,
        features=[PLAIN, *([CHURCHES] if studio.generator.name == CHURCHES else ()), INCEPTION],
        real=str(studio.real) if studio.real else None,
        offered=[OfferView(edit=edit.id, reason=edit.reason) for edit in studio.study.edits],
        first=studio.study.first if studio.is_plain else None,
    )


def _attached(path: Path, kind: str = "application/octet-stream") -> Response:
    if not path.is_file():
        raise Missing("there is no such file yet")
    return FileResponse(path, filename=path.name, media_type=kind)
