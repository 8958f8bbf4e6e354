"""One way to call any module: lists, keyword arguments, and outputs of every kind; and folders of a hub."""

import json
from collections import namedtuple
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import ganpatch
from ganpatch import GanpatchError
from ganpatch.families.adapter import adapted, image_of
from ganpatch.families.hub_folders import hub_files
from ganpatch.families.loading import weights_file
from tests.support.shared import patch_for

Pair = namedtuple("Pair", ["image", "latent"])


class Odd(nn.Module):
    """Takes a list and a keyword; returns what `wrap` makes of the latent, the image and a small image."""

    def __init__(self, wrap: Any = lambda z, image: image, channels: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.deep, self.out = nn.Linear(6, channels * 16), nn.Conv2d(channels, 3, 1)
        self.wrap = wrap

    def forward(self, z: Any, *, strength: float = 0.0) -> Any:
        listed = isinstance(z, list)
        z = z[0] if listed else z
        image = self.out(self.deep(z).unflatten(1, (-1, 4, 4))) * strength
        return self.wrap(z, image)


WRAPS = {
    "tuple": lambda z, image: (z, image),
    "list": lambda z, image: [image, image[:, :, :2, :2]],
    "dict": lambda z, image: {"z": z, "label": None, "maps": [image * 2], "image": image},
    "named tuple": lambda z, image: Pair(image, z),
    "object": lambda z, image: SimpleNamespace(sample=image, rest=z),
}


@pytest.mark.parametrize("kind", WRAPS)
def test_images_are_found_in_any_output(kind: str) -> None:
    module = Odd(WRAPS[kind]).eval()
    generator = ganpatch.load(module, latent="[normal:6]", call={"strength": 2.0})
    args, _ = generator.inputs([0, 1])
    output = generator.module(*args)
    assert torch.equal(output, Odd()(args[0], strength=2.0))
    patch = patch_for(generator, {"layer": "deep", "channels": 64, "units": [3]})
    assert ganpatch.bake(generator, patch).decisions[0].outcome == "folded"
    assert generator.fingerprint == ganpatch.fingerprint(module)
    with ganpatch.applied(module, patch):
        assert not torch.equal(generator.module(*args), output), "the view shares the layers of the user's own module"


def test_a_view_is_a_module_of_its_own() -> None:
    module = Odd()
    view = adapted(module, call={"strength": 1.0})
    z = torch.randn(2, 6)
    assert list(view.state_dict()) == list(module.state_dict())
    assert type(view).__name__ == "Odd"
    copied = deepcopy(view)
    with torch.no_grad():
        copied.get_parameter("out.bias").add_(1)
    assert torch.allclose(copied(z), view(z) + 1)
    assert torch.equal(module(z, strength=1.0), view(z))


def test_output_without_an_image() -> None:
    assert image_of({"z": torch.zeros(2, 3)}).keys() == {"z"}
    assert image_of(None) is None
    with pytest.raises(GanpatchError, match="the output is a tuple, not images"):
        ganpatch.load(Odd(lambda z, image: ("no", "tensor")), latent="normal:6", call={"strength": 1})


def test_an_export_of_an_adapted_module(tmp_path: Path) -> None:
    generator = ganpatch.load(Odd(WRAPS["dict"]), latent="[normal:6]", call={"strength": 1.5})
    exported = ganpatch.export_onnx(generator, tmp_path / "odd.onnx")
    assert exported.difference < 1e-5


def test_wrappers_and_compiled_modules() -> None:
    module = Odd()
    wrapped = nn.DataParallel(module)
    assert ganpatch.load(wrapped, latent="normal:6", call={"strength": 1.0}).fingerprint == ganpatch.fingerprint(module)
    compiled = torch.compile(module)
    assert ganpatch.load(compiled, latent="normal:6", call={"strength": 1.0}).fingerprint == ganpatch.fingerprint(
        module
    )
    module.compile()
    with pytest.raises(GanpatchError, match=r"Odd was compiled in place \(module.compile\(\)\)"):
        ganpatch.load(module, latent="normal:6")


NET = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, width=4, depth=1):
        super().__init__()
        self.deep, self.out = nn.Linear(6, width * 16), nn.Conv2d(width, 3, 1)
    def forward(self, z):
        return self.out(self.deep(z).unflatten(1, (-1, 4, 4)))
"""


def test_a_folder_of_a_hub(tmp_path: Path) -> None:
    """config.json has the factory's arguments; those of the user go before them."""
    (tmp_path / "net.py").write_text(NET)
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(GanpatchError) as fault:
        hub_files(folder)
    assert str(fault.value) == (
        f"'{folder}' holds no weights (model.safetensors, diffusion_pytorch_model.safetensors, "
        "pytorch_model.safetensors (+4 more)); it has nothing"
    )
    wide = ganpatch.load(f"{tmp_path / 'net.py'}:Net", latent="normal:6", arch_args={"width": 7})
    save_file(wide.module.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"width": 7, "_class_name": "Net"}))
    loaded = ganpatch.load(folder, arch=f"{tmp_path / 'net.py'}:Net", latent="normal:6")
    assert loaded.fingerprint == wide.fingerprint
    assert weights_file(folder) == folder / "model.safetensors"
    (folder / "config.json").write_text("[1]")
    with pytest.raises(GanpatchError, match="is a list, not an object"):
        ganpatch.load(folder, arch=f"{tmp_path / 'net.py'}:Net", latent="normal:6")
    (folder / "config.json").write_text("{")
    with pytest.raises(GanpatchError, match="is not JSON"):
        ganpatch.load(folder, arch=f"{tmp_path / 'net.py'}:Net", latent="normal:6")


def test_a_layer_that_runs_several_times(tmp_path: Path) -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.middle = nn.Conv2d(3, 8, 3, padding=1)
            self.out = nn.Conv2d(8, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(3):
                x = x - 0.3 * self.out(torch.tanh(self.middle(x)))
            return x

    from tests.support.conformance import conform

    found = conform(ganpatch.load(Loop(), latent="normal:3,8,8"), onnx=False, layer="middle")
    assert found["bake"] == "inserted"
