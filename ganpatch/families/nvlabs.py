"""StyleGAN2-ADA and StyleGAN3 of NVlabs: tensors of their pickles in a network of the user's own checkout.

z [N, 512] -> mapping -> synthesis.b4, b8, … (StyleGAN2), or synthesis.L0_36_512, … (StyleGAN3) -> image [N, 3, H, W]:

    ganpatch rank network.pkl --repo stylegan3

The network runs in float32, with the constant noise of its checkpoint. Fused convolutions of StyleGAN2 are separated,
so that an export allows any batch size. The code of NVlabs always computes in float32, so folding cannot be proved in
float64, and edits are inserted.
"""

import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.torch_version import TorchVersion

from ganpatch.errors import GanpatchError
from ganpatch.families.adapter import Forward, viewed
from ganpatch.families.family import Built, Wish
from ganpatch.generator.latents import Labels, Latent
from ganpatch.untrusted.state_dicts import State

NAME = "StyleGAN2-ADA or StyleGAN3 (NVlabs)"

_FILES = {"3": ("networks_stylegan3",), "2": ("networks_stylegan2", "networks")}
_PACKAGES = ("training", "torch_utils", "dnnlib", "pkg_resources")
_DROPPED = "pkg_resources"  # setuptools 82 no longer has it; stylegan3 takes one function from it, to compare versions


def detect(state: State) -> bool:
    """Return whether `state` has NVlabs' mapping network and either synthesis network."""
    return {"mapping.fc0.weight", "mapping.w_avg"} <= set(state) and _generation(state) != ""


def build(state: State, wish: Wish) -> Built:
    """Build the network from the checkout, with the arguments in the pickle."""
    generation = _generation(state)
    if wish.repo is None:
        raise GanpatchError(
            f"{NAME}: the network is built from your own copy of the code: --repo FOLDER, a checkout of NVlabs' "
            + ("stylegan3" if generation == "3" else "stylegan2-ada-pytorch or stylegan3")
        )
    arguments = wish.config.get("init_kwargs")
    if not arguments:
        raise GanpatchError(f"{NAME}: the file does not say how the network was made; load the .pkl it came from")
    with _importable(wish.repo):
        network = _network(wish.repo, generation, wish.config)
    classes, size = int(arguments.get("c_dim") or 0), int(arguments["z_dim"])
    module = viewed(network, _forward(network, wish.truncation, classes), wide=False)
    labels = Labels.all_of("onehot", classes) if classes else None
    return Built(module=module, latent=Latent(kind="normal", shape=(size,)), labels=labels)


def _generation(state: State) -> str:
    if "synthesis.input.freqs" in state:
        return "3"
    return "2" if "synthesis.b4.const" in state else ""


def _forward(network: nn.Module, psi: float | None, classes: int) -> Forward:
    """Call the network with explicit noise, precision and fusion for every layer."""
    fixed: dict[str, Any] = {"truncation_psi": 1 if psi is None else psi, "noise_mode": "const", "force_fp32": True}
    if hasattr(network.synthesis, "b4"):
        fixed["fused_modconv"] = False

    def forward(own: Forward, z: Tensor, *labels: Tensor) -> Any:
        c = labels[0] if classes else torch.zeros(z.shape[0], 0, dtype=z.dtype)
        return own(z, c, **fixed)

    return forward


def _network(repo: Path, generation: str, config: Mapping[str, Any]) -> nn.Module:
    """Return the Generator of a checkout, created with the arguments in the pickle."""
    arguments = config["init_kwargs"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network: nn.Module = _class_of(repo, generation)(*config.get("init_args", ()), **arguments)
    except GanpatchError:
        raise
    except Exception as fault:
        raise GanpatchError(
            f"the checkout '{repo}' does not fit the pickle: its Generator({', '.join(arguments)}) raised "
            f"{type(fault).__name__}: {fault}"
        ) from fault
    return network.requires_grad_(False)


def _class_of(repo: Path, generation: str) -> Any:
    folder = repo / "training"
    file = next((name for name in _FILES[generation] if (folder / f"{name}.py").is_file()), None)
    if file is None:
        wanted = " or ".join(f"training/{name}.py" for name in _FILES[generation])
        raise GanpatchError(f"--repo {repo}: it has no {wanted}, so it is no checkout that fits this network")
    try:
        module = importlib.import_module(f"training.{file}")
    except Exception as fault:
        missing = f"; pip install {fault.name}" if isinstance(fault, ModuleNotFoundError) and fault.name else ""
        raise GanpatchError(f"cannot import '{folder / file}.py': {type(fault).__name__}: {fault}{missing}") from fault
    found = getattr(module, "Generator", None)
    if not inspect.isclass(found):
        raise GanpatchError(f"'{folder / file}.py' has no class Generator")
    return found


@contextmanager
def _importable(repo: Path) -> Iterator[None]:
    """Import from `repo` first; remove its packages afterwards, so that another checkout can follow."""

    def ours(name: str) -> bool:
        return name.partition(".")[0] in _PACKAGES

    before = {name: sys.modules.pop(name) for name in list(sys.modules) if ours(name)}
    if importlib.util.find_spec(_DROPPED) is None:
        sys.modules[_DROPPED] = ModuleType(_DROPPED)
        sys.modules[_DROPPED].parse_version = TorchVersion  # type: ignore[attr-defined]
    sys.path.insert(0, str(repo.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(repo.resolve()))
        for name in [name for name in sys.modules if ours(name)]:
            del sys.modules[name]
        sys.modules.update(before)
