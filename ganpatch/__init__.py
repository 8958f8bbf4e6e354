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

    errors, version, option_values, number_ranges, html_tables, plugins, torchvision_import
                   the one error; the version; the words that options take; "3,17-19"; tables of pages and notebooks;
                   what installed packages add; torchvision on a CPU build
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
    "causes.concept_patches": "ConceptChoice ConceptImages ConceptPatch insert_concept remove_concept",
    "causes.concept_shares": "ConceptChange",
    "causes.result": "Causes ConceptCauses ContextRow Curve",
    "causes.search": "Effort find_causes",
    "dissection.comparison": "Compared Comparison compare",
    "dissection.dissector": "dissect",
    "dissection.result": "Dissection LayerDissection",
    "errors": "GanpatchError",
    "evaluation.evaluator": "Choices Evaluation evaluate",
    "evaluation.metrics": "Damage Distances",
    "evaluation.judging": "Judged Share",
    "evaluation.pairs": "PairChoices",
    "evaluation.patch_results": "finish_judging prepare_judging save_evaluation save_tuned",
    "evaluation.references": "Reference",
    "evaluation.report": "write_evaluation",
    "evaluation.tuner": "Bound Option Stop Tuned tune",
    "evaluation.tuning_report": "write_tuning",
    "evaluation.verdict": "Change Measured Verdict",
    "export.onnx_export": "Exported export_onnx",
    "export.onnx_patching": "GraphLayer PatchedGraph list_onnx_layers patch_onnx",
    "export.patched_models": "PatchedModel Target apply_patch",
    "export.repairing": "Repaired Request repair",
    "export.reverting": "revert",
    "export.verifying": "Agreement Verification verify",
    "families.family": "Built",
    "families.loading": "load",
    "families.probing": "Probed Question probe",
    "families.settings_text": "format_settings",
    "finding.image_features": "Features load_features",
    "finding.kept_results": "KeptResults",
    "finding.methods": "suggest",
    "finding.set_search": "suggest_sets",
    "finding.suggestions": "Found MethodFacts Suggested UnitSet",
    "finding.task": "Task",
    "fold.baking": "Baked Proof bake",
    "fold.planning": "Decision",
    "forward.layer_facts": "LayerFacts list_layers",
    "forward.processes": "Group",
    "generator.device": "Compute",
    "generator.fingerprints": "Fingerprint fingerprint",
    "generator.generator": "Generator",
    "generator.latents": "Drawn Labels Latent parse_latent",
    "generator.load_options": "LoadOptions Origin",
    "pages.patch_effects": "PatchEffect measure_effect",
    "pages.samples": "Sample",
    "patch.applying": "applied",
    "patch.combining": "diff_patches merge_patches patch_rows",
    "patch.edit": "Edit Mask",
    "patch.evidence": "Evidence Figure Record",
    "patch.patch_file": "Model Patch Prints Provenance",
    "ranking.ranker": "rank",
    "ranking.result": "Computed LayerRanking Ranking",
    "review.flags": "flag_reviewed flag_suggested flag_units",
    "review.page": "write_page",
    "runs.cause_run": "cause_to_folder",
    "runs.dissection_run": "dissect_to_folder",
    "runs.ranking_run": "rank_to_folder",
    "runs.run_folder": "RunFolder",
    "runs.suggestion_run": "suggest_for_run suggest_sets_for_run",
    "segmenters.loading": "load_segmenter",
    "segmenters.segmenter": "Segmenter",
}
MODULE_OF = {name: f"ganpatch.{module}" for module, names in _NAMES.items() for name in names.split()}

