"""Suggestions: per unit of a run, a score for how likely it draws artifacts, and the edit that a method suggests.

    suggestions = read_suggestions(folder, manifest)
    suggestions["first-look"].layers["layer4"].first(20)        # the twenty units to look at first

suggestions.json lists the methods with a line about each score, and sets of units that draw a fault together;
suggestions.safetensors holds the numbers. Both belong to one run: suggestions for an earlier ranking in the same folder
are ignored.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from ganpatch.disk.array_files import is_finite, write_arrays
from ganpatch.disk.atomic_files import read_bytes, replacing_together
from ganpatch.disk.json_files import Section, first_fault, parsed_section, write_section
from ganpatch.disk.tensor_files import opened_tensors
from ganpatch.errors import GanpatchError, explained, near_miss
from ganpatch.patch.edit import Edit, Finite, LayerName, Mask, id_of
from ganpatch.ranking.result import Manifest

INDEX, ARRAYS = "suggestions.json", "suggestions.safetensors"
_LARGEST = 8_000_000
_PER_UNIT = ("alpha", "value", "above")


class MethodFacts(Section):
    """A method's score in one line, its settings, its time, and the names of its arrays."""

    explains: Annotated[str, Field(max_length=300)]
    settings: dict[str, Any] = {}
    seconds: float = 0.0
    layers: Annotated[tuple[LayerName, ...], Field(min_length=1)]


class UnitSet(Section):
    """Units of one layer that draw a fault together, and the `values` that take it away (set_search.py).

    `images` are the seeds that show it, from `start`; `gain` is the share of it that the edit takes away, `harm` the
    change of other images, as a share of the difference between two images.
    """

    name: Annotated[str, Field(pattern=r"^set(-[1-9]\d{0,3})?$")]
    layer: LayerName
    channels: Annotated[int, Field(gt=0, le=10_000_000)]
    units: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1, max_length=100_000)]
    values: tuple[Finite, ...]
    images: Annotated[tuple[int, ...], Field(max_length=100_000)]
    start: Annotated[str, Field(max_length=1000)]
    locality: Finite
    gain: Finite = 0.0
    harm: Finite = 0.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.values) != len(self.units):
            raise ValueError(f"{len(self.units)} units have {len(self.values)} values")
        if list(self.units) != sorted(set(self.units)) or self.units[-1] >= self.channels:
            raise ValueError(f"units are not ascending numbers below {self.channels}")
        return self

    def edit(self, without: Collection[int] = ()) -> Edit:
        """Return the edit that holds its units at their values, but for those `without`."""
        pairs = [pair for pair in zip(self.units, self.values, strict=True) if pair[0] not in without]
        units, values = zip(*pairs, strict=True)
        reason = f"{self.name}: {self.start}"
        return Edit(id=self.name, layer=self.layer, channels=self.channels, units=units, value=values, reason=reason)


