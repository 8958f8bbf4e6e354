"""What it takes to start a command: processor seconds of a process, beside those of `pass` and of `import torch`.

Example:

    startup(repeats=3)
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATCH = str(ROOT / "patches" / "churches.yaml")
# Everything that a command imports before its work begins; the work itself is not done.
IMPORTS = {
    "rank": "ganpatch.families.choosing, ganpatch.runs.ranking_run",
    "suggest": "ganpatch.families.choosing, ganpatch.runs.suggestion_run, ganpatch.finding.image_features",
    "apply": "ganpatch.families.choosing, ganpatch.export.patched_models",
    "evaluate": "ganpatch.families.choosing, ganpatch.evaluation.evaluator, ganpatch.evaluation.report",
    "dissect": "ganpatch.families.choosing, ganpatch.runs.dissection_run, ganpatch.segmenters.loading",
    "studio": "ganpatch.studio.server",
}
BARE = {"python -c pass": ("-c", "pass"), 'python -c "import torch"': ("-c", "import torch")}
COMMANDS = {
    **BARE,
    "import ganpatch": ("-c", "import ganpatch"),
    "ganpatch --version": ("-m", "ganpatch", "--version"),
    "ganpatch --help": ("-m", "ganpatch", "--help"),
    "ganpatch rank --help": ("-m", "ganpatch", "rank", "--help"),
    "ganpatch patch check": ("-m", "ganpatch", "patch", "check", PATCH),
    "ganpatch flag RUN --layer, Tab": ("-m", "ganpatch"),
    **{f"{name}, before its work": ("-c", f"import ganpatch.cli.{name}, {names}") for name, names in IMPORTS.items()},
}
TAB = {"COMP_WORDS": "ganpatch flag run --layer ", "COMP_CWORD": "4", "_GANPATCH_COMPLETE": "bash_complete"}


def startup(repeats: int) -> dict[str, str]:
    """Return the median processor seconds of each command, interleaved, by its name."""
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats):
        for name, words in COMMANDS.items():
            found[name].append(_seconds(words, TAB if "Tab" in name else {}))
    return {f"{name} [s]": f"{statistics.median(seconds):.2f}" for name, seconds in found.items()}


def _seconds(words: tuple[str, ...], environment: dict[str, str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        before = os.times()
        around = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        subprocess.run([sys.executable, *words], check=True, cwd=folder, env=around, capture_output=True)
        after = os.times()
    spent = after.children_user + after.children_system
    return spent - before.children_user - before.children_system
