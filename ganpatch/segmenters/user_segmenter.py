"""The user's own segmenter: `file.py:factory` returns a module from images [N, 3, H, W] in [0, 1] to logits or labels.

The module may have its class names as `concepts`.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ganpatch.errors import GanpatchError
from ganpatch.families.user_code import make_module
from ganpatch.generator.layers import tensor_of
from ganpatch.segmenters.segmenter import Segmenter


def load(spec: str, concepts: Sequence[str]) -> Segmenter:
    """Call the factory; raise GanpatchError if the concepts have no names."""
    module = make_module(spec, {}).eval().requires_grad_(False)
    own: Any = getattr(module, "concepts", ())
    names = tuple(concepts) or tuple(str(name) for name in own)
    if not names:
        raise GanpatchError(
            f"{spec}: its concepts have no names; add --concepts sky,tree,…, or `concepts` to the module"
        )

    def run(images: Tensor, _features: Sequence[Tensor]) -> Tensor:
        output = tensor_of(module.to(images.device)(images))
        if output is None:
            raise GanpatchError(f"{spec} returns no tensor")
        return output

    return Segmenter(name=spec, concepts=names, run=run)
