#!/usr/bin/env python3
"""Faults while ganpatch works: killed, interrupted, a full or read-only disk, files cut short, two processes at once.

tools/robustness/faults.py                         # every command, every step that changes the disk; an hour
tools/robustness/faults.py rank apply --most 7     # so many trials of each kind, drawn at random, of these
tools/robustness/faults.py --most 8 --write        # the table goes into docs/reliability.md
tools/robustness/faults.py tune --kinds random --most 100     # a hundred kills

After each fault: inputs are as they were, what is read again is whole, old or new, and the same command, or the way
that its message names, ends with the very files that an undisturbed run leaves: nothing lost, nothing left over.
"""

import argparse
import contextlib
import hashlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"

from tools.robustness.fault_commands import COMMANDS, prepare  # noqa: E402
from tools.robustness.injection import Fault, Outcome, injected, release, started, steps_of  # noqa: E402

STEPPED = ("kill", "interrupt", "full", "read-only")
KINDS = {
    "kill": "kill -9 at a step",
    "random": "kill -9 at any moment",
    "interrupt": "Ctrl-C",
    "full": "disk full",
    "fills": "disk fills within a file",
    "read-only": "read-only",
    "cut": "files cut short",
    "two": "two at once",
}
EXPECTED = {"kill": (-9, 0), "interrupt": (130, 0), "full": (1, 0), "fills": (1, 0), "read-only": (1, 0), "two": (1, 0)}
SMALLEST = 4096  # bytes: what a command says has to find room as well
PATIENCE = 60  # seconds
BROKEN = re.compile(r"'([\w./-]+)' is broken[:;] remove it")


