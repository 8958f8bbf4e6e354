"""Graphs of other tools: what their inputs are fed with, how their layers are called, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from PIL import Image

from ganpatch import Edit, GanpatchError, Patch, list_onnx_layers, patch_onnx
from ganpatch.export.file_runners import open_onnx, output_of
from ganpatch.export.listing import list_model_layers
from ganpatch.export.verifying import verify
from ganpatch.families.probing import probe
from ganpatch.families.settings_text import format_settings
from ganpatch.forward.layer_facts import list_layers
from ganpatch.generator.load_options import LoadOptions
from ganpatch.patch.patch_file import Model
from tests.support.graphs import FLOAT, HALF, INT64, decoder, node, opened, save, weights


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number, size in enumerate([(20, 12), (14, 16)]):
        pixels = np.random.default_rng(number).integers(0, 255, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def pictures(path: Path, *, channels: int = 3) -> Path:
    """Pictures of any size to pictures."""
    nodes = [
        node("Conv", "x w0 b0", "a", pads=[1] * 4),
        node("Relu", "a", "r"),
        node("Conv", "r w1", "y", pads=[1] * 4),
    ]
    held = weights(w0=(9, channels, 3, 3), b0=(9,), w1=(channels, 9, 3, 3))
    sizes = ["n", channels, "h", "w"]
    return save(path, nodes, [("x", FLOAT, sizes)], [("y", FLOAT, sizes)], held)


def with_class(path: Path) -> Path:
    nodes = [
        node("Gather", "e c", "row"),
        node("Concat", "z row", "both", axis=1),
        node("Unsqueeze", "both axes", "map"),
        node("ConvTranspose", "map w", "y", strides=[4, 4], kernel_shape=[4, 4]),
    ]
    held = weights(e=(5, 4), w=(10, 3, 4, 4)) | {"axes": np.array([2, 3])}
    return save(path, nodes, [("z", FLOAT, ["n", 6]), ("c", INT64, ["n"])], [("y", FLOAT, ["n", 3, 4, 4])], held)


def with_noise(path: Path) -> Path:
    """A latent, a map of noise with 8x8 numbers, and how strong it is: an input without an axis for images."""
    nodes = [
        node("ConvTranspose", "z w0", "a", strides=[8, 8], kernel_shape=[8, 8]),
        node("Mul", "noise strength", "n"),
        node("Add", "a n", "b"),
        node("Conv", "b w1", "y"),
    ]
    inputs = [("z", FLOAT, ["n", 6, 1, 1]), ("noise", FLOAT, ["n", 1, 8, 8]), ("strength", FLOAT, [])]
    return save(path, nodes, inputs, [("y", FLOAT, ["n", 3, 8, 8])], weights(w0=(6, 9, 8, 8), w1=(3, 9, 1, 1)))


def channels_last(path: Path) -> Path:
    """As a converter from TensorFlow writes it: a Transpose around each convolution, the Relu between them outside."""
    there, back = {"perm": [0, 3, 1, 2]}, {"perm": [0, 2, 3, 1]}
    nodes = [
        node("Transpose", "x", "x1", **there),
        node("Conv", "x1 w0", "a1", pads=[1] * 4),
        node("Transpose", "a1", "a", **back),
        node("Relu", "a", "r"),
        node("Transpose", "r", "r1", **there),
        node("Conv", "r1 w1", "y1", pads=[1] * 4),
        node("Transpose", "y1", "y", **back),
    ]
    sizes = ["n", 16, 24, 3]
    return save(path, nodes, [("x", FLOAT, sizes)], [("y", FLOAT, sizes)], weights(w0=(9, 3, 3, 3), w1=(3, 9, 3, 3)))


def patch_of(path: Path, layer: str, channels: int, **given: Any) -> Patch:
    generator = opened(path, **given)
    edit = Edit(id="a", layer=layer, channels=channels, units=[1, 2], alpha=0.5, value=0.7)
    return Patch(name="fix", model=Model.of(generator.name, generator.fingerprint), edits=[edit])


def test_pictures_of_any_size(tmp_path: Path, photos: Path) -> None:
    """The smallest height and width of the pictures, or --size; one channel is grey."""
    path = pictures(tmp_path / "g.onnx")
    assert opened(path, inputs=photos).sample([0]).shape == (1, 3, 14, 12)
    assert opened(path, inputs=photos, size=(8, 10)).sample([0, 1]).shape == (2, 3, 8, 10)
    grey = opened(pictures(tmp_path / "grey.onnx", channels=1), inputs=photos)
    assert grey.inputs_of([0])[0].shape == (1, 1, 14, 12)
    assert torch.equal(grey.sample([0])[:, 0], grey.sample([0])[:, 2])


def test_a_class_is_drawn_or_the_same_for_all(tmp_path: Path) -> None:
    path = with_class(tmp_path / "g.onnx")
    assert set(opened(path, labels="index:5").inputs_of(range(20))[1].tolist()) == set(range(5))
    constant = opened(path, call={"c": 3})
    assert len(constant.inputs_of([0])) == 1
    assert torch.equal(constant.sample([7]), opened(path, labels="index:5=3").sample([7]))


def test_noise_is_drawn_by_the_seed_and_an_input_without_images_is_constant(tmp_path: Path) -> None:
    path = with_noise(tmp_path / "g.onnx")
    generator = opened(path, call={"noise": "normal:1,8,8", "strength": 0.5})
    assert [list(part.shape) for part in generator.inputs_of([3, 4])] == [[2, 6, 1, 1], [2, 1, 8, 8]]
    assert torch.allclose(generator.sample([3, 4])[1], generator.sample([4])[0], atol=1e-6)
    still = opened(path, call={"noise": 0, "strength": 0.5})
    assert not torch.allclose(still.sample([4]), generator.sample([4]), atol=1e-3)


def test_units_on_the_last_axis(tmp_path: Path, photos: Path) -> None:
    """They are shown, hooks see them second, and a patch in the file does what the hook does."""
    path = channels_last(tmp_path / "g.onnx")
    assert {one.name: (one.units, one.size, one.has_units_last) for one in list_onnx_layers(path)} == {
        "Conv_0": (9, (16, 24), False), "Relu_0": (9, (16, 24), True), "Conv_1": (3, (16, 24), False),
    }  # fmt: skip
    generator = opened(path, inputs=photos)
    assert generator.sample([0]).shape == (1, 3, 16, 24)
    assert {fact.name: (fact.units, fact.size) for fact in list_layers(generator)}["Relu_0"] == (9, (16, 24))
    patch = patch_of(path, "Relu_0", 9, inputs=photos)
    patch_onnx(path, patch, tmp_path / "fixed.onnx")
    assert verify(generator, patch, [tmp_path / "fixed.onnx"], range(2)).agree


def test_a_graph_is_patched_and_verified_whatever_its_inputs(tmp_path: Path) -> None:
    for make, layer, units, given in [
        (with_class, "ConvTranspose_0", 3, {"labels": "index:5"}),
        (with_noise, "Add_0", 9, {"call": {"noise": "normal:1,8,8", "strength": 0.5}}),
        (pictures, "Conv_0:relu", 9, {"latent": "uniform:0,1:3,9,7"}),
    ]:
        path = make(tmp_path / f"{layer}.onnx")
        before = path.read_bytes()
        patch = patch_of(path, layer, units, **given)
        done = patch_onnx(path, patch, tmp_path / f"{layer}.fixed.onnx")
        assert done.effect > 0.01
        assert verify(opened(path, **given), patch, [done.path], range(3)).agree
        assert path.read_bytes() == before


def test_a_file_of_nodes_in_any_order_with_weights_as_inputs(tmp_path: Path) -> None:
    """Opset 9 of an old exporter, and 16-bit numbers inside."""
    nodes = [
        node("Cast", "c", "y", to=FLOAT),
        node("ConvTranspose", "h w", "c", strides=[4, 4], kernel_shape=[4, 4]),
        node("Cast", "z", "h", to=HALF),
    ]
    held = {"w": weights(w=(6, 3, 4, 4))["w"].astype(np.float16)}
    inputs = [("z", FLOAT, ["n", 6, 1, 1]), ("w", HALF, [6, 3, 4, 4])]
    path = save(tmp_path / "g.onnx", nodes, inputs, [("y", FLOAT, ["n", 3, 4, 4])], held, opset=9, ir=3)
    generator = opened(path)
    patch = patch_of(path, "ConvTranspose_0", 3)
    done = patch_onnx(path, patch, tmp_path / "fixed.onnx")
    onnx.checker.check_model(str(done.path))
    inputs_ = generator.inputs_of(range(4))
    gap = (output_of(generator.module, inputs_, patch.edits) - open_onnx(done.path).run(inputs_)).abs().max()
    assert gap < 2e-3, "of 16 bits"


def test_weights_of_16_bits_that_numpy_does_not_have(tmp_path: Path) -> None:
    nodes = [node("Cast", "w", "f", to=FLOAT), node("ConvTranspose", "z f", "y", strides=[4, 4], kernel_shape=[4, 4])]
    inputs, outputs = [("z", FLOAT, ["n", 6, 1, 1])], [("y", FLOAT, ["n", 3, 4, 4])]
    path = save(tmp_path / "g.onnx", nodes, inputs, outputs, weights(w=(6, 3, 4, 4)))
    model = onnx.load(path)
    rounded = onnx.helper.make_tensor("w", TensorProto.BFLOAT16, (6, 3, 4, 4), weights(w=(6, 3, 4, 4))["w"].flatten())
    model.graph.initializer[0].CopyFrom(rounded)
    onnx.save(model, path)
    patch = patch_of(path, "ConvTranspose_0", 3)
    assert verify(opened(path), patch, [patch_onnx(path, patch, tmp_path / "fixed.onnx").path], range(2)).agree


def test_what_is_no_layer_is_counted_with_the_reason(tmp_path: Path) -> None:
    found = list_model_layers(with_class(tmp_path / "g.onnx"))
    assert [row[0] for row in found.rows] == ["Gather_0", "Concat_0", "ConvTranspose_0"]
    assert found.remarks == ("1 values are no layers: moved or converted only (Reshape, Transpose, Cast and the like)",)


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (pictures, {}, "'FILE' turns images into images: name a folder of pictures for input 'x' (float [?,3,?,?]): --inputs DIR"),
    (with_class, {}, "'FILE' does not say what input 'c' (int64 [?]) is fed with; one value for all images: --call c=1, or a class: --labels index:10"),
    (with_noise, {"call": {"nois": 1}}, "--call nois: 'FILE' has no such input; it has input 'z' (float [?,6,1,1]), input 'noise' (float [?,1,8,8]), input 'strength' (float []); did you mean 'noise'?"),
    (with_noise, {"call": {"noise": [1, 2], "strength": 1}}, "--call noise: '[1, 2]' is not numbers for input 'noise' (float [?,1,8,8]); give one, or a list [0.5, 0.5]"),
    (decoder, {"latent": "normal:7"}, "--latent normal:7: 'FILE' has input 'z' (float [?,6,1,1]), whose rows are not [7]"),
    (decoder, {"labels": "index:3"}, "--labels index:3: 'FILE' has no second input that could take a class"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "given", "text"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_is_missing_is_asked_for_by_name(make: Any, given: dict[str, Any], text: str, tmp_path: Path) -> None:
    path = make(tmp_path / "g.onnx")
    with pytest.raises(GanpatchError) as fault:
        opened(path, **given)
    assert str(fault.value).replace(str(path), "FILE") == text


def test_a_graph_without_pictures(tmp_path: Path) -> None:
    path = save(tmp_path / "g.onnx", [node("MatMul", "z w", "y")], [("z", FLOAT, ["n", 6])], [("y", FLOAT, ["n", 4])], weights(w=(6, 4)))  # fmt: skip
    with pytest.raises(GanpatchError) as fault:
        opened(path)
    assert str(fault.value) == f"'{path}' has no output of images [N, 1 or 3, H, W]; it has 'y' [n,4]"


@pytest.mark.parametrize("sizes", [[1 << 40, 6, 1, 1], ["n", 6, 1 << 40, 1]])
def test_sizes_that_a_graph_declares_are_checked_before_anything_is_drawn(tmp_path: Path, sizes: list[Any]) -> None:
    nodes = [node("ConvTranspose", "z w", "y", kernel_shape=[4, 4])]
    path = save(tmp_path / "g.onnx", nodes, [("z", FLOAT, sizes)], [("y", FLOAT, ["n", 3, "h", "w"])], weights(w=(6, 3, 4, 4)))  # fmt: skip
    shown = ",".join("?" if isinstance(size, str) else str(size) for size in sizes)
    with pytest.raises(GanpatchError) as fault:
        opened(path)
    assert str(fault.value) == (
        f"'{path}': input 'z' (float [{shown}]) is more than can be drawn: at most 50,000,000 numbers for one image, "
        "4,096 images at a time"
    )


def test_a_value_that_no_machine_holds_is_refused_before_it_is_made(tmp_path: Path) -> None:
    nodes = [
        node("ConstantOfShape", "sizes", "big"),
        node("ReduceMax", "big", "most", keepdims=0),
        node("Add", "z most", "sum"),
        node("Conv", "sum w", "y"),
    ]
    held = weights(w=(3, 5, 1, 1)) | {"sizes": np.array([1 << 20, 1 << 20])}
    path = save(tmp_path / "g.onnx", nodes, [("z", FLOAT, ["n", 5, 4, 4])], [("y", FLOAT, ["n", 3, 4, 4])], held)
    with pytest.raises(GanpatchError) as fault:
        opened(path)
    assert str(fault.value) == (f"'{path}' declares a value 'big' of [1048576, 1048576], more than can be computed")


def test_an_operation_that_onnxruntime_lacks_is_named(tmp_path: Path) -> None:
    odd = node("Wobble", "z", "a")
    odd.domain = "some.vendor"
    nodes = [odd, node("ConvTranspose", "a w", "y", strides=[4, 4], kernel_shape=[4, 4])]
    path = save(tmp_path / "g.onnx", nodes, [("z", FLOAT, ["n", 6, 1, 1])], [("y", FLOAT, ["n", 3, 4, 4])], weights(w=(6, 3, 4, 4)))  # fmt: skip
    with pytest.raises(GanpatchError, match=r"onnxruntime cannot load '.*g.onnx': .*some.vendor"):
        opened(path)


@pytest.mark.parametrize(("last", "low", "high"), [("Sigmoid", 0, 1), ("Tanh", -1, 1)])
def test_init_finds_the_range_of_pictures(tmp_path: Path, photos: Path, last: str, low: int, high: int) -> None:
    """A network that lets its input through: values between 0 and 1 are not taken for half of -1 to 1."""
    nodes = [node("Mul", "x two", "a"), node("Sub", "a one", "b"), node(last, "b", "y")]
    held = {"two": np.array(3, np.float32), "one": np.array(1.5 * (last == "Sigmoid"), np.float32)}
    path = save(tmp_path / "g.onnx", nodes, [("x", FLOAT, ["n", 3, 8, 8])], [("y", FLOAT, ["n", 3, 8, 8])], held)
    found = probe(path, LoadOptions(inputs=photos))
    assert found.generator.range == (low, high)
    text = format_settings(str(path), LoadOptions(inputs=photos, size=(8, 8)), found)
    assert f"range = [{low}.0, {high}.0]" in text
    assert "size = [8, 8]" in text


def test_init_asks_how_a_latent_was_drawn(tmp_path: Path) -> None:
    found = probe(decoder(tmp_path / "g.onnx"))
    assert next(question.text for question in found.questions) == (
        "How was its input drawn in training? The weights do not show it; normal is a guess."
    )
    assert "an ONNX graph: 'ganpatch apply' writes it with a patch inside" in found.notes
