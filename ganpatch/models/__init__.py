"""Loading a generator: a bundled name, a file of weights, or the user's own code.

    load("churches")
    load("model.pt", arch="net.py:Generator", latent="normal:100")
    load("net.py:make_generator", latent="normal:100")
    load(module, latent="normal:100")

Each family of generators is one file of this room that answers `detect(state)` and `build(state)`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from torch import nn

from ganpatch.checkpoint import State, kind_of, load_state, read_checkpoint, read_pickled_module
from ganpatch.config import read_settings
from ganpatch.errors import GanpatchError, near_miss
from ganpatch.generator import Generator, checked
from ganpatch.inputs import parse_labels, parse_latent
from ganpatch.layers import unwrapped
from ganpatch.models import churches, dcgan, progressive_gan
from ganpatch.models.factory import is_factory, make_module
from ganpatch.models.family import Built, Family
from ganpatch.programs import load_program, load_script

FAMILIES: tuple[Family, ...] = (cast(Family, dcgan), cast(Family, progressive_gan))
BUNDLED = {"churches": churches.WEIGHTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How to load a model: what the command line's model options and `ganpatch.toml` say."""

    arch: str | None = None
    arch_args: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None
    latent: str | None = None
    labels: str | None = None
    range: tuple[float, float] | None = None
    trust_pickle: bool = False


def load(model: str | Path | nn.Module | None = None, **options: Any) -> Generator:
    """Load a generator and try it with two seeds; `options` are the fields of LoadOptions.

    Without `model`: the one in `ganpatch.toml` of the working folder, else "churches". Raises GanpatchError when the
    model cannot be found, told or loaded, or its output is not finite images that change with the seed.
    """
    given = LoadOptions(**options)
    if isinstance(model, nn.Module):
        built = Built(module=unwrapped(model), latent=parse_latent(_needed_latent(given, type(model).__name__)))
        return checked(_generator(type(built.module).__name__, built, given))
    named, given = _with_settings(None if model is None else str(model), given)
    return checked(_generator(_short_name(named), _build(named, given), given))


def weights_file(model: str | Path | None) -> Path | None:
    """Give the file whose weights `load(model)` reads, or None where the user's code makes them.

    Raises GanpatchError when there is no such model.
    """
    named, _ = _with_settings(None if model is None else str(model), LoadOptions())
    path = BUNDLED.get(named) or Path(named)
    if not path.exists() and not is_factory(named):
        raise _not_found(named)
    return path if path.is_file() else None


def _not_found(model: str) -> GanpatchError:
    return GanpatchError(
        f"model '{model}' not found: not a bundled name ({', '.join(BUNDLED)}), no such file, "
        f"not file.py:factory{near_miss(model, [*BUNDLED, *_neighbours(Path(model))])}"
    )


def recognised(state: State) -> Family | None:
    """Give the family that `state` belongs to, if any."""
    return next((family for family in FAMILIES if family.detect(state)), None)


def _with_settings(model: str | None, given: LoadOptions) -> tuple[str, LoadOptions]:
    """Complete what was given by `ganpatch.toml`, where that speaks of the same model."""
    settings = read_settings(Path()).model
    if model is None:
        model = settings.path or settings.arch or "churches"
    elif model != (settings.path or settings.arch):
        return model, given
    return model, LoadOptions(
        arch=given.arch or (settings.arch if settings.path else None),
        arch_args=given.arch_args or settings.arch_args,
        key=given.key or settings.key,
        latent=given.latent or settings.latent,
        labels=given.labels or settings.labels,
        range=given.range or settings.range,
        trust_pickle=given.trust_pickle,
    )


def _build(model: str, options: LoadOptions) -> Built:
    path = BUNDLED.get(model, Path(model))
    if not path.exists():
        if is_factory(model):
            module = unwrapped(make_module(model, options.arch_args).float())
            return Built(module=module, latent=parse_latent(_needed_latent(options, model)))
        raise _not_found(model)
    kind = kind_of(path)
    if kind == "pt2":
        return _from_program(path, options)
    if options.trust_pickle and kind == "torch":
        pickled = read_pickled_module(path)
        if pickled is not None:
            return Built(module=unwrapped(pickled).float(), latent=parse_latent(_needed_latent(options, model)))
    return _from_weights(path, options)


def _from_program(path: Path, options: LoadOptions) -> Built:
    """Build from an exported program; of its inputs the shape is known, and the distribution is not."""
    program = load_program(path)
    if options.latent is None:
        shape = ",".join(str(size) for size in program.inputs[0][0][1:]) if program.inputs else "100"
        raise GanpatchError(f"'{path}': its latent is not known; say how it is drawn: --latent normal:{shape}")
    return Built(module=program.module, latent=parse_latent(options.latent))


def _from_weights(path: Path, options: LoadOptions) -> Built:
    if kind_of(path) == "torchscript":  # hooks do not work on TorchScript: its weights go into the Python class
        key, state = "", load_script(path).state_dict()
    else:
        checkpoint = read_checkpoint(path, key=options.key, recognised=lambda state: recognised(state) is not None)
        key, state = checkpoint.key, checkpoint.state
    if options.arch:
        module = unwrapped(make_module(options.arch, options.arch_args).float())
        built = Built(module=module, latent=parse_latent(_needed_latent(options, options.arch)))
    else:
        family = recognised(state)
        if family is None:
            known = ", ".join(family.NAME for family in FAMILIES)
            raise GanpatchError(
                f"'{path}' is of no family that ganpatch knows ({known}); "
                "name the code that makes the module: --arch file.py:factory"
            )
        built = family.build(state)
    place = f" under '{key}'" if key else ""
    load_state(built.module, state, f"'{path}'{place}")
    return built


def _generator(name: str, built: Built, options: LoadOptions) -> Generator:
    return Generator(
        name=name,
        module=built.module,
        latent=parse_latent(options.latent) if options.latent else built.latent,
        labels=parse_labels(options.labels) if options.labels else built.labels,
        range=options.range or built.range,
    )


def _needed_latent(options: LoadOptions, name: str) -> str:
    if options.latent is None:
        raise GanpatchError(
            f"{name}: its latent is not known; say what it takes: --latent normal:100, "
            "--latent normal:100,1,1 or --latent uniform:-1,1:100"
        )
    return options.latent


def _short_name(model: str) -> str:
    return model if is_factory(model) else Path(model).stem


def _neighbours(path: Path) -> list[str]:
    folder = path.parent
    return [str(folder / entry.name) for entry in folder.iterdir()] if folder.is_dir() else []
