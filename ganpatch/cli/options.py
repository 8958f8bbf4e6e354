"""Options that several commands share."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganpatch.cli import completing
from ganpatch.cli.completing import PathOf
from ganpatch.errors import GanpatchError
from ganpatch.number_ranges import format_spans, parse_spans
from ganpatch.option_values import (
    DEFAULT_SEGMENTER,
    FEATURE_SPECS,
    MODES,
    PATCH_SUFFIXES,
    PLAIN,
    SEGMENTER_SPECS,
    WEIGHTS_SUFFIXES,
)

if TYPE_CHECKING:
    from ganpatch.generator.generator import Generator

Function = Callable[..., Any]

_FIRST = "Number of images, seeds 0 to n-1."

EXISTING, ANY_PATH = PathOf(exists=True), PathOf()
FOLDER = PathOf(exists=True, folder=True)
PATCH_FILE, WEIGHTS_FILE = PathOf(*PATCH_SUFFIXES, exists=True), PathOf(*WEIGHTS_SUFFIXES, exists=True)
PICTURE = PathOf(".png", ".jpg", ".jpeg", ".webp", exists=True)

segmenter_option = click.option(
    "--segmenter",
    default=DEFAULT_SEGMENTER,
    show_default=True,
    metavar="SPEC",
    shell_complete=completing.segmenters,
    help=f"Where concepts come from: {SEGMENTER_SPECS}.",
)
concepts_option = click.option(
    "--concepts",
    default="",
    metavar="A,B,…",
    callback=lambda _context, _option, text: tuple(part.strip() for part in text.split(",") if part.strip()),
    help="Class names, for a segmenter that does not provide them.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
other_weights_option = click.option(
    "--allow-other-weights", is_flag=True, help="Apply the patch although it was made for other weights."
)
mode_option = click.option(
    "--mode",
    type=click.Choice(MODES),
    default="auto",
    show_default=True,
    help="auto: fold where exact, else insert; fold: fold or refuse; insert: never fold.",
)
features_option = click.option(
    "--features",
    default=PLAIN,
    show_default=True,
    metavar="NAME",
    shell_complete=completing.features,
    help=f"{FEATURE_SPECS}.",
)


def model_and_patch(*, needs_patch: bool = True) -> Callable[[Function], Function]:
    """MODEL and PATCH, of which MODEL may be left out; `split_patch` makes them two."""
    metavar = "[MODEL] PATCH.yaml" if needs_patch else "[MODEL] [PATCH.yaml]"
    return click.argument(
        "model_and_patch",
        nargs=-1,
        required=needs_patch,
        metavar=metavar,
        shell_complete=completing.models_and_patches,
    )


def layers_option(help: str) -> Callable[[Function], Function]:
    """--layer, which may be given several times."""
    return click.option("--layer", "layers", multiple=True, shell_complete=completing.layers, help=help)


def split_patch(arguments: Sequence[str]) -> tuple[str | None, Path]:
    """Split the arguments [MODEL] PATCH: a patch ends in .yaml or .yml."""
    model, patch = split_optional_patch(arguments)
    if patch is None:
        raise click.UsageError("name a patch, a .yaml file")
    return model, patch


def split_optional_patch(arguments: Sequence[str]) -> tuple[str | None, Path | None]:
    """Split the arguments [MODEL] [PATCH]."""
    patches = [text for text in arguments if text.lower().endswith(PATCH_SUFFIXES)]
    models = [text for text in arguments if text not in patches]
    if len(patches) > 1 or len(models) > 1:
        raise click.UsageError(f"give one model and one patch, not {' '.join(arguments)}")
    return models[0] if models else None, Path(patches[0]) if patches else None


def seeds_option(default: range) -> Callable[[Function], Function]:
    """--seeds, as "0-63,70", or --n, the first so many of the default; the command gets `seeds`."""
    help_text = f"Seeds of the images.  [default: {format_spans(default)}]"

    def add(function: Function) -> Function:
        @functools.wraps(function)
        def wrapped(*arguments: Any, n: int | None, seeds: Sequence[int] | None, **given: Any) -> Any:
            if n is not None and seeds is not None:
                raise click.UsageError("give --seeds or --n, not both")
            first = default if n is None else range(default.start, default.start + n)
            return function(*arguments, seeds=first if seeds is None else seeds, **given)

        option = click.option("--seeds", callback=_seeds, metavar="0,1,4-6", help=help_text)
        count = click.option("-n", "--n", type=click.IntRange(1), help=f"Instead: this many, from {default.start} on.")
        return option(count(wrapped))

    return add


def first_seeds_options(function: Function) -> Function:
    """--n, or --seeds instead; `first_seeds` makes them seeds."""
    # torchrun takes "--n" for the beginning of its own options, and leaves "-n" alone
    n = click.option("-n", "--n", default=1000, show_default=True, type=click.IntRange(1), help=_FIRST)
    return n(click.option("--seeds", metavar="0,1,4-6", help="These seeds instead of the first n.")(function))


def first_seeds(generator: "Generator", n: int, seeds: str | None) -> Sequence[int]:
    """Return the seeds that were named, or the first n that the generator has."""
    return parse_spans(seeds, what="seed") if seeds else generator.first_seeds(n)


def _seeds(_context: click.Context, _option: click.Parameter, text: str | None) -> Sequence[int] | None:
    if text is None:
        return None
    try:
        return parse_spans(text, what="seed")
    except GanpatchError as fault:
        raise click.BadParameter(str(fault)) from fault
