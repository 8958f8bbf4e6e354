"""A patch as hooks: before, during, after."""

from collections.abc import Callable

import pytest
import torch

import ganpatch
from ganpatch import Edit, GanpatchError, Generator, Mask, Patch, applied
from ganpatch.generator.layers import hooked, hooked_layers
from ganpatch.patch.applying import edits_applied
from ganpatch.patch.equation import edited, terms
from tests.support.nets import dcgan, repeated


def test_before_during_after(small_progressive: Generator, make_patch: Callable[..., Patch]) -> None:
    patch = make_patch(
        small_progressive, {"layer": "layer4", "channels": 10, "units": [0, 3], "alpha": 0.5, "value": 2.0}
    )
    before = small_progressive.sample(range(4))
    seen = []
    with (
        applied(small_progressive.module, patch),
        hooked(small_progressive.module, {"layer5.norm": lambda y, call: seen.append(y)}),
    ):
        during = small_progressive.sample(range(4))
    assert (during - before).abs().max() > 1e-3
    assert torch.equal(small_progressive.sample(range(4)), before)
    assert hooked_layers(small_progressive.module) == []


def test_the_layer_gives_what_the_equation_says(small_dcgan: Generator, make_patch: Callable[..., Patch]) -> None:
    patch = make_patch(
        small_dcgan,
        {"layer": "main.2", "channels": 12, "units": [1, 4], "alpha": [0.5, 1.0], "value": [1.0, -1.0]},
        {
            "layer": "main.2",
            "channels": 12,
            "units": [4],
            "above": -2.0,
            "alpha": 0.25,
            "value": 3.0,
        },  # in the order of the list
    )
    plain, changed = [], []
    with hooked(small_dcgan.module, {"main.2": lambda y, call: plain.append(y.clone())}):
        small_dcgan.sample(range(3))
    with (
        applied(small_dcgan.module, patch),
        hooked(small_dcgan.module, {"main.2": lambda y, call: changed.append(y.clone())}),
    ):
        small_dcgan.sample(range(3))
    wanted = plain[0]
    for edit in patch.edits:
        wanted = edited(wanted, terms(edit, dims=2).to(wanted))
    assert torch.equal(changed[0], wanted)


def test_one_run_of_a_layer_that_runs_twice() -> None:
    module, latent = repeated()
    generator = ganpatch.load(module, latent=latent)
    outputs = []
    watch = {"twice": lambda y, call: outputs.append((call, y[:, 2].abs().max().item()))}
    with edits_applied(module, [Edit(id="e", layer="twice", channels=6, units=[2], call=1)]), hooked(module, watch):
        generator.sample([0])
    assert outputs[0][1] > 0
    assert outputs[1] == (1, 0.0)


def test_it_ends_on_an_error_too(small_dcgan: Generator, make_patch: Callable[..., Patch]) -> None:
    patch = make_patch(small_dcgan, {"layer": "main.2", "channels": 12, "units": [1]})
    with pytest.raises(ValueError, match="inside"), applied(small_dcgan.module, patch):
        raise ValueError("inside")
    assert hooked_layers(small_dcgan.module) == []


def test_a_patch_for_other_weights_is_refused(small_dcgan: Generator, make_patch: Callable[..., Patch]) -> None:
    patch = make_patch(small_dcgan, {"layer": "main.2", "channels": 12, "units": [1]})
    other, latent = dcgan()
    with torch.no_grad():
        other.get_parameter("main.0.weight").mul_(2)
    generator = ganpatch.load(other, latent=latent)
    with pytest.raises(GanpatchError) as fault, applied(other, patch):
        pass
    assert "patch 'test' is for other weights: DCGANGenerator " in str(fault.value)
    assert "--allow-other-weights applies it anyway" in str(fault.value)
    with applied(other, patch, allow_other_weights=True):
        generator.sample([0])


def test_a_patch_for_another_model_is_refused(
    small_dcgan: Generator, small_progressive: Generator, make_patch: Callable[..., Patch]
) -> None:
    patch = make_patch(small_dcgan, {"layer": "main.2", "channels": 12, "units": [1]})
    with pytest.raises(GanpatchError) as fault, applied(small_progressive.module, patch):
        pass
    assert str(fault.value) == (
        "patch 'test' is for another model: it was made for DCGANGenerator (c528a919d671), "
        "ProgressiveGenerator has other parameters (d115eaed0074)"
    )
    wider = torch.nn.Sequential()
    wider.add_module("main", torch.nn.Sequential(*[torch.nn.Linear(1, 1) for _ in range(3)]))
    with (
        pytest.raises(GanpatchError, match="is for another model: it was made for DCGANGenerator"),
        applied(wider, patch),
    ):
        pass


def test_what_does_not_fit_is_said_at_the_layer(small_dcgan: Generator, make_patch: Callable[..., Patch]) -> None:
    patch = make_patch(small_dcgan, {"layer": "main.2", "channels": 16, "units": [13]})
    with applied(small_dcgan.module, patch), pytest.raises(GanpatchError) as fault:
        small_dcgan.sample([0])
    assert str(fault.value) == "edit 'edit0' expects 16 channels, layer 'main.2' has 12"
    patch = make_patch(
        small_dcgan, {"layer": "main.2", "channels": 12, "units": [1], "mask": Mask.of(torch.ones(8, 8))}
    )
    with applied(small_dcgan.module, patch), pytest.raises(GanpatchError) as fault:
        small_dcgan.sample([0])
    assert str(fault.value) == "the mask of edit 'edit0' is 8x8, maps of layer 'main.2' are 4x4"


def test_a_gated_patch_leaves_other_images_bit_for_bit(
    small_dcgan: Generator, make_patch: Callable[..., Patch]
) -> None:
    ranking = ganpatch.rank(small_dcgan, ["main.2"], range(40), k=40)
    scores = dict(zip(ranking["main.2"].top_seeds[3].tolist(), ranking["main.2"].top_scores[3].tolist(), strict=True))
    level = sorted(scores.values())[20]
    patch = make_patch(small_dcgan, {"layer": "main.2", "channels": 12, "units": [3], "above": level})
    quiet = [seed for seed, score in scores.items() if score <= level]
    before = small_dcgan.sample(quiet)
    with applied(small_dcgan.module, patch):
        assert torch.equal(small_dcgan.sample(quiet), before)
        loud = [seed for seed in scores if seed not in quiet]
        changed = small_dcgan.sample(loud)
    assert not torch.equal(changed, small_dcgan.sample(loud))
