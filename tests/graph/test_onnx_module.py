"""An ONNX graph as a generator beside the torch module that it was exported from: images, hooks, edits, rankings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ganpatch
from ganpatch import Edit, GanpatchError, Generator, Patch, applied, export_onnx, find_causes, rank
from ganpatch.forward.activations import stream
from ganpatch.forward.layer_facts import list_layers
from ganpatch.generator.device import Compute
from ganpatch.generator.layers import hooked, layer_names
from ganpatch.graph import onnx_module
from ganpatch.graph.remainder import Remainder
from ganpatch.patch.applying import edits_applied
from tests.support.graphs import decoder, opened
from tests.support.painter import eye
from tests.support.shared import once

SAME = 1e-5
LAYERS = ["main.1", "main.2", "main.5"]


@pytest.fixture(scope="session")
def graph_file(small_dcgan: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "graph", lambda folder: export_onnx(small_dcgan, folder / "g.onnx")) / "g.onnx"


@pytest.fixture
def graph(graph_file: Path) -> Generator:
    return ganpatch.load(graph_file)


def zeroed(output: Tensor, _call: int) -> Tensor:
    output = output.clone()
    output[:, :3] = 0
    return output


def test_the_graph_is_the_same_generator(small_dcgan: Generator, graph: Generator) -> None:
    assert torch.allclose(graph.sample(range(5)), small_dcgan.sample(range(5)), atol=SAME)
    assert str(graph.latent) == str(small_dcgan.latent)
    assert graph.fingerprint == small_dcgan.fingerprint
    own, facts = ({fact.name: fact for fact in list_layers(one)} for one in (graph, small_dcgan))
    shared = [name for name in own if name in facts]
    assert len(shared) >= 6
    assert [(own[n].units, own[n].size, own[n].calls) for n in shared] == [(facts[n].units, facts[n].size, facts[n].calls) for n in shared]  # fmt: skip


def test_the_same_ranking_and_thumbnails(small_dcgan: Generator, graph: Generator) -> None:
    found, wanted = (rank(one, LAYERS, range(40), k=4) for one in (graph, small_dcgan))
    for layer in LAYERS:
        assert torch.equal(found[layer].top_seeds, wanted[layer].top_seeds)
        largest = wanted[layer].top_scores.abs().max()
        assert torch.allclose(found[layer].top_scores, wanted[layer].top_scores, atol=1e-4 * largest)
        assert torch.allclose(found[layer].q99, wanted[layer].q99, atol=1e-4 * largest)


@pytest.mark.parametrize("layers", [["main.1"], ["main.5", "main.2"], ["main.7", "main"], LAYERS])
@pytest.mark.parametrize("most", [24, 0])
def test_hooks_see_and_replace_what_those_in_torch_do(
    small_dcgan: Generator, graph: Generator, monkeypatch: pytest.MonkeyPatch, layers: list[str], most: int
) -> None:
    """Cut at each layer, and (with a limit of 0) run as a whole first, where many layers are watched."""
    monkeypatch.setattr(onnx_module, "_MOST_CUTS", most)
    images, seen = [], []
    for one in (graph, small_dcgan):
        kept: dict[str, Tensor] = {}

        def hook(layer: str, kept: dict[str, Tensor] = kept) -> Callable[[Any, int], Any]:
            def on_output(output: Any, call: int) -> Any:
                kept[layer] = output.clone()
                return zeroed(output, call) if layer in layers else None

            return on_output

        with hooked(one.module, {layer: hook(layer) for layer in {*layers, *LAYERS}}):
            images.append(one.sample(range(3)))
        seen.append(kept)
    assert torch.allclose(*images, atol=SAME)
    assert not torch.allclose(images[0], graph.sample(range(3)), atol=1e-3), "the hooks change the images"
    for layer, activation in seen[1].items():
        assert torch.allclose(seen[0][layer], activation, atol=1e-4 * activation.abs().max()), layer


def test_a_pass_ends_where_nothing_more_is_wanted(graph: Generator) -> None:
    seen: list[str] = []
    watch = {"main.2": lambda _y, _seeds: seen.append("main.2")}
    for _, images in stream(graph, watch, range(4), batch_size=2, with_images=False):
        assert images is None
    assert seen == ["main.2"] * 2


def test_a_patch_goes_both_ways(small_dcgan: Generator, graph: Generator, make_patch: Callable[..., Patch]) -> None:
    for made_on in (small_dcgan, graph):
        patch = make_patch(made_on, {"layer": "main.5", "channels": 8, "units": [0, 3], "alpha": 0.5, "value": 0.2})
        images = []
        for one in (small_dcgan, graph):
            with applied(one.module, patch):
                images.append(one.sample(range(4)))
        assert torch.allclose(*images, atol=SAME)
        assert not torch.allclose(images[1], graph.sample(range(4)), atol=1e-3)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_rest_of_a_pass(small_dcgan: Generator, graph: Generator, layer: str) -> None:
    remainder = Remainder.of(graph, layer)
    assert remainder.is_split
    prefix = remainder.prefix(range(5)).rows([4, 1, 1])
    edit = Edit(id="later", layer="main.7", channels=3, units=[0], value=0.5)
    with hooked(small_dcgan.module, {layer: zeroed}), edits_applied(small_dcgan.module, [edit]):
        wanted = small_dcgan.sample([4, 1, 1])
    with edits_applied(graph.module, [edit]):  # hooks behind the layer are called
        found = remainder(prefix, lambda y: zeroed(y, 0))
    assert torch.allclose(found, wanted, atol=SAME)


def test_a_graph_has_no_gradients(graph: Generator) -> None:
    remainder = Remainder.of(graph, "main.2")
    amount = torch.ones(()).requires_grad_()
    with pytest.raises(GanpatchError) as fault:
        remainder(remainder.prefix([0]), lambda y: y * amount)
    assert str(fault.value).endswith(
        "g.onnx' is an ONNX graph, which has no gradients; what needs them, such as alphas, needs the model in torch"
    )
    with pytest.raises(GanpatchError) as fault:
        find_causes(graph, eye(), "main.2", ["red"])
    assert str(fault.value).endswith(
        " is an ONNX graph, which has no gradients; causes are found by gradients: name the model in torch"
    )


def test_a_graph_runs_as_it_is(graph: Generator) -> None:
    with pytest.raises(GanpatchError, match="runs in onnxruntime on the CPU in its own number format, not compiled"):
        graph.placed(Compute(dtype="bfloat16"))


def test_layers_that_are_not_there(graph: Generator) -> None:
    with pytest.raises(GanpatchError) as fault, hooked(graph.module, {"main.0": lambda _y, _call: None}):
        pass
    assert str(fault.value) == (
        "layer 'main.0' has no value of its own in this graph (an exporter fuses a convolution into the BatchNorm behind it)"
        "; did you mean 'main.7'?"
    )  # fmt: skip


@pytest.mark.parametrize("batch", ["n", 1, 3])
def test_a_graph_for_batches_of_one_size(tmp_path: Path, batch: int | str) -> None:
    """Every row equals that of the graph with an open batch, also behind an edit, and rows can be repeated."""
    open_, fixed = (opened(decoder(tmp_path / f"{size}.onnx", batch=size)) for size in ("n", batch))
    names = [name for name in layer_names(fixed.module) if name]
    assert names == ["ConvTranspose_0", "ConvTranspose_0:relu", "ConvTranspose_1", "ConvTranspose_1:tanh"]
    images = []
    for one in (open_, fixed):
        with hooked(one.module, {"ConvTranspose_0:relu": zeroed}):
            images.append(one.sample(range(5)))
        remainder = Remainder.of(one, "ConvTranspose_0")
        prefix = remainder.prefix(range(4))
        images.append(remainder(prefix.rows([0, 3, 3, 1]), lambda y: zeroed(y, 0)))
    assert torch.allclose(images[0], images[2], atol=SAME)
    assert torch.allclose(images[1], images[3], atol=SAME)
