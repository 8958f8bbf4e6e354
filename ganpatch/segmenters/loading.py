"""Load a segmenter by its specification.

Example:

    segmenter = load_segmenter("churches")                     # the bundled U-Net, for the project's scenes
    segmenter = load_segmenter("torchvision:deeplabv3_resnet50")
    segmenter = load_segmenter("transformers:nvidia/segformer-b0-finetuned-ade-512-512")
    segmenter = load_segmenter("onnx:segmenter.onnx", concepts=["sky", "tree"])
    segmenter = load_segmenter("net.py:make_segmenter", concepts=["sky", "tree"])
    segmenter = load_segmenter("strokes:strokes.json", generator)   # a linear probe from a few strokes
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from ganpatch.errors import GanpatchError, near_miss
from ganpatch.families.user_code import is_factory
from ganpatch.generator.generator import Generator
from ganpatch.generator.random_state import random_state_kept
from ganpatch.option_values import SEGMENTER_SPECS
from ganpatch.plugins import Group, find_plugin, plugin_names
from ganpatch.segmenters import bundled, pretrained, strokes, user_segmenter
from ganpatch.segmenters.segmenter import Segmenter

__all__ = ["Segmenter", "load_segmenter"]

_Loader = Callable[[str, Sequence[str]], Segmenter]


def _from_onnx(place: str, concepts: Sequence[str]) -> Segmenter:
    from ganpatch.segmenters import onnx_segmenter  # onnxruntime takes long to import

    return onnx_segmenter.load(place, concepts)


KINDS: dict[str, _Loader] = {
    "torchvision": pretrained.from_torchvision,
    "transformers": pretrained.from_transformers,
    "onnx": _from_onnx,
}
_PLUGINS: Group = "ganpatch.segmenters"


@random_state_kept()
def load_segmenter(
    spec: str, generator: Generator, *, concepts: Sequence[str] = (), after: str | None = None
) -> Segmenter:
    """Load the segmenter `spec` for images of `generator`; `concepts` names its classes if it does not provide names.

    `after` names a layer that will be edited. A probe of the generator's own features then reads only later layers, so
    that it does not see the very activations that were changed.
    Raises GanpatchError if there is no such segmenter, or it cannot be loaded.
    """
    if spec == bundled.NAME:
        return bundled.load()
    kind, colon, place = spec.partition(":")
    if colon and kind == "strokes":
        return strokes.load(Path(place), generator, after=after)
    if colon and kind in KINDS:
        return KINDS[kind](place, concepts)
    if spec in plugin_names(_PLUGINS):
        made = find_plugin(_PLUGINS, spec)()
        if not isinstance(made, Segmenter):
            raise GanpatchError(f"the plugin segmenter '{spec}' returned a {type(made).__name__}, not a Segmenter")
        return made
    hint = near_miss(kind, [bundled.NAME, "strokes", *KINDS, *plugin_names(_PLUGINS)])
    if is_factory(spec) and not (hint and "." not in kind):
        return user_segmenter.load(spec, concepts)
    raise GanpatchError(f"segmenter '{spec}' is none of {SEGMENTER_SPECS}{hint}")
