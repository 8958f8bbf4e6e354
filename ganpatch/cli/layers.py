"""`ganpatch layers`."""

from dataclasses import asdict
from typing import Any

import click

from ganpatch.activations import default_layer, layer_facts
from ganpatch.cli.options import json_option, load_model, loading_options, model_argument, print_json, print_table


@click.command()
@model_argument
@loading_options
@json_option
def layers(model: str | None, loading: dict[str, Any], as_json: bool) -> None:
    """List the layers of MODEL: type, units, size of the maps, runs per forward pass.

    \b
      ganpatch layers
      ganpatch layers model.pt --arch net.py:Generator --latent normal:100
    """
    facts = layer_facts(load_model(model, loading))
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
