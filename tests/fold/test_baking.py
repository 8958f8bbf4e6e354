"""Baked = hooked, for every kind of net, layer and edit; and the naive bake is not."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import ganpatch
from ganpatch import Edit, GanpatchError, Generator, Patch, bake
from ganpatch.fold.baking import TOLERANCE, with_state
from ganpatch.forward.layer_facts import LayerFacts, list_layers
from ganpatch.generator.latents import parse_latent
from ganpatch.graph import torch_operations
from ganpatch.patch.applying import edits_applied
from tests.support.nets import NETS, in_place_trap, loaded_net, progressive, repeated, stylegan2
from tests.support.patches import KINDS, edit_for, patch_of
from tests.support.table import TABLE, folds

CASES = [(net, layer) for net, layers in TABLE.items() for layer in layers]


@pytest.fixture
def traced_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the trace: edits of every kind at one layer of one net need the same graph, and tracing is most of a bake."""
    kept: dict[tuple[str, ...], Any] = {}
    monkeypatch.setattr(torch_operations, "marked", functools.partial(kept_trace, torch_operations.marked, kept))
    yield
    assert len(kept) == 1


def kept_trace(
    trace: Callable[..., Any],
    kept: dict[tuple[str, ...], Any],
    module: nn.Module,
    args: Any,
    layers: list[str],
) -> Any:
    if tuple(layers) not in kept:
        kept[tuple(layers)] = trace(module, args, layers)
    return kept[tuple(layers)]


@pytest.mark.usefixtures("traced_once")
@pytest.mark.parametrize(("net", "layer"), CASES, ids=lambda value: value)
def test_every_edit_is_folded_or_inserted_as_the_table_says(net: str, layer: str) -> None:
    generator = loaded_net(net)
    fact = next(fact for fact in list_layers(generator) if fact.name == layer)
    for kind in KINDS:
        if kind == "masked" and len(fact.size) != 2:
            continue
        baked = bake(generator, patch_of(generator, [edit_for(fact, kind)]))
        assert baked.proof.float64 <= TOLERANCE[torch.float64] * baked.proof.largest
        outcome = baked.decisions[0].outcome
        if kind == "gated" or (kind == "masked" and fact.size != (1, 1)):
            assert outcome == "inserted", (kind, baked.decisions)
        elif kind != "masked":
            assert outcome == ("folded" if folds(net, layer, kind) else "inserted"), (kind, baked.decisions)


@pytest.mark.parametrize("net", NETS)
def test_several_edits_on_several_layers(net: str) -> None:
    """Upstream first, list order within a layer; whatever is folded together equals the hooks together."""
    generator = loaded_net(net)
    facts = [fact for fact in list_layers(generator) if fact.units >= 3]
    kinds = list(KINDS)[:5]
    edits = [edit_for(fact, kinds[index % 5], edit=f"a{index}") for index, fact in enumerate(reversed(facts))]
    edits += [
        Edit(id=f"b{fact.name}", layer=fact.name, channels=fact.units, units=[1, 2], alpha=0.25, value=-0.2)
        for fact in facts[::2]
    ]
    baked = bake(generator, patch_of(generator, edits))
    assert baked.proof.float64 <= TOLERANCE[torch.float64] * baked.proof.largest
    assert {decision.outcome for decision in baked.decisions} <= {"folded", "inserted"}
    assert len(baked.decisions) == len(edits)


