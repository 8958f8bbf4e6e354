"""What it takes to start a command: processor seconds of a process, paired with those of `import torch`.

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
FIRST = "from ganpatch.cli.loading import import_torch; import_torch()"
WORK = ", before its work"
TORCH = "python -c 'import torch'"
BARE = {"python -c pass": ("-c", "pass"), TORCH: ("-c", "import torch")}
COMMANDS = {
    **BARE,
    "import ganpatch": ("-c", "import ganpatch"),
    "ganpatch --version": ("-m", "ganpatch", "--version"),
    "ganpatch --help": ("-m", "ganpatch", "--help"),
    "ganpatch rank --help": ("-m", "ganpatch", "rank", "--help"),
    "ganpatch patch check": ("-m", "ganpatch", "patch", "check", PATCH),
    "ganpatch flag RUN --layer, Tab": ("-m", "ganpatch"),
    **{f"{name}{WORK}": ("-c", f"{FIRST}; import ganpatch.cli.{name}, {names}") for name, names in IMPORTS.items()},
}
TAB = {"COMP_WORDS": "ganpatch flag run --layer ", "COMP_CWORD": "4", "_GANPATCH_COMPLETE": "bash_complete"}


def startup(repeats: int) -> dict[str, dict[str, str]]:
    """Return columns of rows by command: median processor seconds, and what a command costs more than `import torch`.

    Commands are interleaved, and the second column is the median of differences within a round.
    """
    rounds = [
        {name: _seconds(words, TAB if "Tab" in name else {}) for name, words in COMMANDS.items()}
        for _ in range(repeats)
    ]
    seconds = {name: f"{statistics.median(one[name] for one in rounds):.2f}" for name in COMMANDS}
    work = [name for name in COMMANDS if name.endswith(WORK)]
    more = {name: f"{statistics.median(one[name] - one[TORCH] for one in rounds):.2f}" for name in work}
    return {"seconds": seconds, "more than torch": more}


def _seconds(words: tuple[str, ...], environment: dict[str, str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        before = os.times()
        around = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        subprocess.run([sys.executable, *words], check=True, cwd=folder, env=around, capture_output=True)
        after = os.times()
    spent = after.children_user + after.children_system
    return spent - before.children_user - before.children_system
