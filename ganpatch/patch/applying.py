"""Apply a patch as forward hooks. The module is not changed, and no hook is left when the block ends.

Example:

    with applied(generator.module, patch):
        images = generator.sample(seeds)
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ganpatch.errors import GanpatchError
from ganpatch.generator.backend import Backend
from ganpatch.generator.fingerprints import fingerprint
from ganpatch.generator.layers import find_layer, hooked, tensor_of, unwrapped, with_tensor
from ganpatch.generator.unit_axes import refuse_tokens
from ganpatch.patch.edit import Edit
from ganpatch.patch.equation import Terms, edited, terms
from ganpatch.patch.patch_file import Patch


@contextmanager
def applied(module: nn.Module, patch: Patch, *, allow_other_weights: bool = False) -> Iterator[None]:
    """Apply `patch` to every forward pass inside the block.

    Raises GanpatchError before the first pass when the patch is for another model or names a missing layer, and
    in the pass when a layer returns another number of channels, or maps of another size than a mask.
    """
    check_model(module, patch, allow_other_weights=allow_other_weights)
    with edits_applied(module, patch.edits):
        yield


@contextmanager
def edits_applied(module: nn.Module, edits: Sequence[Edit]) -> Iterator[None]:
    """Apply `edits`, in their order, to every forward pass inside the block, whatever model they were made for."""
    by_layer: dict[str, list[Edit]] = {}
    for edit in edits:
        by_layer.setdefault(edit.layer, []).append(edit)
    own = unwrapped(module)
    with hooked(module, {layer: _on_output(own, layer, of_layer) for layer, of_layer in by_layer.items()}):
        yield


def check_model(module: nn.Module, patch: Patch, *, allow_other_weights: bool = False) -> None:
    """Raise GanpatchError when `patch` was made for another structure or other weights, or a layer is missing."""
    module = unwrapped(module)
    if not isinstance(module, Backend) or module.is_known:
        _check_fingerprint(module, patch, allow_other_weights=allow_other_weights)
    for edit in patch.edits:
        find_layer(module, edit.layer)


def _check_fingerprint(module: nn.Module, patch: Patch, *, allow_other_weights: bool) -> None:
    own, made_for = fingerprint(module), patch.model.fingerprint
    name = type(module).__name__
    if own.structure != made_for.structure:
        raise GanpatchError(
            f"patch '{patch.name}' is for another model: it was made for {patch.model.name} "
            f"({_short(made_for.structure)}), {name} has other parameters ({_short(own.structure)})"
        )
    if own.weights != made_for.weights and not allow_other_weights:
        raise GanpatchError(
            f"patch '{patch.name}' is for other weights: {patch.model.name} {_short(made_for.weights)}, these are "
            f"{_short(own.weights)}, whose units may draw other things. --allow-other-weights applies it anyway"
        )


def fitting_terms(edit: Edit, shape: Sequence[int]) -> Terms:
    """Return the terms of `edit` for an activation of `shape` [N, C, ...]; raise GanpatchError when they do not fit."""
    channels, size = (shape[1], tuple(shape[2:])) if len(shape) > 1 else (0, ())
    if channels != edit.channels:
        raise GanpatchError(f"edit '{edit.id}' expects {edit.channels} channels, layer '{edit.layer}' has {channels}")
    if edit.mask is not None and size != tuple(edit.mask.size):
        raise GanpatchError(
            f"the mask of edit '{edit.id}' is {edit.mask.size[0]}x{edit.mask.size[1]}, "
            f"maps of layer '{edit.layer}' are {'x'.join(str(edge) for edge in size) or 'no maps'}"
        )
    return terms(edit, dims=len(size))


def as_change(edits: Sequence[Edit]) -> Callable[..., Tensor]:
    """Return `edits` of one layer, in order, as a function of its activation [N, C, ...] and the run it is of."""
    prepared: dict[tuple[str, torch.dtype, torch.device], Terms] = {}

    def change(y: Tensor, call: int = 0) -> Tensor:
        for edit in edits:
            if edit.call is None or edit.call == call:
                key = (edit.id, y.dtype, y.device)
                if key not in prepared:
                    prepared[key] = fitting_terms(edit, y.shape).to(y)
                y = edited(y, prepared[key])
        return y

    return change


def _on_output(module: nn.Module, layer: str, edits: Sequence[Edit]) -> Callable[[Any, int], Any]:
    change = as_change(edits)

    def on_output(output: Any, call: int) -> Any:
        y = tensor_of(output)
        if y is None:
            raise GanpatchError(f"layer '{layer}' returns a {type(output).__name__} without a tensor [N, C, ...]")
        refuse_tokens(module, layer, y.shape)
        return with_tensor(output, change(y, call))

    return on_output


def _short(print_: str) -> str:
    return print_.removeprefix("sha256:")[:12]
