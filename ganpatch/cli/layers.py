"""`ganpatch layers`."""

from typing import Any

from ganpatch.cli.loading import choose, loading_options, model_argument, model_command
from ganpatch.cli.options import json_option
from ganpatch.cli.output import print_json, print_table, say


@model_command()
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
    from ganpatch.export.listing import list_model_layers

    chosen = choose(model, loading)
    found = list_model_layers(chosen.model, **chosen.as_keywords())
    for remark in found.remarks:
        say(remark)
    if as_json:
        print_json(found.facts)
    else:
        print_table(found.heading, found.rows, numeric=["units", "size", "calls"])
