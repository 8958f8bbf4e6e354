"""Compare the hooks, the bake, and any files that should contain the patch.

    report = verify(generator, patch, [Path("fixed.pt"), Path("fixed.onnx")], seeds=range(8))
    report.agree

All are run on the same seeds and compared with the hooks, which are the meaning of a patch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from ganpatch.errors import explained
from ganpatch.export.file_runners import TOLERANCES, Gap, Runner, compared, open_runner, output_of
from ganpatch.fold.baking import bake
from ganpatch.forward.activations import batched
from ganpatch.generator.backend import Backend
from ganpatch.generator.generator import Generator
from ganpatch.patch.applying import check_model
from ganpatch.patch.patch_file import Patch

_BATCH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One candidate compared with the hooks: largest and mean difference, and the seed and place of the largest."""

    name: str
    kind: str
    largest: float
    mean: float
    seed: int
    place: tuple[int, ...]
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the largest difference is within the tolerance."""
        return self.largest <= self.tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """All candidates, and for scale the patch's own effect (original against hooks) and the largest output."""

    candidates: tuple[Agreement, ...]
    effect: Agreement
    largest_output: float

    @property
    def agree(self) -> bool:
        """Whether all candidates agree with the hooks."""
        return all(candidate.agrees for candidate in self.candidates)


def verify(
    generator: Generator,
    patch: Patch,
    files: Sequence[Path],
    seeds: Sequence[int] = range(8),
    *,
    key: str | None = None,
    allow_other_weights: bool = False,
) -> Verification:
    """Compare the bake and `files` with the hooks on `seeds`.

    Raises GanpatchError when the patch is for another model, or a file cannot be run on the generator's inputs.
    """
    check_model(generator.module, patch, allow_other_weights=allow_other_weights)
    runners = {str(path): open_runner(path, generator, key) for path in files}
    with TemporaryDirectory() as scratch:
        runners |= _own(generator, patch, Path(scratch), allow_other_weights)
        return _compared(generator, patch, runners, seeds)


def _compared(generator: Generator, patch: Patch, runners: dict[str, Runner], seeds: Sequence[int]) -> Verification:
    plain = Runner(kind="module", run=lambda inputs: output_of(generator.module, inputs), tolerance=0.0)
    wanted: dict[int, torch.Tensor] = {}
    for part in batched(seeds, _BATCH):
        inputs = generator.inputs_of(part)
        output = output_of(generator.module, inputs, patch.edits)
        wanted |= dict(zip(part, output, strict=True))
    largest = max(output.abs().max().item() for output in wanted.values())
    return Verification(
        effect=_beside(generator, "original", plain, wanted, largest),
        candidates=tuple(_beside(generator, name, runner, wanted, largest) for name, runner in runners.items()),
        largest_output=largest,
    )


def _own(generator: Generator, patch: Patch, folder: Path, allow_other_weights: bool) -> dict[str, Runner]:
    """Return what `apply` would write: baked weights, or a patched graph."""
    if not isinstance(generator.module, Backend):
        return {"baked": _baked(generator, patch, allow_other_weights)}
    from ganpatch.export.onnx_export import export_onnx  # onnx takes long to import

    patched = export_onnx(generator, folder / "patched.onnx", patch=patch, allow_other_weights=allow_other_weights)
    return {"patched": open_runner(patched.path, generator)}


def _baked(generator: Generator, patch: Patch, allow_other_weights: bool) -> Runner:
    baked = bake(generator, patch, allow_other_weights=allow_other_weights)
    module = baked.module(generator.module)
    inserted = len(baked.inserted)
    kind = f"weights, {inserted} edits as hooks" if inserted else "weights"
    return Runner(
        kind=kind, run=lambda inputs: output_of(module, inputs, baked.inserted), tolerance=TOLERANCES["float32"]
    )


def _beside(
    generator: Generator, name: str, runner: Runner, wanted: dict[int, torch.Tensor], largest: float
) -> Agreement:
    """Run one candidate on all seeds, in batches of the size that it takes."""
    seeds = list(wanted)
    size = runner.batch or _BATCH
    gaps: dict[int, Gap] = {}
    for part in batched(seeds, size):
        asked = [*part, *seeds[: size - len(part)]] if runner.batch else list(part)  # a fixed batch is filled up
        inputs = generator.inputs_of(asked)
        with explained(f"'{name}' cannot be run on these inputs"):
            output = runner.run(inputs)
        gaps |= {seed: compared(wanted[seed].unsqueeze(0), output[row : row + 1]) for row, seed in enumerate(part)}
    worst = max(gaps, key=lambda seed: gaps[seed].largest)
    return Agreement(
        name=name,
        kind=runner.kind,
        largest=gaps[worst].largest,
        mean=sum(gap.mean for gap in gaps.values()) / len(gaps),
        seed=worst,
        place=gaps[worst].place[1:],
        tolerance=runner.tolerance * largest,
    )
