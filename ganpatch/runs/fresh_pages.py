"""The pages of a run folder written again from its data: a page that somebody else sent is a program.

Example:

    fresh = write_fresh_pages(Path("run"))
    fresh.pages             # run/index.html, and run/dissection.html where there is a dissection
    fresh.differing         # the files that were there, and were not what ganpatch writes for this data
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ganpatch.disk.atomic_files import read_bytes, replacing_together
from ganpatch.disk.locks import locked
from ganpatch.dissection.report import PAGE as DISSECTION_PAGE
from ganpatch.dissection.report import write_dissection_page
from ganpatch.dissection.result import DISSECTION, Dissection
from ganpatch.errors import GanpatchError, listed
from ganpatch.review.page import PAGE, write_page_files

_LARGEST = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshPages:
    """The `pages` that were written, and the names of former files that were different, in the order of names."""

    pages: tuple[Path, ...]
    differing: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Whether the pages that came with the folder were those that ganpatch writes, in words."""
        if not self.differing:
            return "the pages that were there are what ganpatch writes for this data"
        return (
            f"{listed(self.differing)}: not what ganpatch writes for this data, and replaced; another version wrote "
            "it, the folder had another name, or somebody changed it"
        )


def write_fresh_pages(folder: Path) -> FreshPages:
    """Write the pages of a run from its data, and compare those that were there.

    Raises GanpatchError if the run is broken, or in use by another process.
    """
    pages = [PAGE]
    with locked(folder), replacing_together(folder, PAGE) as room:
        write_page_files(folder, room, name=folder.name)
        if (folder / DISSECTION).is_file():
            write_dissection_page(Dissection.load(folder), room)
            pages.append(DISSECTION_PAGE)
        there = [name for name in _names(room) if (folder / name).exists()]
        differing = tuple(name for name in there if not _is_same(folder / name, room / name))
    return FreshPages(pages=tuple(folder / name for name in pages), differing=differing)


def _names(room: Path) -> Iterator[str]:
    yield from sorted(str(path.relative_to(room)) for path in room.rglob("*") if path.is_file())


def _is_same(former: Path, fresh: Path) -> bool:
    try:
        return read_bytes(former, limit=_LARGEST) == fresh.read_bytes()
    except GanpatchError:
        return False
