"""Options and output that several commands share."""

import functools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ganpatch.errors import GanpatchError, printable
from ganpatch.export.report_rows import decision_rows
from ganpatch.families.loading import LoadOptions, load
from ganpatch.finding.image_features import PLAIN
from ganpatch.fold.baking import Decision
from ganpatch.generator.device import Compute
from ganpatch.generator.generator import Generator
from ganpatch.number_ranges import parse_spans
from ganpatch.segmenters.loading import SPECS

Function = Callable[..., Any]

_FIRST = "Number of images, seeds 0 to n-1."

EXISTING = click.Path(exists=True, path_type=Path)
ANY_PATH = click.Path(path_type=Path)


def model_argument(function: Function) -> Function:
    """MODEL, which may be left out."""
    return click.argument("model", required=False)(function)


def loading_options(function: Function) -> Function:
    """How to load MODEL; the command gets them as one mapping `loading`."""
    options = [
        click.option("--arch", metavar="FILE.py:FACTORY", help="Code that makes the module."),
        click.option(
            "--arch-arg",
            "arch_args",
            metavar="NAME=VALUE",
            multiple=True,
            callback=_named_values,
            help="A keyword argument for the factory; VALUE as in JSON, else text.",
        ),
        click.option("--key", help="Where in the file the state dict is, for example netG."),
        click.option(
            "--latent",
            metavar="SPEC",
            help="normal:100, normal:100,1,1, uniform:-1,1:100, truncated:0.5:128 or images:3,256,256.",
        ),
        click.option("--labels", metavar="SPEC", help="onehot:8, index:10, or some of them: index:10=3,5-7."),
        click.option("--range", "value_range", metavar="LOW,HIGH", callback=_range, help="Range of the output values."),
        click.option("--inputs", type=ANY_PATH, help="A folder of images, or a file of latents, to use as inputs."),
        click.option("--truncation", type=float, metavar="PSI", help="Truncation, of families that have one."),
        click.option("--repo", type=ANY_PATH, help="Your checkout of the code that an NVlabs pickle needs."),
        click.option(
            "--call",
            metavar="NAME=VALUE",
            multiple=True,
            callback=_named_values,
            help="A keyword argument of every forward pass of your own code; VALUE as in JSON, else text.",
        ),
        click.option("--trust-pickle", is_flag=True, help="Unpickle a whole model, which runs code."),
    ]

    @functools.wraps(function)
    def wrapped(**given: Any) -> Any:
        names = [entry.name for entry in fields(LoadOptions) if entry.name != "range"]
        loading = {name: given.pop(name) for name in names}
        return function(loading={**loading, "range": given.pop("value_range")}, **given)

    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


segmenter_option = click.option(
    "--segmenter", default="churches", show_default=True, metavar="SPEC", help=f"Where concepts come from: {SPECS}."
)
concepts_option = click.option(
    "--concepts",
    default="",
    metavar="A,B,…",
    callback=lambda _context, _option, text: tuple(part.strip() for part in text.split(",") if part.strip()),
    help="Names of the segmenter's classes, where it has none.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
other_weights_option = click.option(
    "--allow-other-weights", is_flag=True, help="Apply the patch although it was made for other weights."
)
mode_option = click.option(
    "--mode",
    type=click.Choice(["auto", "fold", "insert"]),
    default="auto",
    show_default=True,
    help="Fold edits into weights, insert operations for them, or fold where that is exact.",
)


features_option = click.option(
    "--features",
    default=PLAIN,
    show_default=True,
    metavar="NAME",
    help="plain, churches, inception, torchvision:NAME or file.py:factory.",
)


def load_model(model: str | Path | None, loading: Mapping[str, Any], compute: Compute | None = None) -> Generator:
    """Load MODEL, to run as `compute` says, and say which one it is, when it was not named."""
    generator = load(model, **loading)
    if model is None:
        say(f"no MODEL given: using {generator.name}")
    return generator.placed(compute) if compute is not None else generator


def split_patch(arguments: Sequence[str]) -> tuple[str | None, Path | None]:
    """Tell [MODEL] [PATCH] apart: a patch ends in .yaml or .yml."""
    patches = [text for text in arguments if text.lower().endswith((".yaml", ".yml"))]
    models = [text for text in arguments if text not in patches]
    if len(patches) > 1 or len(models) > 1:
        raise click.UsageError(f"give one model and one patch, not {' '.join(arguments)}")
    return models[0] if models else None, Path(patches[0]) if patches else None


def seeds_option(default: str) -> Callable[[Function], Function]:
    """--seeds, as "0-63,70"."""
    return click.option(
        "--seeds", default=default, show_default=True, callback=_seeds, metavar="0,1,4-6", help="Seeds of the images."
    )


def first_seeds_options(function: Function) -> Function:
    """--n, or --seeds instead; `first_seeds` makes them seeds."""
    # torchrun takes "--n" for the beginning of its own options, and leaves "-n" alone
    n = click.option("-n", "--n", default=1000, show_default=True, type=click.IntRange(1), help=_FIRST)
    return n(click.option("--seeds", metavar="0,1,4-6", help="These seeds instead of the first n.")(function))


def first_seeds(generator: Generator, n: int, seeds: str | None) -> Sequence[int]:
    """Return the seeds that were named, or the first n that the generator has."""
    return parse_spans(seeds, what="seed") if seeds else generator.first_seeds(n)


def say(text: str) -> None:
    """Return the user something, on stderr."""
    click.echo(printable(text), err=True)


def print_json(content: Any) -> None:
    """Print a result as JSON on stdout."""
    click.echo(json.dumps(content, indent=1))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: Sequence[str] = ()) -> None:
    """Print a table on stdout, as wide as its content where the output is no terminal."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)


def print_decisions(decisions: Sequence[Decision], written: Path | None, as_json: bool) -> None:
    """Print what became of each edit, as a table or as JSON."""
    heading, *rows = decision_rows(decisions)
    if as_json:
        edits = [dict(zip(heading, row, strict=True)) for row in rows]
        print_json({"written": None if written is None else str(written), "edits": edits})
    else:
        print_table(heading, rows)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress with a rate and the time left, on stderr; give the function that reports (done, total)."""
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn()]
    bars = Progress(*columns, console=Console(stderr=True))
    task = bars.add_task(what, total=None)

    def show(done: int, total: int) -> None:
        bars.start()  # not before there is something to show
        bars.update(task, completed=done, total=total)

    try:
        yield show
    finally:
        bars.stop()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f}/s" if task.speed else "", style="progress.data.speed")


def _seeds(_context: click.Context, _option: click.Parameter, text: str) -> Sequence[int]:
    try:
        return parse_spans(text, what="seed")
    except GanpatchError as fault:
        raise click.BadParameter(str(fault)) from fault


def _range(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    parts = text.split(",")
    try:
        low, high = (float(part) for part in parts)
    except ValueError:
        raise click.BadParameter(f"'{text}' is not LOW,HIGH, for example -1,1") from None
    return low, high


def _named_values(_context: click.Context, _option: click.Parameter, texts: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"'{text}' is not NAME=VALUE")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
