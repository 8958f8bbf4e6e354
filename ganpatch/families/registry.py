"""Load weights into a module: that of the family of the tensors, or one that the user's code made."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import cast

from ganpatch.errors import GanpatchError, explained, first_line, listed
from ganpatch.families.family import Built, Family, Wish
from ganpatch.families.memory_budget import budgeted
from ganpatch.families.spandrel_models import is_installed
from ganpatch.untrusted.exported_programs import load_script
from ganpatch.untrusted.state_dicts import State
from ganpatch.untrusted.weight_files import Checkpoint, kind_of, load_state, read_checkpoint

# The families in the order in which they are asked: modules of this room, each imported when it is asked.
FAMILIES = (
    "dcgan",
    "dcgan_linear",
    "progressive_gan",
    "gan_zoo",
    "biggan",
    "biggan_deep",
    "stylegan2",
    "stylegan2_lucid",
    "nvlabs",
    "fastgan",
    "lightweight_gan",
    "image_to_image",
    "autoencoder",
    "autoencoder_tiny",
    "esrgan",
    "compact",
    "span",
    "taesd",
    "r3gan",
    "spandrel_models",
)


def families() -> Iterator[Family]:
    """Yield the families in order; each is imported when it is reached."""
    for name in FAMILIES:
        yield cast(Family, import_module(f"ganpatch.families.{name}"))


def recognised(state: State) -> Family | None:
    """Return the family that `state` belongs to, if any."""
    return next((family for family in families() if _detects(family, state)), None)


def _detects(family: Family, state: State) -> bool:
    try:
        return family.detect(state)
    except (LookupError, ValueError, TypeError, AttributeError):  # names of the family, without what goes with them
        return False


def from_weights(path: Path, key: str | None, wish: Wish, made: Built | None = None) -> Built:
    """Load the weights in `path` into the module that was `made`, or into the module of their family.

    Raises GanpatchError if no family recognises the tensors, or they do not fit the module.
    """
    if kind_of(path) == "torchscript":  # hooks do not work on TorchScript: its weights go into the Python class
        return _from_state(load_script(path).state_dict(), f"'{path}'", wish, made, _is_script(path))
    checkpoint = read_checkpoint(path, key=key, recognised=_fits(made) if made else _is_known)
    if checkpoint.config:
        wish = replace(wish, config=checkpoint.config)
    place = f"'{path}'" + (f" under '{checkpoint.key}'" if checkpoint.key else "")
    built = _from_state(checkpoint.state, place, wish, made, _unknown(checkpoint))
    return replace(built, remarks=(*built.remarks, *checkpoint.remarks))


def _is_known(state: State) -> bool:
    return recognised(state) is not None


def _fits(made: Built) -> Callable[[State], bool]:
    """Return whether a state dict has the tensors of a module that the user's code made."""
    needed = {name for name in made.module.state_dict() if not name.endswith("num_batches_tracked")}
    return lambda state: needed <= set(state)


def _from_state(state: State, place: str, wish: Wish, made: Built | None, unknown: str) -> Built:
    if made is not None:
        return _filled(made, state, place)
    family = recognised(state)
    if family is None:
        raise GanpatchError(unknown)
    return _of_family(family, state, wish, place)


def _is_script(path: Path) -> str:
    return (
        f"'{path}' is TorchScript, which does not run hooks, and its tensors are of no family that ganpatch "
        f"knows ({_known()}); name the Python class that they belong to: --arch file.py:factory"
    )


def _unknown(checkpoint: Checkpoint) -> str:
    """Return what to say of a file that no family recognises."""
    parts = "; it seems to hold several networks, and --key takes one: " + listed(checkpoint.parts)
    whole = f"; it holds a whole {checkpoint.module_class}" if checkpoint.module_class else ""
    trust = ""
    if whole and not checkpoint.module_class.startswith("__main__."):
        trust = ", or pass --trust-pickle if you made the file yourself"
    return (
        f"'{checkpoint.path}' is of no family that ganpatch knows ({_known()}){parts if checkpoint.parts else whole}; "
        f"name the code that makes the module: --arch file.py:factory{trust}"
    )


def _known() -> str:
    names = ", ".join(family.NAME for family in families())
    return names if is_installed() else f"{names}, if it is installed: pip install 'ganpatch[spandrel]'"


def _of_family(family: Family, state: State, wish: Wish, place: str) -> Built:
    hint = f"it was taken for {family.NAME}; if it is something else, name its code: --arch file.py:factory"
    try:
        with budgeted(state, f"{place}: {hint}"):
            built = family.build(state, wish)
    except GanpatchError:
        raise
    except KeyError as fault:
        raise GanpatchError(f"{place} lacks the tensor {fault}: {hint}") from fault
    except Exception as fault:
        raise GanpatchError(f"{place} has tensors that do not go together ({first_line(fault)}): {hint}") from fault
    try:
        return _filled(built, state, place)
    except GanpatchError as fault:
        raise GanpatchError(f"{fault}: {hint}") from fault


def _filled(built: Built, state: State, place: str) -> Built:
    """Load the generator's tensors into the module, all or nothing."""
    if not built.loaded:
        load_state(built.module, built.used(state), place)
    if built.finish is not None:
        with explained(f"{place} has tensors that do not go together"):
            built.finish()
    return built