class _Index(Section):
    format: Literal["ganpatch-suggestions/1"] = "ganpatch-suggestions/1"
    run: str
    methods: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")], MethodFacts]
    sets: Annotated[tuple[UnitSet, ...], Field(max_length=1000)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The result of a method in one layer: a `score` [C], higher for worse, and the suggested edit per unit.

    `alpha`, `value` and `above` are [C], `mask` [C, h, w] in [0, 1]; None leaves the field at its default.
    """

    score: Tensor
    alpha: Tensor | None = None
    value: Tensor | None = None
    above: Tensor | None = None
    mask: Tensor | None = None

    def first(self, count: int) -> list[int]:
        """Return the `count` units with the highest scores, the worst first."""
        return self.score.argsort(descending=True, stable=True)[:count].tolist()

    def edit(self, layer: str, units: list[int], reason: str) -> Edit:
        """Return the suggested edit of `units`."""
        chosen = sorted(units)
        numbers = {name: getattr(self, name) for name in _PER_UNIT}
        fields: dict[str, Any] = {
            name: tuple(tensor[chosen].tolist()) for name, tensor in numbers.items() if tensor is not None
        }
        mask = None if self.mask is None else Mask.of(self.mask[chosen])
        fields |= {"id": id_of(layer), "layer": layer, "channels": len(self.score), "units": tuple(chosen)}
        return Edit(mask=mask, reason=reason, **fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggested:
    """The results of one method in the layers of a run."""

    facts: MethodFacts
    layers: Mapping[str, Found]


def read_suggestions(folder: Path, manifest: Manifest) -> dict[str, Suggested]:
    """Read the suggestions for this run, by method; return {} if there are none, or only for an earlier run."""
    index = _read_index(folder, manifest)
    if index is None or not index.methods:
        return {}
    what = f"'{folder / ARRAYS}' is broken: remove it, and run ganpatch suggest again"
    with opened_tensors(folder / ARRAYS, what) as file, explained(what):
        tensors = file.tensors()
        return {
            method: Suggested(
                facts=facts,
                layers={layer: _found(tensors, method, layer, manifest) for layer in facts.layers},
            )
            for method, facts in index.methods.items()
        }


def read_sets(folder: Path, manifest: Manifest) -> tuple[UnitSet, ...]:
    """Read the sets suggested for this run; return () if there are none, or only for an earlier run."""
    index = _read_index(folder, manifest)
    return () if index is None else index.sets


def save_suggestions(
    folder: Path, manifest: Manifest, suggested: Mapping[str, Suggested], sets: Sequence[UnitSet] | None = None
) -> None:
    """Save suggestions in the run folder, next to those of other methods for the same run; None leaves its sets."""
    every = {**read_suggestions(folder, manifest), **suggested}
    kept = read_sets(folder, manifest) if sets is None else sets
    with replacing_together(folder, ARRAYS, INDEX) as room:
        write_suggestions(room, manifest, every, kept)


def write_suggestions(
    folder: Path, manifest: Manifest, suggested: Mapping[str, Suggested], sets: Sequence[UnitSet] = ()
) -> None:
    """Write the files of suggestions into a folder that has none.

    Raises GanpatchError when a method returned what no edit can have.
    """
    tensors = {
        f"{method}/{layer}.{name}": tensor.clone()
        for method, one in suggested.items()
        for layer, found in one.layers.items()
        for name in ("score", *_PER_UNIT, "mask")
        if (tensor := getattr(found, name)) is not None
    }
    for method, one in suggested.items():
        for layer in one.layers:
            with explained(f"method '{method}' returned what cannot be used"):
                _found(tensors, method, layer, manifest)
    write_arrays(folder / ARRAYS, tensors)
    methods = {method: one.facts for method, one in suggested.items()}
    write_section(folder / INDEX, _Index(run=manifest.run, methods=methods, sets=tuple(sets)))


def _read_index(folder: Path, manifest: Manifest) -> _Index | None:
    """Read suggestions.json; return None if there is none, or only for an earlier run."""
    if not ((folder / INDEX).is_file() and (folder / ARRAYS).is_file()):  # without its arrays, an index is of nothing
        return None
    try:
        index = parsed_section(read_bytes(folder / INDEX, limit=_LARGEST), _Index, f"'{folder / INDEX}'")
    except ValidationError as fault:
        raise GanpatchError(f"'{folder / INDEX}' is broken: {first_fault(fault)}; remove it") from fault
    return index if index.run == manifest.run else None


def chosen_method(suggested: Mapping[str, Suggested], method: str, folder: Path) -> Suggested:
    """Return the suggestions of `method`; raise GanpatchError if it was not run."""
    if method not in suggested:
        have = f"; there is {', '.join(suggested)}" if suggested else ""
        raise GanpatchError(
            f"'{folder}' has no suggestions by '{method}'{have}{near_miss(method, suggested)}; "
            f"make them with ganpatch suggest {folder} --by {method}"
        )
    return suggested[method]


def _found(tensors: Mapping[str, Tensor], method: str, layer: str, manifest: Manifest) -> Found:
    units = manifest.layers[layer].units
    parts: dict[str, Tensor | None] = {
        name: tensors.get(f"{method}/{layer}.{name}") for name in ("score", *_PER_UNIT, "mask")
    }
    for name, tensor in parts.items():
        dims = 3 if name == "mask" else 1
        if tensor is not None and (tensor.ndim != dims or len(tensor) != units or not is_finite(tensor)):
            raise ValueError(f"{method}/{layer}.{name} does not fit the layer")
        if tensor is not None and name in ("alpha", "mask") and not ((tensor >= 0) & (tensor <= 1)).all():
            raise ValueError(f"{method}/{layer}.{name} has values outside [0, 1]")
    if parts["score"] is None:
        raise ValueError(f"it has no {method}/{layer}.score")
    return Found(**parts)  # type: ignore[arg-type]
