"""Which model is it: fingerprints of a module's structure and of its weights.

    fingerprint(module)     # Fingerprint(structure="sha256:…", weights="sha256:…")

sha256 of each parameter over its name, dtype, shape and bytes, then of the digests. Only parameters count: the
buffers of BatchNorm drift in one forward pass in training mode. The same weights give the same fingerprint as a
live module, a state-dict .pt and a .safetensors file.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganpatch.generator.layers import unwrapped


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`structure`: names and shapes of the parameters; `weights`: their dtypes and bytes as well."""

    structure: str
    weights: str


def fingerprint(module: nn.Module) -> Fingerprint:
    """Fingerprint the parameters of `module`, as they are now."""
    return fingerprint_of(unwrapped(module).named_parameters())


def fingerprint_of(parameters: Iterable[tuple[str, Tensor]]) -> Fingerprint:
    """Fingerprint named tensors; their order does not matter."""
    structure, weights = hashlib.sha256(), hashlib.sha256()
    for name, tensor in sorted(parameters, key=lambda pair: pair[0]):
        structure.update(f"{name} {list(tensor.shape)}\n".encode())
        weights.update(f"{name} {tensor_digest(tensor)}\n".encode())
    return Fingerprint(f"sha256:{structure.hexdigest()}", f"sha256:{weights.hexdigest()}")


def tensor_digest(tensor: Tensor) -> str:
    """Return the sha256, in hex, of a tensor's dtype, shape and bytes."""
    plain = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{str(plain.dtype).removeprefix('torch.')} {list(plain.shape)}\n".encode())
    if plain.numel():
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
