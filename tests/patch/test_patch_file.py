"""The patch file: read strictly, all faults at once with their places; written with stable bytes."""

import json
from pathlib import Path

import jsonschema
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import ganpatch
from ganpatch import Edit, Mask, Patch
from ganpatch.patch.patch_file import Provenance
from ganpatch.untrusted.strict_yaml import read_yaml
from tests.support.patch_files import FULL, faults, write
from tests.support.patches import made_up_patch


def test_a_file_is_read_and_written_with_the_same_bytes(tmp_path: Path) -> None:
    path = write(tmp_path, FULL)
    patch = Patch.load(path)
    assert patch.edits[1].alpha == (0.8, 0.5)
    assert patch.edits[0].alpha == (1.0,)
    assert patch.provenance.created == "2026-11-23T07:50:00Z"
    patch.save(tmp_path / "again.yaml")
    assert (tmp_path / "again.yaml").read_text() == FULL


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = FULL.replace("units: [12, 77, 301]", "units: [12, 12, 512]").replace("alpha: [0.8, 0.5]", "alhpa: 1")
    text = text.replace("value: [0.031, -0.12]", "value: .nan").replace(
        "name: churches-smears", "name: churches smears"
    )
    text = text.replace("format: ganpatch/1", "format: ganpatch/2").replace("    channels: 256\n", "")
    assert faults(write(tmp_path, text)) == [
        "fix.yaml: $.format: should be 'ganpatch/1', not 'ganpatch/2' (line 1)",
        "fix.yaml: $.name: may hold letters, digits, '.', '_' and '-', and begins with a letter or digit, not 'churches smears' (line 2)",
        "fix.yaml: $.edits[0].units[1]: unit 12 is listed twice (line 13)",
        "fix.yaml: $.edits[0].units[2]: unit 512 is outside layer 'layer4' (512 units, 0-511) (line 13)",
        "fix.yaml: $.edits[1]: 'channels' is missing (line 15)",
        "fix.yaml: $.edits[1].value: should be a finite number, not 'nan' (line 19)",
        "fix.yaml: $.edits[1].alhpa: unknown key; did you mean 'alpha'? (line 18)",
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("alpha: [0.8, 0.5]", "alpha: 1.5", "$.edits[1].alpha: should be less than or equal to 1, not '1.5' (line 19)"),
        (
            "alpha: [0.8, 0.5]",
            "alpha: [0.8, -1]",
            "$.edits[1].alpha[1]: should be greater than or equal to 0, not '-1' (line 19)",
        ),
        (
            "alpha: [0.8, 0.5]",
            "alpha: [0.8]\n    gamma: 1",
            "$.edits[1].gamma: unknown key; the keys here are id, layer, channels, units, alpha, value, above, call, mask, reason (line 20)",
        ),
        ("above: 2.5", "above: on", "$.edits[1].above: should be a valid number, not 'on' (line 21)"),
        ("above: 2.5", "above: '2.5'", "$.edits[1].above: should be a valid number, not '2.5' (line 21)"),
        (
            "above: 2.5",
            "above: [1, 2, 3]",
            "$.edits[1].above: 3 numbers for 2 units; give one, or one per unit (line 21)",
        ),
        ("units: [5, 9]", "units: []", "$.edits[1].units: should have at least 1 item (line 18)"),
        ("units: [5, 9]", "units: [9, 5]", "$.edits[1].units[1]: unit 5 comes after 9; units must be sorted (line 18)"),
        ("units: [5, 9]", "units: [5, 9.5]", "$.edits[1].units[1]: should be a valid integer, not '9.5' (line 18)"),
        ("units: [5, 9]", "units: [true, 9]", "$.edits[1].units[0]: should be a valid integer, not 'True' (line 18)"),
        ("id: soft", "id: smears", "$.edits[1].id: 'smears' is already the id of edits[0] (line 15)"),
        ("after: 0.5", "after: .inf", "$.evidence.fd.after: inf is not finite (line 27)"),
        (
            f"weights: sha256:{'1' * 64}",
            "weights: md5:1",
            "$.model.fingerprint.weights: should look like sha256:<64 hex digits>, not 'md5:1' (line 8)",
        ),
        (
            "reason: smeared sky",
            "reason: smeared sky\n    reason: twice",
            "$.edits[0].reason: the key is listed twice, on lines 14 and 15 (line 14)",
        ),
    ],
)
def test_each_fault(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert old in FULL
    assert faults(write(tmp_path, FULL.replace(old, new))) == [f"fix.yaml: {fault}"]


def test_files_that_are_no_patch(tmp_path: Path) -> None:
    assert faults(write(tmp_path, "a: &x [1]\nb: *x\n")) == [
        "fix.yaml: $: line 1: anchors and aliases are not used in this format"
    ]
    assert faults(write(tmp_path, "- 1\n")) == [
        "fix.yaml: $: should be a mapping with the keys format, name, description, model, edits, evidence, provenance"
    ]
    assert faults(write(tmp_path, "")) == ["fix.yaml: $: the file is empty"]
    (tmp_path / "fix.yaml").write_bytes(b"\xff\xfe\x00")
    assert faults(tmp_path / "fix.yaml")[0].startswith("fix.yaml: not a text file")
    (tmp_path / "big.yaml").write_bytes(b" " * 9_000_000)
    assert "9,000,000 bytes, more than" in faults(tmp_path / "big.yaml")[0]


def masked(folder: Path) -> tuple[Path, str]:
    values = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))
    made_up_patch(Edit(id="soft", layer="l", channels=4, units=[1, 2], mask=Mask.of(values))).save(folder / "fix.yaml")
    return folder / "fix.yaml", (folder / "fix.yaml").read_text()


