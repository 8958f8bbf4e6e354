"""The result of an intervention study: which units of a layer cause which concept; saved as a folder.

Example:

    causes = Causes.load("causes")
    causes["tree"].ranked()                     # units by alpha, the most causal first
    causes.removal("tree", units=20)            # an Edit that removes trees
    causes.insertion("door", units=20, mask=m)  # an Edit that inserts doors where the mask is
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from ganpatch.disk.array_files import Shapes, read_arrays, write_arrays
from ganpatch.disk.atomic_files import replacing_together
from ganpatch.disk.json_files import Section, read_section, write_section
from ganpatch.errors import GanpatchError, near_miss
from ganpatch.html_tables import html_table
from ganpatch.option_values import By, Level
from ganpatch.patch.edit import Edit, LayerName, Mask, id_of
from ganpatch.patch.patch_file import Model, Provenance

MANIFEST = "causes.json"
ARRAYS = "causes.safetensors"
_NAMES = ("alpha", "iou", "conditional_mean")
_LARGEST = 64_000_000


class Curve(Section):
    """The effect of the first `units` of an order, on held-out seeds; several draws for random orders.

    `removed` is the share of the concept's pixels that ablation removes. `ace` is the average causal effect: at a
    random position of each image, presence with the units inserted minus presence with them ablated, over mean
    presence.
    """

    by: str
    units: tuple[int, ...]
    removed: tuple[float, ...]
    ace: tuple[float, ...]


class ContextRow(Section):
    """How much of the concept an insertion adds on average, by the class that was there `before`."""

    before: str
    places: int
    gain: float


class _Concept(Section):
    presence: float
    curves: tuple[Curve, ...]
    context: tuple[ContextRow, ...] = ()


class _Manifest(Section):
    format: Literal["ganpatch-causes/1"] = "ganpatch-causes/1"
    model: Model
    layer: LayerName
    channels: Annotated[int, Field(gt=0, le=1_000_000)]
    size: tuple[int, int]
    segmenter: str
    preset: str
    steps: int
    radius: int
    seeds: str
    held_out: str
    all_concepts: tuple[str, ...]
    concepts: dict[str, _Concept]
    created: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptCauses:
    """One concept: per unit [C] the optimised `alpha`, the `iou`, the mean activation where the concept is.

    `ace` [C] is the average causal effect of each unit alone on the share of the concept's pixels, or None if it was
    not measured; `presence` is the share of all pixels that are the concept; `context` is where it can be inserted.
    """

    alpha: Tensor
    iou: Tensor
    conditional_mean: Tensor
    ace: Tensor | None
    presence: float
    curves: tuple[Curve, ...]
    context: tuple[ContextRow, ...] = ()

    def ranked(self, by: By = "alpha") -> list[int]:
        """Return the units, the most causal first; equal alphas by IoU."""
        if by == "ace" and self.ace is None:
            raise GanpatchError("the effect of single units was not measured; repeat ganpatch cause with --single")
        first = {"alpha": self.alpha, "iou": self.iou, "ace": self.ace}[by]
        assert first is not None
        by_iou = self.iou.argsort(descending=True, stable=True)
        order: list[int] = by_iou[first[by_iou].argsort(descending=True, stable=True)].tolist()
        return order


@dataclass(frozen=True, slots=True, kw_only=True)
class Causes:
    """Which units of `layer` cause which concepts; `single` [C, K] is the effect of ablating each unit alone.

    `q99`, `q999` [C] are quantiles of the activations over all images.
    """

    model: Model
    layer: str
    channels: int
    size: tuple[int, int]
    segmenter: str
    preset: str
    steps: int
    radius: int
    seeds: str
    held_out: str
    all_concepts: tuple[str, ...]
    concepts: Mapping[str, ConceptCauses]
    q99: Tensor
    q999: Tensor
    single: Tensor | None

    def __getitem__(self, concept: str) -> ConceptCauses:
        if concept not in self.concepts:
            raise GanpatchError(
                f"concept '{concept}' was not studied; here are {', '.join(self.concepts)}"
                f"{near_miss(concept, self.concepts)}"
            )
        return self.concepts[concept]

    def insertion_values(self, concept: str, level: Level = "mean") -> Tensor:
        """Return the activation [C] of an insertion: the class-conditional mean, or a quantile."""
        return {"mean": self[concept].conditional_mean, "q99": self.q99, "q999": self.q999}[level]

    def only_concept(self) -> str:
        """Return the concept, where there is one; raise GanpatchError when there are several to choose from."""
        if len(self.concepts) > 1:
            raise GanpatchError(f"these causes are of {', '.join(self.concepts)}: choose one with --concept")
        return next(iter(self.concepts))

    def removal(self, concept: str, *, units: int = 20, by: By = "alpha", mask: Tensor | None = None) -> Edit:
        """Return the edit that ablates the `units` most causal ones, everywhere or where `mask` [h, w] is."""
        chosen = self._chosen(concept, units, by)
        return Edit(
            id=f"no-{id_of(concept, 'concept')}",
            layer=self.layer,
            channels=self.channels,
            units=chosen,
            mask=None if mask is None else Mask.of(mask),
            reason=f"removes {concept}",
        )

    def insertion(
        self, concept: str, *, mask: Tensor | None = None, units: int = 20, by: By = "alpha", level: Level = "mean"
    ) -> Edit:
        """Return the edit that sets the `units` most causal ones to a level, everywhere or where `mask` [h, w] is."""
        chosen = self._chosen(concept, units, by)
        values = self.insertion_values(concept, level)[list(chosen)].double().tolist()
        return Edit(
            id=f"add-{id_of(concept, 'concept')}",
            layer=self.layer,
            channels=self.channels,
            units=chosen,
            value=tuple(float(f"{value:.6g}") for value in values),
            mask=None if mask is None else Mask.of(mask),
            reason=f"inserts {concept}",
        )

    def _repr_html_(self) -> str:
        rows = [
            (name, f"{found.presence:.2%}", ", ".join(str(unit) for unit in found.ranked()[:20]))
            for name, found in self.concepts.items()
        ]
        title = f"{self.model.name}, {self.layer}: units that cause a concept"
        return html_table(["concept", "of all pixels", "most causal units"], rows, title=title, numeric=False)

    def _chosen(self, concept: str, units: int, by: By) -> tuple[int, ...]:
        if not 1 <= units <= self.channels:
            raise GanpatchError(f"{units} units of layer '{self.layer}', which has {self.channels}")
        return tuple(sorted(self[concept].ranked(by)[:units]))

    def save(self, folder: str | Path) -> None:
        """Write the folder; the manifest comes last."""
        arrays = {"q99": self.q99, "q999": self.q999}
        arrays |= {"single": self.single} if self.single is not None else {}
        for concept, found in self.concepts.items():
            arrays |= {f"{concept}.{name}": getattr(found, name) for name in _NAMES}
        manifest = _Manifest(
            **{name: getattr(self, name) for name in _Manifest.model_fields if name not in _MADE},
            concepts={
                name: _Concept(presence=c.presence, curves=c.curves, context=c.context)
                for name, c in self.concepts.items()
            },
            created=Provenance.now().created,
        )
        with replacing_together(Path(folder), MANIFEST) as room:
            write_arrays(room / ARRAYS, arrays)
            write_section(room / MANIFEST, manifest)

    @classmethod
    def load(cls, folder: str | Path) -> "Causes":
        """Read a causes folder; raise GanpatchError with the file that is missing or broken."""
        folder = Path(folder)
        path = folder / MANIFEST
        if not path.is_file():
            reason = "it was not finished: repeat with --resume" if folder.is_dir() else "no such folder"
            raise GanpatchError(f"'{folder}' holds no causes: {reason}; ganpatch cause writes them")
        manifest = read_section(path, _Manifest, limit=_LARGEST)
        if stray := set(manifest.concepts) - set(manifest.all_concepts):
            raise GanpatchError(f"'{path}' is broken: concepts: '{min(stray)}' is not in all_concepts")
        wanted = ["q99", "q999", *(f"{concept}.{name}" for concept in manifest.concepts for name in _NAMES)]
        shapes: Shapes = dict.fromkeys(wanted, (manifest.channels,))
        arrays = read_arrays(
            folder / ARRAYS, shapes, optional={"single": (manifest.channels, len(manifest.all_concepts))}
        )
        single = arrays.get("single")
        concepts = {
            name: ConceptCauses(
                **{field: arrays[f"{name}.{field}"] for field in _NAMES},
                ace=None if single is None else single[:, manifest.all_concepts.index(name)],
                presence=facts.presence,
                curves=facts.curves,
                context=facts.context,
            )
            for name, facts in manifest.concepts.items()
        }
        plain = {name: getattr(manifest, name) for name in _Manifest.model_fields if name not in _MADE}
        return cls(**plain, concepts=concepts, q99=arrays["q99"], q999=arrays["q999"], single=single)


_MADE = ("format", "concepts", "created")
