"""`ganpatch evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganpatch.cli.loading import load_model, loading_options, model_command
from ganpatch.cli.options import (
    ANY_PATH,
    FOLDER,
    features_option,
    json_option,
    model_and_patch,
    other_weights_option,
    seeds_option,
    split_patch,
)
from ganpatch.cli.output import page_path, print_json, print_table, progress_bar, say
from ganpatch.cli.running import compute_options
from ganpatch.option_values import BASELINES, EVALUATION_SEEDS

if TYPE_CHECKING:
    from ganpatch.generator.device import Compute


@model_command()
@model_and_patch()
@seeds_option(EVALUATION_SEEDS)
@click.option("--real", type=FOLDER, help="A folder of real images to compare with.")
@click.option("--targets", type=FOLDER, help="A folder with the right output of each of --inputs, by the same names.")
@click.option(
    "--references",
    default=1000,
    show_default=True,
    type=click.IntRange(20),
    help="Images to compare with; of its own, the most typical half is kept.",
)
@features_option
@click.option(
    "--baselines", default=BASELINES, show_default=True, type=click.IntRange(0), help="Number of random-unit baselines."
)
@click.option("--lpips", is_flag=True, help="Measure LPIPS too, and fetch its weights where they are not cached.")
@click.option("-o", "--out", type=ANY_PATH, help="Report to write.  [default: PATCH.html]")
@click.option("--write", is_flag=True, help="Put the figures into the patch's evidence.")
@other_weights_option
@compute_options
@loading_options
@json_option
def evaluate(
    model_and_patch: tuple[str, ...],
    features: str,
    out: Path | None,
    write: bool,
    loading: dict[str, Any],
    compute: "Compute",
    as_json: bool,
    **choices: Any,
) -> None:
    """Measure whether PATCH improves MODEL, compared with no patch and with random-unit baselines.

    Without --real, churches is compared with the scene that each seed describes; any other model with the most typical
    half of its own images, which cannot show that images get better. With --targets, each output is compared with the
    right one: error, PSNR, SSIM, and LPIPS where its weights are cached.

    \b
      ganpatch evaluate model.pt fix.yaml --real photos
      ganpatch evaluate fix.yaml --n 500 --features inception --write
      ganpatch evaluate 4x.pth fix.yaml --inputs small --targets sharp
    """
    from ganpatch.evaluation.evaluator import Choices
    from ganpatch.evaluation.evaluator import evaluate as evaluate_patch
    from ganpatch.evaluation.patch_results import save_evaluation
    from ganpatch.evaluation.report import measure_rows
    from ganpatch.finding.image_features import load_features
    from ganpatch.patch.patch_file import Patch

    model, path = split_patch(model_and_patch)
    patch = Patch.load(path)
    generator = load_model(model, loading, compute, patch=patch)
    with progress_bar("evaluating") as progress:
        chosen = Choices(features=load_features(features), **choices)
        evaluation = evaluate_patch(generator, patch, chosen, progress=progress)
    page = save_evaluation(evaluation, path, report=page_path(out) if out else None, evidence=write)
    heading, *rows = measure_rows(evaluation)
    if as_json:
        print_json(evaluation.record().plain())
    else:
        print_table(heading, rows, numeric=heading[1:])
    say(f"{evaluation.words}\nopen {page}")