class Trials:
    """The trials of one command: each begins with the same files."""

    def __init__(self, name: str, model: Path, room: Path) -> None:
        self.name, self.command = name, COMMANDS[name]
        self.start, self.place, self.done, self.said = room / "start", room / "place", room / "done", room / "said"
        shutil.copytree(model, self.start)
        for before in self.command.before:
            self._prepare(before)
        self.start_anew()
        began = time.monotonic()
        clean = self._run(Fault("none"))
        self.seconds = time.monotonic() - began
        assert clean.code == 0, f"{name}: {clean.said}"
        shutil.copytree(self.place, self.done)
        self.files, self.steps = listing(self.place), clean.steps
        self.inputs = {path.name: digest(path) for path in model.iterdir() if path.is_file()}
        with inside(self.start):
            self.old = self.command.read()

    def _prepare(self, before: Sequence[str]) -> None:
        if before[0] == "copy":
            text = (self.start / f"{before[1]}.yaml").read_text().replace("masked.safetensors", "out.safetensors")
            (self.start / f"{before[2]}.yaml").write_text(text)
            shutil.copy(self.start / f"{before[1]}.safetensors", self.start / f"{before[2]}.safetensors")
            return
        done = injected(before, self.start, Fault("none"))
        assert done.code == 0, done.said

    def faults(self, most: int | None, kinds: Sequence[str]) -> Iterator[tuple[str, Callable[[], None]]]:
        """Return trials of `kinds`, at most so many of each, and what each of them is."""
        yield from ((kind, attempt) for kind, attempt in self._every_fault(most) if kind in kinds)

    def _every_fault(self, most: int | None) -> Iterator[tuple[str, Callable[[], None]]]:
        source = random.Random(self.name)

        def some(choices: Sequence, most: int | None = most) -> list:
            return list(choices) if most is None or len(choices) <= most else sorted(source.sample(choices, most))

        for kind in STEPPED:
            for step in some(range(1, self.steps + 1)):
                yield kind, partial(self.try_fault, Fault(kind, step))
        largest = max(path.stat().st_size for path in self.done.rglob("*") if path.is_file())
        for size in sorted(source.randrange(SMALLEST, largest) for _ in range(most or 20) if largest > SMALLEST):
            yield "fills", partial(self.try_fault, Fault("fills", size))
        for step in some(range(1, self.steps + 1)):
            yield "two", partial(self.try_two, step)
        files = [name for name in sorted(self.files) if (self.done / name).is_file()]
        for name, part in some([(name, part) for name in files for part in (0, 0.5, 1)]):
            yield "cut", partial(self.try_cut, name, part)
        for _ in range(most or 20):
            yield "random", partial(self.try_kill, source.uniform(0, self.seconds))

    def start_anew(self, files: Path | None = None) -> None:
        """Put files into the place where the command works: as they were, unless others are named."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(files or self.start, self.place)

    def _work(self, *more: str) -> Sequence[str] | Callable[[], object]:
        work = self.command.work
        return work if callable(work) else (*work, *more)

    def _run(self, fault: Fault, *more: str) -> Outcome:
        return injected(self._work(*more), self.place, fault)

    # ---- one fault each; AssertionError at what must not be

    def try_fault(self, fault: Fault) -> None:
        """Do the command with a fault, look, and do it again."""
        self.start_anew()
        outcome = self._run(fault)
        where = self._where(f"{fault.kind} at {fault.step} of {self.steps}", outcome)
        if fault.kind in ("full", "fills"):
            assert strays(self.place) == [], f"{where}: left {strays(self.place)}"
        self._look(fault.kind, outcome, where)

    def try_kill(self, moment: float) -> None:
        """Kill the command after so many seconds, whatever it does."""
        self.start_anew()
        child = started(self._work(), self.place, Fault("none"), self.said)
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        outcome = ended(child, self.said)
        self._look("kill", outcome, self._where(f"killed after {moment:.3f} s", outcome))

    def try_two(self, step: int) -> None:
        """Hold the command at a step, do it a second time, let the first one end."""
        self.start_anew()
        child = started(self._work(), self.place, Fault("wait", step), self.said)
        until = time.monotonic() + PATIENCE
        while steps_of(self.said) < step and time.monotonic() < until and is_running(child):
            time.sleep(0.005)
        second = self._run(Fault("none"))
        release(child)
        first = ended(child, self.said)
        where = (
            self._where(f"two, one held at {step} of {self.steps}", second) + f", and the first: {first.said[-200:]}"
        )
        for outcome in (first, second):
            assert outcome.code == 0 or "in use by" in outcome.said or "already holds" in outcome.said, where
        assert 0 in (first.code, second.code), where
        self._look("two", first, where)

    def try_cut(self, name: str, part: float) -> None:
        """Cut a file of a finished run short, read it and do the command again."""
        from ganpatch import GanpatchError

        self.start_anew(self.done)
        path = self.place / name
        size = path.stat().st_size
        os.truncate(path, min(int(size * part), size - 1))
        where = f"{self.name}, {name} cut to {path.stat().st_size} of {size} bytes"
        try:
            with inside(self.place):
                self.command.read()
        except GanpatchError:
            pass
        except Exception as fault:
            raise AssertionError(f"{where}: {type(fault).__name__}: {fault}") from fault
        outcome = self._run(Fault("none"))
        assert outcome.code in (0, 1), f"{where}: {outcome.said}"
        assert outcome.is_said_well, f"{where}: {outcome.said}"
        if (self.start / name).exists() or callable(self.command.work):
            shutil.copy(self.done / name, path)  # running the command again does not create it again
        self._go_on(where)

    # ---- what is there, and what comes next

    def _where(self, what: str, outcome: Outcome) -> str:
        return f"{self.name}, {what}: {outcome.said.strip()[-300:]}"

    def _look(self, kind: str, outcome: Outcome, where: str) -> None:
        """Check what a fault left, and that the next run continues."""
        assert outcome.code in EXPECTED[kind], f"{where}: exit code {outcome.code}"
        assert outcome.is_said_well, where
        for name, was in self.inputs.items():
            if name not in self.command.outputs:
                assert digest(self.place / name) == was, f"{where}: {name} has changed"
        try:
            with inside(self.place):
                found = self.command.read()
        except Exception as lost:
            raise AssertionError(f"{where}: what is there cannot be read: {lost}") from lost
        if self.old and not self.command.resumes:
            assert found, f"{where}: what was there is lost"
        self._go_on(where)

    def _go_on(self, where: str) -> None:
        again = self._run(Fault("none"))
        if again.code and (broken := BROKEN.search(again.said)):
            (self.place / broken[1]).unlink()
            again = self._run(Fault("none"))
        if again.code and "use --resume" in again.said:
            again = self._run(Fault("none"), "--resume")
        if again.code and "already has a run" in again.said:
            again = self._run(Fault("none"), "--overwrite")
        assert again.code == 0, f"{where}: and then: {again.said}"
        with inside(self.place):
            assert self.command.read(), f"{where}: and then nothing is there"
        left = listing(self.place) ^ self.files
        assert not {name for name in left if not may_differ(name)}, f"{where}: other files in the end: {sorted(left)}"


@contextlib.contextmanager
def inside(place: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(place)
    try:
        yield
    finally:
        os.chdir(before)


def is_running(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def ended(child: int, said: Path) -> Outcome:
    _, status = os.waitpid(child, 0)
    text = said.read_text(errors="replace") if said.exists() else ""
    return Outcome(os.waitstatus_to_exitcode(status), text, steps_of(said))


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}


def strays(folder: Path) -> list[str]:
    """List files that are nobody's: half written, or locks of nobody."""
    return [name for name in listing(folder) if "/.ganpatch" in f"/{name}" or name.endswith(".pending")]


