"""The layers of a model or of an ONNX graph, as a table for people and as plain data.

Example:

    found = list_model_layers("model.pt")
    found.heading, found.rows               # for a table
    found.facts                             # [{"name": "main.3", "units": 8, ...}, ...]
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ganpatch.errors import GanpatchError
from ganpatch.families.loading import load, weights_file
from ganpatch.forward.default_layer import default_layer
from ganpatch.forward.layer_facts import LayerFacts, list_layers
from ganpatch.untrusted.weight_files import kind_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedLayers:
    """Layers as rows under a `heading`, and as `facts`; `remarks` about what loading chose and left aside."""

    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    facts: Sequence[dict[str, Any]]
    remarks: tuple[str, ...] = ()


def list_model_layers(model: str | Path | None = None, **options: Any) -> ListedLayers:
    """Return the layers of a model, or those that a patch can address in an ONNX graph; `options` are those of `load`.

    Raises GanpatchError when there is no such model, or it cannot be loaded.
    """
    file = weights_file(model)
    if file is not None and kind_of(file) == "onnx":
        return _of_graph(file)
    generator = load(model, **options)
    found = list_layers(generator)
    try:
        chosen = default_layer(found).name
    except GanpatchError:  # no layer has maps of eight units: none is ranked unless it is named
        chosen = ""
    rows = [(fact.name, fact.kind, *_figures(fact.units, fact.size, fact.calls), _note(fact, chosen)) for fact in found]
    return ListedLayers(
        heading=("layer", "type", "units", "size", "calls", ""),
        rows=rows,
        facts=[asdict(fact) for fact in found],
        remarks=generator.remarks,
    )


def _of_graph(file: Path) -> ListedLayers:
    from ganpatch.export.onnx_patching import count_unaddressed, list_onnx_layers  # onnx takes long to import

    found, others = list_onnx_layers(file), count_unaddressed(file)
    rows = [
        (
            layer.name,
            layer.operation,
            *_figures(layer.units, layer.size, layer.runs),
            f"not addressable: {layer.unclear}" if layer.unclear else "units are the last axis" * layer.has_units_last,
        )
        for layer in found
    ]
    return ListedLayers(
        heading=("layer", "made by", "units", "size", "calls", ""),
        rows=rows,
        facts=[asdict(layer) for layer in found],
        remarks=tuple(f"{count} values are no layers: {reason}" for reason, count in others.items()),
    )


def _figures(units: int | None, size: Sequence[int | None], calls: int) -> tuple[str, str, str]:
    edges = "x".join("?" if edge is None else str(edge) for edge in size)
    return str(units or "-"), edges or "-", str(calls)


def _note(fact: LayerFacts, default: str) -> str:
    if fact.tokens:
        return f"tokens [{', '.join(str(edge) for edge in fact.tokens)}]: not units"
    return "ranked by default" if fact.name == default else ""
