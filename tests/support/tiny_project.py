"""Two tiny generators, and a folder with a model, a run, a dissection and files with a patch of them."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

import ganpatch
from tests.support.nets import dcgan
from tests.support.painter import eye, painter
from tests.support.shared import patch_for

SEEDS = range(500, 564)
BOUND = ganpatch.Bound(damage=1.0, seeds=SEEDS, references=40)
QUICK = ganpatch.Effort(steps=3, seeds=range(16), held_out=range(100, 116), counts=(1,))


@dataclass(frozen=True)
class Setup:
    """Two tiny generators, of which `painter` has units with known concepts, and a folder with what functions read."""

    folder: Path
    dcgan: ganpatch.Generator
    painter: ganpatch.Generator
    causes: ganpatch.Causes

    @classmethod
    def made(cls, folder: Path) -> "Setup":
        """Fill a folder with what functions read."""
        module, _ = dcgan()
        torch.save(module.state_dict(), folder / "model.pt")
        generator, draws = ganpatch.load(folder / "model.pt"), painter()
        causes = ganpatch.find_causes(draws, eye(), "maps", ["red"], QUICK)
        made = cls(folder, generator, draws, causes)
        ganpatch.rank(generator, ["main.5"], range(8), k=2).save(folder / "run")
        ganpatch.suggest_for_run(folder / "run", generator, ["spike"])
        verdicts = {"format": "ganpatch-verdicts/1", "run": ganpatch.Ranking.load(folder / "run").run}
        verdicts["flags"] = [{"layer": "main.5", "unit": 1, "reason": "smear"}]
        (folder / "verdicts.json").write_text(json.dumps(verdicts))
        ganpatch.dissect(draws, eye(), ["maps"], range(8), k=2).save(folder / "dissection")
        ganpatch.export_onnx(generator, folder / "model.onnx")
        ganpatch.repair(generator, made.patch, source=folder / "model.pt", output=folder / "kept.fixed.pt")
        return made

    @cached_property
    def evaluation(self) -> ganpatch.Evaluation:
        choices = ganpatch.Choices(seeds=SEEDS, references=40, baselines=2, features=ganpatch.load_features("plain"))
        return ganpatch.evaluate(self.painter, self.painters_patch, choices)

    @cached_property
    def tuned(self) -> ganpatch.Tuned:
        return ganpatch.tune(self.painter, self.painters_patch, BOUND)

    @cached_property
    def judging(self) -> tuple[Path, Path]:
        """A patch file, and the folder of its comparison by eye."""
        path = self.folder / "judged.yaml"
        self.patch.save(path)
        few = ganpatch.PairChoices(pairs=4, seeds=range(60_000, 60_040), baselines=2)
        return path, ganpatch.prepare_judging(path, lambda: self.dcgan, few)

    @property
    def broken_images(self) -> ganpatch.Task:
        ranking = ganpatch.Ranking.load(self.folder / "run")
        return ganpatch.Task(generator=self.dcgan, ranking=ranking, broken=range(4))

    @property
    def patch(self) -> ganpatch.Patch:
        return patch_for(self.dcgan, {"layer": "main.5", "channels": 8, "units": [3]})

    @property
    def painters_patch(self) -> ganpatch.Patch:
        return patch_for(self.painter, {"layer": "maps", "channels": 6, "units": [0]})
