"""Try a generator with two seeds before it is returned, and report what is wrong with it.

Example:

    checked(generator)                      # the generator in eval mode, with a tensor of images as output
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ganpatch.errors import GanpatchError, first_line, listed
from ganpatch.families.adapter import adapted
from ganpatch.generator.generator import Generator
from ganpatch.generator.layers import hooked, hooked_layers, layer_names, refuse_unhookable, tensor_of

_SEEDS = (0, 1)
_LARGE = 1 << 22  # numbers in an activation of one image
_MOST_TIMES = 256  # times as many as the weights have: a decoder of a million weights at 1024x1024 has 60 times as many


def checked(generator: Generator) -> Generator:
    """Return `generator` in eval mode after a trial of two seeds; images are extracted from a larger output.

    Raises GanpatchError with the check that failed: the module runs, returns 1 or 3 channels and finite values, changes
    with the seed, and returns the same image for the same seed.
    """
    refuse_unhookable(generator.module)
    if hooks := hooked_layers(generator.module):
        raise GanpatchError(f"{generator.name}: the model carries forward hooks on {hooks[0]}; remove them first")
    if generator.range[0] >= generator.range[1]:
        raise GanpatchError(f"{generator.name}: the output range {generator.range} is empty; give it as low,high")
    generator.module.eval()
    _refuse_batch_statistics(generator)
    with _bounded(generator):
        output = tried(generator)
    if not isinstance(output, Tensor):
        generator = replace(generator, module=adapted(generator.module))
        output = tried(generator)
    _check_images(generator, output)
    if not _is_of_family(generator):
        _check_alone(generator, output)
    return generator


def _refuse_batch_statistics(generator: Generator) -> None:
    """Raise GanpatchError for BatchNorm layers that normalise by the batch, so that an image depends on the others."""
    found = [
        name
        for name, layer in generator.module.named_modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is None
    ]
    if found:
        raise GanpatchError(
            f"{generator.name}: {listed(found, 3)}: BatchNorm without running statistics, so an image depends on the "
            "others in its batch; collect them (track_running_stats=True, and a pass in training mode), or use "
            "InstanceNorm"
        )


@contextmanager
def _bounded(generator: Generator) -> Iterator[None]:
    """Stop a pass in which images grow far beyond their weights, because a few bytes in a file can claim any size.

    The user's own code has no limit.
    """
    module = generator.module
    most = max(_LARGE, _MOST_TIMES * sum(parameter.numel() for parameter in module.parameters()))

    def measure(output: Any, _call: int) -> None:
        tensor = tensor_of(output)
        if tensor is not None and tensor.numel() > most * len(_SEEDS):
            size = list(tensor.shape[1:])
            raise GanpatchError(f"{generator.name}: an image grows to {size} on its way: too large for these weights")

    from_file = _is_of_family(generator) or type(module).__module__.startswith("torch.export.")
    with hooked(module, dict.fromkeys(layer_names(module), measure) if from_file else {}):
        yield


@torch.inference_mode()
def tried(generator: Generator) -> Any:
    """Run two seeds; if that fails, raise GanpatchError with the shapes and a way out."""
    inputs = generator.inputs_of(_SEEDS)
    try:
        return generator.module(*inputs)
    except GanpatchError:
        raise
    except Exception as fault:
        shapes = ", ".join(str(list(part.shape)) for part in inputs)
        raise GanpatchError(
            f"{generator.name}: a forward pass with inputs {shapes} fails: {first_line(fault, None)}; "
            f"is --latent {generator.latent} right{'' if generator.labels else ', and does it take --labels'}?"
        ) from fault


def _is_of_family(generator: Generator) -> bool:
    return type(generator.module).__module__.startswith("ganpatch.families.")


def _check_alone(generator: Generator, together: Any) -> None:
    """Raise GanpatchError when an image alone does not come out as in a batch of two: the last batch may be of one."""
    wanted = list(generator.images(together).shape[1:])
    try:
        with torch.inference_mode():
            found = list(generator.images(generator.module(*generator.inputs_of(_SEEDS[:1]))).shape)
    except Exception as fault:
        reason = first_line(fault).removeprefix(f"{generator.name}: ")
    else:
        if found == [1, *wanted]:
            return
        reason = f"its images are {found}, not {[1, *wanted]}"
    raise GanpatchError(
        f"{generator.name}: a batch of two works, and a batch of one does not: {reason}; if the forward pass "
        "calls squeeze(), name the dimension, as in squeeze(-1)"
    )


def draws_noise(generator: Generator) -> bool:
    """Return whether the same seeds give different images the second time, because of noise that no seed controls."""
    first, second = tensor_of(tried(generator)), tensor_of(tried(generator))
    return first is None or second is None or not torch.allclose(first, second, rtol=0, atol=1e-4)


def _check_images(generator: Generator, output: Any) -> None:
    images = generator.images(output)
    if not torch.isfinite(images).all() or not torch.isfinite(tensor_of(output)).all():  # type: ignore[arg-type]
        raise GanpatchError(f"{generator.name}: the output is not finite: the weights are broken or do not fit")
    if images.shape[0] != len(_SEEDS):
        raise GanpatchError(f"{generator.name}: two inputs gave {images.shape[0]} images")
    if generator.latent.count != 1 and torch.equal(images[0], images[1]):
        raise GanpatchError(
            f"{generator.name}: the image does not change with the seed: "
            "it ignores its latent, or the weights were not loaded"
        )
