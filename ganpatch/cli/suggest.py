"""`ganpatch suggest`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganpatch.cli import completing
from ganpatch.cli.loading import load_model, loading_options, model_command
from ganpatch.cli.options import FOLDER, features_option, json_option, layers_option
from ganpatch.cli.output import print_tables, progress_bar, say
from ganpatch.cli.running import compute_options, pass_group
from ganpatch.option_values import DEFAULT_METHOD, METHODS, SETS

if TYPE_CHECKING:
    from ganpatch.forward.processes import Group
    from ganpatch.generator.device import Compute


@model_command()
@click.argument("run", type=FOLDER)
@click.option(
    "--by",
    "methods",
    multiple=True,
    metavar="METHOD",
    shell_complete=completing.methods,
    help=f"{', '.join([*METHODS, SETS])}, or of a plugin.  [default: {DEFAULT_METHOD}; {SETS} with --broken]",
)
@click.option("--model", shell_complete=completing.models, help="The model that was ranked.  [default: as for rank]")
@layers_option("Only this layer; may be given several times. Of sets, it need not be ranked.")
@click.option("--real", type=FOLDER, help="A folder of real images, for fd.")
@click.option(
    "--broken",
    metavar="3,17-19",
    help="Images that are broken, for sets and defect: seeds, or LAYER:UNIT for the top images of a row.",
)
@features_option
@click.option("--images", default=12, show_default=True, type=click.IntRange(1), help="Top images looked at per unit.")
@click.option("--first", default=20, show_default=True, type=click.IntRange(1), help="Units to print.")
@compute_options
@loading_options
@json_option
@pass_group
def suggest(
    group: "Group",
    /,
    run: Path,
    methods: tuple[str, ...],
    model: str | None,
    layers: tuple[str, ...],
    features: str,
    first: int,
    loading: dict[str, Any],
    compute: "Compute",
    as_json: bool,
    **given: Any,
) -> None:
    """Suggest which units of RUN draw artifacts; the review page then sorts by each method, and shows the sets.

    \b
      ganpatch suggest run
      ganpatch suggest run --by sets
      ganpatch suggest run --broken layer4:17
      ganpatch suggest run --by typicality --by spike --model model.pt
      ganpatch flag run --suggested set-1,set-3 -o fix.yaml

    \b
    first-look  typicality where a unit stands out by it, then oddity
    typicality  do its top images look more typical without it?
    oddity      do its top images look odd?
    rarity      is it rarely active?
    spike       is it active far beyond its typical level?
    fd          are its top images far from real ones?
    defect      is it active where images that you call broken are broken?
    weights     are its weights unlike those of other units?
    sets        which units draw together what a few images share at one place?
    """
    from ganpatch.finding.image_features import load_features
    from ganpatch.runs.suggestion_run import propose, set_rows, suggestion_rows

    generator = load_model(model, loading, compute, run=run)
    group.join(generator.compute.device)
    with progress_bar("finding") as progress:
        given |= {"progress": group.counting(progress), "group": group, "features": load_features(features)}
        found = propose(run, generator, methods, layers, **given)
    print_tables([suggestion_rows(found.methods, first), set_rows(found.sets)], as_json)
    say(f"{run / 'index.html'}: {found.remark}")
