"""Inputs that the user provides as files: a folder of images, or a file of latents, one row per seed.

    given_inputs(Path("photos"), shape=(3, 256, 256), limits=(-1, 1))     # of "images:3,256,256"
    given_inputs(Path("latents.safetensors"))                             # [N, ...], or .npy

Seed i takes the i-th image by name, or the i-th row; after the last one it starts again.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ganpatch.disk.array_files import is_finite
from ganpatch.disk.atomic_files import plain_size
from ganpatch.disk.tensor_files import opened_tensors
from ganpatch.errors import GanpatchError, explained, listed
from ganpatch.generator.latents import Drawn, parse_latent, parse_shape
from ganpatch.untrusted.picture_files import opened_picture

_IMAGES = re.compile(r"images:(\d{1,6},\d{1,6},\d{1,6})")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_ORIENTATION, _TURNED = 0x0112, 5  # the entry of EXIF, and the values from which on height and width change places
Range = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """The images of a folder as inputs [1 or 3, H, W] with values in `limits`: scaled and centre-cropped.

    `cropped` ones keep their scale where they are large enough. H and W are multiples of `multiple`, and at least
    `minimum`. Without `files` it only describes what is needed.
    """

    shape: tuple[int, ...]
    files: tuple[Path, ...] = ()
    limits: Range = (-1.0, 1.0)
    cropped: bool = False
    multiple: int = 1
    minimum: int = 1

    def __str__(self) -> str:
        return f"images:{','.join(str(size) for size in self.shape)}"

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.files)

    def row(self, source: torch.Generator) -> Tensor:
        """Read one image; raise GanpatchError naming the file when it is broken."""
        pixels = self.pixels(source.initial_seed())
        low, high = self.limits
        return pixels / 255 * (high - low) + low

    def pixels(self, seed: int) -> Tensor:
        """Return the picture of a seed as it is put in: [1 or 3, H, W] with values in 0..255."""
        path = self.files[seed % len(self.files)]
        channels, height, width = self.shape
        with opened_picture(path, f"'{path}' is not a readable image") as image:
            whole = _plain(ImageOps.exif_transpose(image), channels)
            fitted = _cut(whole, width, height) if self.cropped else None
            fitted = fitted or ImageOps.fit(whole, (width, height), Image.Resampling.BICUBIC)
            pixels = np.asarray(fitted, dtype=np.float32).reshape(height, width, -1)
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).expand(channels, -1, -1).contiguous().clamp(0, 255)


def _plain(image: Image.Image, channels: int) -> Image.Image:
    """Return a picture as grey values or colours in 0..255, without transparency; 16 bits become fractions."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float32)
        return Image.fromarray(values / 257 if image.mode.startswith("I") else values)
    return image.convert("L" if channels == 1 else "RGB")


def _cut(image: Image.Image, width: int, height: int) -> Image.Image | None:
    """Return the centre of a picture at its own scale, None where it is smaller."""
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height)) if min(left, top) >= 0 else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """The rows of a tensor [N, ...] as inputs."""

    path: Path
    tensor: Tensor

    def __str__(self) -> str:
        return f"rows:{','.join(str(size) for size in self.shape)}"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return tuple(self.tensor.shape[1:])

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self.tensor)

    def row(self, source: torch.Generator) -> Tensor:
        """Return one row."""
        return self.tensor[source.initial_seed() % len(self.tensor)]


def read_latent(text: str) -> Drawn:
    """Read the value of --latent: a distribution, or "images:3,256,256", whose files --inputs names."""
    if match := _IMAGES.fullmatch(text):
        shape = parse_shape(text, match[1])
        if shape[0] not in (1, 3):
            raise GanpatchError(f"latent '{text}': images have 1 or 3 channels, not {shape[0]}")
        return Images(shape=shape)
    return parse_latent(text)


