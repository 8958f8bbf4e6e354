"""How to load a model: one model of it, of which the command line, `ganpatch.load` and `ganpatch.toml` are made.

    LoadOptions.of(arch="net.py:Generator", latent="normal:100", range=(-1, 1))

A field is an option of every command that loads a model (`--arch`), a keyword argument of `ganpatch.load` (`arch=`) and
a setting in the section `[model]` of `ganpatch.toml` (`arch = `). Imports no torch, so that help needs none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ganpatch.disk.json_files import Section
from ganpatch.errors import GanpatchError, near_miss


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How the command line shows a field: its help, what its value looks like, its name where it is another."""

    help: str
    metavar: str | None = None
    flag: str | None = None


class Loading(Section):
    """What `ganpatch.toml` may also contain."""

    arch: Annotated[str | None, Shown(help="Code that makes the module.", metavar="FILE.py:FACTORY")] = None
    arch_args: Annotated[
        dict[str, Any],
        Shown(
            help="A keyword argument for the factory; VALUE is read as JSON, else as text.",
            metavar="NAME=VALUE",
            flag="--arch-arg",
        ),
    ] = {}
    key: Annotated[str | None, Shown(help="Where in the file the state dict is, for example netG.")] = None
    latent: Annotated[
        str | None,
        Shown(
            help="normal:100, normal:100,1,1, uniform:-1,1:100, truncated:0.5:128 or images:3,256,256.", metavar="SPEC"
        ),
    ] = None
    labels: Annotated[
        str | None, Shown(help="onehot:8, index:10, or some of them: index:10=3,5-7.", metavar="SPEC")
    ] = None
    range: Annotated[tuple[float, float] | None, Shown(help="Range of the output values.", metavar="LOW,HIGH")] = None
    inputs: Annotated[
        str | Path | None, Shown(help="A folder of images, or a file of latents, to use as inputs.", metavar="PATH")
    ] = None
    size: Annotated[
        tuple[int, int] | None,
        Shown(help="Height and width of inputs of a graph that takes any; one number for both.", metavar="H,W"),
    ] = None
    truncation: Annotated[float | None, Shown(help="Truncation, for families that have one.", metavar="PSI")] = None
    repo: Annotated[
        str | Path | None, Shown(help="Your checkout of the code that an NVlabs pickle needs.", metavar="PATH")
    ] = None
    call: Annotated[
        dict[str, Any],
        Shown(
            help="A keyword argument for every forward pass of your own code; VALUE is read as JSON, else as text.",
            metavar="NAME=VALUE",
        ),
    ] = {}


class LoadOptions(Loading):
    """All of it: running code that a pickle names is asked for by a person, never by a file."""

    trust_pickle: Annotated[bool, Shown(help="Unpickle a whole model, which runs code that it names.")] = False

    @classmethod
    def of(cls, **given: Any) -> "LoadOptions":
        """Return these options; raise GanpatchError that names every one that is wrong or unknown."""
        try:
            return cls.model_validate(given)
        except ValidationError as fault:
            known = list(cls.model_fields)
            lines = [fault_line(error, "an option of load", known) for error in fault.errors()]
            raise GanpatchError("\n".join(lines)) from fault

    def under(self, given: "LoadOptions") -> "LoadOptions":
        """Return these options, where `given` does not say otherwise."""
        return self.with_(**{name: value for name, value in given if value not in (None, {}, False)})

    def with_(self, **changes: Any) -> "LoadOptions":
        """Return these options with some changed."""
        return self.model_copy(update=changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which model a generator was loaded from: what `load` was given, or chose."""

    model: str
    options: LoadOptions


def fault_line(error: ErrorDetails, what: str, known: Sequence[str]) -> str:
    """Return one fault as a line; a name that is not `known` is not `what`, and its near miss is named."""
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{place} is not {what}{near_miss(str(error['loc'][-1]), known)}"
    return f"{place}: {error['msg'].lower()}"
