#!/usr/bin/env python3
"""Spoilt files of every kind that ganpatch reads, for as long as asked: only GanpatchError may come out.

python -m tools.robustness.fuzz --seconds 60                      # each target for a minute, by hypothesis
python -m tools.robustness.fuzz --seconds 600 patch weights --by atheris
python -m tools.robustness.fuzz --examples 100                    # as many of each target as the tests run
python -m tools.robustness.fuzz patch --replay 0703ff             # one finding again

Each target runs in a process of its own, which may take a gigabyte more than it begins with, and ten seconds per file.
atheris is guided by the code that a file reaches, and finds more in an hour; it is in the extra `fuzz`, where it can be
installed: pip install -c constraints.txt -e '.[fuzz]'.
"""

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 10  # seconds of computing for one file
LONGEST_CHOICES = 80
PAGE = ROOT / "docs" / "reliability.md"
DEPTHS = {"first": "refused by the first reader", "later": "refused later", "end": "read to the end"}


class TooSlow(BaseException):
    """A file took longer than LONGEST; no `except Exception` catches it."""


def main() -> None:
    asked = arguments()
    if asked.one:
        run_all(asked)
        return
    together = [asked.targets] if asked.examples else [[name] for name in asked.targets]
    failed, counts = [], {}
    for names in together:
        is_well, of_these = succeeded(names, asked)
        failed += [] if is_well else names
        counts |= of_these
    if asked.write:
        write_table(counts, asked)
    if failed:
        sys.exit(f"FAILED: {', '.join(failed)}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=float, default=20, help="for each target")
    parser.add_argument("--examples", type=int, help="so many examples of each target instead, always the same")
    parser.add_argument("--by", choices=["hypothesis", "atheris"], default="hypothesis")
    parser.add_argument("--replay", metavar="HEX", help="one finding again")
    parser.add_argument("--write", action="store_true", help="write the counts into docs/reliability.md")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--last", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.by == "atheris" and not has_atheris():
        sys.exit("atheris is not installed here: pip install -c constraints.txt -e '.[fuzz]', or --by hypothesis")
    if not asked.one:
        from tests.support.fuzz_targets import TARGETS

        unknown = sorted(set(asked.targets) - set(TARGETS))
        if unknown:
            sys.exit(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
        asked.targets = asked.targets or list(TARGETS)
    return asked


def has_atheris() -> bool:
    import importlib.util

    return importlib.util.find_spec("atheris") is not None


def succeeded(names: list[str], asked: argparse.Namespace) -> tuple[bool, dict[str, Counter]]:
    """Run targets in a process of their own, and report what came of it; one that dies is a finding as well.

    Returns whether all went well, and how deep the tries of each target came.
    """
    with tempfile.TemporaryDirectory() as folder:
        last = Path(folder) / "last"
        options = {"--seconds": asked.seconds, "--examples": asked.examples, "--by": asked.by, "--replay": asked.replay}
        given = [part for option, value in options.items() if value is not None for part in (option, str(value))]
        command = [sys.executable, "-m", "tools.robustness.fuzz", *names, "--one", "--last", str(last), *given]
        started = time.monotonic()
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=False)
        seconds = time.monotonic() - started
        if done.returncode not in (0, 1) and last.exists():
            name, _, choices = last.read_bytes().partition(b" ")
            print(f"{name.decode()}: died of {signal_name(done.returncode)}; --replay {choices.hex()}", flush=True)
        ended = "well" if done.returncode == 0 else "FOUND"
        counts = {path.stem: Counter(json.loads(path.read_text())) for path in Path(folder).glob("*.count")}
        count = sum(one["files"] for one in counts.values())
        print(f"{', '.join(names)}: {ended} after {seconds:.0f} s, {count:,} files", flush=True)
        for name in names:
            print(f"  {name}: {depth_of(counts.get(name, Counter()))}", flush=True)
        return done.returncode == 0, counts


def depth_of(count: Counter) -> str:
    """Describe how deep the tries of a target came."""
    total = max(1, count["files"])
    shares = {words: f"{count[name] / total:.0%}" for name, words in DEPTHS.items()}
    return ", ".join(f"{words} {share}" for words, share in shares.items())


def write_table(counts: dict[str, Counter], asked: argparse.Namespace) -> None:
    """Write the counts into docs/reliability.md, between its marks."""
    before, _, rest = PAGE.read_text().partition("<!-- fuzz table -->\n")
    _, _, after = rest.partition("<!-- end of fuzz table -->")
    rows = [["files of", "tries", *DEPTHS.values()], ["---", "---:", *["---:"] * len(DEPTHS)]]
    for name, one in counts.items():
        rows.append([name, f"{one['files']:,}", *(f"{one[depth] / max(1, one['files']):.0%}" for depth in DEPTHS)])
    rows.append(["**all**", f"**{sum(one['files'] for one in counts.values()):,}**", *[""] * len(DEPTHS)])
    table = "".join("| " + " | ".join(row) + " |\n" for row in rows)
    command = f"python -m tools.robustness.fuzz --by {asked.by} --seconds {asked.seconds:g} --write"
    PAGE.write_text(f"{before}<!-- fuzz table -->\n`{command}`:\n\n{table}<!-- end of fuzz table -->{after}")


def signal_name(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def run_all(asked: argparse.Namespace) -> None:
    """Run targets in this process, within the bounds."""
    if asked.by == "atheris" and not asked.replay:
        import atheris

        with atheris.instrument_imports(include=["ganpatch"]):
            from tests.support import fuzz_targets, fuzzing
    else:
        from tests.support import fuzz_targets, fuzzing
    import torch

    torch.set_num_threads(1)
    attempts = {}
    for name in asked.targets:
        folder = Path("files") / name
        folder.mkdir(parents=True)
        with fuzzing.quiet():
            fuzz_targets.TARGETS[name].make(folder)
        attempts[name] = Bounded(name, folder, Path(asked.last))
        attempts[name](b"")  # what is imported late is imported now
    for attempt in attempts.values():
        limit_memory(attempt.target.memory)
        if asked.replay is not None:
            attempt(bytes.fromhex(asked.replay))
            print(attempt.said.pop() or "read without complaint")
        elif asked.by == "atheris":
            by_atheris(attempt, asked)
        else:
            by_hypothesis(attempt, asked)


class Bounded:
    """One attempt after the other, each within its time; remembers the last one for whoever finds this process dead."""

    def __init__(self, name: str, folder: Path, last: Path) -> None:
        from tests.support.fuzz_targets import TARGETS

        self.name, self.target, self.folder, self.last = name, TARGETS[name], folder, last
        self.count = 0
        self.said: set[str] = set()
        signal.signal(signal.SIGPROF, self._stop)

    def __call__(self, choices: bytes) -> None:
        from tests.support.fuzzing import attempt

        self.last.write_bytes(self.name.encode() + b" " + choices)
        self.count += 1
        counts = self.last.with_name(f"{self.name}.count")
        counts.write_text(json.dumps({"files": self.count, **self.target.depths}))
        said = attempt(self.target, self.folder, choices, self._in_time)
        counts.write_text(json.dumps({"files": self.count, **self.target.depths}))
        self.said = {said} if not choices else self.said | {said[:80]}

    @contextlib.contextmanager
    def _in_time(self) -> Iterator[None]:
        signal.setitimer(signal.ITIMER_PROF, LONGEST)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _stop(self, _number: int, _frame: Any) -> None:
        raise TooSlow(f"more than {LONGEST} s")


def limit_memory(more: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + more
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def by_hypothesis(attempt: Bounded, asked: argparse.Namespace) -> None:
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis import strategies as st

    started, rounds = time.monotonic(), 0
    while rounds == 0 or (asked.examples is None and time.monotonic() - started < asked.seconds):

        @seed(rounds)
        @given(st.binary(min_size=1, max_size=LONGEST_CHOICES))
        @settings(
            max_examples=asked.examples or 200,
            deadline=None,
            database=None,
            derandomize=asked.examples is not None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
            report_multiple_bugs=False,
        )
        def check(choices: bytes) -> None:
            if asked.examples is None and time.monotonic() - started > asked.seconds:
                return
            attempt(choices)

        try:
            check()
        except BaseException as fault:
            finding(attempt, fault)
        rounds += 1
    kinds = len(attempt.said)
    print(f"{attempt.name}: {attempt.count} files, {kinds} different answers", flush=True)


def by_atheris(attempt: Bounded, asked: argparse.Namespace) -> None:
    import atheris

    def one(choices: bytes) -> None:
        try:
            attempt(choices)
        except BaseException as fault:
            finding(attempt, fault)

    options = [
        f"-max_total_time={int(asked.seconds)}",
        f"-max_len={LONGEST_CHOICES}",
        "-verbosity=0",
        "-rss_limit_mb=0",
    ]
    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()  # which ends the process


def finding(attempt: Bounded, fault: BaseException) -> None:
    """Describe what came out, and end."""
    if isinstance(fault, KeyboardInterrupt):
        raise fault
    traceback.print_exception(fault, limit=-6)
    choices = attempt.last.read_bytes().partition(b" ")[2]
    print(f"{attempt.name}: {type(fault).__name__}: {str(fault)[:200]!r}; --replay {choices.hex()}", flush=True)
    os._exit(1)


if __name__ == "__main__":
    main()
