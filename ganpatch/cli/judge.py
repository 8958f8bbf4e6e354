"""`ganpatch judge`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganpatch.cli.loading import load_model, loading_options, model_command
from ganpatch.cli.options import (
    ANY_PATH,
    EXISTING,
    json_option,
    model_and_patch,
    other_weights_option,
    seeds_option,
    split_patch,
)
from ganpatch.cli.output import print_json, print_table, progress_bar, say
from ganpatch.cli.running import compute_options
from ganpatch.option_values import BASELINES, JUDGING_SEEDS

if TYPE_CHECKING:
    from ganpatch.generator.device import Compute

_PAIRS, _SETS = click.IntRange(4, 2000), click.IntRange(1, 1000)


@model_command()
@model_and_patch()
@seeds_option(JUDGING_SEEDS)
@click.option("--pairs", default=40, show_default=True, type=_PAIRS, help="Pairs of the patch; as many of baselines.")
@click.option("--baselines", default=BASELINES, show_default=True, type=_SETS, help="Number of random-unit baselines.")
@click.option("-o", "--out", type=ANY_PATH, help="Folder of the pairs.  [default: PATCH-judged]")
@click.option("--page-only", is_flag=True, help="Write the page, to be opened from disk, and do not serve it.")
@click.option("--answers", type=EXISTING, help="Count the answers that a page opened from disk saved.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Port on 127.0.0.1.  [default: a free one]")
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
@other_weights_option
@compute_options
@loading_options
@json_option
def judge(
    model_and_patch: tuple[str, ...],
    out: Path | None,
    page_only: bool,
    answers: Path | None,
    port: int,
    open_browser: bool,
    loading: dict[str, Any],
    compute: "Compute",
    as_json: bool,
    **choices: Any,
) -> None:
    """Compare images before and after PATCH by eye: pairs of unused seeds, sides shuffled, baselines mixed in unmarked.

    Answer on the page, then press Ctrl-C: the shares are printed and written to the evidence of the patch. The same
    command continues a comparison that was begun. With --page-only someone else opens fix-judged/index.html, and
    sends back the file for --answers.

    \b
      ganpatch judge model.pt fix.yaml --open
      ganpatch judge model.pt fix.yaml --page-only
      ganpatch judge model.pt fix.yaml --answers answers.json
    """
    from ganpatch.evaluation.judge_page import PAGE, serve_pairs
    from ganpatch.evaluation.judging import judged_rows
    from ganpatch.evaluation.pairs import PairChoices
    from ganpatch.evaluation.patch_results import finish_judging, prepare_judging

    model, path = split_patch(model_and_patch)
    with progress_bar("drawing pairs") as progress:
        folder = prepare_judging(
            path,
            lambda: load_model(model, loading, compute),
            PairChoices(**choices),
            folder=out,
            progress=progress,
        )
    if page_only:
        say(f"open {folder / PAGE}")
        return
    if answers is None:
        serve_pairs(folder, port, click.echo, click.launch if open_browser else None, say)
    judged = finish_judging(path, folder, answers=answers)
    if as_json:
        print_json(judged.record().plain())
    else:
        print_table(*judged_rows(judged), numeric=("share", "low", "high"))
    say(f"{judged.answered} of {judged.pairs} pairs answered. {judged.sentence}")
