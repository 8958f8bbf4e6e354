"""A patch in an ONNX graph: folded into initialisers where the rules of `ganpatch.fold` say how, else inserted.

Example:

    measured = measure(source, patch, folder, inputs)
    model, decisions = edited_graph(source, patch, "auto", measured)
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir as ir
from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.export.file_runners import outputs_by_name
from ganpatch.export.onnx_insertion import insert
from ganpatch.fold.planning import Decision, Planner
from ganpatch.graph.onnx_descriptions import Measured, constant_of, controlling_inputs
from ganpatch.graph.onnx_graphs import load_graph, save_graph
from ganpatch.graph.onnx_layers import OnnxLayer, find_layers, find_onnx_layer
from ganpatch.graph.onnx_operations import INSERTED, OnnxGraph, OnnxSite
from ganpatch.graph.onnx_scopes import is_float, scopes_of
from ganpatch.option_values import Mode
from ganpatch.patch.applying import fitting_terms
from ganpatch.patch.edit import Edit
from ganpatch.patch.equation import Terms
from ganpatch.patch.patch_file import Patch

_SIZES = "ganpatch.sizes."  # before the name of a value: an output whose shape is known


def measure(source: Path, patch: Patch, folder: Path, inputs: tuple[Tensor, ...]) -> Measured:
    """Run the graph on `inputs` and return what is known then of its values; the file is written into `folder`."""
    try:
        return _measured(source, folder, inputs, None)
    except GanpatchError:  # values that have no shape, such as sequences; those of the layers do
        return _measured(source, folder, inputs, [edit.layer for edit in patch.edits])


def edited_graph(
    source: Path, patch: Patch, mode: Mode, measured: Measured, forced: Mapping[str, str]
) -> tuple[ir.Model, list[Decision]]:
    """Load the graph again and edit it, upstream first, in the order of the list within a layer.

    Edits in `forced` are inserted, for the reason given. Raises GanpatchError when a layer cannot be addressed, or
    `mode` is "fold" and an edit cannot be folded.
    """
    model = load_graph(source)
    layers = find_layers(model)
    found = {edit.id: find_onnx_layer(model, layers, edit.layer) for edit in patch.edits}
    terms = {edit.id: _terms(edit, found[edit.id], measured) for edit in patch.edits}
    if mode == "insert":
        forced = {edit.id: "--mode insert" for edit in patch.edits}
    last = {edit.id: "its units are the last axis" for edit in patch.edits if found[edit.id].has_units_last}
    forced = {**last, **forced}
    places = {value: place for place, node in enumerate(model.graph) for value in node.outputs}
    sites = {site for edit in patch.edits for site in _sites(found[edit.id])}
    graph = OnnxGraph(model, measured, sorted(sites, key=lambda site: places[site.value]))
    planner = Planner(graph, patch.edits, forced)
    planner.plan()
    _refuse_unfolded(planner, mode)
    graph.commit(planner.changed)
    _insert(planner, found, terms, patch.digest.removeprefix("sha256:")[:8])
    return model, [planner.decisions[edit.id] for edit in patch.edits]


def _measured(source: Path, folder: Path, inputs: tuple[Tensor, ...], wanted: Sequence[str] | None) -> Measured:
    """Run the graph with the sizes of its values as outputs, or of the values of the layers `wanted`."""
    model = load_graph(source)
    if wanted is None:
        values = [value for node in model.graph for value in node.outputs if value.name and constant_of(value) is None]
    else:
        layers = find_layers(model)
        values = [value for name in wanted for value in find_onnx_layer(model, layers, name).values]
    controls = {value for node in model.graph for value in controlling_inputs(node) if value.name}
    model.graph.outputs.clear()
    for value in dict.fromkeys(values):
        node = ir.node("Shape", [value], name=f"{_SIZES}{value.name}")
        node.outputs[0].name, node.outputs[0].dtype = f"{_SIZES}{value.name}", ir.DataType.INT64
        model.graph.append(node)
        model.graph.outputs.append(node.outputs[0])
    model.graph.outputs.extend(controls)
    save_graph(model, folder / "sizes.onnx")
    found = outputs_by_name(folder / "sizes.onnx", inputs)
    whole = {name: tuple(int(number) for number in array.reshape(-1)) for name, array in found.items()}
    return Measured(
        shapes={name.removeprefix(_SIZES): numbers for name, numbers in whole.items() if name.startswith(_SIZES)},
        integers={str(value.name): whole[str(value.name)] for value in controls},
    )


def _terms(edit: Edit, layer: OnnxLayer, measured: Measured) -> Terms:
    """Return the terms of `edit` at its layer; raise GanpatchError when they do not fit."""
    for value in layer.values:
        if not is_float(value):
            raise GanpatchError(
                f"layer '{edit.layer}' gives {value.dtype}, not floating-point numbers: it is quantised"
            )
    if edit.call is not None and edit.call >= len(layer.values):
        raise GanpatchError(
            f"edit '{edit.id}': run {edit.call} of layer '{edit.layer}' is not in the graph, "
            f"which runs it {len(layer.values)} times"
        )
    shape = measured.shapes[str(layer.values[0].name)]
    return fitting_terms(edit, (shape[0], shape[-1], *shape[1:-1]) if layer.has_units_last else shape)


def _sites(layer: OnnxLayer) -> list[OnnxSite]:
    return [OnnxSite(layer=layer.name, call=call, value=value) for call, value in enumerate(layer.values)]


def _refuse_unfolded(planner: Planner, mode: Mode) -> None:
    for decision in planner.decisions.values():
        if mode == "fold" and decision.outcome == "inserted":
            raise GanpatchError(
                f"cannot fold edit '{decision.edit}' at {decision.layer}: {decision.reason}; --mode auto inserts it"
            )


def _insert(planner: Planner, found: Mapping[str, OnnxLayer], terms: Mapping[str, Terms], made_by: str) -> None:
    """Insert what is not folded; two patches in one graph share no names, because each begins with its digest."""
    current: dict[ir.Value, ir.Value] = {}  # a layer's value, and what replaces it after insertions
    for edit in planner.order:
        if planner.decisions[edit.id].outcome == "folded":
            continue
        for call, value in enumerate(found[edit.id].values):
            if edit.call in (None, call):
                several = edit.call is None and len(found[edit.id].values) > 1
                name = f"{made_by}.{edit.id}.{call}" if several else f"{made_by}.{edit.id}"
                before = current.get(value, value)
                keeps = {use.node for use in before.uses() if _is_inside(edit.layer, use.node)}
                current[value] = insert(before, terms[edit.id], name, keeps)


def _is_inside(layer: str, node: ir.Node) -> bool:
    return layer in scopes_of(node) and not (node.name or "").startswith(INSERTED)
