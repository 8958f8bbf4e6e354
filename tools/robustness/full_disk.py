#!/usr/bin/env python3
"""Every command that writes, on a disk that is really full: a small tmpfs, with so many kilobytes left.

python -m tools.robustness.full_disk                     # every command, with 0 to 200 KB left; as root, on Linux
python -m tools.robustness.full_disk suggest tune --write     # the counts go into docs/reliability.md

The checks are those of tools/robustness/faults.py: one sentence and exit code 1, or success; inputs as they were; what
is read again is whole, old or new; and with room again, the same command ends with the files of an undisturbed run.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.robustness.faults import PAGE, Trials, rows_of, strays
from tools.robustness.injection import Fault

LEFT = (0, 8, 40, 200)  # kilobytes
SIZE = 64_000_000  # of the disk
_FILLER = "filler.bin"


class DiskTrials(Trials):
    """The trials of one command, in a place that is a disk of its own."""

    def try_full(self, left: int) -> bool:
        """Do the command with `left` kilobytes, look, and do it again with room; return whether it failed."""
        with disk(self.place):
            self.start_anew()
            fill(self.place / _FILLER, left * 1000)
            outcome = self._run(Fault("none"))
            where = self._where(f"{left} KB left", outcome)
            assert strays(self.place) == [], f"{where}: left {strays(self.place)}"
            (self.place / _FILLER).unlink()
            self._look("full", outcome, where)
        return outcome.code != 0

    def start_anew(self, files: Path | None = None) -> None:
        """Put files into the place, which stays as it is: a disk cannot be removed while it is mounted."""
        if not self.place.is_mount():
            super().start_anew(files)
            return
        for entry in self.place.iterdir():
            subprocess.run(["rm", "-rf", str(entry)], check=True)
        subprocess.run(["cp", "-a", f"{files or self.start}/.", str(self.place)], check=True)


@contextmanager
def disk(place: Path) -> Iterator[None]:
    """Mount a small disk at `place`."""
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path: Path, left: int) -> None:
    """Write a file that leaves `left` bytes on its disk."""
    facts = os.statvfs(path.parent)
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, facts.f_bavail * facts.f_frsize - left))


def tried(name: str, model: Path, room: Path) -> list[str]:
    """Try a command with each size; return a row of the table."""
    room.mkdir()
    trials = DiskTrials(name, model, room)
    failed, wrong = 0, 0
    for left in LEFT:
        try:
            failed += trials.try_full(left)
        except AssertionError as fault:
            wrong += 1
            print(f"  {fault}", flush=True)
    return [name, str(len(LEFT)), str(failed), str(wrong)]


def write_table(rows: Sequence[Sequence[str]]) -> None:
    """Write the counts into the page, between its marks."""
    before, _, rest = PAGE.read_text().partition("<!-- full disk -->\n")
    _, _, after = rest.partition("<!-- end of full disk -->")
    heading = ["command", "trials", "refused", "lost or left over"]
    total = ["**all**", *(str(sum(int(row[column]) for row in rows)) for column in (1, 2, 3))]
    table = "".join("| " + " | ".join(row) + " |\n" for row in [heading, ["---"] * 4, *rows, total])
    PAGE.write_text(f"{before}<!-- full disk -->\n{table}<!-- end of full disk -->{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", metavar="COMMAND")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    asked = parser.parse_args()
    if sys.platform != "linux" or os.geteuid() != 0:
        sys.exit("a disk can be mounted by root on Linux only")
    rows = rows_of(asked.commands, tried)
    if asked.write:
        write_table(rows)
    if any(row[-1] != "0" for row in rows):
        sys.exit("FAILED")


if __name__ == "__main__":
    main()
