"""Options for where and how forward passes run, and the processes that a command runs in."""

import functools
from collections.abc import Callable
from typing import Any

import click

from ganpatch.option_values import DTYPES

Function = Callable[..., Any]

TOGETHER = ("rank", "dissect", "suggest")  # what several processes can do
_COMPUTE = ("device", "dtype", "channels_last", "compile")  # the fields of Compute


def pass_group(function: Function) -> Function:
    """Hand the command the processes that it runs in, as its first argument."""

    @functools.wraps(function)
    def wrapped(*arguments: Any, **given: Any) -> Any:
        from ganpatch.forward.processes import ALONE

        return function(click.get_current_context().find_root().obj or ALONE, *arguments, **given)

    return wrapped


def compute_options(function: Function) -> Function:
    """Where and how forward passes run; the command gets them as `compute`."""
    options = [
        click.option(
            "--device", default="cpu", show_default=True, metavar="cpu|cuda|cuda:1", help="What to compute on."
        ),
        click.option(
            "--dtype",
            type=click.Choice(DTYPES),
            default="float32",
            show_default=True,
            help="Number format of forward passes; shorter ones are faster on some hardware, and not exact.",
        ),
        click.option("--channels-last", is_flag=True, help="Use channels-last memory format (faster on most CPUs)."),
        click.option("--compile", is_flag=True, help="Compile forward passes first, which takes up to a minute."),
    ]

    @functools.wraps(function)
    def wrapped(*arguments: Any, **given: Any) -> Any:
        from ganpatch.generator.device import Compute

        return function(*arguments, compute=Compute(**{name: given.pop(name) for name in _COMPUTE}), **given)

    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped
