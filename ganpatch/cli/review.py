"""`ganpatch review`."""

from pathlib import Path

import click

from ganpatch.cli.help import command
from ganpatch.cli.options import FOLDER
from ganpatch.cli.output import say


@command()
@click.argument("run", type=FOLDER)
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Port on 127.0.0.1.  [default: a free one]")
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
def review(run: Path, port: int, open_browser: bool) -> None:
    """Serve the review page of RUN on this machine; flags are saved in the run folder as you make them.

    \b
      ganpatch review run --open
    """

    from ganpatch.review.server import serve

    def announce(address: str) -> None:
        click.echo(address)
        say("Ctrl-C ends it; then: ganpatch flag RUN -o fix.yaml")

    serve(run, port, announce, click.launch if open_browser else None)
