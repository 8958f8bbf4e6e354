"""ONNX with the patch inside, against the hooks in torch."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import ganpatch
from ganpatch import GanpatchError, Generator, Mask, Patch, applied, export_onnx
from ganpatch.export.file_runners import TOLERANCES, open_onnx
from ganpatch.forward.layer_facts import list_layers
from ganpatch.generator.layers import hooked, hooked_layers
from tests.support.nets import NETS, dcgan


def run_onnx(path: Path, args: tuple[torch.Tensor, ...]) -> np.ndarray:
    return open_onnx(path).run(args).numpy()


def metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


@pytest.mark.parametrize("net", ["dcgan", "progressive", "biggan", "stylegan2", "fastgan", "vae_decoder", "unet"])
def test_a_patched_graph_equals_the_hooks(net: str, tmp_path: Path, make_patch: Callable[..., Patch]) -> None:
    module, latent = NETS[net]()
    generator = ganpatch.load(module, latent=latent)
    facts = [fact for fact in list_layers(generator) if fact.units >= 3 and len(fact.size) == 2]
    first, last = facts[1], facts[-2]
    mask = Mask.of(torch.rand(*last.size, generator=torch.Generator().manual_seed(0)))
    patch = make_patch(
        generator,
        {"layer": first.name, "channels": first.units, "units": [0, 2]},
        {
            "layer": last.name,
            "channels": last.units,
            "units": [1],
            "alpha": 0.5,
            "value": 0.2,
            "above": 0.1,
            "mask": mask,
        },
    )
    path = tmp_path / "out.onnx"
    exported = export_onnx(generator, path, patch=patch)
    assert exported.difference <= TOLERANCES["onnx"] * exported.largest
    assert exported.decisions[1].outcome == "inserted"
    args, _ = generator.inputs(range(5))  # a batch size that the export did not see
    with applied(generator.module, patch), torch.no_grad():
        wanted = module(*args).numpy()
    assert np.abs(run_onnx(path, args) - wanted).max() <= 1e-4 * np.abs(wanted).max()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out.onnx"], "one file"


def test_no_local_path_stands_in_the_file(
    small_dcgan: Generator, tmp_path: Path, make_patch: Callable[..., Patch]
) -> None:
    patch = make_patch(small_dcgan, {"layer": "main.2", "channels": 12, "units": [0], "above": 1.0})
    export_onnx(small_dcgan, tmp_path / "out.onnx", patch=patch)
    content = (tmp_path / "out.onnx").read_bytes()
    for word in (str(Path.home()), str(Path(ganpatch.__file__).parent), "site-packages", ".py"):
        assert word.encode() not in content, word


def test_metadata_names_model_patch_and_layers(
    small_dcgan: Generator, tmp_path: Path, make_patch: Callable[..., Patch]
) -> None:
    patch = make_patch(small_dcgan, {"layer": "main.5", "channels": 8, "units": [0], "above": 1.0})
    export_onnx(small_dcgan, tmp_path / "out.onnx", patch=patch)
    found = metadata(tmp_path / "out.onnx")
    assert found["ganpatch.patch.digest"] == patch.digest
    assert found["ganpatch.weights"] == small_dcgan.fingerprint.weights
    assert found["ganpatch.latent"] == "normal:8,1,1"
    assert found["ganpatch.range"] == "-1,1"
    (tmp_path / "fix.yaml").write_text(found["ganpatch.patch"])
    assert Patch.load(tmp_path / "fix.yaml") == patch
    layers = json.loads(found["ganpatch.layers"])
    graph = onnx.load(tmp_path / "out.onnx").graph
    values = {name for node in graph.node for name in node.output}
    assert set(layers.values()) <= values
    assert layers["main"] == graph.output[0].name == "images"
    assert "main.3" not in layers, "the exporter fuses a convolution with the BatchNorm behind it"
    (where,) = [node for node in graph.node if node.op_type == "Where"]
    assert layers["main.5"] == where.output[0], "a layer's value is what leaves it, the edit included"


def test_the_layer_map_points_at_the_layers_value(small_progressive: Generator, tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    export_onnx(small_progressive, path)
    model = onnx.load(path)
    layers = json.loads(metadata(path)["ganpatch.layers"])
    assert {"layer1", "layer4", "layer4.conv", "to_rgb"} <= layers.keys()
    for layer in ("layer2", "layer4.conv"):
        kept = []
        with hooked(small_progressive.module, {layer: lambda y, call, kept=kept: kept.append(y.clone())}):
            small_progressive.sample(range(2))
        probe = onnx.ModelProto.FromString(model.SerializeToString())
        del probe.graph.output[:]
        probe.graph.output.append(onnx.ValueInfoProto(name=layers[layer]))
        onnx.save(probe, tmp_path / "probe.onnx")
        args, _ = small_progressive.inputs(range(2))
        assert np.allclose(run_onnx(tmp_path / "probe.onnx", args), kept[0].numpy(), atol=1e-4)


def test_a_conditional_model(tmp_path: Path) -> None:
    class Conditional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out = nn.Embedding(4, 12), nn.Conv2d(3, 3, 1)

        def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return self.out((z + self.embed(labels)).view(-1, 3, 2, 2))

    torch.manual_seed(0)
    generator = ganpatch.load(Conditional(), latent="normal:12", labels="index:4")
    exported = export_onnx(generator, tmp_path / "out.onnx")
    assert exported.difference < 1e-5
    assert [entry.name for entry in onnx.load(exported.path).graph.input] == ["z", "labels"]
    assert metadata(exported.path)["ganpatch.labels"] == "index:4"


def test_random_numbers_in_the_forward_pass_are_refused(tmp_path: Path) -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            x = self.conv(z)
            return x + 0.1 * torch.randn_like(x)

    generator = ganpatch.load(Noisy(), latent="normal:3,4,4")
    with pytest.raises(GanpatchError) as fault:
        export_onnx(generator, tmp_path / "out.onnx")
    assert str(fault.value) == (
        "the model draws random numbers in its forward pass (RandomNormalLike in ''), which ONNX would draw without a "
        "seed; use constant or zero noise, or make the noise an input"
    )
    assert list(tmp_path.iterdir()) == []


def test_over_tolerance_nothing_is_written(
    small_dcgan: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TOLERANCES, "onnx", 1e-12)
    with pytest.raises(
        GanpatchError, match=r"is not written: onnxruntime differs from torch by \S+ where outputs reach"
    ):
        export_onnx(small_dcgan, tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_exported_says_why(tmp_path: Path) -> None:
    class Static(nn.Module):
        """Goes through the batch one by one, which fixes its size."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.conv(z[index]) for index in range(z.shape[0])])

    torch.manual_seed(0)
    generator = ganpatch.load(Static(), latent="normal:3,4,4")
    with pytest.raises(
        GanpatchError, match="^torch cannot export Static to ONNX with a dynamic batch size: .*--batch 1 fixes"
    ):
        export_onnx(generator, tmp_path / "out.onnx")
    exported = export_onnx(generator, tmp_path / "out.onnx", batch=2)
    assert exported.difference < 1e-5


def test_the_model_keeps_no_trace_of_the_export(tmp_path: Path, make_patch: Callable[..., Patch]) -> None:
    module, latent = dcgan()
    generator = ganpatch.load(module, latent=latent)
    before = generator.fingerprint, generator.sample([0])
    export_onnx(
        generator, tmp_path / "a.onnx", patch=make_patch(generator, {"layer": "main.5", "channels": 8, "units": [1]})
    )
    assert generator.fingerprint == before[0]
    assert torch.equal(generator.sample([0]), before[1])
    assert hooked_layers(module) == []
