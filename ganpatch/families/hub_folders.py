"""Folders of model hubs: config.json and one file of weights, as PyTorchModelHubMixin and diffusers write them.

Example:

    files = hub_files(Path("my-model"))
    files.weights, files.config             # my-model/model.safetensors, {"latent_dim": 128, …}
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpatch.disk.atomic_files import read_bytes
from ganpatch.disk.json_files import parsed_json
from ganpatch.errors import GanpatchError, listed

_WEIGHTS = (
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "pytorch_model.safetensors",
    "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
    "model.pt",
    "model.pth",
)
_CONFIG = "config.json"
_LARGEST = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFiles:
    """The weights of a folder, and the content of its config.json."""

    weights: Path
    config: dict[str, Any]


def hub_files(folder: Path) -> HubFiles:
    """Find the weights in `folder`, or in its subfolder `vae`; raise GanpatchError if there are none, or several."""
    for place in (folder, folder / "vae"):
        found = [place / name for name in _WEIGHTS if (place / name).is_file()]
        if found:
            return HubFiles(weights=found[0], config=read_config(found[0]))
    held = sorted(entry.name for entry in folder.iterdir())
    parts = sorted(folder.glob("*.index.json"))
    if parts:
        raise GanpatchError(f"'{folder}' holds weights in several files ({parts[0].name}); save them as one")
    raise GanpatchError(f"'{folder}' holds no weights ({listed(_WEIGHTS, 3)}); it has {listed(held) or 'nothing'}")


def read_config(weights: Path) -> dict[str, Any]:
    """Read the config.json next to `weights`; return {} if there is none."""
    path = weights.parent / _CONFIG
    if not path.is_file():
        return {}
    return parsed_json(read_bytes(path, limit=_LARGEST), f"'{path}'")
