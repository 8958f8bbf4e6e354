"""The kinds of files that a patch can be in: what is written, what is recorded, and the way back."""

import io
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import ganpatch
from ganpatch import GanpatchError, Generator, Patch, repair
from ganpatch.cli import cli
from ganpatch.export.file_runners import compared, open_runner, output_of
from ganpatch.export.patch_record import Record, read_record
from ganpatch.export.repairing import Request, exported_program
from ganpatch.export.reverting import revert, reverted_path
from ganpatch.untrusted.exported_programs import load_program
from tests.support.nets import dcgan

EDIT = {"layer": "main.5", "channels": 8, "units": [0, 3], "alpha": 0.6}
GATED = {"layer": "main.5", "channels": 8, "units": [4], "above": 0.05}
KINDS = ["model.pt", "model.safetensors", "model.ts", "model.pt2"]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same small DCGAN as weights, TorchScript and exported program."""
    folder = tmp_path_factory.mktemp("originals")
    module, _ = dcgan()
    torch.save({"netG": module.state_dict(), "epoch": 3}, folder / "model.pt")
    save_file(module.state_dict(), folder / "model.safetensors", metadata={"author": "me"})
    args = (torch.randn(2, 8, 1, 1),)
    torch.jit.save(torch.jit.trace(module, args), folder / "model.ts")
    with (folder / "model.pt2").open("wb") as file:
        torch.export.save(exported_program(module, args), file)
    return folder


def loaded(path: Path) -> Generator:
    return ganpatch.load(path, latent="normal:8,1,1")


def difference(generator: Generator, patch: Patch, path: Path) -> float:
    inputs, _ = generator.inputs(range(40, 45))
    return compared(output_of(generator.module, inputs, patch.edits), open_runner(path, generator).run(inputs)).largest


@pytest.mark.parametrize("name", KINDS)
def test_a_patch_goes_into_a_file_of_every_kind(
    name: str, originals: Path, tmp_path: Path, make_patch: Callable[..., Patch]
) -> None:
    """The same kind out; the record in it; not twice; the patch of the base is known; and back again."""
    source, generator = originals / name, loaded(originals / name)
    content = source.read_bytes()
    patch = make_patch(generator, EDIT)
    fixed = repair(generator, patch, source=source, output=tmp_path / f"fixed{source.suffix}").path
    assert source.read_bytes() == content
    assert difference(generator, patch, fixed) <= 1e-6
    record = read_record(fixed)
    assert record is not None
    assert record.base == patch.model.fingerprint
    assert record.result is not None
    assert record.result.weights == loaded(fixed).fingerprint.weights != record.base.weights
    assert [one.digest for one in record.patches] == [patch.digest]
    assert record.proof["float64"] <= 1e-9 * record.proof["largest"]
    assert record.touched.keys() == {"main.4.weight", "main.4.bias"}

    with pytest.raises(GanpatchError, match="patch 'test' is already applied to"):
        repair(loaded(fixed), patch, source=fixed, output=tmp_path / f"twice{source.suffix}")
    second = make_patch(generator, {"layer": "main.2", "channels": 12, "units": [5]}, name="second")
    both = repair(loaded(fixed), second, source=fixed, output=tmp_path / f"both{source.suffix}").path
    assert [one.name for one in (read_record(both) or Record(patches=())).patches] == ["test", "second"]
    stranger = make_patch(loaded(both), {"layer": "main.2", "channels": 12, "units": [6]}, name="stranger")
    with pytest.raises(GanpatchError, match="is for other weights"):
        repair(generator, stranger, source=source, output=tmp_path / f"no{source.suffix}")

    if name.endswith("pt2"):
        with pytest.raises(GanpatchError, match="is an exported program, .* go back to the file it was made from"):
            revert(both, tmp_path / "back.pt2")
        return
    assert revert(both, tmp_path / f"one{source.suffix}") == ["main.1.bias", "main.1.weight"]
    stored = tmp_path / f"one{source.suffix}"
    assert read_record(stored) == record, "the record of the first patch is there again"
    assert difference(generator, patch, stored) <= 1e-6
    revert(fixed, reverted_path(fixed))
    assert state_of(reverted_path(fixed)).keys() == state_of(source).keys()
    assert all(torch.equal(tensor, state_of(source)[key]) for key, tensor in state_of(reverted_path(fixed)).items())
    assert read_record(reverted_path(fixed)) is None


def state_of(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".ts":
        return torch.jit.load(path).state_dict()
    return torch.load(path, weights_only=True)["netG"]


def test_what_stands_around_the_weights_is_kept(
    originals: Path, tmp_path: Path, make_patch: Callable[..., Patch]
) -> None:
    generator = loaded(originals / "model.pt")
    repair(generator, make_patch(generator, EDIT), source=originals / "model.pt", output=tmp_path / "a.pt")
    assert torch.load(tmp_path / "a.pt", weights_only=True)["epoch"] == 3
    generator = loaded(originals / "model.safetensors")
    for source, output in ((originals / "model.safetensors", "a"), (tmp_path / "a.safetensors", "b")):
        edit = {**EDIT, "units": [len(output) + ord(output) % 7]}
        patch = make_patch(generator, edit, name=output)
        found = loaded(source)
        repair(found, patch, source=source, output=tmp_path / f"{output}.safetensors")
        from safetensors import safe_open

        with safe_open(tmp_path / f"{output}.safetensors", framework="pt") as file:
            assert file.metadata()["author"] == "me"


def test_an_exported_program_runs_without_ganpatch(
    originals: Path, tmp_path: Path, make_patch: Callable[..., Patch]
) -> None:
    """Folded and inserted edits, at a batch size that the export did not see, in a process that has only torch."""
    generator = loaded(originals / "model.pt")
    patch = make_patch(generator, EDIT, {**GATED, "id": "gate"})
    result = repair(generator, patch, source=originals / "model.pt", output=tmp_path / "fixed.pt2")
    assert [decision.outcome for decision in result.baked.decisions] == ["folded", "inserted"]
    inputs, _ = generator.inputs(range(5))
    torch.save((inputs[0], output_of(generator.module, inputs, patch.edits)), tmp_path / "wanted.pt")
    code = (
        "import sys, torch\n"
        "program = torch.export.load('fixed.pt2').module()\n"
        "z, wanted = torch.load('wanted.pt')\n"
        "assert (program(z) - wanted).abs().max() < 1e-5\n"
        "assert not any(name.startswith('ganpatch') for name in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_weights_cannot_hold_is_refused_and_other_targets_are_named(
    originals: Path, tmp_path: Path, make_patch: Callable[..., Patch]
) -> None:
    generator = loaded(originals / "model.ts")
    for name in ("out.pt", "out.safetensors", "out.ts"):
        with pytest.raises(GanpatchError) as fault:
            repair(generator, make_patch(generator, GATED), source=originals / "model.ts", output=tmp_path / name)
        assert str(fault.value).splitlines() == [
            "cannot bake $.edits[0] ('edit0' at main.5) into weights: 'above' depends on the activation, and weights do not",
            "a .pt2 or .onnx file can hold an inserted operation (-o fixed.pt2), and so can a hook",
        ]
    assert list(tmp_path.iterdir()) == []


def test_the_patch_of_the_base_is_known_on_the_repaired_file(
    originals: Path, tmp_path: Path, make_patch: Callable[..., Patch]
) -> None:
    """Made on the original, applied to what another patch made of it; refused once the weights were touched."""
    generator = loaded(originals / "model.pt")
    first = make_patch(generator, EDIT, name="first")
    over = make_patch(generator, {**EDIT, "units": [3, 4]}, name="over")
    fixed = repair(generator, first, source=originals / "model.pt", output=tmp_path / "fixed.pt").path
    with pytest.raises(GanpatchError, match="already holds patch 'first', which touches main.5 unit 3 as well; --sequ"):
        repair(loaded(fixed), over, source=fixed, output=tmp_path / "over.pt")
    repair(loaded(fixed), over, source=fixed, output=tmp_path / "over.pt", request=Request(sequence=True))
    stored = torch.load(fixed, weights_only=True)
    stored["netG"]["main.6.weight"] *= 1.5
    touched = tmp_path / "touched.pt"
    torch.save(stored, touched)
    with zipfile.ZipFile(fixed) as before, zipfile.ZipFile(touched, "a") as after:
        after.writestr("touched/ganpatch.json", before.read("fixed/ganpatch.json" if "fixed/ganpatch.json" in before.namelist() else before.namelist()[-1]))  # fmt: skip
    with pytest.raises(GanpatchError, match="is for other weights"):
        repair(loaded(touched), make_patch(generator, GATED | {"above": None}, name="x"), source=touched, output=tmp_path / "x.pt")  # fmt: skip


def test_revert_needs_its_backup_and_untouched_tensors(
    originals: Path, tmp_path: Path, make_patch: Callable[..., Patch]
) -> None:
    generator = loaded(originals / "model.safetensors")
    patch, other = make_patch(generator, EDIT), make_patch(generator, {**EDIT, "units": [1]}, name="other")
    one = repair(generator, patch, source=originals / "model.safetensors", output=tmp_path / "one.safetensors").path
    two = repair(generator, other, source=originals / "model.safetensors", output=tmp_path / "two.safetensors").path
    with pytest.raises(GanpatchError, match="holds no patch of ganpatch"):
        revert(originals / "model.safetensors", tmp_path / "x.safetensors")
    kept = one.with_name("one.safetensors.backup").read_bytes()
    one.with_name("one.safetensors.backup").write_bytes(two.with_name("two.safetensors.backup").read_bytes())
    with pytest.raises(GanpatchError, match="is of another file than"):
        revert(one, tmp_path / "x.safetensors")
    one.with_name("one.safetensors.backup").write_bytes(kept[: len(kept) // 2])
    with pytest.raises(GanpatchError, match="the backup '.*' is broken"):
        revert(one, tmp_path / "x.safetensors")
    one.with_name("one.safetensors.backup").unlink()
    with pytest.raises(GanpatchError, match="the backup '.*' is missing; without it, go back to the original file"):
        revert(one, tmp_path / "x.safetensors")
    from safetensors import safe_open

    with safe_open(two, framework="pt") as file:
        metadata = file.metadata()
    state = load_file(two)
    state["main.4.bias"] += 1
    save_file(state, two, metadata=metadata)
    with pytest.raises(GanpatchError, match=r"was changed after the patch \(main.4.bias\); it is not reverted"):
        revert(two, tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("open('hacked', 'w')",))


def test_a_hostile_program_runs_nothing(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickled sample input and a pickled constant; both are refused before torch would load them."""
    monkeypatch.chdir(tmp_path)
    payload = io.BytesIO()
    torch.save(Evil(), payload)
    for place, what in (("data/sample_inputs/model.pt", payload.getvalue()), ("data/sample_inputs/x.pt", pickle.dumps(Evil()))):  # fmt: skip
        with zipfile.ZipFile(originals / "model.pt2") as source, zipfile.ZipFile("evil.pt2", "w") as target:
            root = source.namelist()[0].partition("/")[0]
            for entry in source.namelist():
                if entry != f"{root}/{place}":
                    target.writestr(entry, source.read(entry))
            target.writestr(f"{root}/{place}", what)
        with pytest.raises(GanpatchError, match="holds pickled objects"):
            load_program(Path("evil.pt2"))
    with zipfile.ZipFile(originals / "model.pt2") as source, zipfile.ZipFile("native.pt2", "w") as target:
        root = source.namelist()[0].partition("/")[0]
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
        target.writestr(f"{root}/data/aotinductor/model/x.so", b"\x7fELF")
    with pytest.raises(GanpatchError, match="holds compiled code"):
        load_program(Path("native.pt2"))
    assert not Path("hacked").exists()


