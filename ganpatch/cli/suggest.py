"""`ganpatch suggest`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganpatch.cli import completing
from ganpatch.cli.help import command
from ganpatch.cli.loading import load_model, loading_options
from ganpatch.cli.options import FOLDER, features_option, json_option, layers_option
from ganpatch.cli.output import print_json, print_table, progress_bar, say
from ganpatch.cli.running import compute_options, pass_group
from ganpatch.number_ranges import parse_spans
from ganpatch.option_values import DEFAULT_METHOD, METHODS

if TYPE_CHECKING:
    from ganpatch.forward.processes import Group
    from ganpatch.generator.device import Compute


@command()
@click.argument("run", type=FOLDER)
@click.option(
    "--by",
    "methods",
    multiple=True,
    metavar="METHOD",
    shell_complete=completing.methods,
    help=f"{', '.join(METHODS)}, or of a plugin.  [default: {DEFAULT_METHOD}]",
)
@click.option("--model", shell_complete=completing.models, help="The model that was ranked.  [default: as for rank]")
@layers_option("Only this ranked layer; may be given several times.")
@click.option("--real", type=FOLDER, help="A folder of real images, for fd.")
@click.option("--broken", metavar="3,17-19", help="Seeds of images that are broken, for defect.")
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
    broken: str | None,
    features: str,
    first: int,
    loading: dict[str, Any],
    compute: "Compute",
    as_json: bool,
    **given: Any,
) -> None:
    """Suggest which units of RUN draw artifacts; the review page then sorts by each method.

    \b
      ganpatch suggest run
      ganpatch suggest run --by typicality --by spike --model model.pt
      ganpatch suggest run --by defect --broken 3,17-19,40
      ganpatch flag run --suggested first-look --first 20 -o fix.yaml

    \b
    first-look  typicality where a unit stands out by it, then oddity
    typicality  do its top images look more typical without it?
    oddity      do its top images look odd?
    rarity      is it rarely active?
    spike       is it active far beyond its typical level?
    fd          are its top images far from real ones?
    defect      is it active where images that you call broken are broken?
    """
    from ganpatch.finding.image_features import load_features
    from ganpatch.runs.suggestion_run import suggest_for_run, suggestion_rows

    generator = load_model(model, loading, compute, run=run)
    group.join(generator.compute.device)
    given |= {"broken": parse_spans(broken, what="seed") if broken else (), "features": load_features(features)}
    with progress_bar("finding") as progress:
        given |= {"progress": group.counting(progress), "group": group}
        found = suggest_for_run(run, generator, methods or [DEFAULT_METHOD], layers, **given)
    heading, *rows = suggestion_rows(found, first)
    if as_json:
        print_json([dict(zip(heading, row, strict=True)) for row in rows])
    else:
        print_table(heading, rows)
    say(f"open {run / 'index.html'} and sort by a suggestion; look before you flag")
