"""Study the bundled generator: what ships with it so that the studio opens with brushes and on a good image.

    python -m tools.training.study_churches          # ten minutes on one core; resumed where it was interrupted

Writes ganpatch/families/churches/study: causes of trees and doors, a dissection without its pictures, the edits of
patches/churches.yaml, and the images to begin with. Studies are kept in runs/study.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import click
import torch
from torch import Tensor

import ganpatch
from ganpatch import Effort, Generator, Patch, dissect, load_segmenter
from ganpatch.causes.result import MANIFEST, Causes
from ganpatch.disk.json_files import write_section
from ganpatch.dissection.result import Dissection
from ganpatch.families.churches import STUDY, scenes
from ganpatch.pages.image_grids import thumbnails
from ganpatch.patch.applying import edits_applied
from ganpatch.patch.edit import Edit
from ganpatch.patch.evidence import Evidence
from ganpatch.patch.patch_file import Model
from ganpatch.runs.cause_run import cause_to_folder
from ganpatch.runs.run_folder import RunFolder
from ganpatch.segmenters.loading import Segmenter
from ganpatch.studio.bundled import CAUSES, DISSECTION, FIRST, PATCH, FirstImages
from ganpatch.studio.painting import LayerShape, Painting, painted_edit
from ganpatch.studio.palette import Palette
from ganpatch.studio.state import Point
from ganpatch.studio.strokes import Mode, Stroke

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "runs" / "study"
LAYER, CONCEPTS = "layer4", ("tree", "door")
EFFORT = Effort.over(128, 64, steps=150, counts=(20,))
SEEDS = range(300)  # of the dissection
TRIED = range(80)  # images to begin with
FAULT, FAULT_EDIT = "date stamp", "stamp"
RADIUS = 13  # of the brush, as the page opens with it
_EDGE = 8  # of thumbnails: the studio ranks images of its own


def studied_causes(generator: Generator, segmenter: Segmenter) -> Causes:
    """Find the causes of the concepts, and write them without their report."""
    folder = RUNS / "causes"
    if (folder / MANIFEST).is_file():
        found = Causes.load(folder)
    else:
        run = RunFolder(folder, resume=True, say=click.echo)
        found = cause_to_folder(generator, segmenter, run, LAYER, CONCEPTS, EFFORT, context=True)
    found.save(STUDY / CAUSES)
    return found


def studied_dissection(generator: Generator, segmenter: Segmenter) -> Dissection:
    """Dissect the layer; of the ranking only what a dissection must have."""
    found = dissect(generator, segmenter, [LAYER], SEEDS, k=1)
    seeds = sorted(found.ranking.thumbnails)
    small = thumbnails(generator.sample(seeds), _EDGE)
    ranking = replace(found.ranking, thumbnails=dict(zip(seeds, small, strict=True)))
    found = replace(found, ranking=ranking)
    found.save(STUDY / DISSECTION)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A stroke of a brush at one place, and how much of the concept's pixels under it come or go, as a share."""

    place: tuple[float, float]
    gain: float


class Trials:
    """Strokes as in the studio, on single images."""

    def __init__(self, generator: Generator, segmenter: Segmenter, causes: Causes) -> None:
        self.generator, self.segmenter = generator, segmenter
        self.palette = Palette({LAYER: causes.channels}, lambda _layer: {})
        self.palette.add_causes(causes)
        self.shape = LayerShape(causes.channels, causes.size)

    def best(self, seed: int, concept: str, mode: Mode, places: list[tuple[int, int]]) -> Trial:
        """Return the best of some places (x, y) for a stroke."""
        found = [self._at(seed, concept, mode, place) for place in places]
        return max(found, key=lambda trial: trial.gain, default=Trial(place=(0.0, 0.0), gain=-1.0))

    def _at(self, seed: int, concept: str, mode: Mode, place: tuple[int, int]) -> Trial:
        before = self.generator.sample([seed])
        with edits_applied(self.generator.module, [self._edit(seed, concept, mode, place, before)]):
            after = self.generator.sample([seed])
        index, (height, width) = self.segmenter.index(concept), before.shape[2:]
        near = _disc(place, RADIUS, (height, width))
        shares = [(self.segmenter.labels(images)[0] == index)[near].float().mean().item() for images in (before, after)]
        gain = shares[0] - shares[1] if mode == "remove" else shares[1] - shares[0]
        return Trial(place=(round(place[0] / width, 3), round(place[1] / height, 3)), gain=gain)

    def _edit(self, seed: int, concept: str, mode: Mode, place: tuple[int, int], image: Tensor) -> Edit:
        brush = self.palette.find(f"concept:{LAYER}:{concept}", ())
        size = (image.shape[2], image.shape[3])
        stroke = Stroke(radius=RADIUS, points=((float(place[0]), float(place[1])),))
        painting = Painting(brush=brush.name, mode=mode, count=20, point=Point(seed=seed), size=size, strokes=(stroke,))
        edit = painted_edit(brush, painting, self.shape)
        assert edit is not None
        return edit


