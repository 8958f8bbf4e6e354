"""Baking: a patch as edited weights, exactly, or the reason why weights cannot hold it.

    baked = bake(generator, patch)
    baked.decisions                         # per edit: folded into which tensors, or why a small operation is needed
    baked.state_dict                        # the whole state dict, with what was folded
    baked.proof                             # how equal it is to the hooks

Each edit is pushed upstream into parameters, else downstream, else it stays an edit that only a hook, a .pt2 or an
ONNX graph can hold. Whatever was decided is proved against the hooks before it is returned.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganpatch.errors import GanpatchError
from ganpatch.fold.parametrizations import expressed, folded
from ganpatch.fold.planning import Decision, Planner
from ganpatch.generator.backend import Backend
from ganpatch.generator.generator import Generator
from ganpatch.generator.layers import hooked_layers, tensor_of
from ganpatch.generator.random_state import random_state_kept
from ganpatch.graph.torch_operations import trace
from ganpatch.html_tables import html_table
from ganpatch.option_values import Mode
from ganpatch.patch.applying import check_model, edits_applied
from ganpatch.patch.edit import Edit
from ganpatch.patch.patch_file import Patch

# Hook and bake do the same sums in another order: float64 leaves about 1e-14, float32 1e-6 of the largest value.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}
_BATCHES = (3, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The largest difference between hooks and bake, in float64 and float32, over two batches of different size.

    `largest` is the largest output value, `effect` the largest change that the patch makes: the scale to read them on.
    """

    float64: float
    float32: float
    largest: float
    effect: float

    @property
    def holds(self) -> bool:
        """Whether both differences are within rounding errors of the largest output."""
        return all(
            difference <= TOLERANCE[dtype] * self.largest
            for dtype, difference in ((torch.float64, self.float64), (torch.float32, self.float32))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Baked:
    """A state dict with the folded edits in it, and the edits that weights cannot hold."""

    state_dict: dict[str, Tensor]
    changed: dict[str, Tensor]
    decisions: tuple[Decision, ...]
    inserted: tuple[Edit, ...]
    proof: Proof

    def module(self, original: nn.Module) -> nn.Module:
        """Return a copy of `original` with these weights; `inserted` edits are not in it."""
        return with_state(original, self.changed)

    def _repr_html_(self) -> str:
        rows = [(one.edit, one.layer, one.outcome, ", ".join(one.where) or one.reason) for one in self.decisions]
        title = (
            f"hooks and bake differ by at most {self.proof.float32:.1e}, the patch itself by {self.proof.effect:.2g}"
        )
        return html_table(["edit", "layer", "outcome", "where or why"], rows, title=title, numeric=False)


def bake(generator: Generator, patch: Patch, *, mode: Mode = "auto", allow_other_weights: bool = False) -> Baked:
    """Fold the edits of `patch` into weights and prove them equal to the hooks.

    `auto` leaves what cannot be folded in `inserted`; `fold` refuses then; `insert` folds nothing.
    Raises GanpatchError when the patch is for another model, or the proof fails whatever is inserted.
    """
    module = generator.module
    if isinstance(module, Backend):
        raise GanpatchError(
            f"{generator.name} is an ONNX graph, which has no weights in torch; 'ganpatch apply' writes it"
        )
    check_model(module, patch, allow_other_weights=allow_other_weights)
    if hooks := hooked_layers(module):
        raise GanpatchError(f"{generator.name} carries forward hooks on {hooks[0]}; remove them before baking")
    args = _inputs(generator, range(_BATCHES[0]), torch.float64)
    forced = {edit.id: "--mode insert" for edit in patch.edits} if mode == "insert" else {}
    baked = _attempt(generator, patch, args, forced)
    suspects = [decision.edit for decision in baked.decisions if decision.outcome == "folded"]
    for suspect in [[edit] for edit in suspects] + [suspects] if not baked.proof.holds else []:
        distrusted = dict.fromkeys(suspect, "folding it is not equal to the hook in this model")
        baked = _attempt(generator, patch, args, distrusted)
        if baked.proof.holds:
            break
    if not baked.proof.holds:
        proof = baked.proof
        raise GanpatchError(
            f"cannot bake '{patch.name}': hooks and result differ by {proof.float64:.2g} in float64 "
            f"({proof.float32:.2g} in float32), outputs reach {proof.largest:.3g}"
        )
    if mode == "fold" and baked.inserted:
        raise GanpatchError(refusal(patch, baked.decisions))
    return baked


def refusal(patch: Patch, decisions: Sequence[Decision]) -> str:
    """Return which edits weights cannot hold, why, and what can hold them."""
    places = {edit.id: index for index, edit in enumerate(patch.edits)}
    lines = [
        f"cannot bake $.edits[{places[one.edit]}] ('{one.edit}' at {one.layer}) into weights: {one.reason}"
        for one in decisions
        if one.outcome == "inserted"
    ]
    instead = "a .pt2 or .onnx file can hold an inserted operation (-o fixed.pt2), and so can a hook"
    return "\n".join([*lines, instead])


def with_state(original: nn.Module, changed: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of `original` in which the tensors `changed` are replaced."""
    module = deepcopy(original)
    state = module.state_dict()
    with torch.no_grad():
        for name, tensor in changed.items():
            state[name].copy_(tensor)
    return module


def _attempt(generator: Generator, patch: Patch, args: tuple[Any, ...], forced: Mapping[str, str]) -> Baked:
    """Plan, commit and prove once; edits in `forced` are inserted for the reason given."""
    module = generator.module
    plain = folded(deepcopy(module).double())  # a norm computed in float32 would miss the float64 one by 1e-8
    decisions, weights = _planned(plain, patch, args, forced)
    where = {name for decision in decisions for name in decision.where}
    wide = expressed(module, {name: weights[name] for name in sorted(where)})
    for name, tensor in wide.items():
        if not torch.isfinite(tensor).all():
            raise GanpatchError(f"cannot bake '{patch.name}': '{name}' would not be finite")
    original = module.state_dict()
    changed = {name: tensor.to(original[name].dtype) for name, tensor in wide.items()}
    inserted = tuple(edit for edit in patch.edits for d in decisions if d.edit == edit.id and d.outcome == "inserted")
    return Baked(
        state_dict={name: changed.get(name, tensor.detach().clone()) for name, tensor in original.items()},
        changed=changed,
        decisions=tuple(decisions),
        inserted=inserted,
        proof=_proof(generator, patch.edits, wide, inserted),
    )


def _planned(
    plain: nn.Module, patch: Patch, args: tuple[Any, ...], forced: Mapping[str, str]
) -> tuple[list[Decision], dict[str, Tensor]]:
    if len(forced) == len(patch.edits):
        return [Decision(edit=e.id, layer=e.layer, outcome="inserted", reason=forced[e.id]) for e in patch.edits], {}
    graph = trace(plain, args, [edit.layer for edit in patch.edits])
    planner = Planner(graph, patch.edits, forced)
    planner.plan()
    return [planner.decisions[edit.id] for edit in patch.edits], graph.weights


def _proof(generator: Generator, edits: Sequence[Edit], wide: Mapping[str, Tensor], inserted: Sequence[Edit]) -> Proof:
    differences: dict[torch.dtype, float] = {}
    largest = effect = 0.0
    for dtype in (torch.float64, torch.float32):
        original = deepcopy(generator.module).to(dtype)
        baked = with_state(original, wide)
        differences[dtype] = 0.0
        for batch in _BATCHES:
            plain = _output(original, generator, batch, dtype)
            with edits_applied(original, edits):
                hooked = _output(original, generator, batch, dtype)
            with edits_applied(baked, inserted):
                result = _output(baked, generator, batch, dtype)
            differences[dtype] = max(differences[dtype], _largest(hooked - result))
            largest, effect = max(largest, _largest(hooked)), max(effect, _largest(hooked - plain))
    return Proof(float64=differences[torch.float64], float32=differences[torch.float32], largest=largest, effect=effect)


@torch.inference_mode()
def _output(module: nn.Module, generator: Generator, batch: int, dtype: torch.dtype) -> Tensor:
    args = _inputs(generator, range(100, 100 + batch), dtype)
    with random_state_kept(seed=0):  # noise drawn inside the model is then the same
        output = tensor_of(module(*args))
    assert output is not None
    return output.double()


def _inputs(generator: Generator, seeds: Sequence[int], dtype: torch.dtype) -> tuple[Tensor, ...]:
    args = generator.inputs_of(seeds)
    return tuple(arg.to(dtype) if arg.is_floating_point() else arg for arg in args)


def _largest(tensor: Tensor) -> float:
    largest = tensor.abs().max().item()
    return largest if largest == largest else float("inf")
