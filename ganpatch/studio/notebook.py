"""The studio in a notebook: a server beside the kernel, shown in the cell.

    import ganpatch.studio
    shown = ganpatch.studio.show("model.pt", "run")

It ends with `shown.close()`, or with the kernel.
"""

import atexit
import subprocess
import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ganpatch.errors import GanpatchError

_PATIENCE = 20  # seconds in which a server that is asked to end does so


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A studio that runs beside the notebook: its address, and how high it is shown."""

    address: str
    height: int
    process: "subprocess.Popen[str]"

    def close(self) -> None:
        """End the server; everything is saved."""
        self.process.terminate()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def _repr_html_(self) -> str:
        address = escape(self.address)
        frame = f'<iframe src="{address}" width="100%" height="{self.height}" style="border:1px solid #ccc"></iframe>'
        return (
            f'<p><a href="{address}" target="_blank" rel="noopener">Open the studio in a tab of its own</a></p>{frame}'
        )


def show(*model_and_runs: str | Path, out: str | Path | None = None, height: int = 800) -> Shown:
    """Start the studio on MODEL, RUN and CAUSES, as `ganpatch studio` takes them, and return what a cell shows.

    Raises GanpatchError with what the command says where it does not start.
    """
    command = [sys.executable, "-m", "ganpatch", "studio", *map(str, model_and_runs), "--framed"]
    command += ["-o", str(out)] if out is not None else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    if not address:
        said = process.communicate()[1].strip().splitlines()
        raise GanpatchError(said[-1].removeprefix("error: ") if said else "the studio did not start")
    shown = Shown(address=address, height=height, process=process)
    atexit.register(process.terminate)
    return shown
