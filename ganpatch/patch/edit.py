"""One edit: which units of a layer are replaced, by what, where and when. `equation.py` applies it.

An edit is one entry of a patch file:

    edit = Edit(id="smears", layer="layer4", channels=512, units=[12, 77], reason="smeared sky")
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PrivateAttr,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

from ganpatch.disk.json_files import failing_fast
from ganpatch.errors import GanpatchError
from ganpatch.generator.fingerprints import array_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

MOST_UNITS = 1_000_000
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
LAYER = r"^\S+$"
MASK_PLACE = r"^[^#]+\.safetensors#[^#]+$"


def _plain(value: Any) -> Any:
    if isinstance(value, Part):
        return value.plain()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def _listed(value: Any) -> Any:
    """Make one number a list, so that pydantic only sees lists and its messages stay plain."""
    return value if isinstance(value, list | tuple) else [value]


Finite = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
LayerName = Annotated[str, Field(pattern=LAYER, max_length=500)]
Unit = Annotated[int, Field(ge=0, lt=MOST_UNITS, strict=True)]
Size = Annotated[int, Field(gt=0, le=65536, strict=True)]
_Several = Field(strict=False, min_length=1)
_ANY, _SHARE = Finite | Annotated[tuple[Finite, ...], _Several], Share | Annotated[tuple[Share, ...], _Several]
PerUnit = Annotated[tuple[Finite, ...], BeforeValidator(_listed, json_schema_input_type=_ANY), _Several]
SharePerUnit = Annotated[tuple[Share, ...], BeforeValidator(_listed, json_schema_input_type=_SHARE), _Several]


class Part(BaseModel):
    """A part of a patch file: immutable, no unknown keys; the text below a field describes it in the schema."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, str_max_length=10_000, use_attribute_docstrings=True
    )

    def plain(self) -> Any:
        """Return this part as plain data for a file: fields in their order, those at their defaults left out."""
        fields = type(self).model_fields
        return {
            name: _plain(getattr(self, name))
            for name, field in fields.items()
            if name == "format" or getattr(self, name) != field.default
        }

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return failing_fast(handler(source))  # type: ignore[no-any-return]


