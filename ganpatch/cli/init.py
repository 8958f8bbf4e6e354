"""`ganpatch init`."""

from pathlib import Path
from typing import Any

import click

from ganpatch.cli import completing
from ganpatch.cli.loading import loading_options, model_command
from ganpatch.cli.options import json_option
from ganpatch.cli.output import print_json, say, working
from ganpatch.disk.atomic_files import write_text
from ganpatch.errors import GanpatchError, printable
from ganpatch.generator.configuration import NAME


@model_command()
@click.argument("model", shell_complete=completing.models)
@click.option("--overwrite", is_flag=True, help=f"Replace a {NAME} that is there.")
@loading_options
@json_option
def init(model: str, overwrite: bool, loading: dict[str, Any], as_json: bool) -> None:
    """Find out what MODEL takes and returns, and write ganpatch.toml in the working folder.

    What the weights do not show is written there as a comment with the options. After that, the other commands need
    no MODEL and no options.

    \b
      ganpatch init model.pt
      ganpatch init model.pt --arch net.py:Generator
      ganpatch init network.pkl --repo stylegan3
    """
    from ganpatch.families.probing import probe
    from ganpatch.families.settings_text import format_settings, probed_json, probed_lines
    from ganpatch.generator.load_options import LoadOptions

    if Path(NAME).exists() and not overwrite:
        raise GanpatchError(f"{NAME} is there already; --overwrite replaces it")
    options = LoadOptions(**loading)
    with working("trying"):
        found = probe(model, options)
    write_text(Path(NAME), format_settings(model, options, found))
    if as_json:
        print_json(probed_json(found))
    else:
        click.echo(printable("\n".join(probed_lines(found))))
    say(f"settings in {NAME}; next: ganpatch rank --n 1000 -o run")
