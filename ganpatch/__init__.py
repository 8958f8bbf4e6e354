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

A module imports only what stands above it in this list (tests/test_architecture.py):

    errors, version   the one error, with its near miss; the version
    locks, files, spans
                      one process per folder; files written whole or not at all; numbers as people write them, "3,17-19"
    stored            strict JSON and arrays that ganpatch writes and reads again; every safetensors file
    picture_files     pictures, no larger than photographs
    pickles, archives, torch_files, onnx_file
                      pickles and zip files of torch, ONNX files, looked through; nothing in them runs
    yaml_strict       YAML with one meaning
    layers            find a layer, hook its output; the only file that registers hooks
    identity          fingerprints of structure and weights
    network_pickle, checkpoint, program_check, programs
                      files of weights, .pt2 and TorchScript; nothing that is in them runs
    inputs, given, config
                      latents and labels from seeds, inputs from files; ganpatch.toml
    plugins           what installed packages add, by name
    compute           on which device and in which numbers forward passes run
    generator         a module, how to draw its inputs, how to read its images
    models/           ROOM: one file per family of generators; the bundled one
    stats             running TopK, moments, quantiles: update -> merge -> result
    activations       seeds -> activations and images, in batches
    interrupts, partial, processes, passes
                      signals wait for a batch's end; a long run that resumes; several processes; one pass over seeds
    edit, patch       one edit and THE equation; the patch file
    compose           patches compared and joined
    pictures, charts, report_page
                      grids, pairs, contact sheets, sprites; small SVG charts; pages to read from disk
    loopback          a server on this machine, for nobody else
    ranking           the result of ranking, and its folder
    tally, winners, rank
                      statistics of one layer; thumbnails of its best images; the pass that makes a ranking
    vision            torchvision, also where it was built for another torch
    segment/          ROOM: concept masks, one file per kind of segmenter
    iou, thresholds   how well units agree with concepts; from what level on a unit fires
    dissection, dissect
                      the result of dissecting, and its folder; the pass that makes it
    suggestions       scores that say which units draw artifacts, kept in the run folder
    apply, samples    a patch as hooks; images drawn with and without one
    unfused           convolutions with one group per image, for any batch size
    fold/             ROOM: a model as a graph, and pushing edits through it into weights
    tail, replay      the rest of a forward pass, from a layer on: as a graph; by leaving out modules that have run
    effect, alphas    what an intervention does to a concept; sets of units by gradient descent
    causes, cause     which units cause a concept, and its folder; the run that finds out
    measure, context, concept_patch
                      what edits do to concepts; where one can be put; a patch that removes or inserts one
    comparison        dissections side by side
    review/           ROOM: run folders and their pages; flagging units; verdicts -> patch
    features          what an image looks like, as numbers
    find/             ROOM: which units draw artifacts, one file per method
    quality, evaluate, evaluation_page
                      distances between sets of images; is a patch better, and than random units; its report
    tune, tuning_page
                      the softest repair that does it; its trade-off
    bake              a patch as weights, with its proof
    record, runners   what was done to a file; running a file of any kind on the same inputs
    repair, revert    the repaired file, and the way back
    onnx_layers, onnx_edit, onnx_patch
                      torch layers in an ONNX graph; one edit in it; a patched graph
    export            ONNX from torch, with the patch inside
    probe, settings   what a model takes, gives and allows, found out by trying; ganpatch.toml written
    verify, reports   do hooks, bake and files agree; rows and sentences for people
    studio/           ROOM: all of it by hand in the browser, live
    completion        words that end a command, as scripts for shells
    cli/, __main__    ROOM: one file per command, no logic; python -m ganpatch

Shapes: N images, C units (channels) of a layer, h x w its maps, K top images per unit, Z the latent.
"""

from ganpatch.apply import applied
from ganpatch.bake import Baked, Decision, Proof, bake
from ganpatch.cause import Effort, find_causes
from ganpatch.causes import Causes
from ganpatch.dissect import dissect
from ganpatch.dissection import Dissection
from ganpatch.edit import Edit, Mask
from ganpatch.errors import GanpatchError
from ganpatch.evaluate import Evaluation, evaluate
from ganpatch.export import export_onnx
from ganpatch.generator import Generator
from ganpatch.identity import Fingerprint, fingerprint
from ganpatch.models import load
from ganpatch.models.family import Built
from ganpatch.patch import Patch
from ganpatch.rank import rank
from ganpatch.ranking import LayerRanking, Ranking
from ganpatch.repair import repair
from ganpatch.review.page import write_page
from ganpatch.samples import Sample
from ganpatch.segment import load_segmenter
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
    "GanpatchError",
    "Generator",
    "LayerRanking",
    "Mask",
    "Patch",
    "Proof",
    "Ranking",
    "Sample",
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
    "rank",
    "repair",
    "write_page",
]
