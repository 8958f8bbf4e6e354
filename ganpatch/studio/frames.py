"""What the studio shows of a generator: images of points under edits, where units are active, and how strongly.

    frames = Frames(generator)
    frames.images([Point(seed=1), Point(seed=1, to=2, t=0.5)], edits)       # [2, 3, H, W] in [0, 1]

Only the engine's thread calls it.
"""

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.forward.activations import batched
from ganpatch.generator.generator import Generator
from ganpatch.generator.layers import Enough, hooked, tensor_of
from ganpatch.pages.image_grids import grid, thumbnails
from ganpatch.patch.applying import edits_applied
from ganpatch.patch.edit import Edit
from ganpatch.ranking.running_stats import QuantileSample
from ganpatch.studio.edited_images import EditedImages
from ganpatch.studio.engine import Steps
from ganpatch.studio.state import Point

BATCH = 8
CALM_BATCH = 2  # small, so that nobody waits long for a step that has begun
LEVEL_SEEDS = range(500_000, 500_256)  # of no ranking, so that thresholds are chosen on images of their own
_BINS = 48
_LARGEST_PNG = 512 * 512
_SMALL_MAP = 16
QUICK, SLOW = 0.05, 2.0  # seconds of a pass
_LEVEL_SECONDS = 60.0  # what sampling the levels of a layer may take
_FEWEST_LEVELS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Activations of all units of a layer in some `images`: a sample `values` [C, S], peaks and quantiles, each [C]."""

    values: Tensor
    peak: Tensor
    q99: Tensor
    q999: Tensor
    images: int

    def histogram(self, unit: int) -> dict[str, Any]:
        """Return counts of one unit's activations between its lowest and its peak, in equal bins."""
        values, high = self.values[unit].float(), float(self.peak[unit])
        low = float(values.min())
        high = max(high, low + 1e-6)
        counts = torch.histc(values, _BINS, low, high)
        return {
            "low": low,
            "high": high,
            "counts": [int(count) for count in counts],
            "q99": float(self.q99[unit]),
            "images": self.images,
        }


class Frames:
    """Draws from one generator."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.edited = EditedImages(generator, inputs_at)
        self.seconds = 0.0  # of one image, once settled

    def settle(self) -> tuple[int, int]:
        """Choose how many processor threads the calling thread works with: one where that is quick, else all but one.

        Threads that share a pass wait for each other at every layer; on a machine whose other cores are busy, be it
        with the browser, one thread is several times as fast for a small image. Returns the size (h, w) of images.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        size, self.seconds = self._timed()
        if self.seconds < SLOW:  # the first pass is slower than all others
            size, self.seconds = self._timed()
        if self.seconds > QUICK and threads > 2:
            torch.set_num_threads(threads - 1)
            _, self.seconds = self._timed()
        return size

    def _timed(self) -> tuple[tuple[int, int], float]:
        started = perf_counter()
        height, width = self.images([Point(seed=0)]).shape[2:]
        return (height, width), perf_counter() - started

    @torch.inference_mode()
    def images(self, points: Sequence[Point], edits: Sequence[Edit] = (), *, live: str | None = None) -> Tensor:
        """Return images [N, 3, H, W] in [0, 1].

        `live` is the layer whose edits change from one call to the next: the layers before it do not run again.
        """
        if live and len(points) <= BATCH and (found := self.edited.images(points, edits, live)) is not None:
            return found
        module = self.generator.module
        with edits_applied(module, edits):
            return torch.cat([self.generator.images(self._pass(part)) for part in batched(points, BATCH)])

    def _pass(self, points: Sequence[Point]) -> Any:
        return self.generator.module(*inputs_at(self.generator, points))

    @property
    def _calm_batch(self) -> int:
        return CALM_BATCH if self.seconds < QUICK else 1

    def expect(self, layer: str) -> Steps:
        """Find out, in one step, whether strokes at a layer can run only the layers after it."""
        yield
        self.edited.check(layer)

    def images_in_steps(self, points: Sequence[Point], edits: Sequence[Edit], columns: int, largest: int) -> Steps:
        """Draw images a few at a time; returns them encoded."""
        drawn = []
        for part in batched(points, self._calm_batch):
            drawn.append(self.images(part, edits))
            yield
        return encoded(torch.cat(drawn), columns, largest)

    @torch.inference_mode()
    def activation(self, points: Sequence[Point], layer: str, edits: Sequence[Edit] = ()) -> Tensor:
        """Return a layer's activation [N, C, h, w] in its first run, after the edits; the pass ends there."""
        kept: list[Tensor] = []

        def keep(output: Any, _call: int) -> None:
            y = tensor_of(output)
            if y is None or y.ndim != 4:
                raise GanpatchError(f"layer '{layer}' outputs no maps [N, C, h, w]")
            kept.append(y.clone())
            raise Enough

        module = self.generator.module
        with edits_applied(module, edits), hooked(module, {layer: keep}):
            for part in batched(points, BATCH):
                with suppress(Enough):
                    self._pass(part)
        return torch.cat(kept)

    def label(self, point: Point) -> int | None:
        """Name the class at a point, of a conditional model."""
        if self.generator.labels is None:
            return None
        label = inputs_at(self.generator, [point])[1][0]
        return int(label.argmax()) if label.ndim else int(label)

    def levels(self, layer: str) -> Steps:
        """Sample a layer's activations over LEVEL_SEEDS, fewer of a slow model, batch by batch; returns Levels."""
        sample, peak = None, None
        most = max(_FEWEST_LEVELS, int(_LEVEL_SECONDS / max(self.seconds, 1e-3)))
        images = LEVEL_SEEDS[:most]
        for seeds in batched(images, self._calm_batch):
            y = self.activation([Point(seed=seed) for seed in seeds], layer)
            flat = y.flatten(2).float()
            if sample is None:
                sample = QuantileSample(y.shape[1], pixels=flat.shape[2], images=len(images), size=8192)
            sample.update(flat, seeds)
            highest = flat.amax((0, 2))
            peak = highest if peak is None else torch.maximum(peak, highest)
            yield
        assert sample is not None
        assert peak is not None
        values = sample.values[:, : int(sample.count)].clone()
        q99, q999 = sample.result([0.99, 0.999])
        return Levels(values=values, peak=peak, q99=q99, q999=q999, images=len(images))


