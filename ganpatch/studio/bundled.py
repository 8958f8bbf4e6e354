"""What ships with a bundled generator, so that its studio opens with brushes: causes, a dissection, a patch, images.

    study = Study.of(model)         # of the bundled generator with exactly these weights, else an empty one

Nothing is taken from a study of other weights.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ganpatch.causes.result import Causes
from ganpatch.disk.json_files import Section, read_section
from ganpatch.dissection.result import Dissection
from ganpatch.errors import GanpatchError
from ganpatch.families import churches
from ganpatch.patch.edit import Edit, LayerName
from ganpatch.patch.evidence import Evidence
from ganpatch.patch.patch_file import Model, Patch
from ganpatch.segmenters.strokes_file import Seed

CAUSES, DISSECTION, PATCH, FIRST = "causes", "dissection", "patch.yaml", "first.json"
_LARGEST = 100_000

Place = tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]]


class FirstImages(Section):
    """Images to begin with: `seed` has a tree and a wall at (x, y), as shares of the image; `faulty` shows a fault.

    Brushes of `layer` remove the tree and put a door on the wall; the edit `fault` repairs the fault.
    """

    format: Literal["ganpatch-first/1"] = "ganpatch-first/1"
    layer: LayerName
    seed: Seed
    tree: Place
    wall: Place
    faulty: Seed
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is known of a model; nothing of one that does not ship."""

    causes: tuple[Causes, ...] = ()
    dissections: tuple[Dissection, ...] = ()
    edits: tuple[Edit, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)
    first: FirstImages | None = None

    @classmethod
    def of(cls, model: Model, folder: Path = churches.STUDY) -> "Study":
        """Read the study that ships for a model; an empty one where it is of other weights."""
        patch = Patch.load(folder / PATCH)
        if patch.model.fingerprint != model.fingerprint:
            return cls()
        causes, dissection = Causes.load(folder / CAUSES), Dissection.load(folder / DISSECTION)
        for what, other in (("causes", causes.model), ("dissection", dissection.ranking.model)):
            if other.fingerprint != model.fingerprint:
                raise GanpatchError(f"'{folder}': the {what} that ship are of other weights than {model.name}")
        return cls(
            causes=(causes,),
            dissections=(dissection,),
            edits=patch.edits,
            evidence=patch.evidence.choices(),
            first=read_section(folder / FIRST, FirstImages, limit=_LARGEST),
        )
