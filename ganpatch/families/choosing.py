"""Which model is meant when none is named: that of a run folder, that of `ganpatch.toml`, else the bundled generator.

    chosen = choose_model(None, patch=patch)
    chosen.note                             # "no MODEL given: using the bundled generator churches"
    generator = chosen.load()

The bundled generator is refused where another one was probably meant: a checkpoint is in the working folder, or the
patch is for another model.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganpatch.errors import GanpatchError, listed
from ganpatch.families.loading import BUNDLED, load
from ganpatch.families.origins import read_origin
from ganpatch.generator.configuration import NAME, read_settings
from ganpatch.generator.generator import Generator
from ganpatch.generator.load_options import LoadOptions
from ganpatch.option_values import PATCH_SUFFIXES

if TYPE_CHECKING:
    from ganpatch.patch.patch_file import Patch

_BUNDLED = next(iter(BUNDLED))
_CHECKPOINTS = (".pt", ".pth", ".ckpt", ".tar", ".bin", ".safetensors", ".pkl", ".pt2")
_OURS = (".fixed.", ".reverted.")  # files that ganpatch wrote


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A model, how it is loaded, and a `note` on why it was chosen, "" when it was named."""

    model: str
    options: LoadOptions
    note: str = ""

    def load(self) -> Generator:
        """Load the generator."""
        return load(self.model, **self.as_keywords())

    def as_keywords(self) -> dict[str, Any]:
        """Return the options as keyword arguments of `load`."""
        return {name: getattr(self.options, name) for name in LoadOptions.model_fields}


def choose_model(
    model: str | Path | None, *, patch: "Patch | None" = None, run: Path | None = None, **options: Any
) -> Chosen:
    """Return the model that is meant, and how to load it; `options` are those of `load`.

    A run folder as `model`, or as `run` where no model is named, is the model that was ranked there, loaded as then.
    Raises GanpatchError when the bundled generator is left, and cannot be meant.
    """
    given = LoadOptions.of(**options)
    folder = run if model is None else Path(model)
    origin = read_origin(folder) if folder is not None else None
    if origin is not None:
        note = f"no MODEL given: using {origin.model}, as '{run}' was made with" if model is None else ""
        return Chosen(model=origin.model, options=origin.options.under(given), note=note)
    if model is not None:
        return Chosen(model=str(model), options=given)
    settings = read_settings(Path()).model
    named = settings.path or settings.arch
    if named is not None:
        return Chosen(model=named, options=given, note=f"no MODEL given: using {named}, as {NAME} says")
    if run is None:
        _refuse_bundled(patch)
    return Chosen(model=_BUNDLED, options=given, note=f"no MODEL given: using the bundled generator {_BUNDLED}")


def _refuse_bundled(patch: "Patch | None") -> None:
    """Raise GanpatchError when another model than the bundled one was probably meant."""
    if found := [f"'{name}'" for name in sorted(_checkpoints(Path()))]:
        raise GanpatchError(
            f"no MODEL given, and {listed(found, 3)} is in this folder; "
            f"name the model, or '{_BUNDLED}' for the bundled generator"
        )
    if patch is not None and patch.model.name != _BUNDLED:
        own = load(_BUNDLED).fingerprint.structure
        if patch.model.fingerprint.structure != own:
            raise GanpatchError(
                f"no MODEL given, and patch '{patch.name}' is for model '{patch.model.name}', not for the bundled "
                f"generator '{_BUNDLED}'; name the model"
            )


def _checkpoints(folder: Path) -> Iterator[str]:
    """Yield the names of files that look like a user's weights: not what ganpatch wrote, nor masks of a patch."""
    for path in folder.iterdir():
        ours = any(mark in path.name for mark in _OURS) or any(path.with_suffix(one).exists() for one in PATCH_SUFFIXES)
        if path.name.endswith(_CHECKPOINTS) and not ours and path.is_file():
            yield path.name
