"""The folder of a run: refused, resumed or replaced as asked, locked while it is written; interrupted work is kept.

Example:

    with RunFolder(Path("run"), resume=True).opened(MANIFEST) as partial:
        ranking = rank(generator, layers, seeds, partial=partial)
        ranking.save(Path("run"))
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from ganpatch.disk.atomic_files import (
    disk_faults,
    file_name,
    refuse_other_names,
    remove,
    replacing_together,
    write_bytes,
)
from ganpatch.disk.locks import locked
from ganpatch.errors import GanpatchError
from ganpatch.families.origins import ORIGIN, write_origin
from ganpatch.finding.kept_results import KEPT
from ganpatch.forward.processes import ALONE, Group, Lost
from ganpatch.forward.saved_state import partial_of, partials
from ganpatch.generator.generator import Generator
from ganpatch.ranking.result import read_manifest
from ganpatch.review.verdicts import REVIEWING, VERDICTS

PARTIAL = "partial.safetensors"
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder for a run, and whether to `resume` or to `overwrite` the run that it has.

    `say` is called with remarks for people; `group` are the processes that share the run.
    """

    path: Path
    _: KW_ONLY
    resume: bool = False
    overwrite: bool = False
    say: Say = lambda text: None
    group: Group = ALONE

    @classmethod
    def of(cls, folder: "Path | RunFolder") -> "RunFolder":
        """Return `folder` as it is, or a plain path as a folder for a new run."""
        return folder if isinstance(folder, RunFolder) else cls(folder)

    @classmethod
    def named(cls, path: Path | None, *parts: str, **options: Any) -> "RunFolder":
        """Return the folder `path`, or one that is named after `parts`: churches-layer4-causes."""
        return cls(path or Path("-".join(file_name(part) for part in parts)), **options)

    @contextmanager
    def opened(self, manifest: str) -> Iterator[Path]:
        """Prepare the folder for a run, whose `manifest` is written last; yield the file for its interrupted state.

        In a group, the first process prepares the folder and writes the run; the others keep their state until then.
        Raises GanpatchError if the folder has a run, finished or not, and neither `overwrite` nor `resume` was asked
        for, or if another process writes or reviews it.
        """
        partial, first = self.path / PARTIAL, self.group.is_first
        with ExitStack() as held:
            if first:
                held.enter_context(locked(self.path))
                held.enter_context(locked(self.path, REVIEWING))
                self._make_room(manifest)
            try:
                yield partial
                self.group.gathered({})
            except (KeyboardInterrupt, Lost) as fault:
                if partials(partial):
                    where = f"saved in '{self.path}'; use --resume to continue"
                    self.say(where) if self.group.size == 1 else fault.add_note(
                        f"{where}, with any number of processes"
                    )
                raise
            for path in partials(partial) if first else [partial_of(partial, self.group.rank)]:
                remove(path)

    def _make_room(self, manifest: str) -> None:
        """Refuse to replace a run unasked; a run with a partial file was killed before its last page was written."""
        refuse_other_names(self.path)
        kept = partials(self.path / PARTIAL)
        if self.overwrite and not self.resume:
            for path in kept:
                remove(path)
        elif kept and not self.resume:
            raise GanpatchError(
                f"'{self.path}' has an interrupted run; use --resume to continue or --overwrite to start over"
            )
        elif (self.path / manifest).exists() and not kept and not self.overwrite:
            raise GanpatchError(f"'{self.path}' already has a run; choose another -o, or use --overwrite")
        probe = self.path / ".ganpatch"  # detect a folder that cannot be written now, not after the long part
        write_bytes(probe, b"\n")
        remove(probe)

    @contextmanager
    def replacing(self, manifest: str, generator: Generator) -> Iterator[Path]:
        """Yield an empty folder for the files of a run; at the end they move into place, and flags are set aside.

        Where the files cannot be written, a former run in the folder stays as it is.
        """
        with replacing_together(self.path, manifest, without=[ORIGIN, KEPT]) as room:
            write_origin(self.path, generator.origin, into=room)
            yield room
            self._set_verdicts_aside()

    def _set_verdicts_aside(self) -> None:
        """Keep the flags of the run that is being replaced."""
        verdicts = self.path / VERDICTS
        if verdicts.exists():
            with disk_faults(verdicts):
                verdicts.rename(self.path / f"verdicts-{read_manifest(self.path).run}.json")