def may_differ(name: str) -> bool:
    """Versions of a session count on, former flags are kept aside, a graph's tensors and pairs have new names."""
    path = Path(name)
    kept = {"history", "pairs"} & set(path.parts) or path.name.startswith("verdicts-") or path.suffix == ".data"
    return bool(kept)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


# ---- all of it -------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", metavar="COMMAND")
    parser.add_argument("--most", type=int, help="trials of each kind per command; else every step")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), help="only these faults")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    asked = parser.parse_args()
    began = time.monotonic()
    rows = rows_of(asked.commands, lambda name, model, room: tried(name, model, room, asked.most, asked.kinds))
    faults, losses = sum(sum(row[2:-1]) for row in rows), sum(row[-1] for row in rows)
    print(f"{faults} faults, {losses} losses, {(time.monotonic() - began) / 60:.0f} minutes")
    if asked.write:
        assert asked.kinds == list(KINDS), "the table has all kinds"
        write_table(rows)
    if losses:
        sys.exit("FAILED")


def rows_of(commands: Sequence[str], tried: Callable[[str, Path, Path], list]) -> list[list]:
    """Try commands, or all of them, each in a room of its own; print and return a row for each."""
    names, rows = commands or list(COMMANDS), []
    unknown = sorted(set(names) - set(COMMANDS))
    if unknown:
        sys.exit(f"no command {', '.join(unknown)}; there are {', '.join(COMMANDS)}")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        model.mkdir()
        load_everything()
        prepare(model, names)
        for number, name in enumerate(names):
            rows.append(tried(name, model, Path(folder) / str(number)))
            print(" | ".join(str(cell) for cell in rows[-1]), flush=True)
    return rows


def tried(name: str, model: Path, room: Path, most: int | None, kinds: Sequence[str] = tuple(KINDS)) -> list:
    """Try the faults of a command; return a row of the table, failures last."""
    room.mkdir()
    trials = Trials(name, model, room)
    counts, failed = dict.fromkeys(KINDS, 0), 0
    for kind, attempt in trials.faults(most, kinds):
        counts[kind] += 1
        try:
            attempt()
        except AssertionError as fault:
            failed += 1
            print(f"  {fault}", flush=True)
    shutil.rmtree(room)
    return [name, trials.steps, *counts.values(), failed]


def load_everything() -> None:
    """Import what the commands import, once, and keep what is done as often as there is something new."""
    import torch

    import ganpatch.cli
    import ganpatch.forward.saved_state

    torch.set_num_threads(1)
    ganpatch.forward.saved_state.SAVE_EVERY = ganpatch.forward.saved_state._SAVING_TIMES = 0.0


def write_table(rows: Sequence[Sequence[object]]) -> None:
    """Write the counts into the page, between its marks; commands that were not tried keep their former counts."""
    heading = ["command", "steps", *KINDS.values(), "lost or left over"]
    before, _, rest = PAGE.read_text().partition("<!-- faults -->\n")
    former, _, after = rest.partition("<!-- end of faults -->")
    cells = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in former.splitlines() if "|" in line]
    known = {row[0]: row for row in cells if len(row) == len(heading)} | {row[0]: list(map(str, row)) for row in rows}
    found = [known[name] for name in COMMANDS if name in known]
    totals = ["**all**", *(str(sum(int(row[column]) for row in found)) for column in range(1, len(heading)))]
    table = [heading, ["---"] * len(heading), *found, totals]
    text = "".join("| " + " | ".join(row) + " |\n" for row in table)
    PAGE.write_text(f"{before}<!-- faults -->\n{text}<!-- end of faults -->{after}")


if __name__ == "__main__":
    main()
