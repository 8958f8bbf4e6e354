"""A patch for a graph that is already ONNX: edited in place, without a torch model.

    patch_onnx(Path("model.onnx"), patch, Path("fixed.onnx"))

Layers are found by their torch names. The graph with every edit inserted is right by construction; the one with what
can be folded is written when onnxruntime returns the same for both, for batches of two sizes, else the inserted one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import onnx_ir as ir

from ganpatch.disk.atomic_files import disk_faults, refuse_other_names, refuse_same_file, scratch
from ganpatch.errors import GanpatchError, explained
from ganpatch.export.file_runners import Runner, compared, open_onnx
from ganpatch.export.onnx_editing import edited_graph, measure
from ganpatch.export.patch_record import KEY, AppliedPatch, Record, read_record, refuse_repetition
from ganpatch.families.onnx_graph import proof_inputs
from ganpatch.fold.planning import Decision
from ganpatch.generator.load_options import LoadOptions
from ganpatch.graph.onnx_addresses import unaddressed
from ganpatch.graph.onnx_graphs import free_data_name, load_graph, move_into_place, save_graph
from ganpatch.graph.onnx_layers import find_layers
from ganpatch.option_values import Mode
from ganpatch.patch.patch_file import Patch, Prints

_BATCHES = (3, 1)
_PLAIN = LoadOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchedGraph:
    """A patched ONNX file: the outcome of each edit, how far folded and inserted differ, and the patch's effect."""

    path: Path
    decisions: tuple[Decision, ...]
    difference: float
    largest: float
    effect: float
    identity: str


