"""`ganpatch.toml` in the working folder: the model that commands use when none is named, and how to load it.

Example:

    [model]
    path = "model.pt"
    arch = "net.py:Generator"
    arch_args = {ngf = 64}
    latent = "normal:100,1,1"
    range = [-1, 1]
    # also, where needed: key, labels, inputs, truncation, repo, call = {noise_mode = "const"}

    [rank]
    layers = ["main.5"]
"""

import tomllib
from pathlib import Path

from pydantic import ValidationError

from ganpatch.disk.atomic_files import read_bytes
from ganpatch.disk.json_files import Section, first_fault
from ganpatch.disk.text_bounds import MOST_FAULTS, MOST_NAMES, refuse_dense
from ganpatch.errors import GanpatchError, explained
from ganpatch.generator.load_options import Loading, fault_line

NAME = "ganpatch.toml"
_LARGEST = 1_000_000


class ModelSettings(Loading):
    """The model, and how to load it."""

    path: str | None = None


class RankSettings(Section):
    """Defaults of `ganpatch rank`."""

    layers: tuple[str, ...] = ()


class Settings(Section):
    """The whole file."""

    model: ModelSettings = ModelSettings()
    rank: RankSettings = RankSettings()


def read_settings(folder: Path) -> Settings:
    """Read `ganpatch.toml` in `folder`, or return the defaults; raise GanpatchError with all its faults at once."""
    path = folder / NAME
    if not path.exists():
        return Settings()
    with explained(NAME):
        text = read_bytes(path, limit=_LARGEST).decode()
        refuse_dense(text, f"'{path}'")
        if text.count("=") > MOST_NAMES:
            raise GanpatchError(f"'{path}': it holds more than {MOST_NAMES:,} settings")
        content = tomllib.loads(text)
    try:
        return Settings.model_validate(content)
    except ValidationError as fault:
        if fault.error_count() > MOST_FAULTS:
            raise GanpatchError(f"{NAME}: {first_fault(fault)}") from fault
        lines = [fault_line(error, "a setting", _keys_beside(error["loc"])) for error in fault.errors()]
        raise GanpatchError("\n".join(f"{NAME}: {line}" for line in lines)) from fault


def _keys_beside(place: tuple[int | str, ...]) -> list[str]:
    sections: dict[object, type[Section]] = {"model": ModelSettings, "rank": RankSettings}
    known = sections.get(place[0], Settings) if len(place) > 1 else Settings
    return list(known.model_fields)
