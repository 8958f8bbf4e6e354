"""`ganpatch revert`."""

from pathlib import Path

import click

from ganpatch.cli.help import command
from ganpatch.cli.options import ANY_PATH, WEIGHTS_FILE, json_option
from ganpatch.cli.output import print_json, say


@command()
@click.argument("fixed", type=WEIGHTS_FILE)
@click.option("-o", "--out", type=ANY_PATH, help="File to write.  [default: FIXED with .reverted before its suffix]")
@json_option
def revert(fixed: Path, out: Path | None, as_json: bool) -> None:
    """Take the last patch out of the repaired file FIXED, bit for bit, using the backup beside it.

    \b
      ganpatch revert model.fixed.pt -o model.again.pt
    """
    from ganpatch.export.reverting import revert as take_out
    from ganpatch.export.reverting import reverted_path

    out = out or reverted_path(fixed)
    names = take_out(fixed, out)
    if as_json:
        print_json({"written": str(out), "restored": list(names)})
    say(f"{len(names)} tensors restored ({', '.join(names[:4])}{', …' if len(names) > 4 else ''}): {out}")
