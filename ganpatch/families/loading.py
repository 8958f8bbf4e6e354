"""Loading a generator: a bundled name, a file or folder of weights, a package, or the user's own code.

    load("churches")
    load("model.pt", arch="net.py:Generator", latent="normal:100")
    load("network.pkl", repo="stylegan3")
    load("net.py:make_generator", latent="normal:100")
    load(module, latent="normal:100")

Each family of generators is one file of this room with `detect(state)` and `build(state, wish)`.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from ganpatch.errors import GanpatchError, near_miss, printable
from ganpatch.families import churches
from ganpatch.families.adapter import adapted, in_eval_mode
from ganpatch.families.family import Built, Wish
from ganpatch.families.hub_folders import hub_files, read_config
from ganpatch.families.output_checks import checked
from ganpatch.families.registry import from_weights, recognised
from ganpatch.families.trusted_pickles import read_pickled_module
from ganpatch.families.user_code import code_folder, importing_from, is_factory, make_model
from ganpatch.generator.configuration import read_settings
from ganpatch.generator.generator import Generator
from ganpatch.generator.input_files import Images, fitting, given_inputs, read_latent
from ganpatch.generator.latents import Drawn, parse_labels
from ganpatch.generator.layers import unwrapped
from ganpatch.generator.load_options import Loading, LoadOptions, Origin
from ganpatch.generator.random_state import random_state_kept
from ganpatch.plugins import plugin_names
from ganpatch.untrusted.exported_programs import load_program
from ganpatch.untrusted.weight_files import kind_of

__all__ = ["BUNDLED", "UnknownLatent", "load", "opened", "recognised", "weights_file"]

BUNDLED = {"churches": churches.WEIGHTS}
_LISTED = "["  # --latent [normal:512]: the module takes a list of latents


class UnknownLatent(GanpatchError):
    """The input of the model is unknown, or only its `shape` is known."""

    shape: tuple[int, ...] = ()


@random_state_kept()
def load(model: str | Path | nn.Module | None = None, **options: Any) -> Generator:
    """Load a generator and try it with two seeds; `options` are the fields of LoadOptions.

    Without `model`: the one in `ganpatch.toml` of the working folder, else "churches". Raises GanpatchError if the
    model cannot be found, recognised or loaded, or if its output is not finite images that change with the seed.
    A module in training mode stays in it: the generator then has a copy in eval mode that shares its parameters.
    """
    given = LoadOptions.of(**options)
    with importing_from(*code_folders(model, given)):
        return checked(opened(model, given))


def opened(model: str | Path | nn.Module | None, given: LoadOptions) -> Generator:
    """Load a generator without trying it; raise UnknownLatent if its input is unknown."""
    if isinstance(model, nn.Module):
        module = in_eval_mode(unwrapped(model))
        return _generator(type(module).__name__, _own(module, given, type(module).__name__), given)
    named, given = _with_settings(None if model is None else str(model), given)
    generator = _generator(_short_name(named), _build(named, given), given)
    return replace(generator, origin=Origin(model=named, options=given))


def code_folders(model: str | Path | nn.Module | None, given: LoadOptions) -> list[Path]:
    """Return the folders from which the user's code may import while the model is loaded and tried."""
    if isinstance(model, nn.Module):
        return []
    named, given = _with_settings(None if model is None else str(model), given)
    return [folder for text in (given.arch, named) if text and (folder := code_folder(text)) is not None]


def weights_file(model: str | Path | None) -> Path | None:
    """Return the file whose weights `load(model)` reads, or None if the user's code makes them.

    Raises GanpatchError if there is no such model.
    """
    named, _ = _with_settings(None if model is None else str(model), LoadOptions())
    path = BUNDLED.get(named) or Path(named)
    if not path.exists() and not _is_code(named):
        raise _not_found(named)
    if path.is_dir():
        return hub_files(path).weights
    return path if path.is_file() else None


def _with_settings(model: str | None, given: LoadOptions) -> tuple[str, LoadOptions]:
    """Complete the options from `ganpatch.toml`, if it is about the same model."""
    settings = read_settings(Path()).model
    if model is None:
        model = settings.path or settings.arch or "churches"
    elif model != (settings.path or settings.arch):
        return model, given
    known = {name: getattr(settings, name) for name in Loading.model_fields if getattr(given, name) in (None, {})}
    if settings.path is None:
        known.pop("arch", None)  # it is the model
    return model, given.with_(**known)


