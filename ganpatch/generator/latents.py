"""How a generator's inputs are drawn from seeds.

    latent = parse_latent("normal:100,1,1")
    labels = parse_labels("onehot:8")
    draw_inputs(latent, labels, seeds=[0, 1, 2])     # (z [3, 100, 1, 1], labels [3, 8])

Row i depends on seed i alone: each seed has a random generator of its own, on the CPU, in float32.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ganpatch.errors import GanpatchError, near_miss
from ganpatch.number_ranges import format_spans, parse_spans

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_SHAPE = r"\d{1,6}(?:,\d{1,6}){0,3}"
_NORMAL = re.compile(rf"normal:({_SHAPE})")
_UNIFORM = re.compile(rf"uniform:({_NUMBER}),({_NUMBER}):({_SHAPE})")
_TRUNCATED = re.compile(rf"truncated:({_NUMBER}):({_SHAPE})")
_LABELS = re.compile(r"(onehot|index):(\d{1,6})(?:=(.+))?")
_KINDS = ("normal", "uniform", "truncated", "images", "rows")
MOST_NUMBERS = 50_000_000  # of one image
_BOUND = 2.0  # a truncated normal is drawn within so many standard deviations (Brock et al. 2019)


class Drawn(Protocol):
    """A generator's first input, by seed: drawn from a distribution, or read from files (input_files.py)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row, without the batch."""

    @property
    def count(self) -> int | None:
        """The number of different rows; None if every seed has its own."""

    def row(self, source: torch.Generator) -> Tensor:
        """Return one row for the seed that `source` was made with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latent:
    """The distribution of one latent: `shape` without the batch; `low` and `high` for a uniform one.

    A truncated normal is drawn within two standard deviations and then scaled by `scale`.
    """

    kind: Literal["normal", "uniform", "truncated"]
    shape: tuple[int, ...]
    low: float = -1.0
    high: float = 1.0
    scale: float = 1.0

    def __str__(self) -> str:
        shape = ",".join(str(size) for size in self.shape)
        how = {"normal": "", "uniform": f"{self.low:g},{self.high:g}:", "truncated": f"{self.scale:g}:"}[self.kind]
        return f"{self.kind}:{how}{shape}"

    @property
    def count(self) -> None:
        """None: every seed has its own row."""
        return

    def row(self, source: torch.Generator) -> Tensor:
        """Draw one latent of `shape`."""
        if self.kind == "uniform":
            return torch.rand(self.shape, generator=source) * (self.high - self.low) + self.low
        drawn = torch.randn(self.shape, generator=source)
        if self.kind == "normal":
            return drawn
        while (outside := drawn.abs() > _BOUND).any():
            drawn = torch.where(outside, torch.randn(self.shape, generator=source), drawn)
        return drawn * self.scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The second input of a conditional generator: a class out of `among`, as a float one-hot row or an index."""

    kind: Literal["onehot", "index"]
    classes: int
    among: tuple[int, ...]

    def __str__(self) -> str:
        chosen = "" if self.among == tuple(range(self.classes)) else f"={format_spans(self.among)}"
        return f"{self.kind}:{self.classes}{chosen}"

    @classmethod
    def all_of(cls, kind: Literal["onehot", "index"], classes: int) -> "Labels":
        """Return labels that draw all classes of a model equally often."""
        return cls(kind=kind, classes=classes, among=tuple(range(classes)))

    def row(self, source: torch.Generator) -> Tensor:
        """Draw one label: [classes] float, or a long scalar."""
        place = int(torch.randint(len(self.among), (), generator=source))
        label = torch.tensor(self.among[place])
        return label if self.kind == "index" else F.one_hot(label, self.classes).float()


def parse_latent(text: str) -> Latent:
    """Read "normal:100", "normal:100,1,1", "uniform:-1,1:100" or "truncated:0.5:128"."""
    if match := _NORMAL.fullmatch(text):
        return Latent(kind="normal", shape=parse_shape(text, match[1]))
    if match := _UNIFORM.fullmatch(text):
        low, high = float(match[1]), float(match[2])
        if not low < high:
            raise GanpatchError(f"latent '{text}': {low:g} is not below {high:g}")
        return Latent(kind="uniform", low=low, high=high, shape=parse_shape(text, match[3]))
    if match := _TRUNCATED.fullmatch(text):
        if not float(match[1]) > 0:
            raise GanpatchError(f"latent '{text}': a scale of {match[1]} draws nothing")
        return Latent(kind="truncated", scale=float(match[1]), shape=parse_shape(text, match[2]))
    guess = near_miss(text.split(":")[0], _KINDS)
    raise GanpatchError(f"latent '{text}' is not one of normal:100, normal:100,1,1, uniform:-1,1:100{guess}")


def parse_labels(text: str) -> Labels:
    """Read "onehot:8", "index:10", or with the classes to draw from: "index:10=3,5-7"."""
    match = _LABELS.fullmatch(text)
    if match is None:
        guess = near_miss(text.split(":")[0], ["onehot", "index"])
        raise GanpatchError(f"labels '{text}' are not one of onehot:8, index:10, index:10=3,5-7{guess}")
    classes = int(match[2])
    among = tuple(parse_spans(match[3], what="class")) if match[3] else tuple(range(classes))
    outside = [label for label in among if label >= classes]
    if classes == 0 or outside:
        wrong = f"class {outside[0]} is outside 0-{classes - 1}" if outside else "there are no classes"
        raise GanpatchError(f"labels '{text}': {wrong}")
    return Labels(kind="onehot" if match[1] == "onehot" else "index", classes=classes, among=among)


def draw_inputs(
    latent: Drawn, labels: Labels | None, seeds: Sequence[int], more: Sequence[Drawn] = ()
) -> tuple[Tensor, ...]:
    """Draw (z [N, *shape],) or (z, labels), then `more`, with one row per seed."""
    rows: list[tuple[Tensor, ...]] = []
    for seed in seeds:
        source = torch.Generator().manual_seed(seed)
        z = latent.row(source)
        rows.append((z, *(() if labels is None else (labels.row(source),)), *(one.row(source) for one in more)))
    return tuple(torch.stack(column) for column in zip(*rows, strict=True))


def parse_shape(text: str, sizes: str) -> tuple[int, ...]:
    """Read "100,1,1" out of a latent's `text`."""
    shape = tuple(int(size) for size in sizes.split(","))
    if math.prod(shape) > MOST_NUMBERS:
        raise GanpatchError(f"latent '{text}': more than {MOST_NUMBERS:,} numbers for one image")
    if 0 in shape:
        raise GanpatchError(f"latent '{text}': a size of 0 draws nothing")
    return shape