def given_inputs(path: Path, known: Drawn | None, limits: Range) -> Drawn:
    """Return inputs from a folder of images or a file of rows.

    `known` is what the model takes, if that is known; raises GanpatchError when the files do not fit it.
    """
    if path.is_dir():
        files = picture_files(path)
        if known is None:
            raise GanpatchError(f"--inputs {path}: how large are the images? say --latent images:3,256,256")
        if len(known.shape) != 3 or known.shape[0] not in (1, 3):
            raise GanpatchError(f"--inputs {path}: the model takes {known}, not images")
        wanted = known if isinstance(known, Images) else Images(shape=known.shape)
        if any(edge % wanted.multiple or edge < wanted.minimum for edge in known.shape[1:]):
            least = f" of at least {wanted.minimum}" if wanted.minimum > 1 else ""
            what = f"multiples of {wanted.multiple}{least}" if wanted.multiple > 1 else f"edges{least}"
            raise GanpatchError(f"{known}: this network takes images whose height and width are {what}")
        return replace(wanted, files=files, limits=limits)
    tensor = _read_rows(path)
    if known is not None and tuple(tensor.shape[1:]) != known.shape:
        raise GanpatchError(f"'{path}' has rows {list(tensor.shape[1:])}, and the model takes {known}")
    return Rows(path=path, tensor=tensor.float())


def picture_files(folder: Path) -> tuple[Path, ...]:
    """Return the pictures of a folder by name; raise GanpatchError when there are none."""
    files = tuple(sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES))
    if not files:
        raise GanpatchError(f"'{folder}' holds no images ({listed(_SUFFIXES)})")
    return files


def fitting(images: Images) -> tuple[Images, str]:
    """Return images no larger than the smallest of their files, where they are cropped, and a sentence about it."""
    sizes = [picture_size(path) for path in images.files]
    if not images.cropped or not sizes:
        return images, ""
    smallest = min(height for height, _ in sizes), min(width for _, width in sizes)
    edges = [
        max(min(wanted, max(have, images.minimum)) // images.multiple, 1) * images.multiple
        for wanted, have in zip(images.shape[1:], smallest, strict=True)
    ]
    fitted = replace(images, shape=(images.shape[0], *edges))
    if all(size == tuple(edges) for size in sizes):
        return fitted, ""
    return fitted, (
        f"--inputs: the middle {edges[0]}x{edges[1]} of each of {len(sizes)} images "
        f"(the smallest is {smallest[0]}x{smallest[1]}); another size: --latent images:{images.shape[0]},H,W"
    )


def picture_size(path: Path) -> tuple[int, int]:
    """Return height and width of a picture, upright."""
    with opened_picture(path, f"'{path}' is not a readable image") as image:
        upright = image.getexif().get(_ORIENTATION, 1) < _TURNED
        return (image.height, image.width) if upright else (image.width, image.height)


def smallest_size(folder: Path) -> tuple[int, int]:
    """Return the smallest height and the smallest width of the images in a folder."""
    sizes = [picture_size(path) for path in picture_files(folder)]
    return min(height for height, _ in sizes), min(width for _, width in sizes)


def _read_rows(path: Path) -> Tensor:
    if not path.exists():
        raise GanpatchError(f"--inputs {path}: no such folder or file")
    what = f"'{path}' is not a readable .safetensors or .npy file of latents"
    plain_size(path)
    if path.suffix == ".npy":
        with explained(what):  # mapped, not read: its head may claim more than the file holds
            tensor = torch.from_numpy(np.array(np.load(path, mmap_mode="r", allow_pickle=False)))
    else:
        with opened_tensors(path, what) as file:
            if len(file.names) != 1:
                raise GanpatchError(
                    f"'{path}' holds {len(file.names)} tensors ({listed(file.names)}), not one [N, ...]"
                )
            tensor = file.tensor(file.names[0])
    if tensor.ndim < 2 or not len(tensor) or not is_finite(tensor):
        raise GanpatchError(f"'{path}' holds {list(tensor.shape)}, not finite rows [N, ...]")
    return tensor
