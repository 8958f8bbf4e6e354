"""Find out by trying what a model takes, returns and allows; `ganpatch init` writes the result into ganpatch.toml.

Example:

    found = probe("model.pt", LoadOptions(arch="net.py:Generator"))
    found.latent, found.labels, found.range, found.layers       # settings
    found.questions                         # what could not be found out, with the options
    found.notes                             # what hooks see, what runs, what exports
"""

import inspect
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganpatch.errors import GanpatchError, first_line, listed
from ganpatch.families.adapter import adapted, image_of
from ganpatch.families.class_guesses import class_signs, classes_beside
from ganpatch.families.image_ranges import RANGES, in_range, likely_range
from ganpatch.families.loading import UnknownLatent, code_folders, opened
from ganpatch.families.output_checks import checked, draws_noise
from ganpatch.families.user_code import importing_from
from ganpatch.forward.default_layer import default_layer
from ganpatch.forward.layer_facts import LayerFacts, list_layers
from ganpatch.generator.backend import Backend
from ganpatch.generator.generator import Generator
from ganpatch.generator.input_files import Images
from ganpatch.generator.latents import Drawn, Labels, Latent
from ganpatch.generator.layers import hooked, layer_names, tensor_of
from ganpatch.generator.load_options import LoadOptions
from ganpatch.generator.random_state import random_state_kept
from ganpatch.graph.traced_graph import dynamic_batch, exported

