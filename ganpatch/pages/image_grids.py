"""Pictures of images: grids, before/after pairs, contact sheets, sprite sheets.

Example:

    grid(images, columns=8).save("grid.png")                # images [N, 3, H, W] in [0, 1]
    before_after(before, after, captions).save("pairs.png")
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from ganpatch.disk.atomic_files import write_bytes
from ganpatch.errors import GanpatchError
from ganpatch.generator.input_files import Images
from ganpatch.generator.latents import Drawn
from ganpatch.untrusted.picture_files import opened_picture

Pixels = np.ndarray  # uint8 [H, W, 3]

LARGEST_THUMBNAIL = 128
SPRITE_EDGE = 2048  # browsers hold a sheet of this size as one texture
_GAP = 2
_PAPER = 255
_INK = (40, 40, 40)
_LINE = (255, 220, 0)
_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def to_pixels(images: Tensor) -> Pixels:
    """Turn images [N, 3, H, W] in [0, 1] into pixels [N, H, W, 3] uint8."""
    return images.mul(255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def thumbnails(images: Tensor, largest: int = LARGEST_THUMBNAIL) -> Pixels:
    """Shrink images [N, 3, H, W] so that no edge is longer than `largest`; smaller ones stay as they are."""
    height, width = images.shape[-2:]
    shrink = max(height, width) / largest
    if shrink > 1:
        size = (max(1, round(height / shrink)), max(1, round(width / shrink)))
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
    return to_pixels(images)


def grid(pixels: Pixels, columns: int | None = None, gap: int = _GAP) -> Image.Image:
    """Lay out pixels [N, H, W, 3] row by row on white."""
    count, height, width, _ = pixels.shape
    columns = min(count, columns or round(count**0.5) or 1)
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), _PAPER, np.uint8)
    for index, image in enumerate(pixels):
        y, x = index // columns * (height + gap), index % columns * (width + gap)
        sheet[y : y + height, x : x + width] = image
    return Image.fromarray(sheet)


def before_after(before: Pixels, after: Pixels, captions: Sequence[int | str], pairs_per_row: int = 4) -> Image.Image:
    """Lay out pairs of pixels [N, H, W, 3], each with its caption above it, or its seed, under one heading."""
    return side_by_side({"before": before, "after": after}, captions, pairs_per_row)


def side_by_side(parts: Mapping[str, Pixels], captions: Sequence[int | str], per_row: int) -> Image.Image:
    """Lay out what belongs together from several `parts` [N, H, W, 3], each with its caption or seed above it."""
    count, height, width, _ = next(iter(parts.values())).shape
    zoom = max(1, round(96 / height))
    step = width * zoom + _GAP
    cell_width, cell_height = len(parts) * step + 14, height * zoom + 22
    columns = min(count, per_row)
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * cell_width + 14, rows * cell_height + 30), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column in range(columns):
        for place, name in enumerate(parts):
            draw.text((14 + column * cell_width + place * step, 8), name, _INK, font)
    for index in range(count):
        x, y = 14 + index % columns * cell_width, 28 + index // columns * cell_height
        caption = captions[index]
        text = caption if isinstance(caption, str) else f"seed {caption}"
        draw.text((x, y), text, (120, 120, 120), ImageFont.load_default(11))
        for place, pixels in enumerate(parts.values()):
            picture = Image.fromarray(pixels[index]).resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
            sheet.paste(picture, (x + place * step, y + 15))
    return sheet


def input_pictures(inputs: Drawn, seeds: Sequence[int], size: tuple[int, int]) -> Pixels | None:
    """Return the pictures that go into a network [N, H, W, 3], in the `size` of what comes out; None if none do."""
    if not isinstance(inputs, Images) or not len(seeds):
        return None
    mode = "nearest" if size[0] >= inputs.shape[1] else "area"
    fitted = (F.interpolate(inputs.pixels(seed)[None] / 255, size, mode=mode) for seed in seeds)
    return np.concatenate([to_pixels(picture.expand(-1, 3, -1, -1)) for picture in fitted])


def contact_sheet(rows: Sequence[tuple[str, Sequence[Pixels]]]) -> Image.Image:
    """Lay out rows of pixels, each with a label at its left."""
    height, width = rows[0][1][0].shape[:2]
    label, longest = 84, max(len(images) for _, images in rows)
    size = (label + longest * (width + _GAP), len(rows) * (height + _GAP))
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for row, (text, images) in enumerate(rows):
        y = row * (height + _GAP)
        draw.text((6, y + height // 2 - 8), text, _INK, font)
        for column, pixels in enumerate(images):
            sheet.paste(Image.fromarray(pixels), (label + column * (width + _GAP), y))
    return sheet


def outlined(pixels: Pixels, mask: np.ndarray, least_edge: int = 112) -> Pixels:
    """Outline where `mask` [h, w] is true in pixels [H, W, 3], and darken the rest; small images are enlarged."""
    zoom = max(1, -(-least_edge // min(pixels.shape[:2])))
    large = np.repeat(np.repeat(pixels, zoom, 0), zoom, 1)
    size = (large.shape[1], large.shape[0])
    inside = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR)) > 127
    shown = np.where(inside[..., None], large, (large * 0.35).astype(np.uint8))
    padded = np.pad(inside, 1, mode="edge")
    around = [padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]]
    shown[inside & ~np.logical_and.reduce(around)] = _LINE
    return shown


def sprite_sheets(images: Sequence[Pixels]) -> Iterator[Image.Image]:
    """Pack equally large thumbnails into sheets without gaps, as `sprite_layout` says."""
    height, width = images[0].shape[:2]
    columns, rows = sprite_layout(height, width)
    for start in range(0, len(images), columns * rows):
        part = np.stack(images[start : start + columns * rows])
        yield grid(part, columns=columns, gap=0)


def sprite_layout(height: int, width: int) -> tuple[int, int]:
    """Return columns and rows of a full sprite sheet for thumbnails of that size."""
    return max(1, SPRITE_EDGE // width), max(1, SPRITE_EDGE // height)


def read_mask(path: Path, size: tuple[int, int]) -> Tensor:
    """Read a picture as a mask [h, w] in [0, 1], white 1, shrunk to `size`; raise GanpatchError if it is not one."""
    with opened_picture(path, f"'{path}' is no picture that can be a mask") as picture:
        grey = picture.convert("L").resize((size[1], size[0]), Image.Resampling.BOX)
    mask = torch.from_numpy(np.asarray(grey).copy()).float() / 255
    if not mask.any():
        raise GanpatchError(f"'{path}' is black everywhere; a mask is white where the edit acts")
    return mask


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture whole or not at all, in the format of its suffix."""
    form = picture_format(path)
    buffer = io.BytesIO()
    options = {"quality": 92} if form == "JPEG" else {"compress_level": 3} if form == "PNG" else {}
    picture.save(buffer, form, **options)
    write_bytes(path, buffer.getvalue())