def test_a_program_does_not_say_how_its_latent_is_drawn(originals: Path) -> None:
    with pytest.raises(GanpatchError) as fault:
        ganpatch.load(originals / "model.pt2")
    assert str(fault.value).endswith("its latent is not known; say how it is drawn: --latent normal:8,1,1")


def test_a_program_for_one_batch_size_is_refused(originals: Path, tmp_path: Path) -> None:
    generator = loaded(originals / "model.pt")
    program = torch.export.export(generator.module, generator.inputs([0])[0])
    torch.export.save(program, tmp_path / "one.pt2")
    with pytest.raises(GanpatchError) as fault:
        ganpatch.load(tmp_path / "one.pt2", latent="normal:8,1,1")
    assert str(fault.value) == (
        f"'{tmp_path / 'one.pt2'}' was exported for batches of 1 and takes no others; name its weights or its code, or "
        'export it with dynamic_shapes=({0: torch.export.Dim("batch")},)'
    )


def test_torchscript_is_written_from_torchscript_only(
    originals: Path, tmp_path: Path, make_patch: Callable[..., Patch]
) -> None:
    generator = loaded(originals / "model.pt")
    with pytest.raises(GanpatchError, match="TorchScript is written from TorchScript only"):
        repair(generator, make_patch(generator, EDIT), source=originals / "model.pt", output=tmp_path / "x.ts")
    script = loaded(originals / "model.ts")
    repair(script, make_patch(script, EDIT), source=originals / "model.ts", output=tmp_path / "same.pt")
    assert torch.jit.load(tmp_path / "same.pt") is not None, "its content shows what it is, not its suffix"


