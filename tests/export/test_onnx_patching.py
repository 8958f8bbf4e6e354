"""A patch in an ONNX graph, without a torch model, against the hooks in torch."""

import contextlib
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
import torch
from onnxruntime.quantization import QuantFormat, quantize_static

import ganpatch
from ganpatch import Edit, GanpatchError, Generator, Patch, export_onnx
from ganpatch.export.file_runners import TOLERANCES, compared, open_onnx, output_of
from ganpatch.export.onnx_patching import PatchedGraph, list_onnx_layers, patch_onnx
from ganpatch.export.patch_record import KEY, Record
from ganpatch.fold import upstream
from ganpatch.forward.layer_facts import list_layers
from ganpatch.option_values import Mode
from tests.support.nets import NETS, loaded_net, repeated
from tests.support.patches import KINDS, edit_for, patch_of
from tests.support.table import TABLE

# The older exporter knows neither the norms of these two nor BatchNorm without gain on a traced size.
ONLY_DYNAMO = ("biggan", "biggan_new_spectral_norm")
EXPORTS = [(net, exporter) for net in NETS for exporter in ("dynamo", "legacy") if exporter == "dynamo" or net not in ONLY_DYNAMO]  # fmt: skip
# An in-place ReLU whose input is kept: a hook edits what ReLU returns and not what was kept; in the graph both are one.
LOST = {("in_place_trap", "relu")}
DCGAN_EDIT = {"layer": "main.5", "channels": 8, "units": [0, 3]}


def torch_export(generator: Generator, path: Path, exporter: str = "dynamo", **options: object) -> Path:
    args, _ = generator.inputs(range(2))
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with quiet[0], quiet[1], warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            shapes = ({0: torch.export.Dim("n")},)
            torch.onnx.export(generator.module, args, path, dynamo=True, dynamic_shapes=shapes, verbose=False, **{"external_data": False, **options})  # fmt: skip
        else:
            torch.onnx.export(generator.module, args, path, dynamo=False, input_names=["z"], dynamic_axes={"z": {0: "n"}})  # fmt: skip
    return path


def assert_equal_to_hooks(generator: Generator, patch: Patch, path: Path, tolerance: str = "onnx") -> None:
    inputs, _ = generator.inputs(range(7, 12))
    wanted = output_of(generator.module, inputs, patch.edits)
    gap = compared(wanted, open_onnx(path).run(inputs)).largest
    assert gap <= TOLERANCES[tolerance] * wanted.abs().max().item(), gap


@pytest.mark.parametrize(("net", "exporter"), EXPORTS)
def test_layers_of_every_net_by_both_exporters(net: str, exporter: str, tmp_path: Path) -> None:
    """Each layer of the table with a kind of edit, in turn; layers that are not in the graph are refused by name."""
    generator = loaded_net(net)
    source = torch_export(generator, tmp_path / "model.onnx", exporter)
    addressable = {layer.name for layer in list_onnx_layers(source) if not layer.unclear}
    facts = {fact.name: fact for fact in list_layers(generator)}
    edited = 0
    for index, name in enumerate(layer for layer in TABLE[net] if (net, layer) not in LOST):
        kinds = [kind for kind in KINDS if kind != "masked" or len(facts[name].size) == 2]
        patch = patch_of(generator, [edit_for(facts[name], kinds[index % len(kinds)])])
        if name not in addressable:
            with pytest.raises(GanpatchError, match=f"layer '{name}' "):
                patch_onnx(source, patch, tmp_path / "fixed.onnx")
            continue
        result = patch_onnx(source, patch, tmp_path / "fixed.onnx")
        assert result.difference <= TOLERANCES["onnx"] * result.largest
        assert_equal_to_hooks(generator, patch, result.path)
        edited += 1
    assert edited >= len(TABLE[net]) / 2 or net == "in_place_trap", "most layers are there"


@pytest.mark.parametrize("exporter", ["dynamo", "legacy"])
def test_several_edits_at_once(exporter: str, tmp_path: Path) -> None:
    """Upstream first, list order within a layer, folded or inserted together."""
    for net in ("dcgan", "stylegan2"):
        generator = loaded_net(net)
        source = torch_export(generator, tmp_path / f"{net}.onnx", exporter)
        there = {layer.name for layer in list_onnx_layers(source) if not layer.unclear}
        facts = [fact for fact in list_layers(generator) if fact.units >= 3 and fact.name in there]
        kinds = list(KINDS)[:5]
        edits = [edit_for(fact, kinds[index % 5], edit=f"a{index}") for index, fact in enumerate(reversed(facts))]
        edits += [
            Edit(id=f"b{index}", layer=fact.name, channels=fact.units, units=[1, 2], alpha=0.25, value=-0.2)
            for index, fact in enumerate(facts)
        ]
        patch = patch_of(generator, edits)
        modes: tuple[Mode, ...] = ("auto", "insert")
        for mode in modes:
            result = patch_onnx(source, patch, tmp_path / f"{net}-{mode}.onnx", mode=mode)
            assert_equal_to_hooks(generator, patch, result.path)
            if mode == "insert":
                assert {decision.outcome for decision in result.decisions} == {"inserted"}


