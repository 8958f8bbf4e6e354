"""ganpatch: repair a trained image generator by switching off the units that draw artifacts.

    import ganpatch
    generator = ganpatch.load("churches")                       # or load("model.pt", arch="net.py:Generator", …)
    ranking = ganpatch.rank(generator, layers=["layer4"])       # top-activating images of every unit
    patch = ganpatch.Patch.load("fix.yaml")
    with ganpatch.applied(generator.module, patch):
        images = generator.sample(range(16))                    # [16, 3, H, W] in [0, 1]

The flow is one-way, and every stage reads a file and writes a file:

    model -> activations -> ranking -> review -> patch -> apply | bake -> repair | export -> verify
                        \\-> dissection -> causes -^

Rooms, from the ground up. A room imports only from rooms above it in this list (tests/project/test_architecture.py);
the `__init__.py` of each says what lives there:

    errors, version, option_values, number_ranges, plugins, torchvision_import
                   the one error; the version; the words that options take; "3,17-19"; what installed packages add;
                   torchvision on a CPU build
    disk           writing our own files: whole or not at all, locked
    untrusted      reading what others wrote; nothing in a file is executed
    generator      a generator as all rooms see it: inputs from seeds, images out, layers watched and edited
    forward        passes over many seeds: stream, resume, interrupt, several processes
    patch          one edit and THE equation; the patch file and its evidence; a patch as hooks
    graph          a model as operations; running only the layers after one of them
    fold           pushing edits into parameters, with the proof
    families       one file per generator family; loading and probing; the bundled generator
    pages          what every page and picture shares
    segmenters     concept masks, one file per kind
    ranking        the top-activating images of every unit
    finding        which units draw artifacts, one file per method
    review         the review page, verdicts, flags to patch
    dissection     the concept that each unit represents
    causes         which units cause a concept; patches that remove or insert it
    evaluation     does a patch help, against baselines; how strong must it be
    export         repaired weights, patched graphs, their proof, and the way back
    runs           a run folder per stage
    studio         all of it by hand in the browser
    cli            one file per command, no logic

Shapes: N images, C units (channels) of a layer, h x w its maps, K top images per unit, Z the latent.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ganpatch.version import VERSION as __version__

# The public names by module. A module is imported when one of its names is first asked for.
_NAMES = {
    "causes.result": "Causes",
    "causes.search": "Effort find_causes",
    "dissection.dissector": "dissect",
    "dissection.result": "Dissection",
    "errors": "GanpatchError",
    "evaluation.evaluator": "Evaluation evaluate",
    "export.onnx_export": "export_onnx",
    "export.repairing": "repair",
    "families.family": "Built",
    "families.loading": "load",
    "finding.image_features": "Features load_features",
    "finding.suggestions": "Found",
    "finding.task": "Task",
    "fold.baking": "Baked Decision Proof bake",
    "generator.fingerprints": "Fingerprint fingerprint",
    "generator.generator": "Generator",
    "generator.latents": "parse_latent",
    "pages.samples": "Sample",
    "patch.applying": "applied",
    "patch.combining": "diff_patches merge_patches patch_rows",
    "patch.edit": "Edit Mask",
    "patch.evidence": "Evidence Figure Record",
    "patch.patch_file": "Patch",
    "ranking.ranker": "rank",
    "ranking.result": "LayerRanking Ranking",
    "review.page": "write_page",
    "segmenters.loading": "load_segmenter",
    "segmenters.segmenter": "Segmenter",
}
MODULE_OF = {name: f"ganpatch.{module}" for module, names in _NAMES.items() for name in names.split()}

if TYPE_CHECKING:  # the same names, for type checkers and editors
    from ganpatch.causes.result import Causes as Causes
    from ganpatch.causes.search import Effort as Effort
    from ganpatch.causes.search import find_causes as find_causes
    from ganpatch.dissection.dissector import dissect as dissect
    from ganpatch.dissection.result import Dissection as Dissection
    from ganpatch.errors import GanpatchError as GanpatchError
    from ganpatch.evaluation.evaluator import Evaluation as Evaluation
    from ganpatch.evaluation.evaluator import evaluate as evaluate
    from ganpatch.export.onnx_export import export_onnx as export_onnx
    from ganpatch.export.repairing import repair as repair
    from ganpatch.families.family import Built as Built
    from ganpatch.families.loading import load as load
    from ganpatch.finding.image_features import Features as Features
    from ganpatch.finding.image_features import load_features as load_features
    from ganpatch.finding.suggestions import Found as Found
    from ganpatch.finding.task import Task as Task
    from ganpatch.fold.baking import Baked as Baked
    from ganpatch.fold.baking import Decision as Decision
    from ganpatch.fold.baking import Proof as Proof
    from ganpatch.fold.baking import bake as bake
    from ganpatch.generator.fingerprints import Fingerprint as Fingerprint
    from ganpatch.generator.fingerprints import fingerprint as fingerprint
    from ganpatch.generator.generator import Generator as Generator
    from ganpatch.generator.latents import parse_latent as parse_latent
    from ganpatch.pages.samples import Sample as Sample
    from ganpatch.patch.applying import applied as applied
    from ganpatch.patch.combining import diff_patches as diff_patches
    from ganpatch.patch.combining import merge_patches as merge_patches
    from ganpatch.patch.combining import patch_rows as patch_rows
    from ganpatch.patch.edit import Edit as Edit
    from ganpatch.patch.edit import Mask as Mask
    from ganpatch.patch.evidence import Evidence as Evidence
    from ganpatch.patch.evidence import Figure as Figure
    from ganpatch.patch.evidence import Record as Record
    from ganpatch.patch.patch_file import Patch as Patch
    from ganpatch.ranking.ranker import rank as rank
    from ganpatch.ranking.result import LayerRanking as LayerRanking
    from ganpatch.ranking.result import Ranking as Ranking
    from ganpatch.review.page import write_page as write_page
    from ganpatch.segmenters.loading import load_segmenter as load_segmenter
    from ganpatch.segmenters.segmenter import Segmenter as Segmenter
else:
    __all__ = ["__version__", *sorted(MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name not in MODULE_OF:
        raise AttributeError(f"module 'ganpatch' has no attribute '{name}'")
    value = getattr(import_module(MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *MODULE_OF})
