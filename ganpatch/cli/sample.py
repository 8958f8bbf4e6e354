"""`ganpatch sample`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganpatch.cli.loading import load_model, loading_options, model_argument, model_command
from ganpatch.cli.options import ANY_PATH, PATCH_FILE, other_weights_option, seeds_option
from ganpatch.cli.output import progress_bar, say
from ganpatch.cli.running import compute_options

if TYPE_CHECKING:
    from ganpatch.generator.device import Compute


@model_command()
@model_argument
@click.option("--patch", "patch_file", type=PATCH_FILE, help="Patch to apply.")
@seeds_option(range(64))
@click.option("--before-after", is_flag=True, help="Pairs before and after the patch, the most changed first.")
@click.option("--first", type=click.IntRange(1), help="Keep only this many pairs.")
@click.option("--columns", type=click.IntRange(1), help="Images or pairs per row.")
@click.option("-o", "--out", type=ANY_PATH, required=True, help="Picture to write: .png, .jpg or .webp.")
@other_weights_option
@compute_options
@loading_options
def sample(
    model: str | None,
    patch_file: Path | None,
    seeds: Sequence[int],
    before_after: bool,
    first: int | None,
    columns: int | None,
    out: Path,
    allow_other_weights: bool,
    loading: dict[str, Any],
    compute: "Compute",
) -> None:
    """Draw images of MODEL as one picture, before or after a patch.

    \b
      ganpatch sample --seeds 0-63 -o grid.png
      ganpatch sample model.pt --patch fix.yaml --before-after -o pairs.png
    """
    from ganpatch.pages.image_grids import picture_format, save_picture
    from ganpatch.pages.samples import Sample
    from ganpatch.patch.patch_file import Patch

    if before_after and patch_file is None:
        raise click.UsageError("--before-after needs --patch")
    picture_format(out)
    patch = Patch.load(patch_file) if patch_file else None
    generator = load_model(model, loading, compute, patch=patch)
    with progress_bar("drawing") as progress:
        drawn = Sample(generator, seeds, patch, allow_other_weights, progress)
        picture = drawn.pairs(columns, first) if before_after else drawn.grid(columns)
    save_picture(picture, out)
    what = f"the {first} most changed of {len(seeds)}" if first else f"{len(seeds)}"
    say(f"{what} images in {out}")