def test_the_state_dict_is_loaded_by_the_original_code(make_patch: Callable[..., Patch]) -> None:
    for net in ("dcgan", "biggan", "biggan_new_spectral_norm", "weight_normed"):
        generator = loaded_net(net)
        fact = next(
            fact for fact in list_layers(generator) if fact.units >= 4 and fact.kind.startswith(("Conv", "Param"))
        )
        patch = make_patch(generator, {"layer": fact.name, "channels": fact.units, "units": [0, 3]})
        before = {name: tensor.clone() for name, tensor in generator.module.state_dict().items()}
        baked = bake(generator, patch, mode="fold")
        assert all(torch.equal(tensor, before[name]) for name, tensor in generator.module.state_dict().items()), net
        assert baked.state_dict.keys() == before.keys()
        module, latent = NETS[net]()
        module.load_state_dict(baked.state_dict)
        repaired = ganpatch.load(module, latent=latent)
        with ganpatch.applied(generator.module, patch):
            assert torch.allclose(repaired.sample(range(4)), generator.sample(range(4)), atol=1e-5), net


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_nets_and_edits_beyond_the_table(data: st.DataObject) -> None:
    generator = loaded_random(data)
    facts = [fact for fact in list_layers(generator) if fact.units]
    chosen = data.draw(st.lists(st.sampled_from(facts), min_size=1, max_size=4))
    edits = [drawn_edit(data, index, fact) for index, fact in enumerate(chosen)]
    baked = bake(generator, patch_of(generator, edits))
    assert baked.proof.float64 <= TOLERANCE[torch.float64] * baked.proof.largest


def drawn_edit(data: st.DataObject, index: int, fact: LayerFacts) -> Edit:
    return Edit(
        id=f"e{index}",
        layer=fact.name,
        channels=fact.units,
        units=sorted(data.draw(st.sets(st.integers(0, fact.units - 1), min_size=1, max_size=3))),
        alpha=data.draw(st.floats(0, 1)),
        value=data.draw(st.floats(-1, 1)),
        above=data.draw(st.none() | st.floats(-1, 1)),
    )


def loaded_random(data: st.DataObject) -> Generator:
    """Draw a small convolutional net: any order of convolutions, norms, activations and resampling, maybe a skip."""
    torch.manual_seed(data.draw(st.integers(0, 9)))
    channels = 6
    parts = st.sampled_from(
        [
            lambda: nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            lambda: nn.Conv2d(channels, channels, 1),
            lambda: nn.Conv2d(channels, channels, 3, padding=1, groups=2),
            lambda: nn.ConvTranspose2d(channels, channels, 3, padding=1, groups=3),
            lambda: nn.BatchNorm2d(channels),
            lambda: nn.BatchNorm2d(channels, affine=False),
            lambda: nn.GroupNorm(3, channels),
            lambda: nn.ReLU(True),
            lambda: nn.LeakyReLU(0.1),
            lambda: nn.SiLU(),
            lambda: nn.Tanh(),
            lambda: nn.Sigmoid(),
            lambda: nn.Upsample(scale_factor=2),
            lambda: nn.AvgPool2d(3, 1, 1),
            lambda: nn.MaxPool2d(3, 1, 1),
            lambda: nn.ReflectionPad2d(1),
            lambda: nn.ZeroPad2d(1),
            lambda: nn.Dropout(0.5),
            lambda: Skip(nn.Conv2d(channels, channels, 3, padding=1)),
            lambda: Twice(channels),
        ]
    )
    blocks = [data.draw(parts)() for _ in range(data.draw(st.integers(2, 7)))]
    module = nn.Sequential(nn.Conv2d(4, channels, 3, padding=1), *blocks, nn.Conv2d(channels, 3, 1)).eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
    return ganpatch.Generator(name="drawn", module=module, latent=parse_latent("normal:4,4,4"))


