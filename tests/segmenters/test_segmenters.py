"""Segmenters of every kind: the bundled one on held-out scenes, networks of others, probes from strokes; bad input."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import ganpatch
from ganpatch import GanpatchError, Generator, load_segmenter
from ganpatch.families.churches import scenes
from ganpatch.generator.layers import hooked
from ganpatch.patch.patch_file import Model
from ganpatch.segmenters import strokes
from ganpatch.segmenters.loading import Segmenter
from ganpatch.segmenters.strokes_file import UNLABELLED, PaintedImage, Stroke, Strokes
from ganpatch.torchvision_import import torchvision_models
from tests.support.nets import dcgan
from tests.support.painter import CONCEPTS, Eye, eye, painter

HELD_OUT = range(2_000_500, 2_000_560)


def test_the_bundled_segmenter_reads_held_out_scenes(churches: Generator) -> None:
    drawn = [scenes.draw(seed) for seed in HELD_OUT]
    images = torch.from_numpy(np.stack([scene.image for scene in drawn])).permute(0, 3, 1, 2).float() / 255
    labels = torch.from_numpy(np.stack([scene.labels for scene in drawn])).long()
    segmenter = load_segmenter("churches", churches)
    assert (segmenter.labels(images) == labels).float().mean() > 0.98
    assert segmenter.probabilities(images).sum(1).allclose(torch.ones(()), atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("churchs", "; did you mean 'churches'?"),
        ("torchvison:fcn_resnet50", "; did you mean 'torchvision'?"),
        (
            "torchvision:fcn_resnet5",
            "torchvision has no segmentation model 'fcn_resnet5'; did you mean 'fcn_resnet50'?",
        ),
        ("onnx:missing.onnx", "segmenter 'missing.onnx' does not exist"),
        ("missing.py:make", "'missing.py' does not exist"),
        ("strokes:missing.json", "cannot read 'missing.json': no such file or directory"),
    ],
)
def test_segmenters_that_are_not_there(spec: str, message: str) -> None:
    with pytest.raises(GanpatchError) as fault:
        load_segmenter(spec, painter())
    assert message in str(fault.value)


def test_transformers_is_an_extra() -> None:
    try:
        import transformers  # noqa: F401
    except ImportError:
        with pytest.raises(GanpatchError, match=r"pip install 'ganpatch\[transformers\]'"):
            load_segmenter("transformers:nvidia/segformer-b0-finetuned-ade-512-512", painter())


def test_a_torchvision_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights in torch's cache are taken from there; here random ones under the name of the real ones."""
    models = torchvision_models()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place = tmp_path / "hub" / "checkpoints"
    place.mkdir(parents=True)
    url = models.get_model_weights("lraspp_mobilenet_v3_large").DEFAULT.url
    net = models.get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None)
    torch.save(net.state_dict(), place / os.path.basename(url))
    segmenter = load_segmenter("torchvision:lraspp_mobilenet_v3_large", painter())
    assert "cat" in segmenter.concepts
    images = torch.rand(1, 3, 32, 48, requires_grad=True)
    probabilities = segmenter.probabilities(images)
    assert probabilities.shape == (1, 21, 32, 48)
    probabilities[:, 8].mean().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0, "gradients pass the preprocessing"


def test_weights_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(GanpatchError, match="segmenter 'torchvision:fcn_resnet50' cannot be loaded from the cache"):
        load_segmenter("torchvision:fcn_resnet50", painter())


