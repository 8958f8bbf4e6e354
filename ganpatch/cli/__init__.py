"""The command line: one file per stage, bodies without logic; errors are put into words here, once.

Results go to stdout, progress to stderr. Exit 0: done; 1: refused or disagreed; 2: usage.
"""

import ctypes
import os
import sys
import warnings

import click

from ganpatch.cli import (
    apply,
    cause,
    compare,
    completion,
    dissect,
    evaluate,
    export,
    flag,
    init,
    layers,
    patch,
    rank,
    revert,
    review,
    sample,
    studio,
    suggest,
    tune,
    verify,
)
from ganpatch.errors import GanpatchError, printable
from ganpatch.version import VERSION

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="ganpatch", message="%(prog)s %(version)s")
def cli() -> None:
    """Repair a trained image generator: rank its units, look, flag the ones that draw artifacts, patch.

    \b
      ganpatch rank model.pt --n 1000 -o run     top images per unit, and a page to review them
      ganpatch flag run --units 3,17-19 --reason "smeared sky" -o fix.yaml
      ganpatch apply model.pt fix.yaml           repaired weights
      ganpatch export model.pt fix.yaml -o fixed.onnx

    Without a MODEL: what ganpatch.toml in the working folder says, else the bundled generator "churches".
    """


for command in (
    init.init,
    layers.layers,
    rank.rank,
    review.review,
    dissect.dissect,
    cause.cause,
    compare.compare,
    suggest.suggest,
    flag.flag,
    sample.sample,
    apply.apply,
    export.export,
    verify.verify,
    evaluate.evaluate,
    tune.tune,
    revert.revert,
    patch.patch,
    studio.studio,
    completion.completion,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line and turn every error into one message and an exit code."""
    _keep_freed_memory()
    warnings.simplefilter("ignore", FutureWarning)  # torch's, of its own deprecations: users can do nothing about them
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as fault:
        fault.show()
        sys.exit(fault.exit_code)
    except GanpatchError as fault:
        _fail(str(fault))
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except MemoryError:
        _fail("out of memory; a smaller --batch-size needs less")
    except Exception as fault:
        if os.environ.get("GANPATCH_TRACEBACK"):
            raise
        first = str(fault).strip().splitlines()
        text = f"{type(fault).__name__}: {first[0] if first else ''}"
        _fail(f"unexpected, this is a fault of ganpatch: {text}\nGANPATCH_TRACEBACK=1 shows where; please report it")


def _fail(text: str) -> None:
    click.echo(f"{click.style('error:', fg='red', bold=True)} {printable(text)}", err=True)
    sys.exit(1)


def _keep_freed_memory() -> None:
    """Keep the memory of large activations between batches: giving it back and faulting it in costs up to a fifth."""
    if sys.platform == "linux":
        try:
            mallopt = ctypes.CDLL(None).mallopt
        except (OSError, AttributeError):
            return
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