class Skip(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


class Twice(nn.Module):
    """A gate, a concatenation and a slice of it, in one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([x, self.inner(x)], 1)
        first, second = joined.chunk(2, 1)
        return first * 0.5 + torch.sigmoid(second)


def test_the_naive_bake_is_wrong() -> None:
    """Zeroing the rows of the convolution that makes a layer is not ablating it, after a demodulation or on a skip."""
    for make, layer, weight in (
        (stylegan2, "conv0", "conv0.weight"),
        (progressive, "layer3.norm", "layer2.conv.weight"),
    ):
        module, latent = make()
        generator = ganpatch.load(module, latent=latent)
        channels = next(fact.units for fact in list_layers(generator) if fact.name == layer)
        naive = with_state(module, {weight: zeroed_row(module.get_parameter(weight), 1)})
        args, _ = generator.inputs(range(3))
        with torch.no_grad(), edits_applied(module, [Edit(id="e", layer=layer, channels=channels, units=[1])]):
            hooked = module(*args)
        with torch.no_grad():
            assert (naive(*args) - hooked).abs().max() > 1e-2, layer


def zeroed_row(weight: torch.Tensor, row: int) -> torch.Tensor:
    changed = weight.detach().clone()
    changed[row] = 0
    return changed


def test_a_fold_that_the_proof_does_not_bear_out_is_inserted(
    monkeypatch: pytest.MonkeyPatch, make_patch: Callable[..., Patch]
) -> None:
    """Break a rule on purpose: nothing wrong comes out, the edit is inserted and says why."""
    from ganpatch.fold import upstream

    right = upstream._RULES["rectifier"]
    monkeypatch.setitem(upstream._RULES, "rectifier", lambda up, node, change: right(up, node, change.scaled_only()))
    generator = loaded_net("dcgan")
    patch = make_patch(generator, {"id": "bad", "layer": "main.2", "channels": 12, "units": [1], "value": 0.7},
                       {"id": "good", "layer": "main.4", "channels": 8, "units": [2]})  # fmt: skip
    baked = bake(generator, patch)
    assert [(d.edit, d.outcome, d.reason) for d in baked.decisions] == [
        ("bad", "inserted", "folding it is not equal to the hook in this model"),
        ("good", "folded", ""),
    ]
    assert baked.proof.holds


def test_the_in_place_trap_is_only_seen_by_the_proof(make_patch: Callable[..., Patch]) -> None:
    module, latent = in_place_trap()
    generator = ganpatch.load(module, latent=latent)
    baked = bake(generator, make_patch(generator, {"layer": "relu", "channels": 6, "units": [1, 2]}))
    assert baked.decisions[0].outcome == "inserted"


def test_what_weights_cannot_hold_is_refused_with_the_reason(make_patch: Callable[..., Patch]) -> None:
    generator = loaded_net("dcgan")
    patch = make_patch(generator, {"id": "gate", "layer": "main.2", "channels": 12, "units": [1], "above": 2.5})
    with pytest.raises(GanpatchError) as fault:
        bake(generator, patch, mode="fold")
    assert str(fault.value).splitlines() == [
        "cannot bake $.edits[0] ('gate' at main.2) into weights: 'above' depends on the activation, and weights do not",
        "a .pt2 or .onnx file can hold an inserted operation (-o fixed.pt2), and so can a hook",
    ]
    assert bake(generator, patch, mode="insert").decisions[0].reason == "--mode insert"


def test_a_run_that_does_not_happen_is_said(make_patch: Callable[..., Patch]) -> None:
    module, latent = repeated()
    generator = ganpatch.load(module, latent=latent)
    with pytest.raises(GanpatchError) as fault:
        bake(generator, make_patch(generator, {"layer": "twice", "channels": 6, "units": [1], "call": 2}))
    assert str(fault.value) == "edit 'edit0': run 2 of layer 'twice' does not happen: it runs 2 times per forward pass"


def test_a_model_that_cannot_be_traced_is_said(make_patch: Callable[..., Patch]) -> None:
    class Jumpy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return y * 2 if y.sum() > 0 else y

    torch.manual_seed(0)
    generator = ganpatch.load(Jumpy(), latent="normal:3,4,4")
    with pytest.raises(GanpatchError, match="^torch.export cannot trace Jumpy: "):
        bake(generator, make_patch(generator, {"layer": "conv", "channels": 3, "units": [1]}))


def test_a_hooked_model_is_not_baked(make_patch: Callable[..., Patch]) -> None:
    generator = loaded_net("dcgan")
    patch = make_patch(generator, {"layer": "main.2", "channels": 12, "units": [1]})
    handle = generator.module.get_submodule("main.3").register_forward_hook(lambda module, args, output: None)
    with pytest.raises(GanpatchError) as fault:
        bake(generator, patch)
    handle.remove()
    assert str(fault.value) == "DCGANGenerator carries forward hooks on main.3; remove them before baking"