def _disc(place: tuple[int, int], radius: float, size: tuple[int, int]) -> Tensor:
    ys, xs = torch.arange(size[0]).view(-1, 1), torch.arange(size[1])
    return (xs - place[0]) ** 2 + (ys - place[1]) ** 2 <= radius**2


def first_images(generator: Generator, segmenter: Segmenter, causes: Causes) -> FirstImages:
    """Choose the image on which taking a tree away and putting a door on a wall show best, and one with a stamp."""
    (latents,) = generator.inputs_of(TRIED)
    drawn = [scenes.draw_slots(row) for row in latents.numpy()]
    trials = Trials(generator, segmenter, causes)
    found = []
    for seed, scene in zip(TRIED, drawn, strict=True):
        trees, walls = _centres(scene.labels, "tree"), _centres(scene.labels, "building")
        if scene.faults or not trees or not walls:
            continue
        tree = trials.best(seed, "tree", "remove", trees)
        wall = trials.best(seed, "door", "insert", walls)
        found.append((min(tree.gain, 2 * wall.gain), seed, tree, wall))
    score, seed, tree, wall = max(found, key=lambda one: one[0])
    click.echo(f"seed {seed}: tree {tree}, wall {wall}, score {score:.2f} of {len(found)} images")
    faulty = next(seed for seed, scene in zip(TRIED, drawn, strict=True) if set(scene.faults) == {FAULT})
    return FirstImages(layer=LAYER, seed=seed, tree=tree.place, wall=wall.place, faulty=faulty, fault=FAULT_EDIT)


def _centres(labels: object, concept: str) -> list[tuple[int, int]]:
    """Return places (x, y) on a grid around which a disc is mostly one concept."""
    here = torch.as_tensor(labels) == scenes.CONCEPTS.index(concept)
    places = [(x, y) for y in range(16, 116, 8) for x in range(12, 120, 8)]
    inside = [
        (here[_disc(place, RADIUS / 2, (here.shape[0], here.shape[1]))].float().mean().item(), place)
        for place in places
    ]
    return [place for share, place in sorted(inside, reverse=True)[:2] if share > 0.6]


@click.command()
def main() -> None:
    torch.set_flush_denormal(True)
    generator = ganpatch.load("churches")
    segmenter = load_segmenter("churches", generator)
    causes = studied_causes(generator, segmenter)
    studied_dissection(generator, segmenter)
    patch = Patch.load(ROOT / "patches" / "churches.yaml")
    assert patch.model == Model.of(generator.name, generator.fingerprint)
    kept = Evidence().with_records(patch.evidence.choices().records)
    patch.model_copy(update={"evidence": kept}).save(STUDY / PATCH)
    write_section(STUDY / FIRST, first_images(generator, segmenter, causes))
    for lock in STUDY.rglob(".*"):
        lock.unlink() if lock.is_file() else shutil.rmtree(lock)
    click.echo(f"{sum(path.stat().st_size for path in STUDY.rglob('*') if path.is_file()) // 1000} kB in {STUDY}")


if __name__ == "__main__":
    main()