_SIZES = (
    "z_dim",
    "latent_dim",
    "nz",
    "dim_z",
    "latent_size",
    "style_dim",
    "dimLatent",
    "latent",
    "z_size",
    "noise_dim",
)
_CLASSES = ("n_classes", "num_classes", "c_dim", "classes", "n_class", "nclass", "label_dim")
_COMMON = (100, 128, 512, 64, 256)
_MOST_TRIALS = 120
_SEEDS = 16
_BATCHES = (1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A setting that the weights do not show; `options` are lines for ganpatch.toml."""

    text: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """The probed generator, its settings, open questions and notes."""

    generator: Generator
    latent: str
    layers: tuple[str, ...]
    questions: tuple[Question, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Trial:
    """One guess of the inputs of a module."""

    latent: Drawn
    labels: Labels | None
    as_list: bool

    def __str__(self) -> str:
        latent = f"[{self.latent}]" if self.as_list else str(self.latent)
        return latent + (f" with {self.labels}" if self.labels else "")


@random_state_kept()
def probe(model: str | Path | nn.Module | None, options: LoadOptions | None = None) -> Probed:
    """Load `model`, find out its unknown settings, and try everything that later stages need.

    Raises GanpatchError with the rule that the model breaks, and a way out.
    """
    options = options or LoadOptions()
    with importing_from(*code_folders(model, options)):
        return _probed(model, options)


def _probed(model: str | Path | nn.Module | None, options: LoadOptions) -> Probed:
    known, as_list = True, (options.latent or "").startswith("[")
    try:
        generator = opened(model, options)
    except UnknownLatent as fault:
        known = False
        generator, as_list = _guessed(opened(model, options.with_(latent="normal:1")), options, fault.shape)
    generator = checked(generator)
    if draws_noise(generator):
        raise GanpatchError(
            f"{generator.name} draws noise of its own in every forward pass, so an image does not depend on its seed "
            "alone; use constant or zero noise (--call noise_mode=const, --call randomize_noise=false), or take it out "
            "of forward"
        )
    facts = list_layers(generator)
    known = known and not _is_assumed(generator, options)
    generator, ranges = _with_range(generator, options)
    questions = [] if known else [_distribution(generator.latent)]
    if not known and not options.labels and generator.labels and generator.labels.kind == "onehot":
        questions.append(_classes(generator.labels))
    questions += _a_class(generator)
    questions += ranges
    layers = _chosen(facts)
    return Probed(
        generator=generator,
        latent=f"[{generator.latent}]" if as_list else str(generator.latent),
        layers=tuple(layer.name for layer in layers),
        questions=(*questions, *_other_layers(facts, layers)),
        notes=tuple(_notes(generator, facts)),
    )


def _guessed(generator: Generator, options: LoadOptions, shape: tuple[int, ...]) -> tuple[Generator, bool]:
    """Try possible inputs of the module, the most likely first, until one returns images."""
    tried, reason = 0, ""
    for trial in _trials(generator.module, generator.labels, shape):
        if tried == _MOST_TRIALS:
            break
        tried += 1
        module = adapted(generator.module, call=options.call, as_list=True) if trial.as_list else generator.module
        candidate = replace(generator, module=module.eval(), latent=trial.latent, labels=trial.labels)
        try:
            with torch.inference_mode():
                args = candidate.inputs_of([0, 1])
                output = image_of(candidate.module(*args))
        except Exception as fault:
            reason = reason or f"{trial}: {str(fault).strip().splitlines()[0][:150] if str(fault).strip() else fault!r}"
            continue
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[0] == 2 and output.shape[1] in (1, 3):
            return candidate, trial.as_list
    takes = ", ".join(inspect.signature(generator.module.forward).parameters) or "nothing"
    raise GanpatchError(
        f"{generator.name}: none of {tried} guesses of its input gives images ({reason}); its forward takes ({takes}): "
        "say what the first is, for example --latent normal:100, and --labels where a class follows"
    )


def _trials(module: nn.Module, labels: Labels | None, shape: tuple[int, ...]) -> Iterator[_Trial]:
    needed = _needed_arguments(module)
    classes: list[Labels | None] = [labels] if labels else [*_label_guesses(module)]
    ordered = [*classes, None] if needed > 1 and not labels else [None, *classes] if not labels else classes
    shapes = [shape] if shape else list(dict.fromkeys(_shapes(module)))
    for as_list, guess, size in chain(product((False,), ordered, shapes), product((True,), (None,), shapes)):
        yield _Trial(Latent(kind="normal", shape=size), guess, as_list)


def _needed_arguments(module: nn.Module) -> int:
    parameters = inspect.signature(module.forward).parameters.values()
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _shapes(module: nn.Module) -> Iterator[tuple[int, ...]]:
    """Guess the shape of the latent from attributes, the first layers (minus classes), and common sizes."""
    sizes = [value for name in _SIZES if isinstance(value := getattr(module, name, None), int) and value > 0]
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd)][:3]
    first = [layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels for layer in layers]
    widths = [layer.embedding_dim for layer in module.modules() if isinstance(layer, nn.Embedding)]
    left = [size - width for size in first for width in (*widths, *_numbers_of_classes(module)) if size > width]
    for size in (*sizes, *first[:1], *left, *first[1:]):
        plain = isinstance(layers[0], nn.Linear) if layers else True
        yield from [(size,), (size, 1, 1)] if plain else [(size, 1, 1), (size,)]
    if layers and isinstance(layers[0], nn.Conv2d):
        for side in (8, 16, 32):
            yield first[0], side, side
    for size in _COMMON:
        yield from [(size,), (size, 1, 1)]


def _label_guesses(module: nn.Module) -> Iterator[Labels]:
    embedded = [layer.num_embeddings for layer in module.modules() if isinstance(layer, nn.Embedding)]
    for number in dict.fromkeys(embedded):
        yield Labels.all_of("index", number)
    for number in dict.fromkeys([*_numbers_of_classes(module), *embedded, 10]):
        yield Labels.all_of("onehot", number)


def _numbers_of_classes(module: nn.Module) -> list[int]:
    return [value for name in _CLASSES if isinstance(value := getattr(module, name, None), int) and value > 0]


def _is_assumed(generator: Generator, options: LoadOptions) -> bool:
    """Return whether the latent of a graph was only read from the shape of its input."""
    module = generator.module
    drawn = isinstance(generator.latent, Latent) and not options.latent
    return drawn and isinstance(module, Backend) and not module.is_known


def _with_range(generator: Generator, options: LoadOptions) -> tuple[Generator, list[Question]]:
    """Return the generator with the range of its values, and the question that is left."""
    if isinstance(generator.module, Backend) and isinstance(generator.latent, Images) and not options.range:
        limits = likely_range(generator)
        others = tuple(f"range = {list(other)}" for other in RANGES if other != limits)
        text = f"Which range have pictures and output values? Its images resemble its inputs most in {list(limits)}."
        return in_range(generator, limits), [Question(text=text, options=others)]
    limits, question = _range(generator, options)
    return replace(generator, range=limits), [question] if question else []


def _distribution(latent: Drawn) -> Question:
    shape = ",".join(str(size) for size in latent.shape)
    options: tuple[str, ...] = (
        f'latent = "uniform:-1,1:{shape}"',
        f'latent = "uniform:0,1:{shape}"',
        f'latent = "truncated:1:{shape}"',
    )
    if len(latent.shape) == 3 and latent.shape[0] in (1, 3):
        options = (f'latent = "images:{shape}"', 'inputs = "photos"')
    return Question(
        text="How was its input drawn in training? The weights do not show it; normal is a guess.", options=options
    )


def _classes(labels: Labels) -> Question:
    return Question(
        text=f"How does it take a class? Its layers do not show it; {labels} is a guess that gives images.",
        options=('labels = "onehot:8"', f'labels = "index:{labels.classes}"'),
    )


def _a_class(generator: Generator) -> Iterator[Question]:
    """Ask whether a class goes in beside the latent, where something says so and none was found."""
    inputs = generator.latent.shape[0]
    if generator.labels is None and not isinstance(generator.latent, Images):
        signs = class_signs(generator.module, inputs)
        classes = (classes_beside(inputs) or (0, 10))[1]
        if signs:
            text = f"Does it take a class? {'; '.join(signs)}"
            yield Question(text=text, options=(f'labels = "onehot:{classes}"', f'labels = "index:{classes}"'))


def _range(generator: Generator, options: LoadOptions) -> tuple[tuple[float, float], Question | None]:
    """Return the range of the output values from some images."""
    with torch.inference_mode():
        output = tensor_of(generator.module(*generator.inputs_of(range(_SEEDS))))
    assert output is not None
    low, high = output.min().item(), output.max().item()
    if options.range or (-1.001 <= low < -0.01 and high <= 1.001):
        return generator.range, None
    if low >= -0.001 and high <= 1.001:
        return (0.0, 1.0), Question(
            text=f"Which range have the output values? They were {low:.2g} to {high:.2g} in {_SEEDS} images.",
            options=("range = [-1.0, 1.0]",),
        )
    if low >= -0.001 and 2 < high <= 255.5:
        return (0.0, 255.0), None
    text = f"Which range have the output values? They were {low:.2g} to {high:.2g} in {_SEEDS} images."
    return generator.range, Question(text=text, options=("range = [0.0, 1.0]", f"range = [{low:.2g}, {high:.2g}]"))


def _chosen(facts: Sequence[LayerFacts]) -> list[LayerFacts]:
    try:
        return [default_layer(facts)]
    except GanpatchError:
        return []


def _other_layers(facts: Sequence[LayerFacts], layers: Sequence[LayerFacts]) -> Iterator[Question]:
    """Return the whole blocks at other sizes, one per size."""
    if not layers:
        maps = [fact.name for fact in facts if len(fact.size) == 2]
        options = (f"layers = [{', '.join(json.dumps(name) for name in maps[:4])}]",)
        yield Question(text="Which layers to rank? None outputs maps of at least 8 units.", options=options)
        return
    chosen = layers[0]
    blocks = [f for f in facts if len(f.size) == 2 and f.units >= 8 and f.name.count(".") <= chosen.name.count(".")]
    by_size = {fact.size: fact.name for fact in blocks if fact.size != chosen.size}
    if by_size:
        names = ", ".join(f'"{name}"' for name in by_size.values())
        what = f"Which layers to rank? {chosen.name} outputs {chosen.units} maps of {chosen.size[0]}x{chosen.size[1]}."
        yield Question(text=what, options=(f"layers = [{names}]",))


def _notes(generator: Generator, facts: Sequence[LayerFacts]) -> Iterator[str]:
    run = {fact.name for fact in facts}
    modules = dict(generator.module.named_modules())
    idle = [
        name
        for name in layer_names(generator.module)
        if name not in run and not isinstance(modules[name], nn.ModuleList | nn.ModuleDict)
    ]
    if idle and not isinstance(generator.module, Backend):
        yield f"never called, so no layer to rank or edit: {listed(idle)}"
    if overwritten := _overwritten(generator):
        yield f"overwritten in place by the layer behind; a hook sees what they gave before: {listed(overwritten)}"
    if repeated := [f"{fact.name} ({fact.calls} times)" for fact in facts if fact.calls > 1]:
        yield f"called several times per image; an edit may name one of the calls: {listed(repeated)}"
    if blind := [fact.name for fact in facts if not fact.units]:
        yield f"outputs no tensor [N, C, …] to a hook: {listed(blind)}"
    if isinstance(generator.latent, Images):
        yield f"takes {generator.latent.count} images as inputs"
    yield _exports(generator)


def _overwritten(generator: Generator) -> list[str]:
    """Return the layers whose output another layer changes in place."""
    kept: dict[str, tuple[Tensor, int]] = {}

    def keep(name: str, output: Any) -> None:
        tensor = tensor_of(output)
        if tensor is not None:
            kept[name] = (tensor, tensor._version)

    def hook_of(name: str) -> Any:
        return lambda output, _call: keep(name, output)

    with hooked(generator.module, {name: hook_of(name) for name in layer_names(generator.module)}), torch.no_grad():
        generator.module(*generator.inputs_of([0]))
    return [name for name, (tensor, version) in kept.items() if tensor._version != version]


def _exports(generator: Generator) -> str:
    args = generator.inputs_of([0, 1])
    if isinstance(generator.module, Backend):
        return "an ONNX graph: 'ganpatch apply' writes it with a patch inside"
    try:
        program = exported(generator.module, args, dynamic_batch(generator.module, args))
        reason = _other_batches(generator, program)
        if not reason:
            return "torch exports it, with any batch size"
    except GanpatchError as fault:
        reason = str(fault).partition(" For more information")[0]
    try:
        exported(generator.module, args)
    except GanpatchError:
        return f"no .pt2 or ONNX, and no folding of edits: {reason}"
    return f"torch exports it with a fixed batch size only (--batch 1): {reason}"


@torch.inference_mode()
def _other_batches(generator: Generator, program: torch.export.ExportedProgram) -> str:
    """Return what happens to an export in batches of one, two and three, or "" where it does what the module does."""
    module = program.module()
    for size in _BATCHES:
        args = generator.inputs_of(range(size))
        try:
            wanted, found = (tensor_of(run(*args)) for run in (generator.module, module))
            assert wanted is not None
            assert found is not None
        except Exception as fault:
            return f"in a batch of {size} it fails: {first_line(fault, None)}"
        if wanted.shape != found.shape:
            return f"in a batch of {size} the export returns {list(found.shape)}, not {list(wanted.shape)}"
    return ""
