"""The review page of a run folder: one HTML file and one data script per layer, readable from disk without a server."""

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganpatch.disk.atomic_files import replacing_together, write_text
from ganpatch.errors import printable
from ganpatch.finding.suggestions import Suggested, UnitSet, read_sets, read_suggestions
from ganpatch.pages.image_grids import sprite_layout
from ganpatch.pages.scripts import asset, inlined, script_json
from ganpatch.ranking.alike_rows import rows_by_image
from ganpatch.ranking.result import ARRAYS, STATISTICS, LayerRanking, Manifest, read_layers, read_manifest

PAGE = "index.html"
_OWN = files("ganpatch.review")


def write_page(folder: str | Path) -> Path:
    """Write index.html and layer-*.js into a run folder, all or none of them; return the page's path."""
    folder = Path(folder)
    with replacing_together(folder, PAGE) as room:
        write_page_files(folder, room, name=folder.name)
    return folder / PAGE


def write_page_files(
    run: Path,
    target: Path,
    *,
    name: str,
    suggested: Mapping[str, Suggested] | None = None,
    sets: Sequence[UnitSet] | None = None,
) -> None:
    """Write the page of a run, which it calls `name`, into another folder.

    It shows `suggested` and `sets`; by default, the suggestions that the run folder holds.
    """
    manifest = read_manifest(run)
    layers = read_layers(run / ARRAYS, manifest)
    suggested = read_suggestions(run, manifest) if suggested is None else suggested
    for index, (layer, ranked) in enumerate(layers.items()):
        scores = {method: _rounded(one.layers[layer].score) for method, one in suggested.items() if layer in one.layers}
        content = script_json(layer_data(ranked) | {"suggested": scores})
        write_text(target / layer_script(index), f"ganpatchLayer({index}, {content});\n")
    explained = {method: one.facts.explains for method, one in suggested.items()}
    proposed = [set_data(one) for one in (read_sets(run, manifest) if sets is None else sets)]
    shown = run_data(run, manifest) | {"folder": printable(name), "suggested": explained, "sets": proposed}
    write_text(target / PAGE, _page(shown))


def layer_script(index: int) -> str:
    """Name the data script of the layer at `index`."""
    return f"layer-{index}.js"


def _page(run: dict[str, Any]) -> str:
    text = asset("page.html", _OWN)
    styles = "".join(asset(name, _OWN) for name in ("theme.css", "units.css", "page.css"))
    for mark, content in {"/*STYLE*/": styles, "/*SCRIPT*/": inlined("page.js", _OWN)}.items():
        text = text.replace(mark, content)
    return text.replace("/*RUN*/null", script_json(run))


def run_data(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """Describe a run to a page: its layers, and where in the sprite sheets each seed is."""
    thumbs = manifest.thumbnails
    columns, rows = sprite_layout(thumbs.height, thumbs.width)
    return {
        "run": manifest.run,
        "model": manifest.model.name,
        "folder": folder.name,
        "n": manifest.n,
        "k": manifest.k,
        "score": manifest.score,
        "layers": [
            {"name": name, "units": facts.units, "k": manifest.k, "map_size": facts.map_size}
            for name, facts in manifest.layers.items()
        ],
        "thumbnails": {
            "height": thumbs.height,
            "width": thumbs.width,
            "inputs": thumbs.inputs,
            "columns": columns,
            "rows": rows,
            "sheets": thumbs.sheets,
            "count": len(thumbs.seeds),
            "places": {str(seed): place for place, seed in enumerate(thumbs.seeds)},
        },
    }


def set_data(one: UnitSet) -> dict[str, Any]:
    """Describe a suggested set to a page: its units, what it gains and harms, and the images that share the fault."""
    return {
        "name": one.name,
        "layer": one.layer,
        "units": list(one.units),
        "gain": one.gain,
        "harm": one.harm,
        "start": one.start,
        "images": list(one.images),
    }


def layer_data(ranked: LayerRanking) -> dict[str, Any]:
    """Describe a ranked layer to a page: seeds and scores per unit, maps as base64 of bytes, levels, statistics."""
    statistics = {name: _rounded(getattr(ranked, name)) for name in STATISTICS}
    return {
        "units": ranked.top_seeds.tolist(),
        "scores": [_rounded(row) for row in ranked.top_scores],
        "maps": base64.b64encode(heat_bytes(ranked).numpy().tobytes()).decode(),
        "levels": outline_levels(ranked),
        "rows_by_image": rows_by_image(ranked),
        **statistics,
    }


def heat_bytes(ranked: LayerRanking) -> Tensor:
    """Scale each unit's maps [C, K, h, w] to 0-255, from 0 (or its lowest value, if all are below 0) to its peak."""
    low, high = (bound[:, None, None, None] for bound in _bounds(ranked))
    share = (ranked.top_maps.float() - low) / (high - low).clamp(min=1e-12)
    return share.clamp(0, 1).mul(255).round().to(torch.uint8)


def outline_levels(ranked: LayerRanking) -> list[int]:
    """Return each unit's 99 % level on the scale of `heat_bytes`, at most 254: the outline encloses what exceeds it."""
    low, high = _bounds(ranked)
    level = (ranked.q99.float() - low) / (high - low).clamp(min=1e-12)
    numbers: list[int] = level.clamp(0, 1).mul(255).floor().clamp(max=254).int().tolist()
    return numbers


def _bounds(ranked: LayerRanking) -> tuple[Tensor, Tensor]:
    """Return what is drawn as nothing and as the peak, per unit [C]."""
    maps = ranked.top_maps.float()
    high = maps.amax((1, 2, 3))
    return torch.where(high > 0, torch.zeros_like(high), maps.amin((1, 2, 3))), high


def _rounded(numbers: Tensor) -> list[float]:
    return [float(f"{number:.4g}") for number in numbers.tolist()]