def test_a_naive_fold_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_patch: Callable[..., Patch]
) -> None:
    """Break a rule on purpose: what is written is the inserted graph, which equals the hooks."""
    generator = loaded_net("dcgan")
    source = torch_export(generator, tmp_path / "model.onnx")
    patch = make_patch(generator, {**DCGAN_EDIT, "value": 0.5})
    right = upstream._RULES["rectifier"]
    monkeypatch.setitem(upstream._RULES, "rectifier", lambda up, node, change: right(up, node, change.scaled_only()))
    result = patch_onnx(source, patch, tmp_path / "fixed.onnx")
    assert [decision.outcome for decision in result.decisions] == ["inserted"]
    assert_equal_to_hooks(generator, patch, result.path)
    with pytest.raises(GanpatchError, match="folding is not exact in"):
        patch_onnx(source, patch, tmp_path / "folded.onnx", mode="fold")


def test_a_convolution_that_holds_the_norm_behind_it_is_refused(
    tmp_path: Path, make_patch: Callable[..., Patch]
) -> None:
    """The older exporter keeps the convolution's name for what is the norm's output."""
    generator = loaded_net("in_place_trap")
    source = torch_export(generator, tmp_path / "model.onnx", "legacy")
    patch = make_patch(generator, {"layer": "conv", "channels": 6, "units": [1], "value": 0.3})
    with pytest.raises(GanpatchError, match="the older exporter folded the normalisation behind it into it"):
        patch_onnx(source, patch, tmp_path / "fixed.onnx")


def patched(tmp_path: Path, source: Path, patch: Patch, **options: object) -> PatchedGraph:
    return patch_onnx(source, patch, tmp_path / "fixed.onnx", **options)


