from collections import OrderedDict

import pytest
import torch
from torch import nn

from ganpatch import GanpatchError
from ganpatch.generator.layers import find_layer, hooked, hooked_layers, layer_names, tensor_of, unwrapped, with_tensor
from tests.support.nets import dcgan, repeated


def test_an_output_is_replaced_only_inside_the_block() -> None:
    module, _ = dcgan()
    z = torch.randn(2, 8, 1, 1)
    before = module(z)
    with hooked(module, {"main.2": lambda y, call: torch.zeros_like(y)}):
        during = module(z)
    assert not torch.equal(during, before)
    assert torch.equal(module(z), before)
    assert hooked_layers(module) == []


def test_hooks_are_gone_after_an_error() -> None:
    module, _ = dcgan()
    with pytest.raises(ValueError, match="in between"), hooked(module, {"main.2": lambda y, call: None}):
        raise ValueError("in between")
    assert hooked_layers(module) == []


def test_no_hook_is_set_when_a_layer_is_missing() -> None:
    module, _ = dcgan()
    with (
        pytest.raises(GanpatchError) as fault,
        hooked(module, {"main.2": lambda y, call: None, "mian.3": lambda y, call: None}),
    ):
        pass
    assert str(fault.value) == "layer 'mian.3' not found in DCGANGenerator; did you mean 'main.3'?"
    assert hooked_layers(module) == []


def test_a_layer_name_that_is_like_no_other() -> None:
    module, _ = dcgan()
    with pytest.raises(GanpatchError) as fault:
        find_layer(module, "zzz")
    assert str(fault.value) == "layer 'zzz' not found in DCGANGenerator; 'ganpatch layers' lists them"


def test_runs_are_counted_per_forward_pass() -> None:
    module, _ = repeated()
    seen = []
    with hooked(module, {"twice": lambda y, call: seen.append(call)}):
        module(torch.randn(1, 4, 8, 8))
        module(torch.randn(1, 4, 8, 8))
    assert seen == [0, 1, 0, 1]


def test_wrappers_are_taken_off() -> None:
    module, _ = dcgan()
    compiled = torch.compile(module)
    assert unwrapped(compiled) is module
    assert unwrapped(nn.DataParallel(module)) is module
    assert unwrapped(nn.DataParallel(torch.compile(module))) is module
    assert unwrapped(module) is module


def test_a_hook_on_a_compiled_model_works() -> None:
    module, _ = dcgan()
    compiled = torch.compile(module, backend="eager")
    z = torch.randn(2, 8, 1, 1)
    with hooked(compiled, {"main.7": lambda y, call: torch.zeros_like(y)}):
        assert unwrapped(compiled)(z).abs().max() == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused_with_the_way_out() -> None:
    module, _ = dcgan()
    script = torch.jit.trace(module, torch.randn(1, 8, 1, 1))
    with pytest.raises(GanpatchError) as fault, hooked(script, {}):
        pass
    assert str(fault.value).startswith(
        "the model is TorchScript, which does not run hooks; load the Python class with --arch"
    )


def test_parametrizations_are_no_layers() -> None:
    module = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 3, 3)))
    assert layer_names(module) == ["0"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: y,
        lambda y: (y, "style"),
        lambda y: ["latent", y],
        lambda y: {"latent": None, "image": y},
        lambda y: OrderedDict(sample=y),
        lambda y: torch.return_types.max((y, y)),
    ],
)
def test_the_tensor_in_an_output_is_found_and_replaced(wrap) -> None:  # type: ignore[no-untyped-def]
    y, new = torch.zeros(2, 3), torch.ones(2, 3)
    output = wrap(y)
    assert tensor_of(output) is y
    changed = with_tensor(output, new)
    assert tensor_of(changed) is new
    assert type(changed) is type(output) or isinstance(output, tuple)
    assert tensor_of(output) is y
