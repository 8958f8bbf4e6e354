"""A complete ranking as a run folder with its page. An interrupted run is saved and can be resumed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ganpatch.forward.activations import Progress, unseen
from ganpatch.forward.default_layer import default_layer
from ganpatch.forward.layer_facts import list_layers
from ganpatch.generator.generator import Generator
from ganpatch.generator.layers import find_layer
from ganpatch.ranking.alike_rows import alike_layers
from ganpatch.ranking.ranker import rank
from ganpatch.ranking.result import MANIFEST, Ranking
from ganpatch.review.page import PAGE, write_page_files
from ganpatch.runs.run_folder import RunFolder, Say


def rank_to_folder(
    generator: Generator,
    folder: Path | RunFolder,
    layers: Sequence[str],
    seeds: Sequence[int],
    *,
    progress: Progress = unseen,
    **choices: Any,
) -> Ranking:
    """Rank, save the run in `folder` and write its review page; `choices` are the other options of `rank`.

    Without `layers`, the default layer. Raises GanpatchError if the folder has a run, finished or not, and is not a
    RunFolder that resumes or overwrites it.
    """
    run = RunFolder.of(folder)
    check_layers(generator, layers)
    with run.opened(MANIFEST) as partial:
        choices |= {"progress": progress, "partial": partial, "group": run.group}
        ranking = rank(generator, chosen_layers(generator, layers, run.say), seeds, **choices)
        if run.group.is_first:
            with run.replacing(MANIFEST, generator) as room:
                ranking.save(room)
                write_page_files(room, room, name=run.path.name)
    names = ", ".join(f"{name} ({ranked.units} units)" for name, ranked in ranking.layers.items())
    run.say(f"ranked {names} over {len(ranking.seeds)} images in {ranking.seconds:.1f} s")
    for text in remarks_on_rows(ranking):
        run.say(text)
    run.say(f"open {run.path / PAGE} in a browser, or: ganpatch review {run.path}")
    return ranking


def remarks_on_rows(ranking: Ranking) -> list[str]:
    """Return a remark for each layer whose rows are alike."""
    advice = (
        "another --layer may distinguish units"
        if ranking.score == "relative"
        else "--score relative distinguishes them"
    )
    return [f"{found.text(layer)}; {advice}" for layer, found in alike_layers(ranking).items()]


def check_layers(generator: Generator, layers: Sequence[str]) -> None:
    """Raise GanpatchError if one of `layers` does not exist."""
    for name in layers:
        find_layer(generator.module, name)


def chosen_layers(generator: Generator, layers: Sequence[str], say: Say) -> Sequence[str]:
    """Return `layers`, or the default layer, which is then reported."""
    if layers:
        return layers
    chosen = default_layer(list_layers(generator))
    size = "x".join(str(edge) for edge in chosen.size)
    say(f"layer {chosen.name} ({chosen.units} units at {size}) by default; choose another with --layer")
    return [chosen.name]