def test_a_program_becomes_a_graph_with_a_dynamic_batch(
    originals: Path, tmp_path: Path, make_patch: Callable[..., Patch]
) -> None:
    generator = loaded(originals / "model.pt2")
    patch = make_patch(generator, EDIT, {**GATED, "id": "gate"})
    exported = ganpatch.export_onnx(generator, tmp_path / "fixed.onnx", patch=patch)
    assert open_runner(exported.path, generator).batch is None
    assert difference(generator, patch, exported.path) <= 1e-5


def test_a_graph_of_a_repaired_file_knows_what_is_in_it(
    originals: Path, tmp_path: Path, make_patch: Callable[..., Patch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`apply` to .onnx: not twice, and a patch that was made for the original is recognised."""
    generator = loaded(originals / "model.pt")
    patch = make_patch(generator, EDIT)
    fixed = repair(generator, patch, source=originals / "model.pt", output=tmp_path / "fixed.pt").path
    patch.save(tmp_path / "fix.yaml")
    second = make_patch(generator, {"layer": "main.2", "channels": 12, "units": [5]}, name="second")
    second.save(tmp_path / "second.yaml")
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    refused = runner.invoke(cli, ["apply", str(fixed), "fix.yaml", "-o", "x.onnx"])
    assert str(refused.exception) == f"patch 'test' is already applied to '{fixed}'"
    assert runner.invoke(cli, ["apply", str(fixed), "second.yaml", "-o", "x.onnx"]).exit_code == 0
    record = read_record(Path("x.onnx"))
    assert record is not None
    assert record.proof.keys() == {"onnxruntime", "largest", "float64", "float32", "effect"}
    inputs, _ = generator.inputs(range(3))
    both = output_of(generator.module, inputs, [*patch.edits, *(edit.model_copy(update={"id": "s"}) for edit in second.edits)])  # fmt: skip
    assert compared(both, open_runner(Path("x.onnx"), generator).run(inputs)).largest < 1e-5
