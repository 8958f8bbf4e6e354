"""`ganpatch layers`."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ganpatch.cli.help import command
from ganpatch.cli.loading import load_model, loading_options, model_argument
from ganpatch.cli.options import json_option
from ganpatch.cli.output import print_json, print_table


@command()
@model_argument
@loading_options
@json_option
def layers(model: str | None, loading: dict[str, Any], as_json: bool) -> None:
    """List the layers of MODEL: type, units, size of the maps, runs per forward pass.

    Of an ONNX graph: the layers that a patch can address in it.

    \b
      ganpatch layers
      ganpatch layers model.pt --arch net.py:Generator --latent normal:100
      ganpatch layers model.onnx
    """
    from ganpatch.families.loading import weights_file
    from ganpatch.forward.activations import default_layer, list_layers
    from ganpatch.untrusted.weight_files import kind_of

    path = weights_file(model)
    if path is not None and kind_of(path) == "onnx":
        print_graph(path, as_json)
        return
    facts = list_layers(load_model(model, loading))
    if as_json:
        print_json([asdict(fact) for fact in facts])
        return
    chosen = default_layer(facts).name
    rows = [
        (
            fact.name,
            fact.kind,
            str(fact.units or "-"),
            "x".join(map(str, fact.size)) or "-",
            str(fact.calls),
            "ranked by default" if fact.name == chosen else "",
        )
        for fact in facts
    ]
    print_table(["layer", "type", "units", "size", "calls", ""], rows, numeric=["units", "size", "calls"])


def print_graph(path: Path, as_json: bool) -> None:
    """Print the layers of an ONNX graph."""
    from ganpatch.export.onnx_patching import list_onnx_layers

    found = list_onnx_layers(path)
    if as_json:
        print_json([asdict(layer) for layer in found])
        return
    rows = [
        (
            layer.name,
            layer.operation,
            str(layer.units or "-"),
            "x".join("?" if size is None else str(size) for size in layer.size) or "-",
            str(layer.runs),
            layer.unclear and f"not addressable: {layer.unclear}",
        )
        for layer in found
    ]
    print_table(["layer", "made by", "units", "size", "calls", ""], rows, numeric=["units", "size", "calls"])
