"""The evidence of a patch: on which seeds its units were chosen, what was measured on which seeds, and by what.

A patch does not change; a record makes a new one:

    record = Record(made_by="ganpatch evaluate", measured_on="20000-20999", figures={"ssim": Figure(value=0.93)})
    patch = patch.with_record(record)
    patch.evidence.chosen_seeds()                       # [range(0, 1000)]
    patch.evidence.refuse_chosen(range(500, 600))       # raises GanpatchError

Anything else under `evidence:` in a patch file is free data, and is kept as it is.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from ganpatch.errors import GanpatchError
from ganpatch.number_ranges import format_spans, parse_ranges
from ganpatch.patch.edit import Finite, Part, raise_faults
from ganpatch.untrusted.strict_yaml import Path, walk

# Free data of patches written before there were records: seeds that a patch was chosen on.
_FORMER = ("flagged", "suggested", "tuned", "looked_at", "flagged_on_seeds")


def _as_text(seeds: Any) -> Any:
    """Write seeds as "0-63,70"; a single number is one seed."""
    numbers = [seeds] if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds
    if isinstance(numbers, Sequence) and not isinstance(numbers, str) and all(type(n) is int for n in numbers):
        return format_spans(numbers)
    return seeds


def _checked(seeds: str) -> str:
    if fault := _fault(seeds):
        raise_faults([((), fault)])
    return seeds


def _fault(seeds: str) -> str | None:
    try:
        parse_ranges(seeds or "0", what="seed")
    except GanpatchError as fault:
        return str(fault)
    return None


Seeds = Annotated[
    str,
    BeforeValidator(_as_text, json_schema_input_type=str | int),
    AfterValidator(_checked),
    Field(max_length=1_000_000, examples=["0-999", "0-63,70"]),
]


class Figure(Part):
    """One figure: a single number, or a mapping of what it is before and after the patch, and with random units."""

    what: str = ""
    """What is measured."""
    value: Finite | None = None
    """The figure, where there is only one."""
    before: Finite | None = None
    """The figure without the patch."""
    after: Finite | None = None
    """The figure with the patch."""
    random: Annotated[tuple[Finite, ...], Field(strict=False)] = ()
    """The figure with random units in place of those of the patch, one number per baseline."""
    interval: Annotated[tuple[Finite, Finite], Field(strict=False)] | None = None
    """Its 95 % confidence interval, from low to high."""

    def plain(self) -> Any:
        """Return a single number as a number, anything else as a mapping."""
        found = super().plain()
        return self.value if found.keys() == {"value"} else found


def _number_as_figure(given: Any) -> Any:
    return {"value": given} if isinstance(given, int | float) and not isinstance(given, bool) else given


NumberOrFigure = Annotated[Figure, BeforeValidator(_number_as_figure, json_schema_input_type=Finite | Figure)]


class Record(Part):
    """One step that chose what a patch does, or measured it."""

    made_by: Annotated[str, Field(min_length=1, max_length=200, examples=["ganpatch evaluate", "review"])]
    """What made the record: a command, a page or a tool."""
    chosen_on: Seeds = ""
    """Seeds that were looked at, or searched, to choose units or values; figures on them are biased."""
    measured_on: Seeds = ""
    """Seeds that the figures were measured on."""
    reference: Annotated[str, Field(examples=["1000 real images of photos"])] = ""
    """What the images were compared with."""
    baselines: Annotated[int, Field(ge=0, strict=True)] | None = None
    """How many sets of random units the patch was compared with."""
    settings: dict[str, Any] = {}
    """How it was made: features, method, bound; plain data."""
    figures: dict[str, NumberOrFigure] = {}
    """What was measured, by name: one number, or a mapping."""
    answer: str = ""
    """What was found, in a word or two, as "better" of an evaluation."""
    note: str = ""
    """What was found, in words."""

    @model_validator(mode="after")
    def _plain_settings(self) -> Self:
        raise_faults(list(_not_plain(self.settings, ("settings",))))
        return self

    def repeats(self, other: "Record") -> bool:
        """Return whether this record was made the same way as `other`, on the same seeds."""
        names = ("made_by", "chosen_on", "measured_on", "reference", "settings")
        return all(getattr(self, name) == getattr(other, name) for name in names)


class Evidence(Part):
    """What is known about a patch, as records in the order in which they were made; other keys are free data."""

    model_config = ConfigDict(extra="allow")

    records: Annotated[tuple[Record, ...], Field(strict=False)] = ()
    """The records."""

    @model_validator(mode="after")
    def _plain_data(self) -> Self:
        raise_faults(list(_not_plain(self.free, ())))
        return self

    @classmethod
    def of(cls, *records: Record) -> Self:
        """Return evidence that consists of `records`."""
        return cls(records=records)

    @property
    def free(self) -> dict[str, Any]:
        """The free data."""
        return dict(self.model_extra or {})

    def plain(self) -> dict[str, Any]:
        """Return the records and the free data as plain data."""
        return {**super().plain(), **self.free}

    def by(self, made_by: str) -> Record | None:
        """Return the last record that `made_by` made, or None."""
        return next((record for record in reversed(self.records) if record.made_by == made_by), None)

    def with_record(self, record: Record) -> "Evidence":
        """Return this evidence with `record` at its end, in place of an earlier one that it repeats."""
        kept = tuple(former for former in self.records if not record.repeats(former))
        return self.model_copy(update={"records": (*kept, record)})

    def with_records(self, records: Iterable[Record]) -> "Evidence":
        """Return this evidence with `records` at its end, one after the other."""
        return functools.reduce(Evidence.with_record, records, self)

    def choices(self) -> "Evidence":
        """Return the records of the seeds that the patch was chosen on, without figures, for a patch made from it."""
        former = [Record(made_by="earlier evidence", chosen_on=seeds) for seeds in self._former_seeds()]
        bare: dict[str, Any] = {"measured_on": "", "figures": {}, "baselines": None, "note": ""}
        chosen = [record.model_copy(update=bare) for record in self.records if record.chosen_on]
        return Evidence().with_records([*former, *chosen])

    def chosen_seeds(self) -> list[range]:
        """Return all seeds that the patch was chosen on, as ranges."""
        texts = [record.chosen_on for record in self.choices().records]
        return [span for text in texts for span in parse_ranges(text, what="seed")]

    def named_seeds(self) -> list[range]:
        """Return all seeds that a record names, whether the patch was chosen on them or measured."""
        measured = [record.measured_on for record in self.records if record.measured_on]
        return [*self.chosen_seeds(), *(span for text in measured for span in parse_ranges(text, what="seed"))]

    def refuse_chosen(self, seeds: Sequence[int]) -> None:
        """Raise GanpatchError when the patch was chosen on one of `seeds`."""
        for span in self.chosen_seeds():
            if both := [seed for seed in seeds if seed in span]:
                raise GanpatchError(
                    f"seed {min(both)} is one that the patch was chosen on ({format_spans(span)}): "
                    "results on them would be biased; choose other --seeds"
                )

    def _former_seeds(self) -> Iterator[str]:
        """Yield seeds that were chosen on, where patches had them before there were records."""
        for path, value in walk({name: self.free[name] for name in _FORMER if name in self.free}):
            if path[-1:] in (("seeds",), ("flagged_on_seeds",)) and isinstance(value, str) and not _fault(value):
                yield value


def _not_plain(data: Any, start: Path) -> Iterator[tuple[Path, str]]:
    """Describe what a patch file cannot hold: numbers that are not finite, and other types than YAML has."""
    for path, value in walk(data, start):
        if isinstance(value, float) and (value != value or abs(value) == float("inf")):
            yield path, f"{value} is not finite"
        elif not isinstance(value, str | int | float | list | dict | None):
            yield path, f"a {type(value).__name__} is no plain data; use texts, numbers, lists and mappings"
