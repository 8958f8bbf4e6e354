"""Make the patches that ship from units flagged by looking, measure them, and draw the change.

    python -m tools.patches.make_patches                # writes patches/*.yaml and patches/*.png
    python -m tools.patches.make_patches --evaluate     # only measures them again, against a reference
    python -m tools.patches.make_patches --page         # only writes patches/README.md

The flags below were made on the review pages of 1000 samples (seeds 0 to 999). In churches one row was flagged per kind
of fault; from its top images the units are found that draw the fault together (ganpatch/finding/unit_sets.py). In the
faces every unit was flagged by its row. The figures are of other seeds, with random-unit baselines.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

import ganpatch
from ganpatch import Edit, Generator, Patch, Sample
from ganpatch.evaluation.baselines import random_edits
from ganpatch.evaluation.evaluator import Choices
from ganpatch.evaluation.measuring import watch_layers
from ganpatch.evaluation.references import SCENES
from ganpatch.evaluation.report import write_evaluation
from ganpatch.families.churches.targets import held_out_images
from ganpatch.finding.image_features import load_features
from ganpatch.finding.unit_sets import image_levels, units_of_fault
from ganpatch.forward.layer_facts import list_layers
from ganpatch.pages.image_grids import Pixels
from ganpatch.patch.evidence import Evidence, Figure, Record
from ganpatch.patch.patch_file import Model, Provenance
from tools.patches import truth
from tools.patches.fetch_faces import FACES

PATCHES = Path(__file__).resolve().parents[2] / "patches"
REPORTS = PATCHES.parent / "runs" / "evaluations"  # large pages: not kept in git
FLAGGED_ON = range(1000)
MEASURED = range(10_000, 12_000)
DESCRIBED = range(10_000, 10_600)
EVALUATED = range(20_000, 20_500)
SHOWN = range(1_000, 1_512)
DRAWS, BASELINES = 5, 20

MADE_BY = "tools/patches/make_patches.py"
KEYS = ("precision", "recall", "density", "coverage")

Flags = dict[str, Sequence[int]]

FACE_FLAGS: Flags = {
    "black bar at the left or right border": (10, 21, 25, 143, 144, 163, 173, 251),
    "green and yellow smears over face and background": (111, 132, 140, 182, 207),
    "cage or red streaks across the face": (38, 62, 102, 119, 195, 255),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A flagged row: the fault that its images share, its layer and unit, and how many units of EDITED draw it."""

    reason: str
    layer: str
    unit: int
    count: int


CHURCH_ROWS = {
    "watermark": Row(reason="white watermark across the picture", layer="layer2", unit=193, count=4),
    "flare": Row(reason="magenta lens flare", layer="layer2", unit=255, count=3),
    "stamp": Row(reason="orange date stamp", layer="layer4", unit=1, count=5),
    "border-right": Row(reason="black border at the right", layer="layer2", unit=124, count=4),
    "border-left": Row(reason="black border at the left", layer="layer2", unit=18, count=4),
}
EDITED = "layer2"  # where few units draw a fault together; docs/finding.md compares layers
TOP = 24  # images of a row


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
    """A model, how its edits are made from what was flagged, and what to measure."""

    model: str
    edits: Callable[[Generator], list[Edit]]
    measures: Measures
    description: str


def church_edits(generator: Generator) -> list[Edit]:
    """Find the units that draw each fault together, from the top images of the flagged rows."""
    levels = image_levels(generator, ["layer2", "layer4"], FLAGGED_ON)
    made, taken = [], set[int]()
    for name, row in CHURCH_ROWS.items():
        broken = [FLAGGED_ON[place] for place in levels[row.layer][:, row.unit].topk(TOP).indices.tolist()]
        found = units_of_fault(levels[EDITED], broken=broken, seeds=FLAGGED_ON, count=row.count, without=taken)
        taken |= set(found.units)
        made.append(found.edit(name, EDITED, row.reason))
    return made


