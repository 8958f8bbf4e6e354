"""Does a graphics card find what the processor finds? Every command that takes --device, on both.

    python -m tools.benchmarks.check_device                # on cuda, with the bundled generator; a few minutes
    NVIDIA_TF32_OVERRIDE=0 python -m tools.benchmarks.check_device  # without TF32
    python -m tools.benchmarks.check_device --device cpu --n 64  # the processor with itself

It prints, per command, how near the two results are and how long each took. A first command warms the device up.
"""

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from PIL import Image
from torch import Tensor

from ganpatch.causes.result import Causes
from ganpatch.cli import cli
from ganpatch.cli.output import print_table
from ganpatch.dissection.result import Dissection
from ganpatch.finding.suggestions import read_suggestions
from ganpatch.generator.device import Compute
from ganpatch.patch.patch_file import Patch
from ganpatch.ranking.result import Ranking, read_manifest
from tools.benchmarks.measure import machine

PATCH = Path(__file__).resolve().parents[2] / "patches" / "churches.yaml"
LAYER = "layer4"
Compared = Callable[[Path, Path], str]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A command that writes `{out}`, where it may read `{rank}`, the device's ranking, and how two results compare."""

    name: str
    command: str
    compared: Compared
    own: Sequence[str] = field(default_factory=list)  # options that the device alone gets


def near(found: Tensor, wanted: Tensor) -> str:
    """Return the largest difference, relative to the largest number."""
    return f"{float((found - wanted).abs().max() / wanted.abs().max()):.1e}"


def kept(found: Tensor, wanted: Tensor) -> str:
    """Return the share of the numbers in each row that are in the other's."""
    rows = zip(found.tolist(), wanted.tolist(), strict=True)
    return f"{np.mean([len({*row} & {*other}) / len(row) for row, other in rows]):.4f}"


def rankings(found: Path, wanted: Path) -> str:
    a, b = (Ranking.load(path)[LAYER] for path in (found, wanted))
    return f"top images {kept(a.top_seeds, b.top_seeds)} the same; scores within {near(a.top_scores, b.top_scores)}"


def dissections(found: Path, wanted: Path) -> str:
    a, b = (Dissection.load(path)[LAYER] for path in (found, wanted))
    same = (a.iou.argmax(1) == b.iou.argmax(1)).double().mean()
    off = (a.iou - b.iou).abs().flatten()
    nearly = f"IoU within {float(off.quantile(0.99)):.1e} for 99 %, {float(off.max()):.1e} for all"
    return f"{nearly}; {float(same):.3f} of the units with the same concept"


def suggestions(found: Path, wanted: Path) -> str:
    texts = []
    ours, theirs = (read_suggestions(path, read_manifest(path)) for path in (found, wanted))
    for method in theirs:
        first, other = (which[method].layers[LAYER].first(40) for which in (ours, theirs))
        texts.append(f"{method} {len({*first} & {*other})}")
    return f"of the first 40: {', '.join(texts)}"


def causes(found: Path, wanted: Path) -> str:
    a, b = (Causes.load(path)["door"] for path in (found, wanted))
    return (
        f"alphas within {near(a.alpha, b.alpha)}; {len({*a.ranked()[:20]} & {*b.ranked()[:20]})} of the first 20 units"
    )


def evaluations(found: Path, wanted: Path) -> str:
    a, b = (json.loads((path / "evidence.json").read_text()) for path in (found, wanted))
    changes = [[record["figures"]["all_frechet"][when] for when in ("before", "after")] for record in (a, b)]
    return "distance {:.4g} to {:.4g}, {:.4g} to {:.4g}".format(*changes[0], *changes[1])


def tuned(found: Path, wanted: Path) -> str:
    a, b = ({unit for edit in Patch.load(path / "tuned.yaml").edits for unit in edit.units} for path in (found, wanted))
    return f"{len(a)} and {len(b)} units kept, {len(a & b)} the same"


def pictures(found: Path, wanted: Path) -> str:
    a, b = (np.asarray(Image.open(path / "grid.png"), dtype=np.int16) for path in (found, wanted))
    change = np.abs(a - b)
    return f"pixels within {change.max()} of 255, {float((change > 1).mean()):.5f} of them by more than 1"


