"""Open pictures from untrusted sources: by their content, of a few known formats, and of limited size.

Example:

    with opened_picture(Path("photo.jpg")) as picture:
        pixels = picture.convert("RGB")
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from ganpatch.disk.atomic_files import plain_size
from ganpatch.errors import explained

MOST_PIXELS = 64_000_000  # a file of a few bytes can claim any number, and each takes four bytes of memory
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")  # Pillow knows more, and runs other programs for some


@contextmanager
def opened_picture(path: Path, what: str = "", most: int = MOST_PIXELS) -> Iterator[Image.Image]:
    """Open a picture of at most `most` pixels; an error inside the block is a GanpatchError beginning with `what`."""
    plain_size(path)
    with (
        explained(what or f"'{path}' is not a picture that can be read"),
        Image.open(path, formats=_FORMATS) as picture,
    ):
        if picture.width * picture.height > most:
            raise ValueError(f"{picture.width} x {picture.height} pixels are more than {most:,}")
        yield picture
