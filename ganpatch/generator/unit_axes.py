"""Whether the second dimension of a layer's output is its units: in transformers it counts tokens, and units come last.

    returns_tokens(module, "blocks.0", (2, 64, 32))     # True: [N, T, C]

A layer of tokens is recognised by what it is (linear or normalising on the last dimension, attention), and any other by
what its model is made of: three dimensions are [N, C, L] where there are 1-D convolutions, else [N, T, C].
"""

from collections.abc import Sequence

from torch import nn

from ganpatch.errors import GanpatchError

_ON_LAST = (
    *(nn.Linear, nn.Bilinear, nn.MultiheadAttention, nn.RMSNorm, nn.Embedding),
    *(nn.TransformerEncoderLayer, nn.TransformerDecoderLayer, nn.TransformerEncoder, nn.TransformerDecoder),
)
_ON_SECOND = (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.InstanceNorm1d, nn.GroupNorm)


def returns_tokens(module: nn.Module, layer: str, shape: Sequence[int]) -> bool:
    """Return whether an output of `shape` of a layer of `module` has tokens, not units, as its second dimension."""
    if len(shape) < 3:
        return False
    own = module.get_submodule(layer)
    if isinstance(own, _ON_LAST):
        return True
    if isinstance(own, nn.LayerNorm):
        return len(own.normalized_shape) == 1
    if len(shape) > 3 or isinstance(own, _ON_SECOND):
        return False
    return not any(isinstance(inner, nn.Conv1d | nn.ConvTranspose1d) for inner in module.modules())


def refuse_tokens(module: nn.Module, layer: str, shape: Sequence[int]) -> None:
    """Raise GanpatchError where a layer returns tokens."""
    if returns_tokens(module, layer, shape):
        edges = ", ".join(str(edge) for edge in shape[1:])
        raise GanpatchError(
            f"layer '{layer}' returns tokens [N, {edges}]: its second dimension is not its units, which can be neither "
            "ranked nor edited; choose a layer that returns maps, as 'ganpatch layers' lists them"
        )
