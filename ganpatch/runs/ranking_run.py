"""A complete ranking as a run folder with its page. An interrupted run is saved and can be resumed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ganpatch.disk.atomic_files import (
    disk_faults,
    refuse_other_names,
    remove,
    replacing_together,
    write_bytes,
)
from ganpatch.disk.locks import locked
from ganpatch.errors import GanpatchError
from ganpatch.families.origins import ORIGIN, write_origin
from ganpatch.finding.kept_results import KEPT
from ganpatch.forward.activations import Progress, default_layer, list_layers, unseen
from ganpatch.forward.processes import ALONE, Group, Lost
from ganpatch.forward.saved_state import partial_of, partials
from ganpatch.generator.generator import Generator
from ganpatch.generator.layers import find_layer
from ganpatch.ranking.ranker import rank
from ganpatch.ranking.result import MANIFEST, Ranking, read_manifest
from ganpatch.review.page import PAGE, write_page_files
from ganpatch.review.verdicts import REVIEWING, VERDICTS

PARTIAL = "partial.safetensors"
Say = Callable[[str], object]


def rank_to_folder(
    generator: Generator,
    folder: Path,
    layers: Sequence[str],
    seeds: Sequence[int],
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = unseen,
    say: Say = lambda text: None,
    group: Group = ALONE,
    **choices: Any,
) -> Ranking:
    """Rank, save the run in `folder` and write its review page; `choices` are the other options of `rank`.

    Raises GanpatchError if the folder has a run, finished or not, and neither `overwrite` nor `resume` was asked for.
    """
    check_layers(generator, layers)
    with run_folder(folder, MANIFEST, resume=resume, overwrite=overwrite, say=say, group=group) as partial:
        layers = layers or [chosen_layer(generator, say)]
        ranking = rank(generator, layers, seeds, progress=progress, partial=partial, group=group, **choices)
        if group.is_first:
            with replacing_run(folder, MANIFEST, generator) as room:
                ranking.save(room)
                write_page_files(room, room, name=folder.name)
    names = ", ".join(f"{name} ({ranked.units} units)" for name, ranked in ranking.layers.items())
    say(f"ranked {names} over {len(ranking.seeds)} images in {ranking.seconds:.1f} s")
    say(f"open {folder / PAGE} in a browser, or: ganpatch review {folder}")
    return ranking


def check_layers(generator: Generator, layers: Sequence[str]) -> None:
    """Raise GanpatchError if one of `layers` does not exist."""
    for name in layers:
        find_layer(generator.module, name)


def chosen_layer(generator: Generator, say: Say) -> str:
    """Return the default layer, and report which one it is."""
    chosen = default_layer(list_layers(generator))
    size = "x".join(str(edge) for edge in chosen.size)
    say(f"layer {chosen.name} ({chosen.units} units at {size}) by default; choose another with --layer")
    return chosen.name


@contextmanager
def run_folder(
    folder: Path, manifest: str, *, resume: bool, overwrite: bool, say: Say, group: Group = ALONE
) -> Iterator[Path]:
    """Prepare `folder` for a run, whose `manifest` is written last; yield the file for the state of an interrupted run.

    In a group, the first process prepares the folder and writes the run; the others keep their state until then.
    Raises GanpatchError if the folder has a run, finished or not, and neither `overwrite` nor `resume` was asked for,
    or if another process writes or reviews it.
    """
    partial = folder / PARTIAL
    with ExitStack() as held:
        if group.is_first:
            held.enter_context(locked(folder))
            held.enter_context(locked(folder, REVIEWING))
            _make_room(folder, manifest, resume=resume, overwrite=overwrite)
        try:
            yield partial
            group.gathered({})
        except (KeyboardInterrupt, Lost) as fault:
            if partials(partial):
                where = f"saved in '{folder}'; use --resume to continue"
                say(where) if group.size == 1 else fault.add_note(f"{where}, with any number of processes")
            raise
        for path in partials(partial) if group.is_first else [partial_of(partial, group.rank)]:
            remove(path)


def _make_room(folder: Path, manifest: str, *, resume: bool, overwrite: bool) -> None:
    """Refuse to replace a run unasked; a run with a partial file was killed before its last page was written."""
    refuse_other_names(folder)
    kept = partials(folder / PARTIAL)
    if overwrite and not resume:
        for path in kept:
            remove(path)
    elif kept and not resume:
        raise GanpatchError(f"'{folder}' has an interrupted run; use --resume to continue or --overwrite to start over")
    elif (folder / manifest).exists() and not kept and not overwrite:
        raise GanpatchError(f"'{folder}' already has a run; choose another -o, or use --overwrite")
    probe = folder / ".ganpatch"  # detect a folder that cannot be written now, not after the long part
    write_bytes(probe, b"\n")
    remove(probe)


@contextmanager
def replacing_run(folder: Path, manifest: str, generator: Generator) -> Iterator[Path]:
    """Yield an empty folder for the files of a run; at the end they move into `folder`, and flags are set aside.

    Where the files cannot be written, a former run in `folder` stays as it is.
    """
    with replacing_together(folder, manifest, without=[ORIGIN, KEPT]) as room:
        write_origin(folder, generator.origin, into=room)
        yield room
        set_verdicts_aside(folder)


def set_verdicts_aside(folder: Path) -> None:
    """Keep the flags of the run that is being replaced."""
    verdicts = folder / VERDICTS
    if verdicts.exists():
        with disk_faults(verdicts):
            verdicts.rename(folder / f"verdicts-{read_manifest(folder).run}.json")
