"""`ganpatch studio`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ganpatch.cli import completing
from ganpatch.cli.loading import loading_options, model_command
from ganpatch.cli.options import ANY_PATH, FOLDER, PATCH_FILE
from ganpatch.cli.output import say


@model_command()
@click.argument("model_and_runs", metavar="[MODEL] [RUN|CAUSES...]", nargs=-1, shell_complete=completing.models)
@click.option("--patch", "patch_file", type=PATCH_FILE, help="Patch to begin with; it is not changed.")
@click.option("-o", "--out", type=ANY_PATH, help="Folder of the session.  [default: MODEL-studio]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port on 127.0.0.1.  [default: the last one, or a free one]"
)
@click.option("--n", default=1000, show_default=True, type=click.IntRange(1), help="Images ranked if no RUN is given.")
@click.option("--real", type=FOLDER, help="A folder of real images, for quality figures.")
@click.option("--framed", is_flag=True, hidden=True, help="Let a notebook show the page.")
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
@loading_options
def studio(
    model_and_runs: tuple[str, ...],
    patch_file: Path | None,
    out: Path | None,
    n: int,
    real: Path | None,
    port: int | None,
    open_browser: bool,
    framed: bool,
    loading: dict[str, Any],
) -> None:
    """Look, flag, paint and repair in the browser, live; every change is in OUT/patch.yaml at once.

    RUN is a folder that 'ganpatch rank' or 'ganpatch dissect' wrote for MODEL. Without one, the default layer is ranked
    while you look around; other layers are ranked from the page. CAUSES is a folder that 'ganpatch cause' wrote. The
    concepts of both are brushes.

    \b
      ganpatch studio --open
      ganpatch studio model.pt run causes -o mine
    """

    from ganpatch.pages.local_server import way_through_ssh
    from ganpatch.studio.server import serve
    from ganpatch.studio.session import Studio, opening_of
    from ganpatch.studio.trust import belongs_to_another

    def announce(address: str, opened: Studio) -> None:
        click.echo(address)
        if belongs_to_another(opened.folder.path):
            say(f"{opened.folder.path} belongs to another user: their edits and strokes are read, their address is not")
        say(way_through_ssh(address))
        say(f"every change is saved in {opened.folder.path}; Ctrl-C ends it")

    opening = replace(opening_of(model_and_runs, loading), patch=patch_file, out=out, n=n, real=real, in_frames=framed)
    serve(opening, port, announce, click.launch if open_browser else None, say)