def test_a_factory_with_and_without_names(tmp_path: Path) -> None:
    code = tmp_path / "own.py"
    code.write_text("import torch\nclass Own(torch.nn.Module):\n    def forward(self, x): return x[:, :2] * 9\n"
                    "def make(): return Own()\n")  # fmt: skip
    with pytest.raises(GanpatchError, match="its concepts have no names; add --concepts"):
        load_segmenter(f"{code}:make", painter())
    segmenter = load_segmenter(f"{code}:make", painter(), concepts=["red", "green"])
    assert segmenter.labels(torch.rand(2, 3, 8, 8)).shape == (2, 8, 8)
    wrong = load_segmenter(f"{code}:make", painter(), concepts=["red", "green", "blue"])
    with pytest.raises(GanpatchError, match=r"returns \[2, 2, 8, 8\], not \[2, 3, h, w\] for its 3 concepts"):
        wrong.labels(torch.rand(2, 3, 8, 8))


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:UserWarning")  # of torch's older exporter
@pytest.mark.parametrize("labels", [False, True])
def test_an_onnx_file(tmp_path: Path, labels: bool) -> None:
    class Labels(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Eye()(x).argmax(1)

    path = tmp_path / "eye.onnx"
    net = Labels() if labels else Eye()
    torch.onnx.export(net, (torch.rand(2, 3, 32, 32),), path, dynamic_axes={"x": [0]}, input_names=["x"], dynamo=False)
    with pytest.raises(GanpatchError, match="its concepts have no names"):
        load_segmenter(f"onnx:{path}", painter())
    segmenter = load_segmenter(f"onnx:{path}", painter(), concepts=CONCEPTS)
    images = painter().sample(range(3))
    assert torch.equal(segmenter.labels(images), eye().labels(images))
    path.write_bytes(b"broken")
    with pytest.raises(GanpatchError, match="is not a readable ONNX file"):
        load_segmenter(f"onnx:{path}", painter(), concepts=CONCEPTS)


def strokes_for(generator: Generator, *images: PaintedImage) -> Strokes:
    return Strokes(model=Model.of(generator.name, generator.fingerprint), concepts=("sky", "rest"), images=images)


def test_strokes_are_drawn_where_they_were_painted(small_dcgan: Generator) -> None:
    stroke = Stroke(concept="sky", radius=2.0, points=((4.5, 3.5), (12.5, 3.5)))
    dot = Stroke(concept="rest", radius=1.5, points=((8.5, 12.5),))
    image = PaintedImage(seed=0, size=(16, 16), strokes=(stroke, dot))
    drawn = strokes_for(small_dcgan, image).labels(image, (16, 16))
    assert (drawn[3, 4:13] == 0).all()
    assert drawn[12, 8] == 1
    assert (drawn[8] == UNLABELLED).all()
    twice = strokes_for(small_dcgan, image).labels(image, (32, 32))
    assert twice[7, 16] == 0, "an image of another size than the one painted on"


def test_a_probe_learns_concepts_from_a_few_labelled_images() -> None:
    """The painter's own colours are linear in its features; six labelled images are enough."""
    generator, segmenter = painter_with_more_units(), eye()
    images = generator.sample(range(100, 106))
    painted = [strokes.Painted(seed=100 + n, labels=labels) for n, labels in enumerate(segmenter.labels(images))]
    probe = strokes.fit("six images", CONCEPTS, painted, generator)
    assert probe.layers == ("wide",)
    kept: dict[str, torch.Tensor] = {}
    with hooked(generator.module, {"wide": lambda y, call: kept.update(wide=y)}):
        images = generator.sample(range(16))
    agreement = (probe.labels(images, [kept["wide"]]) == segmenter.labels(images)).float().mean()
    assert agreement > 0.95


class Wide(nn.Module):
    """A painter whose maps are repeated in a layer that is wide enough to read concepts from."""

    def __init__(self) -> None:
        super().__init__()
        self.painter = painter().module
        self.wide = nn.Conv2d(6, 12, 1)
        nn.init.orthogonal_(self.wide.weight)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.painter(z) + 0 * self.wide(self.painter.maps(z)).mean()


def painter_with_more_units() -> Generator:
    torch.manual_seed(0)
    return ganpatch.load(Wide(), latent="normal:8", range=(0, 1))


def test_strokes_files_that_do_not_fit(small_dcgan: Generator, small_progressive: Generator, tmp_path: Path) -> None:
    image = PaintedImage(seed=0, size=(16, 16), strokes=(Stroke(concept="sky", radius=2, points=((1.0, 1.0),)),))
    path = tmp_path / "strokes.json"
    strokes_for(small_dcgan, image).save(path)
    with pytest.raises(GanpatchError, match="nothing is painted as rest"):
        load_segmenter(f"strokes:{path}", small_dcgan)
    with pytest.raises(GanpatchError, match="with other weights than ProgressiveGenerator: the same seeds draw other"):
        load_segmenter(f"strokes:{path}", small_progressive)
    path.write_text(path.read_text().replace('"concept":"sky"', '"concept": "sly"').replace('"sky",', '"sky",', 1))
    path.write_text(path.read_text().replace('"concept": "sky"', '"concept": "sly"'))
    with pytest.raises(GanpatchError, match="concept 'sly' is not in concepts; did you mean 'sky'"):
        load_segmenter(f"strokes:{path}", small_dcgan)
    path.write_text("{}")
    with pytest.raises(GanpatchError, match=r"strokes.json': model: Field required"):
        load_segmenter(f"strokes:{path}", small_dcgan)


def test_a_probe_reads_only_what_comes_behind_the_edited_layer() -> None:
    generator = ganpatch.load(dcgan()[0], latent=dcgan()[1])
    assert strokes.feature_layers(generator) == ("main.2", "main.5")
    assert strokes.feature_layers(generator, after="main.3") == ("main.5",)
    with pytest.raises(GanpatchError, match="no layer after 'main.5' has maps with at least 8 units"):
        strokes.feature_layers(generator, after="main.5")


def test_concepts_by_name() -> None:
    segmenter: Segmenter = eye()
    assert segmenter.index("sky") == 3
    with pytest.raises(GanpatchError) as fault:
        segmenter.index("grean")
    assert str(fault.value) == (
        "segmenter 'eye' has no concept 'grean'; did you mean 'green'?; it has ground, red, green, sky"
    )
