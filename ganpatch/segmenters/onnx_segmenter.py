"""A segmenter in an ONNX file: one input, images [N, 3, H, W] in [0, 1]; its first output logits or labels.

Its concepts are in the file's metadata under "concepts", separated by commas, or are passed to `load`.
"""

from collections.abc import Sequence
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor

from ganpatch.errors import GanpatchError, explained
from ganpatch.segmenters.segmenter import Segmenter
from ganpatch.untrusted.onnx_files import open_session


def load(place: str, concepts: Sequence[str]) -> Segmenter:
    """Open the file; raise GanpatchError if it is not a graph with one input, or its concepts have no names."""
    if not Path(place).is_file():
        raise GanpatchError(f"segmenter '{place}' does not exist")
    session = open_session(Path(place), onnxruntime.get_available_providers())
    stored = session.get_modelmeta().custom_metadata_map.get("concepts", "")
    names = tuple(concepts) or tuple(name.strip() for name in stored.split(",") if name.strip())
    if not names:
        raise GanpatchError(f"'{place}': its concepts have no names; add --concepts sky,tree,…")
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise GanpatchError(f"'{place}' takes {len(inputs)} inputs, not one batch of images")

    def run(images: Tensor, _features: Sequence[Tensor]) -> Tensor:
        with explained(f"'{place}' fails on images {list(images.shape)}"):
            output = session.run(None, {inputs[0].name: images.detach().cpu().numpy()})[0]
        return torch.from_numpy(output).to(images.device)

    return Segmenter(name=f"onnx:{place}", concepts=names, run=run)