def face_edits(generator: Generator) -> list[Edit]:
    """Switch off the units whose rows were flagged."""
    channels = next(fact.units for fact in list_layers(generator) if fact.name == "main.5")
    return [
        Edit(id=f"main-5-{n}", layer="main.5", channels=channels, units=sorted(units), reason=reason)
        for n, (reason, units) in enumerate(FACE_FLAGS.items(), 1)
    ]


JOBS = {
    "churches": Job(
        model="churches",
        edits=church_edits,
        measures={},
        description="Watermarks, lens flares, date stamps and black borders, learned from the training images.",
    ),
    "faces": Job(
        model=str(FACES),
        edits=face_edits,
        measures={"black_bars": black_bars, "green_smears": green_smears},
        description="Black bars, green smears and cages on the faces of gan-face-generate 1.1.1.",
    ),
}


def make(generator: Generator, job: Job) -> Patch:
    """Make a patch, and put its figures, before, after and for random units, into its evidence."""
    model = Model.of(generator.name, generator.fingerprint)
    created = "2026-11-28T00:00:00Z"  # the same file every time
    provenance = Provenance.now().model_copy(update={"created": created})
    patch = Patch(
        name=generator.name,
        description=job.description,
        model=model,
        edits=job.edits(generator),
        evidence=Evidence.of(Record(made_by="review", chosen_on=FLAGGED_ON)),
        provenance=provenance,
    )
    if generator.name == "churches":
        return patch.with_record(truth_record(generator, patch))
    return patch.with_record(_counted(generator, patch, job.measures))


def truth_record(generator: Generator, patch: Patch) -> Record:
    """Measure which faults the patch takes away, against the scenes that the latents describe."""
    before, after, *others = truth.measured(generator, patch, truth.chosen_seeds(generator, DESCRIBED), BASELINES)
    figures = {}
    for name in before:
        fields = ("outside",) if name == truth.NONE else ("visible", "inside", "outside")
        for field in fields:
            was, now = (getattr(of[name], field) for of in (before, after))
            random = [round(getattr(other[name], field), 4) for other in others]
            figures[f"{name} {field}".replace(" ", "_")] = Figure(
                what=_FIELDS[field], before=round(was, 4), after=round(now, 4), random=random
            )
    return Record(
        made_by="tools/patches/truth.py",
        measured_on=DESCRIBED,
        reference="the clean scene that each seed describes",
        baselines=BASELINES,
        figures=figures,
    )


_FIELDS = {
    "visible": "share of the images with the fault in which it is visible",
    "inside": "mean absolute error inside its mask, of 255",
    "outside": "mean absolute error outside the masks, of 255",
}


def _counted(generator: Generator, patch: Patch, measures: Measures) -> Record:
    """Count what the patch was made for, before, after and with random units of the same layers."""
    layers = watch_layers(generator, {edit.layer for edit in patch.edits}, FLAGGED_ON)
    others = [random_edits(patch.edits, layers.levels, number) for number in range(DRAWS)]
    before, after = drawn(generator, None), drawn(generator, patch)
    random = [drawn(generator, patch.model_copy(update={"edits": tuple(edits)})) for edits in others]
    figures = {
        name: Figure(
            what=" ".join((measure.__doc__ or "").split()),
            before=round(measure(before), 4),
            after=round(measure(after), 4),
            random=[round(measure(pixels), 4) for pixels in random],
        )
        for name, measure in measures.items()
    }
    return Record(made_by=MADE_BY, measured_on=MEASURED, baselines=DRAWS, figures=figures)


def with_evaluation(generator: Generator, patch: Patch) -> Patch:
    """Put an evaluation into a patch's evidence, and its report beside the other runs.

    That of churches is also compared with drawn scenes, as with photographs: by a distance between sets of images.
    """
    is_churches = generator.name == "churches"
    features = load_features("churches" if is_churches else "plain")
    choices = Choices(seeds=EVALUATED, features=features, references=2 * len(EVALUATED))
    evaluation = ganpatch.evaluate(generator, patch, choices)
    write_evaluation(evaluation, REPORTS / f"{generator.name}.html")
    patch = patch.with_record(evaluation.record())
    return with_distance(generator, patch, choices) if is_churches else patch


