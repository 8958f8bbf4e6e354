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

    errors, version, number_ranges, plugins, torchvision_import
                   the one error; the version; "3,17-19"; what installed packages add; torchvision on a CPU build
    disk           writing our own files: whole or not at all, locked
    untrusted      reading what others wrote; nothing in a file is executed
    generator      a generator as all rooms see it: inputs from seeds, images out, layers watched and edited
    forward        passes over many seeds: stream, resume, interrupt, several processes
    patch          one edit and THE equation; the patch file; a patch as hooks
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

from ganpatch.causes.result import Causes
from ganpatch.causes.search import Effort, find_causes
from ganpatch.dissection.dissector import dissect
from ganpatch.dissection.result import Dissection
from ganpatch.errors import GanpatchError
from ganpatch.evaluation.evaluator import Evaluation, evaluate
from ganpatch.export.onnx_export import export_onnx
from ganpatch.export.repairing import repair
from ganpatch.families.family import Built
from ganpatch.families.loading import load
from ganpatch.finding.suggestions import Found
from ganpatch.finding.task import Task
from ganpatch.fold.baking import Baked, Decision, Proof, bake
from ganpatch.generator.fingerprints import Fingerprint, fingerprint
from ganpatch.generator.generator import Generator
from ganpatch.generator.latents import parse_latent
from ganpatch.pages.samples import Sample
from ganpatch.patch.applying import applied
from ganpatch.patch.edit import Edit, Mask
from ganpatch.patch.patch_file import Patch
from ganpatch.ranking.ranker import rank
from ganpatch.ranking.result import LayerRanking, Ranking
from ganpatch.review.page import write_page
from ganpatch.segmenters.loading import load_segmenter
from ganpatch.segmenters.segmenter import Segmenter
from ganpatch.version import VERSION as __version__

__all__ = [
    "Baked",
    "Built",
    "Causes",
    "Decision",
    "Dissection",
    "Edit",
    "Effort",
    "Evaluation",
    "Fingerprint",
    "Found",
    "GanpatchError",
    "Generator",
    "LayerRanking",
    "Mask",
    "Patch",
    "Proof",
    "Ranking",
    "Sample",
    "Segmenter",
    "Task",
    "__version__",
    "applied",
    "bake",
    "dissect",
    "evaluate",
    "export_onnx",
    "find_causes",
    "fingerprint",
    "load",
    "load_segmenter",
    "parse_latent",
    "rank",
    "repair",
    "write_page",
]
