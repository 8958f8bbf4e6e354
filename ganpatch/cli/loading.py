"""MODEL and the options that say how to load it, made of `LoadOptions`."""

import functools
import gc
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ganpatch.cli import completing
from ganpatch.cli.completing import PathOf
from ganpatch.cli.help import Command
from ganpatch.cli.output import say
from ganpatch.generator.load_options import LoadOptions, Shown

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from ganpatch.families.choosing import Chosen
    from ganpatch.generator.device import Compute
    from ganpatch.generator.generator import Generator
    from ganpatch.patch.patch_file import Patch

Function = Callable[..., Any]


def model_command() -> Callable[[Function], click.Command]:
    """Make a function a command that works with a model."""
    return click.command(cls=_ModelCommand)


class _ModelCommand(Command):
    def invoke(self, ctx: click.Context) -> Any:
        """Do the command's work, torch first."""
        import_torch()
        return super().invoke(ctx)


def import_torch() -> None:
    """Import torch, and keep the garbage collector from going through its modules, then and later: 0.2 s of a start."""
    if "torch" in sys.modules:
        return
    collecting = gc.isenabled()
    gc.disable()
    try:
        import torch  # noqa: F401
    finally:
        if collecting:
            gc.enable()
    gc.freeze()


def model_argument(function: Function) -> Function:
    """MODEL, which may be left out."""
    return click.argument("model", required=False, shell_complete=completing.models)(function)


def loading_options(function: Function) -> Function:
    """How to load MODEL; the command gets them as one mapping `loading`."""

    @functools.wraps(function)
    def wrapped(**given: Any) -> Any:
        return function(loading={name: given.pop(name) for name in LoadOptions.model_fields}, **given)

    command: Function = wrapped
    for name, field in reversed(LoadOptions.model_fields.items()):
        command = _option(name, field)(command)
    return command


def _option(name: str, field: "FieldInfo") -> Callable[[Function], Function]:
    """Return the click option of one field of LoadOptions."""
    shown = next(entry for entry in field.metadata if isinstance(entry, Shown))
    flag = shown.flag or f"--{name.replace('_', '-')}"
    kinds = get_args(field.annotation) or (field.annotation,)
    more: dict[str, Any] = {}
    if bool in kinds:
        more = {"is_flag": True}
    elif float in kinds:
        more = {"type": float}
    elif Path in kinds:
        more = {"type": PathOf()}
    elif isinstance(field.default, dict):
        more = {"multiple": True, "callback": _named_values}
    elif shown.metavar == "LOW,HIGH":
        more = {"callback": _range}
    elif shown.metavar == "H,W":
        more = {"callback": _size}
    return click.option(flag, name, help=shown.help, metavar=shown.metavar, **more)


def choose(
    model: str | None, loading: Mapping[str, Any], *, patch: "Patch | None" = None, run: Path | None = None
) -> "Chosen":
    """Return the model that is meant, and say which one it is when it was not named."""
    from ganpatch.families.choosing import choose_model

    chosen = choose_model(model, patch=patch, run=run, **loading)
    if chosen.note:
        say(chosen.note)
    return chosen


def load_model(
    model: str | None,
    loading: Mapping[str, Any],
    compute: "Compute | None" = None,
    *,
    patch: "Patch | None" = None,
    run: Path | None = None,
) -> "Generator":
    """Load the model that is meant, to run as `compute` says."""
    generator = choose(model, loading, patch=patch, run=run).load()
    for remark in generator.remarks:
        say(remark)
    return generator.placed(compute) if compute is not None else generator


def _range(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    parts = text.split(",")
    try:
        low, high = (float(part) for part in parts)
    except ValueError:
        raise click.BadParameter(f"'{text}' is not LOW,HIGH, for example -1,1") from None
    return low, high


def _size(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})(?:[,x]([1-9]\d{0,4}))?", text)
    if match is None:
        raise click.BadParameter(f"'{text}' is not H,W, for example 64 or 480,640")
    return int(match[1]), int(match[2] or match[1])


def _named_values(_context: click.Context, _option: click.Parameter, texts: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or any(letter.isspace() for letter in name):
            raise click.BadParameter(f"'{text}' is not NAME=VALUE")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