def _build(model: str, options: LoadOptions) -> Built:
    path = BUNDLED.get(model, Path(model))
    if not path.exists():
        if _is_code(model):
            return _made(model, options)
        raise _not_found(model)
    config: Mapping[str, Any] = {}
    if path.is_dir():
        files = hub_files(path)
        path, config = files.weights, files.config
    elif path not in BUNDLED.values():
        config = read_config(path)
    kind = kind_of(path)
    if kind == "pt2":
        return _from_program(path, options)
    if kind == "onnx":
        from ganpatch.families.onnx_graph import from_graph  # onnx takes long to import

        return from_graph(path, options)
    if options.trust_pickle and kind == "torch":
        pickled = read_pickled_module(path, options.key)
        if pickled is not None:
            return _own(unwrapped(pickled).float(), options, model)
    wish = replace(_wish(options), config=config)
    if options.arch:
        arguments = _fitting(config, options) if Path(model).is_dir() else options.arch_args
        return from_weights(path, options.key, wish, _made(options.arch, options.with_(arch_args=arguments)))
    return from_weights(path, options.key, wish)


def _wish(options: LoadOptions) -> Wish:
    """Return the options that a family may need."""
    return Wish(
        labels=parse_labels(options.labels) if options.labels else None,
        truncation=options.truncation,
        repo=None if options.repo is None else Path(options.repo),
    )


def _made(text: str, options: LoadOptions) -> Built:
    """Call the user's factory, or the plugin of that name; it may define its own inputs."""
    made = make_model(text, options.arch_args)
    if isinstance(made, Built):
        return replace(made, module=unwrapped(made.module).float())
    return _own(unwrapped(made.float()), options, text)


def _own(module: nn.Module, options: LoadOptions, name: str) -> Built:
    """Return a generator from the user's module, called as the options say."""
    text = options.latent or ""
    if options.call or text.startswith(_LISTED):
        module = adapted(module, call=options.call, as_list=text.startswith(_LISTED))
    if not text and options.inputs is not None:
        return Built(module=module, latent=_given(options, None))
    if not text:
        raise UnknownLatent(
            f"{name}: its latent is not known; say what it takes: --latent normal:100, "
            "--latent normal:100,1,1 or --latent uniform:-1,1:100; 'ganpatch init' tries to find out"
        )
    return Built(module=module, latent=_latent(text))


def _fitting(config: Mapping[str, Any], options: LoadOptions) -> Mapping[str, Any]:
    """Return a hub folder's config.json as arguments of the factory, what the user gave above it; no notes of tools."""
    plain = {name: value for name, value in config.items() if name.isidentifier() and not name.startswith("_")}
    return {**plain, **options.arch_args}


def _from_program(path: Path, options: LoadOptions) -> Built:
    """Return a generator from an exported program; it defines the shape of its inputs, but not their distribution."""
    program = load_program(path)
    if program.batch is not None:
        raise GanpatchError(
            f"'{path}' was exported for batches of {program.batch} and takes no others; name its weights or its code, "
            'or export it with dynamic_shapes=({0: torch.export.Dim("batch")},)'
        )
    if options.latent is None:
        sizes = [size for size in program.inputs[0][0][1:] if size] if program.inputs else [100]
        shape = ",".join(str(size) for size in sizes)
        fault = UnknownLatent(f"'{path}': its latent is not known; say how it is drawn: --latent normal:{shape}")
        fault.shape = tuple(sizes)
        raise fault
    return Built(module=program.module, latent=_latent(options.latent))


def _generator(name: str, built: Built, options: LoadOptions) -> Generator:
    latent = _latent(options.latent) if options.latent else built.latent
    if isinstance(latent, Images) and isinstance(built.latent, Images):
        latent = replace(built.latent, shape=latent.shape)
    limits, remarks = options.range or built.range, list(built.remarks)
    if options.inputs is not None:
        latent = _given(options.with_(range=limits), latent)
    if isinstance(latent, Images) and options.latent is None:
        latent, remark = fitting(latent)
        remarks += [remark] if remark else []
    if isinstance(latent, Images) and not latent.files:
        raise GanpatchError(f"{name} turns images into images; name a folder of them: --inputs DIR")
    labels = parse_labels(options.labels) if options.labels else built.labels
    return Generator(
        name=name,
        module=built.module,
        latent=latent,
        labels=labels,
        range=limits,
        unused=built.unused,
        remarks=tuple(remarks),
        more=built.more,
    )


def _latent(text: str) -> Drawn:
    return read_latent(text.removeprefix("[").removesuffix("]"))


def _given(options: LoadOptions, known: Drawn | None) -> Drawn:
    assert options.inputs is not None
    return given_inputs(Path(options.inputs), known, options.range or (-1.0, 1.0))


def _is_code(model: str) -> bool:
    return is_factory(model) or model in plugin_names("ganpatch.generators")


def _not_found(model: str) -> GanpatchError:
    return GanpatchError(
        f"model '{model}' not found: not a bundled name ({', '.join(BUNDLED)}), no such file, "
        f"not file.py:factory{near_miss(model, [*BUNDLED, *_neighbours(Path(model))])}"
    )


def _short_name(model: str) -> str:
    return printable(model if is_factory(model) else Path(model).stem)  # a file name may hold bytes that are no text


def _neighbours(path: Path) -> list[str]:
    folder = path.parent
    return [str(folder / entry.name) for entry in folder.iterdir()] if folder.is_dir() else []