def with_distance(generator: Generator, patch: Patch, choices: Choices) -> Patch:
    """Put into a patch's evidence how far its images lie from drawn scenes, which are taken for photographs."""
    with tempfile.TemporaryDirectory() as folder:
        scenes = Path(folder) / "drawn scenes"
        scenes.mkdir()
        for number, image in enumerate(held_out_images(range(SCENES, SCENES + len(EVALUATED)))):
            pixels = image.permute(1, 2, 0).mul(255).round().byte().numpy()
            Image.fromarray(pixels).save(scenes / f"{number:03}.png")
        return patch.with_record(ganpatch.evaluate(generator, patch, replace(choices, real=scenes)).record())


def drawn(generator: Generator, patch: Patch | None) -> Pixels:
    return Sample(generator, MEASURED, patch).pixels()


def main() -> None:
    only = "--evaluate" in sys.argv
    if "--page" in sys.argv:
        (PATCHES / "README.md").write_text(overview())
        return
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
        parts += counted(patch.evidence.by(MADE_BY))
        parts += described(patch.evidence.by("tools/patches/truth.py"))
        records = patch.evidence.records
        for record in records:
            parts += evaluated(record) if record.made_by == "ganpatch evaluate" else []
        for record in records:
            parts += judged(record) if record.made_by.startswith("ganpatch judge") else []
    return "\n".join(parts) + "\n"


def counted(record: Record | None) -> list[str]:
    """Return the shares of images with what the patch was made for."""
    if record is None:
        return []
    parts = ["", "| measure | before | after | random units |", "|---|---|---|---|"]
    for name, figure in record.figures.items():
        before, after, *random = (f"{100 * number:.2f} %" for number in numbers(figure))
        parts.append(f"| {name.replace('_', ' ')}: {figure.what} | {before} | {after} | {', '.join(random)} |")
    return parts


def described(record: Record | None) -> list[str]:
    """Return the comparison with the scenes that the seeds describe."""
    if record is None:
        return []
    parts = [
        "",
        f"Against {record.reference}, seeds {record.measured_on}, with {record.baselines} random-unit baselines:",
        "",
    ]
    parts += ["| measure | before | after | random units |", "|---|---|---|---|"]
    for name, figure in record.figures.items():
        form = "{:.0%}" if name.endswith("visible") else "{:.2f}"
        before, after, *random = numbers(figure)
        span = f"{form.format(min(random))} to {form.format(max(random))}"
        parts.append(f"| {name.replace('_', ' ')} | {form.format(before)} | {form.format(after)} | {span} |")
    return [*parts, "", "Visible is a share of the images with the fault; errors are mean absolute errors of 255."]


def numbers(figure: Figure) -> list[float]:
    """Return a figure before, after, and with each set of random units."""
    assert figure.before is not None
    assert figure.after is not None
    return [figure.before, figure.after, *figure.random]


def judged(record: Record) -> list[str]:
    """Return the comparison by eye: how often the image with the patch, and with random units, was preferred."""
    who = record.settings.get("answered_by", "a person")
    parts = ["", f"By eye, seeds that no other step used, answered by {who}:", ""]
    parts += ["| edit and images | share preferred | 95 % interval | of |", "|---|---|---|---|"]
    for name, figure in record.figures.items():
        assert figure.value is not None
        assert figure.interval is not None
        low, high = figure.interval
        words = name.replace("baseline", "random units").replace("_preferred_", ", ").replace("most", "most active")
        parts.append(
            f"| {words} | {figure.value:.0%} | {low:.0%} to {high:.0%} | {figure.what.removeprefix('share of ')} |"
        )
    return parts


def evaluated(record: Record) -> list[str]:
    """Describe an evaluation: the verdict, the scores, and the figures of all and of the most active images."""
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