def patch_onnx(
    source: Path,
    patch: Patch,
    output: Path,
    *,
    mode: Mode = "auto",
    allow_other_weights: bool = False,
    sequence: bool = False,
    options: LoadOptions = _PLAIN,
) -> PatchedGraph:
    """Write `source` with `patch` in it; raise GanpatchError, and write nothing, when a layer cannot be addressed.

    `options` say what its inputs are fed with in the comparison; noise, where they do not.
    """
    refuse_same_file(output, source)
    refuse_other_names(output)
    record = read_record(source)
    refuse_repetition(source, record, patch, sequence=sequence)
    identity = _check_identity(source, patch, allow_other_weights)
    with disk_faults(output), scratch(output.parent) as folder:
        trial = _Trial(source, patch, folder, options)
        chosen = trial.chosen(mode)
        effect = trial.effect()
        if not math.isfinite(max(effect, chosen.difference)):
            raise GanpatchError(f"'{source}' gives values that are not finite, without the patch or with it")
        proof = {"onnxruntime": chosen.difference, "effect": effect}
        data = free_data_name(output)
        save_graph(_recorded(chosen, record, patch, proof), folder / output.name, data)
        with explained(f"'{output}' is not written: the graph is not valid"):
            onnx.checker.check_model(str(folder / output.name))
        largest = trial.largest(trial.original)
        move_into_place(folder, source, output, data)
    return PatchedGraph(
        path=output,
        decisions=chosen.decisions,
        difference=chosen.difference,
        largest=largest,
        effect=effect,
        identity=identity,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edited:
    """An edited graph in a file, and its largest difference from the one in which everything is inserted."""

    path: Path
    decisions: tuple[Decision, ...]
    difference: float = 0.0


class _Trial:
    """The graph with the patch inserted, which is right by construction, and folded, compared in onnxruntime."""

    def __init__(self, source: Path, patch: Patch, folder: Path, options: LoadOptions) -> None:
        self._source, self._patch, self._folder = source, patch, folder
        self.original = open_onnx(source)
        self._batches = proof_inputs(source, options, _BATCHES)
        self._measured = measure(source, patch, folder, self._batches[0])
        self._reference = self._edited("insert")
        self._inserted = open_onnx(self._reference.path)

    def chosen(self, mode: Mode) -> _Edited:
        """Return the folded graph where it equals the inserted one, with as many edits folded as can be."""
        if mode == "insert":
            return self._reference
        folded = self._folded(mode)
        limit = self.original.tolerance * self.largest(self._inserted)
        if folded.difference <= limit:
            return folded
        if mode == "fold":
            raise GanpatchError(
                f"folding is not exact in '{self._source}': it differs by {folded.difference:.2g} from insertion"
            )
        suspects = [decision.edit for decision in folded.decisions if decision.outcome == "folded"]
        for suspect in suspects if len(suspects) > 1 else []:
            without = self._folded(mode, {suspect: "folding it is not equal to insertion in this graph"})
            if without.difference <= limit:
                return without
        return replace(self._reference, difference=folded.difference)

    def effect(self) -> float:
        """Return the largest change that the patch makes."""
        runs = [compared(self.original.run(batch), self._inserted.run(batch)) for batch in self._batches]
        return max(run.largest for run in runs)

    def largest(self, runner: Runner) -> float:
        """Return the largest output value."""
        return max(runner.run(batch).abs().max().item() for batch in self._batches)

    def _folded(self, mode: Mode, forced: Mapping[str, str] | None = None) -> _Edited:
        edited = self._edited(mode, forced)
        runner = open_onnx(edited.path)
        gaps = [compared(self._inserted.run(batch), runner.run(batch)) for batch in self._batches]
        return replace(edited, difference=max(gap.largest for gap in gaps))

    def _edited(self, mode: Mode, forced: Mapping[str, str] | None = None) -> _Edited:
        model, decisions = edited_graph(self._source, self._patch, mode, self._measured, forced or {})
        path = self._folder / f"{mode}.onnx"
        save_graph(model, path)
        return _Edited(path=path, decisions=tuple(decisions))


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphLayer:
    """A layer of an ONNX graph: what makes its value, units, map size (None: not known), runs; why it is not clear."""

    name: str
    operation: str
    units: int
    size: tuple[int | None, ...]
    runs: int
    unclear: str
    has_units_last: bool = False


def list_onnx_layers(source: Path) -> list[GraphLayer]:
    """List the layers of an ONNX graph that output floating-point values, in the order of the graph."""
    return [
        GraphLayer(
            name=layer.name,
            operation=layer.operation,
            units=(layer.shape[1] or 0) if len(layer.shape) > 1 else 0,
            size=layer.shape[2:],
            runs=len(layer.values),
            unclear=layer.unclear,
            has_units_last=layer.has_units_last,
        )
        for layer in find_layers(load_graph(source)).values()
    ]


def count_unaddressed(source: Path) -> dict[str, int]:
    """Count the values of an ONNX graph that no layer addresses, by reason."""
    model = load_graph(source)
    return unaddressed(model, {value for layer in find_layers(model).values() for value in layer.values})


def _check_identity(source: Path, patch: Patch, allow_other_weights: bool) -> str:
    """Compare the patch's model with what the file records; return the result in words."""
    metadata = load_graph(source, shapes=False).metadata_props
    stored = metadata.get("ganpatch.weights")
    if stored is None:
        return "the graph does not say which weights it holds; the patch is taken to fit them"
    if stored != patch.model.fingerprint.weights and not allow_other_weights:
        raise GanpatchError(
            f"patch '{patch.name}' is for other weights: {patch.model.name} "
            f"{patch.model.fingerprint.weights[7:19]}, '{source}' was exported from {stored[7:19]}; "
            "--allow-other-weights applies it anyway"
        )
    return "the graph was exported from the weights that the patch is for"


def _recorded(chosen: _Edited, record: Record | None, patch: Patch, proof: dict[str, float]) -> ir.Model:
    model = load_graph(chosen.path, shapes=False)
    inserted = {decision.edit for decision in chosen.decisions if decision.outcome == "inserted"}
    stored = model.metadata_props.get("ganpatch.weights")
    base = record.base if record else None
    if base is None and stored == patch.model.fingerprint.weights:
        base = Prints(structure=patch.model.fingerprint.structure, weights=stored)
    before = record.patches if record else ()
    made = Record(base=base, patches=(*before, AppliedPatch.of(patch, inserted)), proof=proof)
    model.metadata_props[KEY] = made.model_dump_json()
    return model
