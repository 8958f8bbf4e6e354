"""Make the patches that ship from units flagged by looking, measure them, and draw the change.

    python -m tools.patches.make_patches                # writes patches/*.yaml and patches/*.png
    python -m tools.patches.make_patches --evaluate     # only measures them again, against a reference

The flags below were made on the review pages of `ganpatch rank churches` and `ganpatch rank runs/faces.tar` (seeds 0 to
999). For churches the page was sorted by how much of the dark each unit removes, when it is switched off, from the 40
most smeared skies of seeds 0 to 511. The figures are measured on other seeds, with random-unit baselines in the same
layer.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ganpatch
from ganpatch import Edit, Generator, Patch, Sample
from ganpatch.evaluation.evaluator import Choices
from ganpatch.evaluation.report import write_evaluation
from ganpatch.families.churches.scenes import CONCEPTS, SLOTS, draw_slots
from ganpatch.finding.image_features import load_features
from ganpatch.forward.activations import list_layers
from ganpatch.generator.latents import draw_inputs, parse_latent
from ganpatch.pages.image_grids import Pixels
from ganpatch.patch.evidence import Evidence, Figure, Record
from ganpatch.patch.patch_file import Model, Provenance
from tools.patches.fetch_faces import FACES

PATCHES = Path(__file__).resolve().parents[2] / "patches"
REPORTS = PATCHES.parent / "runs" / "evaluations"  # large pages: not kept in git
MEASURED = range(10_000, 12_000)
EVALUATED = range(20_000, 20_500)
SHOWN = range(1_000, 1_512)
DRAWS = 5

MADE_BY = "tools/patches/make_patches.py"
KEYS = ("precision", "recall", "density", "coverage")

Flags = dict[str, Sequence[int]]

FACE_FLAGS: Flags = {
    "black bar at the left or right border": (10, 21, 25, 143, 144, 163, 173, 251),
    "green and yellow smears over face and background": (111, 132, 140, 182, 207),
    "cage or red streaks across the face": (38, 62, 102, 119, 195, 255),
}


CHURCH_FLAGS: Flags = {
    "dark smears and ghosts in the sky": (26, 41, 50, 54, 91, 95, 102, 116, 224, 226, 233, 238, 243),
    "night sky that leaks into the other times of day": (22, 34, 39, 162, 207, 218, 253),
}


def smeared_skies(pixels: Pixels) -> float:
    """The share of images with over 15 % of the sky darker, by 50 of 255, than in the scene that z describes."""
    light, sky = described_scenes()
    dark = (light - pixels.astype(np.float32).mean(3) > 50) & sky
    return float((dark.sum((1, 2)) > 0.15 * sky.sum((1, 2))).mean())


@functools.cache
def described_scenes() -> tuple[np.ndarray, np.ndarray]:
    """Draw the scenes that the latents of MEASURED describe: their lightness and where their sky is, [N, 64, 64]."""
    (z,) = draw_inputs(parse_latent("normal:96"), None, MEASURED)
    scenes = [draw_slots(row[:SLOTS].numpy().astype(float)) for row in z]
    images, labels = np.stack([scene.image for scene in scenes]), np.stack([scene.labels for scene in scenes])
    return images.astype(np.float32).mean(3), labels <= CONCEPTS.index("cloud")


def black_bars(pixels: Pixels) -> float:
    """The share of images whose outer four columns, left or right, are at least nine tenths near-black."""
    dark = pixels.max(3) < 16
    return float(((dark[:, :, :4].mean((1, 2)) > 0.9) | (dark[:, :, -4:].mean((1, 2)) > 0.9)).mean())


def green_smears(pixels: Pixels) -> float:
    """The share of images of which more than three tenths are greener than red and blue by 12 of 255."""
    colours = pixels.astype(np.int16)
    green = colours[..., 1] - np.maximum(colours[..., 0], colours[..., 2]) > 12
    return float((green.mean((1, 2)) > 0.3).mean())


Measures = dict[str, Callable[[Pixels], float]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A model, what was flagged in it, and what to measure."""

    model: str
    layer: str
    flags: Flags
    measures: Measures
    description: str


JOBS = {
    "churches": Job(
        model="churches",
        layer="layer4",
        flags=CHURCH_FLAGS,
        measures={"smeared_skies": smeared_skies},
        description="Dark smears in the sky, most of them night that leaks into day, dusk and overcast.",
    ),
    "faces": Job(
        model=str(FACES),
        layer="main.5",
        flags=FACE_FLAGS,
        measures={"black_bars": black_bars, "green_smears": green_smears},
        description="Black bars, green smears and cages on the faces of gan-face-generate 1.1.1.",
    ),
}


