"""Fingerprints that identify a model by its structure and by its weights.

    fingerprint(module)     # Fingerprint(structure="sha256:…", weights="sha256:…")

sha256 of each parameter over its name, dtype, shape and bytes, then of the digests. Only parameters count: the
buffers of BatchNorm drift in one forward pass in training mode. The same weights have the same fingerprint as a
live module, a state-dict .pt and a .safetensors file. Patches are read without torch, so torch is not imported here.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`structure`: names and shapes of the parameters; `weights`: also their dtypes and bytes."""

    structure: str
    weights: str


def fingerprint(module: "nn.Module") -> Fingerprint:
    """Return the fingerprint of the parameters of `module`, as they are now."""
    from ganpatch.generator.backend import Backend
    from ganpatch.generator.layers import unwrapped

    module = unwrapped(module)
    return module.identity if isinstance(module, Backend) else fingerprint_of(module.named_parameters())


def fingerprint_of(parameters: "Iterable[tuple[str, Tensor]]") -> Fingerprint:
    """Return the fingerprint of named tensors; their order does not matter."""
    structure, weights = hashlib.sha256(), hashlib.sha256()
    for name, tensor in sorted(parameters, key=lambda pair: pair[0]):
        structure.update(f"{name} {list(tensor.shape)}\n".encode())
        weights.update(f"{name} {tensor_digest(tensor)}\n".encode())
    return Fingerprint(f"sha256:{structure.hexdigest()}", f"sha256:{weights.hexdigest()}")


def tensor_digest(tensor: "Tensor") -> str:
    """Return the sha256, in hex, of a tensor's dtype, shape and bytes."""
    import torch

    plain = tensor.detach().cpu().contiguous()
    raw = plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b""
    return _digest(str(plain.dtype).removeprefix("torch."), plain.shape, raw)


def array_digest(array: "NDArray[Any]") -> str:
    """Return the sha256, in hex, of a NumPy array's dtype, shape and bytes: that of the same tensor."""
    return _digest(str(array.dtype), array.shape, array.tobytes())


def _digest(dtype: str, shape: Sequence[int], raw: bytes | memoryview) -> str:
    digest = hashlib.sha256(f"{dtype} {list(shape)}\n".encode())
    digest.update(raw)
    return digest.hexdigest()
