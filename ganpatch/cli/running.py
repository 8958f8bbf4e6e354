"""Options for where and how forward passes run, and the processes that a command runs in."""

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from ganpatch.forward.processes import Group
from ganpatch.generator.device import DTYPES, Compute

Function = Callable[..., Any]

TOGETHER = ("rank", "dissect", "suggest")  # what several processes can do

pass_group = click.make_pass_decorator(Group, ensure=True)


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
            help="Number format of forward passes; the shorter ones are faster on some hardware, and not exact.",
        ),
        click.option("--channels-last", is_flag=True, help="Another order of numbers in memory: faster on most CPUs."),
        click.option("--compile", is_flag=True, help="Compile forward passes first, which takes up to a minute."),
    ]
    names = [entry.name for entry in fields(Compute)]

    @functools.wraps(function)
    def wrapped(**given: Any) -> Any:
        return function(compute=Compute(**{name: given.pop(name) for name in names}), **given)

    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped
