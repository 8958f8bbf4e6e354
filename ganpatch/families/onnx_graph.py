"""A generator from an ONNX graph: what its inputs are fed with, and which output is the images.

    from_graph(Path("model.onnx"), LoadOptions(latent="normal:100"))

The first input in floating point is the latent, or pictures where it has 1 or 3 channels; the next one is the class.
`call` gives each other input one value for all images, or a distribution: `noise=normal:1,64,64`. What
`ganpatch export` recorded in the graph holds unless the options say otherwise.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from ganpatch.errors import GanpatchError, explained, listed, near_miss
from ganpatch.families.family import Built
from ganpatch.generator.input_files import Images, given_inputs, read_latent, smallest_size
from ganpatch.generator.latents import MOST_NUMBERS, Drawn, Labels, Latent, draw_inputs, parse_labels, parse_latent
from ganpatch.generator.load_options import LoadOptions
from ganpatch.graph.onnx_axes import declared_sizes, is_image_last
from ganpatch.graph.onnx_graphs import CROPPED, load_graph
from ganpatch.graph.onnx_module import Feeds, GraphModule, fixed_batch, started
from ganpatch.graph.onnx_scopes import is_float

_SIZE = 64  # height and width where nothing says them
_MOST_BATCH = 4096
_DRAWN = re.compile(r"(normal|uniform|truncated):")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphInput:
    """An input of a graph: its sizes as declared, those that are open as None, with the channels second."""

    name: str
    kind: str
    is_float: bool
    shape: tuple[int | None, ...]

    @classmethod
    def of(cls, value: ir.Value) -> "GraphInput":
        """Describe a value."""
        sizes = declared_sizes(value, units_last=is_image_last(value))
        kind = "numbers" if value.dtype is None else value.dtype.name.lower()
        return cls(name=str(value.name), kind=kind, is_float=is_float(value), shape=sizes)

    @property
    def is_too_large(self) -> bool:
        """Whether no machine holds it; checked before anything is drawn, because a few bytes can declare any size."""
        numbers = math.prod(size for size in self.shape[1:] if size is not None)
        return numbers > MOST_NUMBERS or (len(self.shape) > 1 and (self.shape[0] or 1) > _MOST_BATCH)

    @property
    def is_image(self) -> bool:
        """Whether it takes pictures: 1 or 3 channels, and maps that are open or not small."""
        rank, sizes = len(self.shape), self.shape[2:]
        return self.is_float and rank == 4 and self.shape[1] in (1, 3) and all(s is None or s >= 8 for s in sizes)

    def __str__(self) -> str:
        sizes = ",".join("?" if size is None else str(size) for size in self.shape)
        return f"input '{self.name}' ({self.kind} [{sizes}])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fed:
    """What the inputs of a graph are fed with, and which output is the images."""

    latent: Drawn
    labels: Labels | None
    more: tuple[Drawn, ...]
    feeds: Feeds
    output: str
    range: tuple[float, float] | None
    note: str


def from_graph(path: Path, options: LoadOptions) -> Built:
    """Return a generator from the graph in `path`; raise GanpatchError naming what it does not say of its inputs."""
    model = load_graph(path)
    fed = fed_inputs(path, model, options)
    with explained(f"'{path}': its parts do not go together"):
        module = GraphModule(path, fed.feeds, fed.output, model)
    return Built(
        module=module,
        latent=fed.latent,
        labels=fed.labels,
        more=fed.more,
        range=fed.range or (-1.0, 1.0),
        remarks=(fed.note,) if fed.note else (),
    )


def fed_inputs(path: Path, model: ir.Model, options: LoadOptions, *, strict: bool = True) -> Fed:
    """Return what the inputs of a graph are fed with, from the options, what the graph records, and its declarations.

    Without `strict` nothing is asked for: noise stands for pictures, 0 or 1 for inputs without a description, and the
    output need not be pictures.
    """
    inputs = [GraphInput.of(value) for value in model.graph.inputs]
    for one in inputs:
        if one.is_too_large:
            raise GanpatchError(
                f"'{path}': {one} is more than can be drawn: at most {MOST_NUMBERS:,} numbers for one image, "
                f"{_MOST_BATCH:,} images at a time"
            )
    options = _recorded(model, options)
    constants, drawn = _called(path, inputs, options.call)
    rest = [one for one in inputs if one.name not in options.call]
    first = next((one for one in rest if one.is_float and len(one.shape) > 1), None)
    if first is None:
        raise GanpatchError(f"'{path}' has no input [N, ...] in floating point; it has {_listed(inputs)}")
    latent, note = _latent(path, first, options, needs_pictures=strict)
    if isinstance(latent, Images):
        latent = replace(latent, cropped=model.metadata_props.get(CROPPED) == "true")
    others = [one for one in rest if one is not first]
    labels, unsaid = _labels(path, others, options, strict=strict)
    names = (first.name, *([others[0].name] if labels else []), *drawn)
    return Fed(
        latent=latent,
        labels=labels,
        more=tuple(drawn.values()),
        feeds=Feeds(names=names, constants=constants | unsaid),
        output=_output(path, model, strict=strict),
        range=options.range,
        note=note,
    )


def proof_inputs(path: Path, options: LoadOptions, batches: Sequence[int]) -> list[tuple[Tensor, ...]]:
    """Return inputs of the graph in its own order, for batches of these sizes or of the only one that it takes."""
    model = load_graph(path)
    fed = fed_inputs(path, model, options, strict=False)
    if options.inputs is not None:
        latent = given_inputs(Path(options.inputs), fed.latent, fed.range or (-1.0, 1.0))
    else:
        latent = fed.latent
    fixed = fixed_batch(model, fed.feeds)
    found = []
    for size in (fixed,) if fixed else batches:
        inputs = draw_inputs(latent, fed.labels, range(size), fed.more)
        arrays = started(model, fed.feeds, inputs).batches[0]
        found.append(tuple(torch.from_numpy(np.array(arrays[str(value.name), 0])) for value in model.graph.inputs))
    return found


def _recorded(model: ir.Model, options: LoadOptions) -> LoadOptions:
    """Complete the options from what `ganpatch export` recorded."""
    stored = model.metadata_props
    found: dict[str, Any] = {}
    if "ganpatch.latent" in stored and not stored["ganpatch.latent"].startswith("rows:"):
        found["latent"] = stored["ganpatch.latent"]
    found |= {"labels": stored["ganpatch.labels"]} if "ganpatch.labels" in stored else {}
    if match := re.fullmatch(r"([-+.\de]+),([-+.\de]+)", stored.get("ganpatch.range", "")):
        found["range"] = (float(match[1]), float(match[2]))
    return options.with_(**{name: value for name, value in found.items() if getattr(options, name) is None})


def _called(
    path: Path, inputs: Sequence[GraphInput], call: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, Drawn]]:
    """Return the inputs that have one value for all images, and those that are drawn by their own distribution."""
    known = {one.name: one for one in inputs}
    constants: dict[str, np.ndarray] = {}
    drawn: dict[str, Drawn] = {}
    for name, value in call.items():
        if name not in known:
            raise GanpatchError(
                f"--call {name}: '{path}' has no such input; it has {_listed(inputs)}{near_miss(name, known)}"
            )
        if isinstance(value, str) and _DRAWN.match(value):
            drawn[name] = parse_latent(value)
            _check_shape(path, known[name], drawn[name], f"--call {name}={value}")
        else:
            constants[name] = _constant(known[name], value)
    return constants, drawn


def _constant(asked: GraphInput, value: Any) -> np.ndarray:
    wrong = GanpatchError(f"--call {asked.name}: '{value}' is not numbers for {asked}; give one, or a list [0.5, 0.5]")
    try:
        array = np.asarray(value, dtype=np.float64)
        sizes = [1 if size is None else size for size in asked.shape]
        np.broadcast_to(array, sizes)
    except (ValueError, TypeError) as fault:
        raise wrong from fault
    if not np.isfinite(array).all():
        raise wrong
    return array


def _latent(path: Path, first: GraphInput, options: LoadOptions, *, needs_pictures: bool) -> tuple[Drawn, str]:
    """Return how the first input is drawn, and a note on what nothing says and was chosen."""
    if options.latent:
        latent = read_latent(options.latent.removeprefix("[").removesuffix("]"))
        _check_shape(path, first, latent, f"--latent {options.latent}")
        return latent, ""
    if first.is_image and options.inputs is None and needs_pictures:
        raise GanpatchError(f"'{path}' turns images into images: name a folder of pictures for {first}: --inputs DIR")
    shape, note = _shape(path, first, options)
    if first.is_image and needs_pictures:
        return Images(shape=shape), note
    return Latent(kind="uniform" if first.is_image else "normal", shape=shape, low=0.0), note


def _shape(path: Path, first: GraphInput, options: LoadOptions) -> tuple[tuple[int, ...], str]:
    """Return the shape of a row, where sizes are open those of --size, of the pictures, or 64x64."""
    known = tuple(size for size in first.shape[1:] if size is not None)
    if len(known) == len(first.shape) - 1:
        return known, ""
    if len(first.shape) != 4 or first.shape[1] is None:
        raise GanpatchError(f"'{path}': {first} has open sizes; say how it is drawn: --latent normal:100")
    size, note = options.size, ""
    if size is None and first.is_image and options.inputs is not None and Path(options.inputs).is_dir():
        size = smallest_size(Path(options.inputs))
    if size is None:
        size, note = (_SIZE, _SIZE), f"{first} takes any size: using {_SIZE}x{_SIZE}; --size H,W chooses another"
    height, width = (own or chosen for own, chosen in zip(first.shape[2:], size, strict=True))
    return (first.shape[1], height, width), note


def _check_shape(path: Path, asked: GraphInput, latent: Drawn, text: str) -> None:
    """Raise GanpatchError when what is drawn does not fit the sizes that the graph declares."""
    sizes = asked.shape[1:] if len(asked.shape) > len(latent.shape) else asked.shape
    fits = len(sizes) == len(latent.shape) and all(a in (None, b) for a, b in zip(sizes, latent.shape, strict=True))
    if asked.shape and not fits:
        raise GanpatchError(f"{text}: '{path}' has {asked}, whose rows are not {list(latent.shape)}")


def _labels(
    path: Path, others: Sequence[GraphInput], options: LoadOptions, *, strict: bool
) -> tuple[Labels | None, dict[str, np.ndarray]]:
    """Return how the class is drawn, which the next input takes, and one value for inputs without a description.

    Raises GanpatchError for such an input if `strict`.
    """
    labels = parse_labels(options.labels) if options.labels else None
    if labels is not None and not others:
        raise GanpatchError(f"--labels {labels}: '{path}' has no second input that could take a class")
    unsaid = others[1:] if labels else others
    if unsaid and strict:
        ask, sizes = f"--call {unsaid[0].name}=1", unsaid[0].shape
        classes = f"onehot:{(sizes[-1] if sizes else None) or 10}" if unsaid[0].is_float else "index:10"
        ways = ask if labels else f"{ask}, or a class: --labels {classes}"
        raise GanpatchError(f"'{path}' does not say what {unsaid[0]} is fed with; one value for all images: {ways}")
    return labels, {one.name: np.asarray(1.0 if one.is_float else 0.0) for one in unsaid}


def _output(path: Path, model: ir.Model, *, strict: bool) -> str:
    """Return the output that may be images [N, 1 or 3, H, W]; without `strict`, any."""
    found = [str(value.name) for value in model.graph.outputs if _may_be_images(value) or not strict]
    if not found:
        shown = [f"'{value.name}' {value.shape}" for value in model.graph.outputs]
        raise GanpatchError(f"'{path}' has no output of images [N, 1 or 3, H, W]; it has {listed(shown)}")
    return found[0]


def _may_be_images(value: ir.Value) -> bool:
    if value.shape is None:
        return True
    sizes = declared_sizes(value, units_last=is_image_last(value))
    return len(sizes) == 4 and sizes[1] in (None, 1, 3) and 1 not in sizes[2:]


def _listed(inputs: Sequence[GraphInput]) -> str:
    return listed([str(one) for one in inputs]) or "no inputs"
