"""A patch for a graph that is already ONNX: edited in place, with no torch model at hand.

    patch_onnx(Path("model.onnx"), patch, Path("fixed.onnx"))

Layers are found by their torch names. The graph with every edit inserted is right by construction; the one with what
can be folded is written when onnxruntime gives the same for both, on batches of different size, else the inserted one.
"""

import math
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass
from torch import Tensor

from ganpatch.disk.atomic_files import disk_faults, refuse_same_file, scratch
from ganpatch.errors import GanpatchError, explained, silenced
from ganpatch.export.file_runners import Runner, compared, open_onnx, output_shapes
from ganpatch.export.patch_record import KEY, AppliedPatch, Record, read_record, refuse_repetition
from ganpatch.fold.affine import Unfoldable
from ganpatch.fold.baking import Decision
from ganpatch.fold.onnx_folding import fold, insert
from ganpatch.generator.latents import Labels, Latent, draw_inputs, parse_labels, parse_latent
from ganpatch.graph.onnx_layers import LARGEST_SINGLE, OnnxLayer, find_layers, find_onnx_layer, is_float, scopes_of
from ganpatch.option_values import Mode
from ganpatch.patch.applying import fitting_terms
from ganpatch.patch.edit import Edit
from ganpatch.patch.equation import Terms
from ganpatch.patch.patch_file import Patch, Prints
from ganpatch.untrusted.onnx_files import external_places, read_onnx

Shapes = dict[str, tuple[int, ...]]  # of values, by their names