def make(generator: Generator, job: Job) -> Patch:
    """Make a patch, and put its figures, before, after and for random units, into its evidence."""
    layer, flags = job.layer, job.flags
    channels = next(fact.units for fact in list_layers(generator) if fact.name == layer)

    def patch_of(groups: Flags, **fields: object) -> Patch:
        edits = [
            Edit(
                id=f"{layer.replace('.', '-')}-{n}", layer=layer, channels=channels, units=sorted(units), reason=reason
            )
            for n, (reason, units) in enumerate(groups.items(), 1)
        ]
        model = Model.of(generator.name, generator.fingerprint)
        return Patch(name=generator.name, description=job.description, model=model, edits=edits, **fields)

    patch = patch_of(flags)
    before, after = drawn(generator, None), drawn(generator, patch)
    count = sum(len(units) for units in flags.values())
    draw = np.random.default_rng(0)
    random = [
        drawn(generator, patch_of({"random": draw.choice(channels, count, replace=False).tolist()}))
        for _ in range(DRAWS)
    ]
    figures = {
        name: Figure(
            what=" ".join((measure.__doc__ or "").split()),
            before=round(measure(before), 4),
            after=round(measure(after), 4),
            random=[round(measure(pixels), 4) for pixels in random],
        )
        for name, measure in job.measures.items()
    }
    chosen = Record(made_by="review", chosen_on=range(1000))
    measured = Record(made_by=MADE_BY, measured_on=MEASURED, baselines=DRAWS, figures=figures)
    created = "2026-11-23T00:00:00Z"  # the same file every time
    provenance = Provenance.now().model_copy(update={"created": created})
    return patch_of(flags, evidence=Evidence.of(chosen, measured), provenance=provenance)


def with_evaluation(generator: Generator, patch: Patch) -> Patch:
    """Put an evaluation into a patch's evidence, and its report beside the other runs."""
    features = load_features("churches" if generator.name == "churches" else "plain")
    choices = Choices(seeds=EVALUATED, features=features, references=len(EVALUATED))
    evaluation = ganpatch.evaluate(generator, patch, choices)
    write_evaluation(evaluation, REPORTS / f"{generator.name}.html")
    return patch.with_record(evaluation.record())


def drawn(generator: Generator, patch: Patch | None) -> Pixels:
    return Sample(generator, MEASURED, patch).pixels()


def main() -> None:
    only = "--evaluate" in sys.argv
    for name in [word for word in sys.argv[1:] if word in JOBS] or JOBS:
        job = JOBS[name]
        generator = ganpatch.load(job.model)
        patch = with_evaluation(generator, Patch.load(PATCHES / f"{name}.yaml") if only else make(generator, job))
        patch.save(PATCHES / f"{name}.yaml")
        if not only:
            Sample(generator, SHOWN, patch).pairs(first=16).save(PATCHES / f"{name}.png")
        print(f"{name}.yaml: {patch.evidence}")
    (PATCHES / "README.md").write_text(overview())


def overview() -> str:
    """Describe every patch in the folder, its units and its figures, as Markdown."""
    parts = [
        "# Patches that ship",
        "",
        "`tools/patches/make_patches.py` writes this page and the patches. The units were flagged by looking at the "
        "review pages of 1000 samples (seeds 0 to 999). The figures are measured on seeds "
        f"{MEASURED.start} to {MEASURED.stop - 1}, with {DRAWS} random-unit baselines: the same number of random units "
        "of the same layer. The pictures show the most changed of seeds "
        f"{SHOWN.start} to {SHOWN.stop - 1}, before and after.",
    ]
    for path in sorted(PATCHES.glob("*.yaml")):
        patch = Patch.load(path)
        parts += ["", f"## {path.stem}", "", patch.description or "", "", f"![before and after]({path.stem}.png)", ""]
        parts += ["| units | layer | why |", "|---|---|---|"]
        parts += [f"| {', '.join(map(str, edit.units))} | `{edit.layer}` | {edit.reason} |" for edit in patch.edits]
        parts += ["", "| measure | before | after | random units |", "|---|---|---|---|"]
        measured = patch.evidence.by(MADE_BY)
        for name, figure in measured.figures.items() if measured else ():
            before, after, *random = (f"{100 * number:.2f} %" for number in numbers(figure))
            parts.append(f"| {name.replace('_', ' ')}: {figure.what} | {before} | {after} | {', '.join(random)} |")
        parts += evaluated(patch.evidence.by("ganpatch evaluate"))
    return "\n".join(parts) + "\n"


def numbers(figure: Figure) -> list[float]:
    """Return a figure before, after, and with each set of random units."""
    assert figure.before is not None
    assert figure.after is not None
    return [figure.before, figure.after, *figure.random]


def evaluated(record: Record | None) -> list[str]:
    """Describe an evaluation: the verdict, the scores, and the figures of all and of the most active images."""
    if record is None:
        return []
    score, figures = record.settings["score"], record.figures
    names = {"score": score, "frechet": "Fréchet distance", **{key: key for key in KEYS}}
    if "Fréchet" in score:
        del names["frechet"]
    parts = [
        "",
        record.note,
        "",
        f"Reference: {record.reference}; features: {record.settings['features']}; seeds {record.measured_on}.",
        "",
        f"| images | {' | '.join(names.values())} |",
        "|---" * (1 + len(names)) + "|",
    ]
    for where, words in (("most", "the fifth that most activates the units"), ("all", "all images")):
        pairs = [numbers(figures[f"{where}_{name}"]) for name in names]
        parts.append(f"| {words} | {' | '.join(f'{before:.3g} to {after:.3g}' for before, after in pairs)} |")
    changes = sorted(100 * change for change in figures["most_change"].random)
    unchanged, ssim, psnr = (figures[f"fine_{name}"].value for name in ("unchanged", "ssim", "psnr"))
    parts += [
        "",
        f"Change of the {score} with {len(changes)} random-unit baselines, each on its own most active images: "
        f"{changes[0]:+.1f} % to {changes[-1]:+.1f} %, median {changes[len(changes) // 2]:+.1f} %.",
        "",
        f"Images that were fine, the half that activates the units least: {unchanged:.0%} unchanged, "
        f"SSIM {ssim:.3f}, PSNR {psnr:.1f} dB.",
    ]
    return parts


if __name__ == "__main__":
    main()
