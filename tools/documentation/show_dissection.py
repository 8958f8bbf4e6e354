"""What dissection and intervention find in the bundled generator; writes docs/dissection.md and its pictures.

    python -m tools.documentation.show_dissection             # about half an hour on two cores
    python -m tools.documentation.show_dissection --part strokes

Each part keeps its figures in runs/show/PART.json; the page is written from all of them.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image

import ganpatch
from ganpatch import Effort, Generator, load_segmenter
from ganpatch.causes.concept_patches import ConceptChoice, ConceptImages, remove_concept
from ganpatch.causes.result import Causes
from ganpatch.causes.search import HELD_OUT, TRAINING
from ganpatch.dissection.report import units_sheet
from ganpatch.dissection.result import LEAST_IOU, Dissection
from ganpatch.forward.activations import batched, stream
from ganpatch.pages.image_grids import save_picture
from ganpatch.runs.cause_run import cause_to_folder
from ganpatch.runs.dissection_run import dissect_to_folder
from ganpatch.runs.run_folder import RunFolder
from ganpatch.segmenters import strokes
from ganpatch.segmenters.kept_activations import KeptActivations
from ganpatch.segmenters.loading import Segmenter

ROOT = Path(__file__).resolve().parents[2]
RUNS, DOCS = ROOT / "runs" / "show", ROOT / "docs"
LAYERS = ["layer2", "layer4", "layer6", "layer8"]
LAYER, REMOVED, INSERTED = "layer4", "tree", "door"
MEASURED = range(500_000, 500_512)
PAINTED, TESTED = range(600_000, 600_016), range(610_000, 610_200)

_GROUPS = 4  # of labelled images, at most

Figures = dict[str, Any]


def dissected(generator: Generator, segmenter: Segmenter) -> Figures:
    """Dissect four layers over 1000 images."""
    folder = RUNS / "dissection"
    found = dissect_to_folder(
        generator,
        segmenter,
        RunFolder(folder, overwrite=True, resume=True),
        LAYERS,
        range(1000),
        progress=_told("dissect"),
    )
    layer = found[LAYER]
    known = [concept for place, concept in enumerate(found.concepts) if layer.iou[:, place].max() > LEAST_IOU]
    sheets = []
    for concept in known:
        unit = int(layer.iou[:, found.index(concept)].argmax())
        sheets.append(np.asarray(units_sheet(found, LAYER, concept, [unit])))
    save_picture(Image.fromarray(np.concatenate(sheets)), DOCS / "dissection-units.png")
    return {
        "seconds": round(found.ranking.seconds),
        "thresholds": found.threshold_seeds,
        "shares": dict(zip(found.concepts, found.shares, strict=True)),
        "known": known,
        "rows": [
            [concept, *(_cell(found, name, place) for name in LAYERS)] for place, concept in enumerate(found.concepts)
        ],
        "interpretable": {name: int(found.interpretable(name).sum()) for name in LAYERS},
        "units": {name: found[name].iou.shape[0] for name in LAYERS},
    }


def _cell(found: Dissection, layer: str, place: int) -> str:
    best, unit = found[layer].iou[:, place].max(0)
    return f"{best:.3f} (unit {int(unit)}), {len(found.units_of(layer, found.concepts[place]))}"


def caused(generator: Generator, segmenter: Segmenter) -> Figures:
    """Find what causes trees and doors, take trees away, put doors in."""
    folder = RUNS / "causes"
    started = time.monotonic()
    causes = cause_to_folder(
        generator, segmenter, RunFolder(folder, overwrite=True, resume=True), LAYER, [REMOVED, INSERTED],
        Effort(single=True), context=True, progress=_told("cause"),
    )  # fmt: skip
    (DOCS / "dissection-doors.png").write_bytes((folder / "insertions-1.png").read_bytes())
    (DOCS / "dissection-trees.png").write_bytes((folder / "without-0.png").read_bytes())
    return {
        "seconds": round(time.monotonic() - started),
        "curves": {name: [curve.model_dump() for curve in found.curves] for name, found in causes.concepts.items()},
        "context": [row.model_dump() for row in causes[INSERTED].context],
        "removal": _removal(causes, generator, segmenter),
    }


def _removal(causes: Causes, generator: Generator, segmenter: Segmenter) -> Figures:
    made = remove_concept(
        causes,
        ConceptChoice(concept=REMOVED),
        ConceptImages(generator=generator, segmenter=segmenter, seeds=MEASURED),
    )
    made.patch.save(RUNS / "no-trees.yaml")
    return {
        "removed": made.change.removed(REMOVED),
        "rows": made.change.rows(),
        "units": list(made.patch.edits[0].units),
    }


def probed(generator: Generator, segmenter: Segmenter) -> Figures:
    """Fit probes to 1, 4, 8 and 16 labelled images and compare them with the U-Net on others."""
    layers = strokes.feature_layers(generator)
    labels = [strokes.Painted(seed=seed, labels=segmenter.labels(generator.sample([seed]))[0]) for seed in PAINTED]
    found: Figures = {"layers": list(layers), "rows": []}
    for count in (1, 4, 8, 16):
        found["rows"].append([count, *_of_groups(generator, segmenter, list(batched(labels, count))[:_GROUPS])])
    return found


def _of_groups(
    generator: Generator, segmenter: Segmenter, groups: Sequence[Sequence[strokes.Painted]]
) -> tuple[int, list[float], list[float]]:
    """Fit a probe to each group of labelled images; return their number, pixel agreements and mean IoUs."""
    agreements, means = [], []
    for group in groups:
        concepts, painted = _present(segmenter, group)
        iou, accuracy = _agreement(generator, segmenter, strokes.fit("probe", concepts, painted, generator))
        agreements.append(accuracy)
        means.append(sum(iou.values()) / len(segmenter.concepts))
    return len(groups), agreements, means


def _present(segmenter: Segmenter, painted: Sequence[strokes.Painted]) -> tuple[list[str], list[strokes.Painted]]:
    """Keep the concepts that the labelled images have: nobody could paint the others."""
    held = torch.cat([one.labels.flatten() for one in painted]).unique().tolist()
    places = torch.full((len(segmenter.concepts),), -1)
    places[held] = torch.arange(len(held))
    return [segmenter.concepts[place] for place in held], [
        strokes.Painted(seed=one.seed, labels=places[one.labels]) for one in painted
    ]


def _agreement(generator: Generator, segmenter: Segmenter, probe: Segmenter) -> tuple[dict[str, float], float]:
    """Return the IoU of probe and U-Net per concept (0 where the probe lacks it), and the pixel accuracy."""
    names = list(segmenter.concepts)
    own = torch.tensor([names.index(concept) for concept in probe.concepts])
    kept = KeptActivations(probe.layers)
    both, either, right, total = torch.zeros(len(names)), torch.zeros(len(names)), 0, 0
    for _, images in stream(generator, kept.watch(), TESTED):
        assert images is not None
        guessed, wanted = own[kept.labels(probe, images)], segmenter.labels(images)
        right, total = right + int((guessed == wanted).sum()), total + wanted.numel()
        for place in range(len(names)):
            both[place] += ((guessed == place) & (wanted == place)).sum()
            either[place] += ((guessed == place) | (wanted == place)).sum()
    return dict(zip(names, (both / either.clamp(min=1)).tolist(), strict=True)), right / total


def _told(what: str) -> Callable[[int, int], None]:
    last = [0.0]

    def progress(done: int, total: int) -> None:
        if time.monotonic() - last[0] > 20:
            print(f"{what} {done}/{total}", flush=True)
            last[0] = time.monotonic()

    return progress


PARTS = {"dissected": dissected, "caused": caused, "strokes": probed}


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(list(PARTS)), help="Only these.  [default: all]")
@click.option("--page-only", is_flag=True, help="Write the page from what is there.")
def main(parts: tuple[str, ...], page_only: bool) -> None:
    torch.set_flush_denormal(True)
    RUNS.mkdir(parents=True, exist_ok=True)
    if not page_only:
        generator = ganpatch.load("churches")
        segmenter = load_segmenter("churches", generator)
        for part in parts or PARTS:
            figures = PARTS[part](generator, segmenter)
            (RUNS / f"{part}.json").write_text(json.dumps(figures, indent=1))
    found = {part: json.loads((RUNS / f"{part}.json").read_text()) for part in PARTS}
    (DOCS / "dissection.md").write_text(page(**found))


def page(dissected: Figures, caused: Figures, strokes: Figures) -> str:
    lines = (ROOT / "tools" / "documentation" / "dissection_page.md").read_text()
    shares = dissected["shares"]
    layers = " | ".join(f"{name}: {n} of {dissected['units'][name]}" for name, n in dissected["interpretable"].items())
    best = "\n".join(f"| {row[0]} | {shares[row[0]]:.1%} | {' | '.join(row[1:])} |" for row in dissected["rows"])
    curves = caused["curves"][REMOVED]
    counts = curves[0]["units"]
    orders = "\n".join(f"| {c['by']} | " + " | ".join(f"{share:.1%}" for share in c["removed"]) + " |" for c in curves)
    effects = "\n".join(f"| {c['by']} | " + " | ".join(f"{ace:+.2f}" for ace in c["ace"]) + " |" for c in curves)
    changes = "\n".join(f"| {' | '.join(row)} |" for row in caused["removal"]["rows"])
    context = "\n".join(f"| {row['before']} | {row['places']} | {row['gain']:+.3f} |" for row in caused["context"])
    probes = "\n".join(
        f"| {count} | {groups} | {_mean(accuracies):.1%} | {_mean(means):.3f} ({min(means):.3f} to {max(means):.3f}) |"
        for count, groups, accuracies, means in strokes["rows"]
    )
    return lines.format(
        known=len(dissected["known"]), known_names=", ".join(dissected["known"]), layer_names=" | ".join(LAYERS),
        rule="|".join(["---"] * (2 + len(LAYERS))), layers=layers, best=best, thresholds=dissected["thresholds"],
        counts=" | ".join(map(str, counts)), count_rule="|".join(["---"] * (1 + len(counts))), orders=orders,
        effects=effects, changes=changes, context=context, probes=probes, removed=f"{caused['removal']['removed']:.1%}",
        units=", ".join(map(str, caused["removal"]["units"])), training=f"{TRAINING.start} to {TRAINING.stop - 1}",
        held_out=f"{HELD_OUT.start} to {HELD_OUT.stop - 1}", measured=f"{MEASURED.start} to {MEASURED.stop - 1}",
        painted=f"{PAINTED.start} to {PAINTED.stop - 1}", tested=f"{TESTED.start} to {TESTED.stop - 1}",
        probe_layers=", ".join(strokes["layers"]),
    )  # fmt: skip


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)


if __name__ == "__main__":
    main()