def test_masks_stand_beside_the_patch(tmp_path: Path) -> None:
    path, text = masked(tmp_path)
    assert "tensor: fix.safetensors#soft" in text
    patch = Patch.load(path)
    assert patch.edits[0].mask is not None
    assert patch.edits[0].mask.values.shape == (2, 3, 4)
    (tmp_path / "deep").mkdir()
    patch.save(tmp_path / "deep" / "copy.yaml")
    again = Patch.load(tmp_path / "deep" / "copy.yaml")
    assert again.digest == patch.digest
    assert again.edits[0].mask is not None
    assert torch.equal(again.edits[0].mask.values, patch.edits[0].mask.values)


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        (
            "../fix.safetensors#soft",
            "'../fix.safetensors' leaves the patch's folder; a mask file must be next to its patch",
        ),
        (
            "/etc/fix.safetensors#soft",
            "'/etc/fix.safetensors' leaves the patch's folder; a mask file must be next to its patch",
        ),
        (
            "c:\\fix.safetensors#soft",
            "'c:\\fix.safetensors' leaves the patch's folder; a mask file must be next to its patch",
        ),
        ("fix.safetensors#sofd", "'fix.safetensors' has no tensor 'sofd'; did you mean 'soft'?"),
    ],
)
def test_masks_at_wrong_places(tmp_path: Path, place: str, fault: str) -> None:
    path, text = masked(tmp_path)
    path.write_text(text.replace("fix.safetensors#soft", place))
    assert faults(path) == [f"fix.yaml: $.edits[0].mask: {fault} (line 14)"]


def test_masks_that_changed_or_do_not_fit(tmp_path: Path) -> None:
    path, _ = masked(tmp_path)
    save_file({"soft": torch.zeros(2, 3, 4)}, tmp_path / "fix.safetensors")
    assert "has changed: its sha256 is" in faults(path)[0]
    save_file({"soft": torch.zeros(3, 3)}, tmp_path / "fix.safetensors")
    assert "is float32 [3, 3], not float32 [3, 4] or [2, 3, 4]" in faults(path)[0]
    (tmp_path / "fix.safetensors").write_bytes(b"x")
    assert "'fix.safetensors' is a broken safetensors file" in faults(path)[0]
    (tmp_path / "fix.safetensors").unlink()
    assert "is missing" in faults(path)[0]


units = st.sets(st.integers(0, 63), min_size=1, max_size=5).map(sorted)
numbers = st.floats(-1e6, 1e6)


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    chosen = draw(units)
    many = {"min_size": len(chosen), "max_size": len(chosen)}
    return Edit(
        id=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)),
        layer=draw(st.sampled_from(["layer4", "main.5", "blocks.0.0", "1e5", "on", "null"])),
        channels=64, units=chosen, reason=draw(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)),
        alpha=draw(st.floats(0, 1) | st.lists(st.floats(0, 1), **many)), value=draw(numbers | st.lists(numbers, **many)),
        above=draw(st.none() | numbers | st.lists(numbers, **many)), call=draw(st.none() | st.integers(0, 5)),
    )  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.lists(edits(), min_size=1, max_size=3, unique_by=lambda edit: edit.id))
def test_any_patch_survives_its_file(tmp_path_factory: pytest.TempPathFactory, many: list[Edit]) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    patch = made_up_patch(*many, provenance=Provenance.now())
    patch.save(path)
    found = Patch.load(path)
    assert found == patch
    assert found.to_yaml() == path.read_text()
    jsonschema.validate(read_yaml(path.read_text()).data, Patch.model_json_schema())


def test_the_digest_is_of_what_the_patch_does() -> None:
    edit = Edit(id="a", layer="l", channels=4, units=[1])
    renamed = Edit(id="b", layer="l", channels=4, units=[1], reason="why")
    assert made_up_patch(edit).digest == made_up_patch(renamed, name="other").digest
    assert made_up_patch(edit).digest != made_up_patch(Edit(id="a", layer="l", channels=4, units=[2])).digest


def test_the_shipped_schema_is_the_generated_one() -> None:
    shipped = Path(ganpatch.__file__).parent / "patch" / "patch.schema.json"
    assert json.loads(shipped.read_text()) == Patch.model_json_schema(), (
        "ganpatch patch schema > ganpatch/patch/patch.schema.json"
    )
    jsonschema.validate(read_yaml(FULL).data, json.loads(shipped.read_text()))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**read_yaml(FULL).data, "edist": []}, json.loads(shipped.read_text()))