def read_images(folder: Path, size: tuple[int, int], batch: int, most: int | None = None) -> Iterator[Tensor]:
    """Read the pictures of a folder, in the order of their names, as batches [N, 3, H, W] in [0, 1].

    Each is cropped around its middle to the proportions of `size` (H, W), and reduced to it. Raises GanpatchError for
    a picture that is smaller: enlarged, it would be blurred.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _FORMATS) if folder.is_dir() else []
    if not paths:
        raise GanpatchError(f"'{folder}' is not a folder with pictures ({', '.join(_FORMATS)})")
    pixels: list[Pixels] = []
    for number, path in enumerate(paths[:most], 1):
        with opened_picture(path) as picture:
            if picture.width < size[1] or picture.height < size[0]:
                raise GanpatchError(
                    f"'{path}' has {picture.width}x{picture.height} pixels, the generator's images have "
                    f"{size[1]}x{size[0]}; give pictures that are at least as large"
                )
            fitted = ImageOps.fit(picture.convert("RGB"), size[::-1], Image.Resampling.LANCZOS)
        pixels.append(np.asarray(fitted))
        if len(pixels) == batch or number == len(paths[:most]):
            yield torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
            pixels = []


def picture_format(path: Path) -> str:
    """Return the format of a picture from its suffix; raise GanpatchError if it is unknown."""
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise GanpatchError(f"'{path}': a picture ends in {', '.join(_FORMATS)}")
    return form
