"""Signs that a generator takes a class beside its latent, though a latent alone gives images.

    classes_beside(110)                     # (100, 10): a first layer of 110 inputs is one of 100 and ten classes
    class_signs(module, 110)                # ("its first layer takes 110 numbers: a latent of 100 and 10 classes?",)

The number of inputs is looked at, the names of the arguments of `forward`, and whether its source cuts its input.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from ganpatch.families.adapter import viewed

_LATENTS = (100, 128, 64, 256, 512, 62, 50, 32)  # as people train them, the most common first
_MOST_CLASSES = 30
_NAMES = ("labels", "label", "classes", "class_labels", "c", "y", "cond", "condition")
_CUT = re.compile(
    r"\b(\w+)\s*\[\s*:\s*,\s*(:\s*[\w.]+|[\w.]+\s*:)\s*\]|\b(\w+)\.(?:split|chunk)\(|\b(?:split|chunk)\(\s*(\w+)"
)


def classes_beside(inputs: int) -> tuple[int, int] | None:
    """Return the usual latent size and the number of classes that make up `inputs`; None where it is a usual size."""
    if inputs in _LATENTS or inputs & (inputs - 1) == 0 or inputs % 40 == 0:
        return None
    return next(((size, inputs - size) for size in _LATENTS if 2 <= inputs - size <= _MOST_CLASSES), None)


def class_signs(module: nn.Module, inputs: int) -> tuple[str, ...]:
    """Return a sentence for every sign that `module` takes a class, its latent being one of `inputs` numbers."""
    return tuple(_signs(module, inputs))


def _signs(module: nn.Module, inputs: int) -> Iterator[str]:
    if found := classes_beside(inputs):
        yield f"its first layer takes {inputs} numbers: a latent of {found[0]} and {found[1]} classes?"
    forward = _own_forward(module)
    arguments = list(inspect.signature(forward).parameters)[1:]
    if named := [name for name in arguments[1:] if name.lower() in _NAMES]:
        yield f"its forward has an argument '{named[0]}'"
    if arguments and (cut := _cut(forward, arguments[0])):
        yield f"its forward cuts its input: {cut}"


def _own_forward(module: nn.Module) -> Callable[..., Any]:
    """Return the forward that the user wrote: a module that is called in another way has one of ours before it."""
    forwards = (vars(kind)["forward"] for kind in type(module).__mro__ if "forward" in vars(kind))
    return next(forward for forward in forwards if forward.__module__ != viewed.__module__)


def _cut(forward: Callable[..., Any], argument: str) -> str:
    """Return how the source of `forward` cuts its first argument, or "" where it does not, or has no source."""
    try:
        source = inspect.getsource(forward)
    except (OSError, TypeError):
        return ""
    for match in _CUT.finditer(source):
        if argument in (match[1], match[3], match[4]):
            return match[0].rstrip("(")
    return ""