def jobs(n: int) -> list[Job]:
    rank = f"rank churches --layer {LAYER} -n {n} -o {{out}}"
    return [
        Job(name="rank", command=rank, compared=rankings),
        Job(name="rank, again", command=f"{rank} --overwrite", compared=rankings),
        Job(name="rank, 128 at once", command=rank, compared=rankings, own=["--batch-size", "128"]),
        Job(name="rank, channels last", command=rank, compared=rankings, own=["--channels-last"]),
        Job(name="rank, bfloat16", command=rank, compared=rankings, own=["--dtype", "bfloat16"]),
        Job(name="rank, float16", command=rank, compared=rankings, own=["--dtype", "float16"]),
        Job(name="rank, compiled", command=rank, compared=rankings, own=["--compile"]),
        Job(
            name="suggest",
            command="suggest {rank} --model churches --by first-look --by oddity --by rarity --by spike --by defect "
            "--broken 3,5,8,13,21",
            compared=suggestions,
        ),
        Job(name="dissect", command=f"dissect churches --layer {LAYER} -n {n // 2} -o {{out}}", compared=dissections),
        Job(
            name="cause",
            command=f"cause churches --layer {LAYER} --concept door --n 64 --held-out 32 --steps 40 -o {{out}}",
            compared=causes,
        ),
        Job(
            name="evaluate",
            command=f"evaluate churches {PATCH} --seeds 20000-{20000 + n - 1} --references {n} --baselines 1 --json "
            "-o {out}/page.html",
            compared=evaluations,
        ),
        Job(
            name="tune",
            command=f"tune churches {PATCH} --seeds 30000-{30000 + n // 4 - 1} -o {{out}}/tuned.yaml",
            compared=tuned,
        ),
        Job(name="sample", command=f"sample churches --patch {PATCH} -o {{out}}/grid.png", compared=pictures),
    ]


def run(job: Job, folder: Path, device: str, own: Sequence[str] = ()) -> tuple[Path, float]:
    """Run a command as a user would, in this process; return what it wrote, and its seconds."""
    ranked = folder / "rank"
    out = ranked if job.name in ("rank", "rank, again", "suggest") else folder / job.name.replace(" ", "-")
    out.parent.mkdir(parents=True, exist_ok=True)
    if job.name in ("evaluate", "tune", "sample"):
        out.mkdir()
    arguments = [word.format(out=out, rank=ranked) for word in job.command.split()]
    started, text = time.perf_counter(), io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(io.StringIO()):
        cli.main([*arguments, "--device", device, *own], standalone_mode=False)
    seconds = time.perf_counter() - started
    if job.name == "evaluate":
        (out / "evidence.json").write_text(text.getvalue())
    return out, seconds


def several(folder: Path, device: str, n: int) -> str:
    """Rank in a process that torchrun started, which meets the others over nccl, as one process would."""
    out = folder / "torchrun"
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "1", "-m", "ganpatch", "rank", "churches"]
    options = ["--layer", LAYER, "-n", str(n), "-o", str(out), "--device", device]
    done = subprocess.run([sys.executable, *command, *options], capture_output=True, text=True, timeout=300)
    if done.returncode:
        return f"failed: {done.stderr.strip().splitlines()[-1]}"
    return rankings(out, folder / "rank")


@click.command(help=__doc__)
@click.option("--device", default="cuda", show_default=True)
@click.option("-n", "--n", default=1000, show_default=True, help="Images to rank.")
@click.option("--only", multiple=True, help="Only these commands; rank comes first in any case.")
def main(device: str, n: int, only: tuple[str, ...]) -> None:
    where = Compute(device=device).resolved()
    print(f"{machine()}\n{where.device_name} beside cpu", flush=True)
    rows, failed = [], False
    with tempfile.TemporaryDirectory() as name:
        here, there = Path(name) / "cpu", Path(name) / "device"
        for job in jobs(n):
            if only and job.name != "rank" and job.name not in only:
                continue
            try:
                if job.own:
                    wanted, before = here / "rank", ""
                else:
                    wanted, seconds = run(job, here, "cpu")
                    before = f"{seconds:.1f}"
                found, seconds = run(job, there, device, job.own)
                rows.append([job.name, job.compared(found, wanted), before, f"{seconds:.1f}"])
            except Exception as fault:
                failed = True
                rows.append([job.name, f"FAILED: {type(fault).__name__}: {fault}", "", ""])
            print(*rows[-1], sep=" | ", flush=True)
        if not only:
            rows.append(["rank, by torchrun", several(there, device, n), "", ""])
    print_table(["command", "beside the processor", "processor [s]", "device [s]"], rows)
    sys.exit(failed or any("failed" in row[1] for row in rows))


if __name__ == "__main__":
    main()