if TYPE_CHECKING:  # the same names, for type checkers and editors
    from ganpatch.causes.concept_patches import ConceptChoice as ConceptChoice
    from ganpatch.causes.concept_patches import ConceptImages as ConceptImages
    from ganpatch.causes.concept_patches import ConceptPatch as ConceptPatch
    from ganpatch.causes.concept_patches import insert_concept as insert_concept
    from ganpatch.causes.concept_patches import remove_concept as remove_concept
    from ganpatch.causes.concept_shares import ConceptChange as ConceptChange
    from ganpatch.causes.result import Causes as Causes
    from ganpatch.causes.result import ConceptCauses as ConceptCauses
    from ganpatch.causes.result import ContextRow as ContextRow
    from ganpatch.causes.result import Curve as Curve
    from ganpatch.causes.search import Effort as Effort
    from ganpatch.causes.search import find_causes as find_causes
    from ganpatch.dissection.comparison import Compared as Compared
    from ganpatch.dissection.comparison import Comparison as Comparison
    from ganpatch.dissection.comparison import compare as compare
    from ganpatch.dissection.dissector import dissect as dissect
    from ganpatch.dissection.result import Dissection as Dissection
    from ganpatch.dissection.result import LayerDissection as LayerDissection
    from ganpatch.errors import GanpatchError as GanpatchError
    from ganpatch.evaluation.evaluator import Choices as Choices
    from ganpatch.evaluation.evaluator import Evaluation as Evaluation
    from ganpatch.evaluation.evaluator import evaluate as evaluate
    from ganpatch.evaluation.judging import Judged as Judged
    from ganpatch.evaluation.judging import Share as Share
    from ganpatch.evaluation.metrics import Damage as Damage
    from ganpatch.evaluation.metrics import Distances as Distances
    from ganpatch.evaluation.pairs import PairChoices as PairChoices
    from ganpatch.evaluation.patch_results import finish_judging as finish_judging
    from ganpatch.evaluation.patch_results import prepare_judging as prepare_judging
    from ganpatch.evaluation.patch_results import save_evaluation as save_evaluation
    from ganpatch.evaluation.patch_results import save_tuned as save_tuned
    from ganpatch.evaluation.references import Reference as Reference
    from ganpatch.evaluation.report import write_evaluation as write_evaluation
    from ganpatch.evaluation.tuner import Bound as Bound
    from ganpatch.evaluation.tuner import Option as Option
    from ganpatch.evaluation.tuner import Stop as Stop
    from ganpatch.evaluation.tuner import Tuned as Tuned
    from ganpatch.evaluation.tuner import tune as tune
    from ganpatch.evaluation.tuning_report import write_tuning as write_tuning
    from ganpatch.evaluation.verdict import Change as Change
    from ganpatch.evaluation.verdict import Measured as Measured
    from ganpatch.evaluation.verdict import Verdict as Verdict
    from ganpatch.export.onnx_export import Exported as Exported
    from ganpatch.export.onnx_export import export_onnx as export_onnx
    from ganpatch.export.onnx_patching import GraphLayer as GraphLayer
    from ganpatch.export.onnx_patching import PatchedGraph as PatchedGraph
    from ganpatch.export.onnx_patching import list_onnx_layers as list_onnx_layers
    from ganpatch.export.onnx_patching import patch_onnx as patch_onnx
    from ganpatch.export.patched_models import PatchedModel as PatchedModel
    from ganpatch.export.patched_models import Target as Target
    from ganpatch.export.patched_models import apply_patch as apply_patch
    from ganpatch.export.repairing import Repaired as Repaired
    from ganpatch.export.repairing import Request as Request
    from ganpatch.export.repairing import repair as repair
    from ganpatch.export.reverting import revert as revert
    from ganpatch.export.verifying import Agreement as Agreement
    from ganpatch.export.verifying import Verification as Verification
    from ganpatch.export.verifying import verify as verify
    from ganpatch.families.family import Built as Built
    from ganpatch.families.loading import load as load
    from ganpatch.families.probing import Probed as Probed
    from ganpatch.families.probing import Question as Question
    from ganpatch.families.probing import probe as probe
    from ganpatch.families.settings_text import format_settings as format_settings
    from ganpatch.finding.image_features import Features as Features
    from ganpatch.finding.image_features import load_features as load_features
    from ganpatch.finding.kept_results import KeptResults as KeptResults
    from ganpatch.finding.methods import suggest as suggest
    from ganpatch.finding.set_search import suggest_sets as suggest_sets
    from ganpatch.finding.suggestions import Found as Found
    from ganpatch.finding.suggestions import MethodFacts as MethodFacts
    from ganpatch.finding.suggestions import Suggested as Suggested
    from ganpatch.finding.suggestions import UnitSet as UnitSet
    from ganpatch.finding.task import Task as Task
    from ganpatch.fold.baking import Baked as Baked
    from ganpatch.fold.baking import Proof as Proof
    from ganpatch.fold.baking import bake as bake
    from ganpatch.fold.planning import Decision as Decision
    from ganpatch.forward.layer_facts import LayerFacts as LayerFacts
    from ganpatch.forward.layer_facts import list_layers as list_layers
    from ganpatch.forward.processes import Group as Group
    from ganpatch.generator.device import Compute as Compute
    from ganpatch.generator.fingerprints import Fingerprint as Fingerprint
    from ganpatch.generator.fingerprints import fingerprint as fingerprint
    from ganpatch.generator.generator import Generator as Generator
    from ganpatch.generator.latents import Drawn as Drawn
    from ganpatch.generator.latents import Labels as Labels
    from ganpatch.generator.latents import Latent as Latent
    from ganpatch.generator.latents import parse_latent as parse_latent
    from ganpatch.generator.load_options import LoadOptions as LoadOptions
    from ganpatch.generator.load_options import Origin as Origin
    from ganpatch.pages.patch_effects import PatchEffect as PatchEffect
    from ganpatch.pages.patch_effects import measure_effect as measure_effect
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
    from ganpatch.patch.patch_file import Model as Model
    from ganpatch.patch.patch_file import Patch as Patch
    from ganpatch.patch.patch_file import Prints as Prints
    from ganpatch.patch.patch_file import Provenance as Provenance
    from ganpatch.ranking.ranker import rank as rank
    from ganpatch.ranking.result import Computed as Computed
    from ganpatch.ranking.result import LayerRanking as LayerRanking
    from ganpatch.ranking.result import Ranking as Ranking
    from ganpatch.review.flags import flag_reviewed as flag_reviewed
    from ganpatch.review.flags import flag_suggested as flag_suggested
    from ganpatch.review.flags import flag_units as flag_units
    from ganpatch.review.page import write_page as write_page
    from ganpatch.runs.cause_run import cause_to_folder as cause_to_folder
    from ganpatch.runs.dissection_run import dissect_to_folder as dissect_to_folder
    from ganpatch.runs.ranking_run import rank_to_folder as rank_to_folder
    from ganpatch.runs.run_folder import RunFolder as RunFolder
    from ganpatch.runs.suggestion_run import suggest_for_run as suggest_for_run
    from ganpatch.runs.suggestion_run import suggest_sets_for_run as suggest_sets_for_run
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