def test_external_data_stays_external(small_dcgan: Generator, tmp_path: Path, make_patch: Callable[..., Patch]) -> None:
    source = torch_export(small_dcgan, tmp_path / "model.onnx", external_data=True)
    content = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(content) == {"model.onnx", "model.onnx.data"}
    patch = make_patch(small_dcgan, DCGAN_EDIT)
    assert_equal_to_hooks(small_dcgan, patch, patched(tmp_path, source, patch).path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["fixed.onnx", "fixed.onnx.data", "model.onnx", "model.onnx.data"]
    assert all((tmp_path / name).read_bytes() == before for name, before in content.items())


def test_what_one_file_cannot_hold_goes_into_a_second(
    small_dcgan: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_patch: Callable[..., Patch]
) -> None:
    """A limit of 1000 bytes simulates protobuf's 2 GB."""
    source = torch_export(small_dcgan, tmp_path / "model.onnx")
    monkeypatch.setattr("ganpatch.graph.onnx_graphs.LARGEST_SINGLE", 1000)
    patch = make_patch(small_dcgan, {**DCGAN_EDIT, "above": 0.1})
    assert_equal_to_hooks(small_dcgan, patch, patched(tmp_path, source, patch).path)
    assert (tmp_path / "fixed.onnx.data").stat().st_size > 10_000
    monkeypatch.setattr("ganpatch.export.onnx_export.LARGEST_SINGLE", 1000)
    with pytest.raises(
        GanpatchError, match=r"and one ONNX file holds 2 GB; export it with torch \(external_data=True\)"
    ):
        export_onnx(small_dcgan, tmp_path / "one.onnx")


def test_half_precision(small_dcgan: Generator, tmp_path: Path, make_patch: Callable[..., Patch]) -> None:
    source = torch_export(small_dcgan, tmp_path / "wide.onnx")
    half = onnx_ir.load(source)
    for value in [*half.graph.initializers.values(), *half.graph.inputs, *half.graph.outputs]:
        if value.dtype == onnx_ir.DataType.FLOAT:
            value.dtype = onnx_ir.DataType.FLOAT16
            if value.const_value is not None:
                value.const_value = onnx_ir.tensor(value.const_value.numpy().astype(np.float16), name=value.name)
    for node in half.graph:
        for output in node.outputs:
            output.dtype = onnx_ir.DataType.FLOAT16 if output.dtype == onnx_ir.DataType.FLOAT else output.dtype
    onnx_ir.save(half, tmp_path / "half.onnx")
    for edit in (DCGAN_EDIT, {**DCGAN_EDIT, "alpha": 0.3, "above": 0.1}):
        patch = make_patch(small_dcgan, edit)
        result = patched(tmp_path, tmp_path / "half.onnx", patch)
        assert_equal_to_hooks(small_dcgan, patch, result.path, "float16")
        stored = {tensor.data_type for tensor in onnx.load(result.path).graph.initializer}
        assert onnx.TensorProto.FLOAT not in stored


def test_what_is_in_the_file_afterwards(
    small_dcgan: Generator, tmp_path: Path, make_patch: Callable[..., Patch]
) -> None:
    export_onnx(small_dcgan, tmp_path / "model.onnx")
    patch = make_patch(small_dcgan, {**DCGAN_EDIT, "above": 1.0})
    result = patched(tmp_path, tmp_path / "model.onnx", patch)
    assert result.identity == "the graph was exported from the weights that the patch is for"
    stored = {entry.key: entry.value for entry in onnx.load(result.path).metadata_props}
    record = Record.model_validate_json(stored[KEY])
    assert [(one.digest, one.inserted) for one in record.patches] == [(patch.digest, ("edit0",))]
    assert record.base == patch.model.fingerprint
    assert record.proof.keys() == {"onnxruntime", "effect"}
    with pytest.raises(GanpatchError, match="patch 'test' is already applied to"):
        patch_onnx(result.path, patch, tmp_path / "again.onnx")
    other = make_patch(small_dcgan, {**DCGAN_EDIT, "layer": "main.2", "channels": 12}, name="other")
    both = patch_onnx(result.path, other, tmp_path / "both.onnx")
    inputs, _ = small_dcgan.inputs(range(3))
    with ganpatch.applied(small_dcgan.module, patch), torch.no_grad():
        wanted = output_of(small_dcgan.module, inputs, other.edits)
    assert compared(wanted, open_onnx(both.path).run(inputs)).largest < 1e-5
    over = make_patch(small_dcgan, {**DCGAN_EDIT, "alpha": 0.5}, name="over")
    with pytest.raises(GanpatchError, match="which touches main.5 unit 0, main.5 unit 3 as well; --sequence"):
        patch_onnx(result.path, over, tmp_path / "over.onnx")
    patch_onnx(result.path, over, tmp_path / "over.onnx", sequence=True)


def test_one_run_of_a_layer(tmp_path: Path, make_patch: Callable[..., Patch]) -> None:
    module, latent = repeated()
    generator = ganpatch.load(module, latent=latent)
    source = torch_export(generator, tmp_path / "model.onnx")
    for call in (None, 0, 1):
        patch = make_patch(generator, {"layer": "twice", "channels": 6, "units": [1, 4], "call": call})
        assert_equal_to_hooks(generator, patch, patched(tmp_path, source, patch).path)
    patch = make_patch(generator, {"layer": "twice", "channels": 6, "units": [1], "call": 2})
    with pytest.raises(GanpatchError, match="run 2 of layer 'twice' is not in the graph, which runs it 2 times"):
        patched(tmp_path, source, patch)


def test_a_graph_without_module_names_has_layers_by_node(
    small_dcgan: Generator, tmp_path: Path, make_patch: Callable[..., Patch]
) -> None:
    source = torch_export(small_dcgan, tmp_path / "model.onnx")
    model = onnx_ir.load(source)
    for node in model.graph:
        node.metadata_props.clear()
    onnx_ir.save(model, tmp_path / "stripped.onnx")
    with pytest.raises(
        GanpatchError, match="layer 'main.5' not found: the graph names no modules; its layers are 'node_"
    ):
        patched(tmp_path, tmp_path / "stripped.onnx", make_patch(small_dcgan, DCGAN_EDIT))
    export_onnx(small_dcgan, tmp_path / "ours.onnx")
    ours = onnx_ir.load(tmp_path / "ours.onnx")
    for node in ours.graph:
        node.metadata_props.clear()
    onnx_ir.save(ours, tmp_path / "ours-stripped.onnx")
    patch = make_patch(small_dcgan, DCGAN_EDIT)
    found = patched(tmp_path, tmp_path / "ours-stripped.onnx", patch)
    assert_equal_to_hooks(small_dcgan, patch, found.path)
    assert not list(tmp_path.glob(".ganpatch-*"))


def test_a_quantised_graph_is_patched_by_insertion(
    small_dcgan: Generator, tmp_path: Path, make_patch: Callable[..., Patch]
) -> None:
    class Samples:
        def __init__(self) -> None:
            self.rest = [{"z": np.random.default_rng(0).normal(size=(2, 8, 1, 1)).astype(np.float32)}]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return self.rest.pop() if self.rest else None

    source = torch_export(small_dcgan, tmp_path / "model.onnx", "legacy")
    quantize_static(str(source), str(tmp_path / "qdq.onnx"), Samples(), quant_format=QuantFormat.QDQ)  # type: ignore[arg-type]
    patch = make_patch(small_dcgan, {**DCGAN_EDIT, "units": [0, 1, 2, 3]})
    inputs, _ = small_dcgan.inputs(range(7, 12))
    plain, wanted = output_of(small_dcgan.module, inputs), output_of(small_dcgan.module, inputs, patch.edits)
    quantised = compared(plain, open_onnx(tmp_path / "qdq.onnx").run(inputs)).largest
    result = patched(tmp_path, tmp_path / "qdq.onnx", patch)
    assert result.decisions[0].outcome == "inserted", "quantised weights are left as they are"
    effect = compared(plain, wanted).largest
    assert compared(wanted, open_onnx(result.path).run(inputs)).largest < 1.5 * quantised < 0.5 * effect


def test_a_layer_in_a_subgraph_is_refused(tmp_path: Path, make_patch: Callable[..., Patch]) -> None:
    class Branch(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.out = torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(4, 3, 1)

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            both = lambda x: self.conv(x)  # noqa: E731
            return self.out(torch.cond(z.sum() > 1e9, lambda x: both(x) * 2, both, (z,)))

    torch.manual_seed(0)
    generator = ganpatch.load(Branch(), latent="normal:3,4,4")
    source = torch_export(generator, tmp_path / "model.onnx")
    patch = make_patch(generator, {"layer": "conv", "channels": 4, "units": [1]})
    with pytest.raises(GanpatchError, match="layer 'conv' has no value .* inside the subgraph of If 'node_cond__0'"):
        patched(tmp_path, source, patch)


def test_other_weights_typos_and_wrong_sizes(
    small_dcgan: Generator, tmp_path: Path, make_patch: Callable[..., Patch]
) -> None:
    export_onnx(small_dcgan, tmp_path / "model.onnx")
    before = sorted(path.name for path in tmp_path.iterdir())
    fitting = make_patch(small_dcgan, DCGAN_EDIT)
    model = fitting.model.model_copy(
        update={"fingerprint": fitting.model.fingerprint.model_copy(update={"weights": f"sha256:{'0' * 64}"})}
    )
    with pytest.raises(GanpatchError, match="patch 'test' is for other weights: .* --allow-other-weights"):
        patched(tmp_path, tmp_path / "model.onnx", fitting.model_copy(update={"model": model}))
    with pytest.raises(GanpatchError, match="layer 'main.55' has no value of its own .*did you mean 'main.5'"):
        patched(tmp_path, tmp_path / "model.onnx", make_patch(small_dcgan, {**DCGAN_EDIT, "layer": "main.55"}))
    with pytest.raises(GanpatchError, match="edit 'edit0' expects 9 channels, layer 'main.5' has 8"):
        patched(tmp_path, tmp_path / "model.onnx", make_patch(small_dcgan, {**DCGAN_EDIT, "channels": 9}))
    (tmp_path / "broken.onnx").write_bytes((tmp_path / "model.onnx").read_bytes()[:-500])
    with pytest.raises(GanpatchError, match="broken.onnx' is not a readable ONNX file"):
        patched(tmp_path, tmp_path / "broken.onnx", fitting)
    with pytest.raises(GanpatchError, match="an input is never overwritten"):
        patch_onnx(tmp_path / "model.onnx", fitting, tmp_path / "model.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "broken.onnx"])


def test_what_can_be_addressed(small_dcgan: Generator, tmp_path: Path) -> None:
    export_onnx(small_dcgan, tmp_path / "model.onnx")
    found = {layer.name: layer for layer in list_onnx_layers(tmp_path / "model.onnx")}
    assert list(found) == ["main.1", "main.2", "main.4", "main.5", "main.6", "main.7", "main"] or set(found) == {
        "main", "main.1", "main.2", "main.4", "main.5", "main.6", "main.7",
    }  # fmt: skip
    assert (found["main.5"].operation, found["main.5"].units, found["main.5"].size) == ("Relu", 8, (8, 8))
    assert json.dumps(found["main.5"].size) == "[8, 8]"
