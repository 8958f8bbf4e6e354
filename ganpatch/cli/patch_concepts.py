"""`ganpatch patch remove` and `ganpatch patch insert`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ganpatch.cli import completing
from ganpatch.cli.help import command
from ganpatch.cli.loading import load_model, loading_options
from ganpatch.cli.options import (
    ANY_PATH,
    FOLDER,
    PICTURE,
    Function,
    concepts_option,
    json_option,
    seeds_option,
)
from ganpatch.cli.output import print_json, print_table, progress_bar, say
from ganpatch.option_values import CONCEPT_PATCH_SEEDS, LEVELS, ORDERS


def _shared(function: Function) -> Function:
    options: list[Callable[[Function], Function]] = [
        click.option("--from", "folder", type=FOLDER, required=True, help="The folder that ganpatch cause wrote."),
        click.option(
            "--concept", shell_complete=completing.concepts, help="The concept.  [default: the only one there]"
        ),
        click.option("--units", default=20, show_default=True, type=click.IntRange(1), help="How many units."),
        click.option(
            "--by",
            type=click.Choice(ORDERS),
            default="alpha",
            show_default=True,
            help="What orders the units: their optimised alpha, the effect of each alone, or their IoU.",
        ),
        click.option("--mask", type=PICTURE, help="A picture, white where the edit works.  [default: everywhere]"),
        click.option(
            "--model",
            shell_complete=completing.models,
            help="The model, to measure the patch on.  [default: as for other commands]",
        ),
        click.option(
            "--segmenter", metavar="SPEC", help="The segmenter to measure with.  [default: that of the causes]"
        ),
        concepts_option,
        seeds_option(CONCEPT_PATCH_SEEDS),
        click.option("-o", "--out", type=ANY_PATH, required=True, help="Patch file to write."),
        click.option("--overwrite", is_flag=True, help="Replace an existing patch file."),
        loading_options,
        json_option,
    ]
    for option in reversed(options):
        function = option(function)
    return function


@command()
@_shared
def remove(**given: Any) -> None:
    """Make a patch that removes a concept, by the units that cause it, and measure what else it changes.

    \b
      ganpatch patch remove --from causes --concept tree -o no-trees.yaml
    """
    _make(inserting=False, **given)


@command()
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="mean",
    show_default=True,
    help="Mean where the concept is, or quantile.",
)
@_shared
def insert(**given: Any) -> None:
    """Make a patch that inserts a concept where the mask is white.

    \b
      ganpatch patch insert --from causes --mask here.png -o door.yaml
    """
    _make(inserting=True, **given)


def _make(
    *,
    inserting: bool,
    folder: Path,
    concept: str | None,
    mask: Path | None,
    model: str | None,
    segmenter: str | None,
    concepts: tuple[str, ...],
    seeds: Sequence[int],
    out: Path,
    overwrite: bool,
    loading: dict[str, Any],
    as_json: bool,
    **choices: Any,
) -> None:
    from ganpatch.causes.concept_patches import (
        ConceptChoice,
        ConceptImages,
        insert_concept,
        remove_concept,
        segmenter_of,
    )
    from ganpatch.causes.result import Causes
    from ganpatch.patch.new_files import refuse_taken, save_new_patch

    refuse_taken(out, overwrite=overwrite)
    causes = Causes.load(folder)
    choice = ConceptChoice.of(causes, concept, mask, **choices)
    generator = load_model(model, loading, run=folder)
    found = segmenter_of(causes, generator, segmenter, concepts=concepts)
    make = insert_concept if inserting else remove_concept
    with progress_bar("measuring") as progress:
        images = ConceptImages(generator=generator, segmenter=found, seeds=seeds, progress=progress)
        made = make(causes, choice, images)
    save_new_patch(made.patch, out, overwrite=overwrite)
    if as_json:
        print_json({"patch": str(out), "evidence": made.patch.evidence.plain()})
        return
    print_table(made.change.heading(), made.change.rows(), numeric=made.change.heading()[1:])
    say(f"{out} {made.effect}")
