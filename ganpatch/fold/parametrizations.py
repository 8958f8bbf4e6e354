"""Weights that a module computes from others: spectral_norm and weight_norm, in torch's old and new style.

    plain = folded(module)                              # a copy with plain weights, named as without parametrization
    expressed(module, {"conv.weight": wanted})          # {"conv.weight_orig": …, "conv.weight_u": …}

The planner sees plain weights. What it decides is then written in the terms of the original module, so that the code
that made the checkpoint loads the repaired one unchanged.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import _SpectralNorm, _WeightNorm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from ganpatch.errors import GanpatchError


def folded(module: nn.Module) -> nn.Module:
    """Return a copy of `module` in which parametrized tensors are plain parameters."""
    plain = deepcopy(module)
    for layer in list(plain.modules()):
        if parametrize.is_parametrized(layer):
            shared = type(layer)  # copies share the class that torch made, and removal changes that class
            layer.__class__ = type(shared.__name__, shared.__bases__, dict(vars(shared)))
            for name in list(layer.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(layer, name, leave_parametrized=True)
        for key, hook in list(layer._forward_pre_hooks.items()):
            if isinstance(hook, SpectralNorm | WeightNorm):
                hook.remove(layer)
                del layer._forward_pre_hooks[key]
    return plain


def expressed(module: nn.Module, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Write plain tensors as entries of the state dict of `module`; raise GanpatchError where that cannot be done."""
    entries: dict[str, Tensor] = {}
    for name, tensor in wanted.items():
        place, _, leaf = name.rpartition(".")
        layer = module.get_submodule(place)
        write = _writer(layer, leaf)
        for inner, value in write(tensor).items():
            entries[f"{place}.{inner}" if place else inner] = value
    return entries


def _writer(layer: nn.Module, leaf: str) -> Callable[[Tensor], dict[str, Tensor]]:
    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, SpectralNorm) and hook.name == leaf:
            return _old_spectral(layer, hook)
        if isinstance(hook, WeightNorm) and hook.name == leaf:
            direction = getattr(layer, f"{leaf}_v")
            return lambda tensor: _weight_norm(tensor, direction, hook.dim, f"{leaf}_g", f"{leaf}_v")
    if parametrize.is_parametrized(layer, leaf):
        return _new_style(layer, leaf)
    return lambda tensor: {leaf: tensor}


def _old_spectral(layer: nn.Module, hook: SpectralNorm) -> Callable[[Tensor], dict[str, Tensor]]:
    name = hook.name
    v = getattr(layer, f"{name}_v").double()

    def write(tensor: Tensor) -> dict[str, Tensor]:
        matrix = hook.reshape_weight_to_matrix(tensor)
        u, right = _unit_sigma(matrix, getattr(layer, f"{name}_u").double(), v, name)
        return {f"{name}_orig": tensor, f"{name}_u": u, f"{name}_v": right}

    return write


def _new_style(layer: nn.Module, leaf: str) -> Callable[[Tensor], dict[str, Tensor]]:
    stack: Any = layer.get_submodule(f"parametrizations.{leaf}")
    kind: Any = stack[0]
    place = f"parametrizations.{leaf}"
    if len(stack) == 1 and isinstance(kind, _SpectralNorm):

        def spectral(tensor: Tensor) -> dict[str, Tensor]:
            matrix = kind._reshape_weight_to_matrix(tensor)
            u, v = _unit_sigma(matrix, kind._u.double(), kind._v.double(), leaf)
            return {f"{place}.original": tensor, f"{place}.0._u": u, f"{place}.0._v": v}

        return spectral
    if len(stack) == 1 and isinstance(kind, _WeightNorm):
        dim = kind.dim if kind.dim >= 0 else None
        return lambda tensor: _weight_norm(tensor, stack.original1, dim, f"{place}.original0", f"{place}.original1")
    kinds = ", ".join(type(part).__name__ for part in stack)
    raise GanpatchError(
        f"the parametrization {kinds} of '{leaf}' cannot be written back; only spectral_norm and weight_norm can"
    )


def _unit_sigma(matrix: Tensor, u: Tensor, v: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Scale u so that u · (W v) = 1: in eval mode the module then divides the weight by exactly that."""
    wide = matrix.double()
    sigma = torch.dot(u, wide @ v)
    if abs(sigma) < 1e-3 * torch.linalg.vector_norm(wide):
        left, values, right = torch.linalg.svd(wide, full_matrices=False)
        u, v, sigma = left[:, 0], right[0], values[0]
    if sigma == 0:
        raise GanpatchError(f"'{name}' under spectral_norm cannot be all zero")
    return u / sigma, v


def _weight_norm(tensor: Tensor, direction: Tensor, dim: int | None, gain: str, along: str) -> dict[str, Tensor]:
    """w = g * v / |v|: g takes the norm, v the direction; rows of zeros keep their old direction."""
    norm = torch.norm_except_dim(tensor, 2, -1 if dim is None else dim)
    kept = torch.where(norm == 0, direction.double(), tensor)
    return {gain: norm, along: kept}