class Mask(Part):
    """Where an edit works, in [0, 1] at the layer's resolution; its values are in a file beside the patch."""

    tensor: Annotated[str, Field(pattern=MASK_PLACE, examples=["fix.safetensors#soft"])]
    """File and name of the tensor, float32, [h, w] for all units or [units, h, w]."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Digest of the tensor; one that has changed is refused."""
    size: Annotated[tuple[Size, Size], Field(strict=False, examples=[[16, 16]])]
    """Height and width of the layer's maps."""

    _values: "NDArray[Any] | None" = PrivateAttr(default=None)

    @classmethod
    def of(cls, values: "Tensor") -> Self:
        """Return a mask of `values` [h, w] or [U, h, w] in [0, 1]; saving the patch writes its file.

        Raises GanpatchError for another shape, or values outside [0, 1].
        """
        plain = values.detach().float().cpu().contiguous().numpy()
        if plain.ndim not in (2, 3) or not ((plain >= 0) & (plain <= 1)).all():
            raise GanpatchError(f"a mask is [h, w] or [units, h, w] with values in [0, 1], not {list(plain.shape)}")
        mask = cls(tensor="masks.safetensors#mask", sha256=array_digest(plain), size=(plain.shape[-2], plain.shape[-1]))
        mask._values = plain
        return mask

    @property
    def values(self) -> "Tensor":
        """The mask [h, w] or [U, h, w]; raise GanpatchError when its file was not read."""
        import torch

        return torch.from_numpy(self.array)

    @property
    def array(self) -> "NDArray[Any]":
        """The mask as a NumPy array, which needs no torch; raise GanpatchError when its file was not read."""
        if self._values is None:
            raise GanpatchError(f"the mask {self.tensor} has not been read; load the patch with Patch.load")
        return self._values

    def placed(self, tensor: str) -> "Mask":
        """Return this mask for another place, "file.safetensors#name"."""
        return self.model_copy(update={"tensor": tensor}).filled(self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and (self.tensor, self.sha256) == (other.tensor, other.sha256)

    def __hash__(self) -> int:
        return hash((self.tensor, self.sha256))

    def filled(self, values: "NDArray[Any]") -> "Mask":
        """Return this mask with its values read."""
        mask = self.model_copy()
        mask._values = values
        return mask


class Edit(Part):
    """One edit of some units of one layer; `alpha`, `value` and `above` are one number for all, or one per unit."""

    id: Annotated[str, Field(pattern=NAME, max_length=100, examples=["smears"])]
    """Its name, which no other edit of the patch has."""
    layer: Annotated[LayerName, Field(examples=["layer4", "synthesis.b32.conv1"])]
    """The layer, by its dotted name as `ganpatch layers` lists it."""
    channels: Annotated[int, Field(gt=0, le=MOST_UNITS, strict=True, examples=[512])]
    """How many units the layer has; a layer with another number of units is refused."""
    units: Annotated[tuple[Unit, ...], Field(strict=False, min_length=1, examples=[[12, 77, 301]])]
    """The units that are edited, counted from 0, sorted."""
    alpha: Annotated[SharePerUnit, Field(examples=[0.8, [0.8, 0.5]])] = (1.0,)
    """How much of a unit is replaced: 1 entirely, 0 not at all."""
    value: Annotated[PerUnit, Field(examples=[0.031, [0.031, -0.12]])] = (0.0,)
    """What replaces it."""
    above: Annotated[PerUnit | None, Field(examples=[2.5])] = None
    """Only where the activation exceeds this level; elsewhere nothing changes, bit for bit."""
    call: Annotated[int, Field(ge=0, strict=True)] | None = None
    """Which run of a layer that runs several times per forward pass, counted from 0; without it, every one."""
    mask: Mask | None = None
    """Where in the map; without it, everywhere."""
    reason: Annotated[str, Field(examples=["smeared sky"])] = ""
    """Why, for people."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        raise_faults(list(_faults(self)))
        return self

    def plain(self) -> dict[str, Any]:
        """Return the edit as plain data, one number for all units as a number."""
        found = super().plain()
        single = {name: found[name][0] for name in ("alpha", "value", "above") if len(found.get(name, ())) == 1}
        return {**found, **single}


def id_of(text: str, otherwise: str = "edit") -> str:
    """Return an id made from any name: letters, digits and dashes, or `otherwise` if none is left."""
    kept = (letter if letter.isascii() and letter.isalnum() else "-" for letter in text)
    return "".join(kept).strip("-")[:80] or otherwise


def raise_faults(faults: list[tuple[tuple[str | int, ...], str]]) -> None:
    """Raise `faults`, each with its path inside the part, as pydantic collects them; do nothing if there are none."""
    if faults:
        text = "; ".join(f"{'.'.join(str(part) for part in path)}: {fault}" for path, fault in faults)
        raise PydanticCustomError("faults", "{text}", {"text": text, "faults": faults})


def _faults(edit: Edit) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Describe what is wrong between the fields of an edit."""
    for index, unit in enumerate(edit.units):
        before = edit.units[index - 1] if index else -1
        if unit >= edit.channels:
            wrong = f"is outside layer '{edit.layer}' ({edit.channels} units, 0-{edit.channels - 1})"
        elif unit == before:
            wrong = "is listed twice"
        elif unit < before:
            wrong = f"comes after {before}; units must be sorted"
        else:
            continue
        yield ("units", index), f"unit {unit} {wrong}"
    for field in ("alpha", "value", "above"):
        numbers = getattr(edit, field)
        if numbers is not None and len(numbers) not in (1, len(edit.units)):
            yield (field,), f"{len(numbers)} numbers for {len(edit.units)} units; give one, or one per unit"