def inputs_at(generator: Generator, points: Sequence[Point]) -> tuple[Tensor, ...]:
    """Return the module's inputs at points; between two seeds the latent turns, and a label changes half way."""
    args = generator.inputs_of([point.seed for point in points])
    walking = [(row, point) for row, point in enumerate(points) if point.to is not None and point.t > 0]
    if not walking:
        return args
    ends = generator.inputs_of([point.to for _, point in walking if point.to is not None])
    mixed = [arg.clone() for arg in args]
    for place, (row, point) in enumerate(walking):
        for arg, own, other in zip(mixed, args, ends, strict=True):
            if arg is mixed[0] and arg.is_floating_point():
                arg[row] = _between(own[row], other[place], point.t, getattr(generator.latent, "kind", "") == "normal")
            elif point.t >= 0.5:
                arg[row] = other[place]
    return tuple(mixed)


def encoded(images: Tensor, columns: int, largest: int) -> tuple[bytes, str]:
    """Lay images out row by row without gaps, and encode them; return the bytes and their media type."""
    sheet = grid(thumbnails(images, largest), columns=columns, gap=0)
    buffer = io.BytesIO()
    if sheet.width * sheet.height <= _LARGEST_PNG:
        sheet.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue(), "image/png"
    sheet.save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue(), "image/jpeg"


def small_maps(maps: Tensor) -> Tensor:
    """Shrink maps [N, h, w] to at most 16x16 by their maxima, and scale them together to 0-255."""
    size = [min(_SMALL_MAP, edge) for edge in maps.shape[1:]]
    maps = torch.nn.functional.adaptive_max_pool2d(maps.float().unsqueeze(1), size).squeeze(1)
    high = maps.amax()
    low = torch.zeros(()) if high > 0 else maps.amin()
    return ((maps - low) / (high - low).clamp(min=1e-12)).clamp(0, 1).mul(255).round().to(torch.uint8)


def _between(start: Tensor, end: Tensor, t: float, spherical: bool) -> Tensor:
    """Go from one latent to another: along the sphere for normal latents, whose lengths are alike, else straight."""
    if not spherical:
        return torch.lerp(start, end, t)
    cosine = torch.nn.functional.cosine_similarity(start.flatten(), end.flatten(), 0).clamp(-1, 1)
    angle = torch.arccos(cosine)
    if angle.sin() < 1e-4:
        return torch.lerp(start, end, t)
    return (torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * end) / angle.sin()