_BATCHES = (3, 1)
_OLDEST_OPSET = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchedGraph:
    """A patched ONNX file: what became of each edit, how far folded and inserted differ, and the patch's effect."""

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
) -> PatchedGraph:
    """Write `source` with `patch` in it; raise GanpatchError, and write nothing, when a layer cannot be addressed."""
    refuse_same_file(output, source)
    record = read_record(source)
    refuse_repetition(source, record, patch, sequence=sequence)
    identity = _check_identity(source, patch, allow_other_weights)
    with disk_faults(output), scratch(output.parent) as folder:
        original = open_onnx(source)
        batches = _batches(source, original)
        shapes = _shapes(source, patch, folder, batches[0])
        reference, decisions = _edited(source, patch, "insert", shapes)
        _save(reference, folder / "inserted.onnx")
        inserted = open_onnx(folder / "inserted.onnx")
        chosen, difference = folder / "inserted.onnx", 0.0
        if mode != "insert":
            folded, folding = _edited(source, patch, mode, shapes)
            _save(folded, folder / "folded.onnx")
            gaps = [compared(inserted.run(batch), open_onnx(folder / "folded.onnx").run(batch)) for batch in batches]
            difference = max(gap.largest for gap in gaps)
            if difference <= original.tolerance * _largest(inserted, batches):
                chosen, decisions = folder / "folded.onnx", folding
            elif mode == "fold":
                raise GanpatchError(
                    f"folding is not exact in '{source}': it differs by {difference:.2g} from insertion"
                )
        effect = max(compared(original.run(batch), inserted.run(batch)).largest for batch in batches)
        if not math.isfinite(max(effect, difference)):
            raise GanpatchError(f"'{source}' gives values that are not finite, without the patch or with it")
        final = _recorded(chosen, record, patch, decisions, {"onnxruntime": difference, "effect": effect})
        data = _free_data_name(output)
        _save(final, folder / output.name, data)
        with explained(f"'{output}' is not written: the graph is not valid"):
            onnx.checker.check_model(str(folder / output.name))
        _move_into_place(folder, source, output, data)
    return PatchedGraph(
        path=output,
        decisions=tuple(decisions),
        difference=difference,
        largest=_largest(original, batches),
        effect=effect,
        identity=identity,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphLayer:
    """A layer of an ONNX graph: what makes its value, units, map size (None: not known), runs; why it is not clear."""

    name: str
    operation: str
    units: int
    size: tuple[int | None, ...]
    runs: int
    unclear: str


def list_onnx_layers(source: Path) -> list[GraphLayer]:
    """List the layers of an ONNX graph that give floating-point values, in the order of the graph."""
    return [
        GraphLayer(
            name=layer.name,
            operation=layer.operation,
            units=(layer.shape[1] or 0) if len(layer.shape) > 1 else 0,
            size=layer.shape[2:],
            runs=len(layer.values),
            unclear=layer.unclear,
        )
        for layer in find_layers(load_graph(source)).values()
    ]


def _shapes(source: Path, patch: Patch, folder: Path, inputs: tuple[Tensor, ...]) -> Shapes:
    """Return the shapes of the values that the patch edits, by running the graph with them as outputs."""
    model = load_graph(source)
    layers = find_layers(model)
    wanted = {value.name: value for edit in patch.edits for value in find_onnx_layer(model, layers, edit.layer).values}
    before = {output.name for output in model.graph.outputs}
    model.graph.outputs.extend(value for name, value in wanted.items() if name not in before)
    _save(model, folder / "shapes.onnx")
    return output_shapes(folder / "shapes.onnx", inputs)


def _edited(source: Path, patch: Patch, mode: Mode, shapes: Shapes) -> tuple[ir.Model, list[Decision]]:
    """Load the graph anew and edit it, upstream first, in the order of the list within a layer."""
    model = load_graph(source)
    layers = find_layers(model)
    order = {value: place for place, node in enumerate(model.graph) for value in node.outputs}
    found = {edit.id: find_onnx_layer(model, layers, edit.layer) for edit in patch.edits}
    decisions: dict[str, Decision] = {}
    current: dict[ir.Value, ir.Value] = {}  # a layer's value, and what stands for it after insertions
    terms = {edit.id: fitting_terms(edit, shapes[str(found[edit.id].values[0].name)]) for edit in patch.edits}
    made_by = patch.digest.removeprefix("sha256:")[:8]  # two patches in one graph share no names

    def when(edit: Edit) -> tuple[int, int]:  # of layers that give the same value, the inner one's hook runs first
        return order[found[edit.id].values[0]], -len(edit.layer)

    for edit in sorted(patch.edits, key=when):
        decisions[edit.id] = _apply(edit, found[edit.id], terms[edit.id], mode, current, made_by)
    return model, [decisions[edit.id] for edit in patch.edits]


def _apply(
    edit: Edit, layer: OnnxLayer, terms: Terms, mode: Mode, current: dict[ir.Value, ir.Value], made_by: str
) -> Decision:
    values = _runs_meant(edit, layer)
    for value in values:
        if not is_float(value):
            raise GanpatchError(
                f"layer '{edit.layer}' gives {value.dtype}, not floating-point numbers: it is quantised"
            )
    reason = "--mode insert"
    if mode != "insert":
        try:
            if len(values) > 1:
                raise Unfoldable(f"the layer runs {len(values)} times, with the same weights")
            value = current.get(values[0], values[0])
            if any(_inside(edit.layer, use.node) for use in value.uses()) and value is values[0]:
                raise Unfoldable("the value is used inside its layer as well")
            where = fold(value, terms)
            return Decision(edit=edit.id, layer=edit.layer, outcome="folded", where=tuple(where))
        except Unfoldable as fault:
            reason = str(fault)
    if mode == "fold":
        raise GanpatchError(f"cannot fold edit '{edit.id}' at {edit.layer}: {reason}; --mode auto inserts it")
    for run, value in enumerate(values):
        name = f"{made_by}.{edit.id}" if len(values) == 1 else f"{made_by}.{edit.id}.{run}"
        before = current.get(value)  # readers inside the layer see what it was before the first edit
        keeps = {use.node for use in value.uses() if _inside(edit.layer, use.node)} if before is None else set()
        current[value] = insert(before or value, terms, name, keeps)
    return Decision(edit=edit.id, layer=edit.layer, outcome="inserted", reason=reason)


def _runs_meant(edit: Edit, layer: OnnxLayer) -> tuple[ir.Value, ...]:
    if edit.call is None:
        return layer.values
    if edit.call >= len(layer.values):
        raise GanpatchError(
            f"edit '{edit.id}': run {edit.call} of layer '{edit.layer}' is not in the graph, "
            f"which runs it {len(layer.values)} times"
        )
    return (layer.values[edit.call],)


def _inside(layer: str, node: ir.Node) -> bool:
    return layer in scopes_of(node) and not (node.name or "").startswith("ganpatch.")


def load_graph(source: Path, *, shapes: bool = True) -> ir.Model:
    """Load an ONNX file, with the shapes of its values; raise GanpatchError when it is broken or too old."""
    with explained(f"'{source}' is not a readable ONNX file"), silenced("onnx_ir"):
        model = ir.from_proto(read_onnx(source))
        ir.external_data.set_base_dir(model.graph, str(source.parent))
    opset = model.opset_imports.get("", 0)
    if opset < _OLDEST_OPSET:
        raise GanpatchError(f"'{source}' is of opset {opset}; {_OLDEST_OPSET} or later is needed")
    if shapes and any(value.shape is None for node in model.graph for value in node.outputs):
        what = f"'{source}': its shapes do not go together"
        with explained(what), silenced("onnx_ir"):
            ShapeInferencePass()(model)
    return model


def _check_identity(source: Path, patch: Patch, allow_other_weights: bool) -> str:
    """Compare the patch's model with what the file says of itself; say what was found."""
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


def _batches(source: Path, runner: Runner) -> list[tuple[Tensor, ...]]:
    latent, labels = onnx_inputs(source)
    sizes = (runner.batch,) if runner.batch else _BATCHES
    return [draw_inputs(latent, labels, range(size)) for size in sizes]


def onnx_inputs(source: Path) -> tuple[Latent, Labels | None]:
    """Describe how to draw a graph's inputs: as its metadata says, else normal numbers of its first input's shape."""
    model = load_graph(source, shapes=False)
    stored = model.metadata_props
    if "ganpatch.latent" in stored:
        labels = stored.get("ganpatch.labels")
        return parse_latent(stored["ganpatch.latent"]), parse_labels(labels) if labels else None
    shape = model.graph.inputs[0].shape if model.graph.inputs else None
    sizes = [size for size in shape[1:] if isinstance(size, int)] if shape is not None else []
    if shape is None or len(model.graph.inputs) != 1 or len(sizes) != len(shape) - 1:
        raise GanpatchError(f"'{source}' does not say how to draw its inputs; export it with 'ganpatch export'")
    return Latent(kind="normal", shape=tuple(sizes)), None


def _largest(runner: Runner, batches: Sequence[tuple[Tensor, ...]]) -> float:
    return max(runner.run(batch).abs().max().item() for batch in batches)


def _recorded(
    chosen: Path,
    record: Record | None,
    patch: Patch,
    decisions: Sequence[Decision],
    proof: dict[str, float],
) -> ir.Model:
    model = load_graph(chosen, shapes=False)
    inserted = {decision.edit for decision in decisions if decision.outcome == "inserted"}
    stored = model.metadata_props.get("ganpatch.weights")
    base = record.base if record else None
    if base is None and stored == patch.model.fingerprint.weights:
        base = Prints(structure=patch.model.fingerprint.structure, weights=stored)
    before = record.patches if record else ()
    made = Record(base=base, patches=(*before, AppliedPatch.of(patch, inserted)), proof=proof)
    model.metadata_props[KEY] = made.model_dump_json()
    return model


def _save(model: ir.Model, path: Path, data: str = "") -> None:
    """Write a graph; its tensors into `data` beside it where they came from such a file, or are too large for one."""
    tensors = [value.const_value for value in model.graph.initializers.values() if value.const_value is not None]
    external = any(isinstance(tensor, ir.ExternalTensor) for tensor in tensors)
    large = sum(tensor.nbytes for tensor in tensors) > LARGEST_SINGLE
    with explained("the patched graph cannot be written"), silenced("onnx_ir"):
        ir.save(model, path, external_data=data or f"{path.name}.data" if external or large else None)


def _data_names(output: Path) -> list[str]:
    """List the files of tensors that graphs at `output` have."""
    own = re.compile(re.escape(output.name) + r"(\.[0-9a-f]{8})?\.data")
    return [name for name in os.listdir(output.parent) if own.fullmatch(name)]


def _free_data_name(output: Path) -> str:
    """Name a file for the tensors of a graph that is not the one of the graph which is there: that must stay whole."""
    taken = _data_names(output)
    return f"{output.name}.{secrets.token_hex(4)}.data" if taken else f"{output.name}.data"


def _move_into_place(folder: Path, source: Path, output: Path, data: str) -> None:
    """Move a graph, and the file of its tensors before it, to where they belong; then the former one's go."""
    former = set(_data_names(output)) - external_places(source)
    if (folder / data).exists():
        (folder / data).replace(output.with_name(data))
    (folder / output.name).replace(output)
    for name in former:
        output.with_name(name).unlink(missing_ok=True)
