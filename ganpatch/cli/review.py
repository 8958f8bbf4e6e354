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
@click.option("--page-only", is_flag=True, help="Write the pages of RUN again from its data, and serve nothing.")
def review(run: Path, port: int, open_browser: bool, page_only: bool) -> None:
    """Serve the review page of RUN on this machine; flags are saved in the run folder as you make them.

    A page is a program. Open that of a run which somebody else made in this way, or after --page-only: both write it
    again, and --page-only says whether the one that came was different.

    \b
      ganpatch review run --open
      ganpatch review run-from-a-colleague --page-only
    """
    from ganpatch.pages.local_server import way_through_ssh
    from ganpatch.review.server import serve
    from ganpatch.runs.fresh_pages import write_fresh_pages

    if page_only:
        fresh = write_fresh_pages(run)
        say(f"{fresh.sentence}\nopen {' and '.join(str(page) for page in fresh.pages)}")
        return

    def announce(address: str) -> None:
        click.echo(address)
        say(way_through_ssh(address))
        say("Ctrl-C ends it; then: ganpatch flag RUN -o fix.yaml")

    serve(run, port, announce, click.launch if open_browser else None, say)
