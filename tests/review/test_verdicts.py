import json
from pathlib import Path

import pytest

from ganpatch import GanpatchError, Generator, Patch, applied, rank
from ganpatch.patch.new_files import save_new_patch
from ganpatch.ranking.result import Manifest, read_manifest
from ganpatch.review.flags import chosen_flags
from ganpatch.review.verdicts import Flag, Verdicts, patch_from_flags, read_verdicts, save_verdicts


@pytest.fixture(scope="module")
def run(small_dcgan: Generator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    rank(small_dcgan, ["main.2", "main.5"], range(12), k=3).save(folder)
    return folder


@pytest.fixture(scope="module")
def manifest(run: Path) -> Manifest:
    return read_manifest(run)


def test_flags_become_one_edit_per_layer_and_reason(manifest: Manifest, small_dcgan: Generator) -> None:
    flags = [
        Flag(layer="main.5", unit=7, reason="smear"), Flag(layer="main.2", unit=3), Flag(layer="main.5", unit=1, reason="smear"),
        Flag(layer="main.5", unit=2, reason="dots"),
    ]  # fmt: skip
    patch = patch_from_flags(manifest, flags, name="fix", description="why")
    assert [(e.id, e.layer, e.channels, e.units, e.reason) for e in patch.edits] == [
        ("main-2-1", "main.2", 12, (3,), ""),
        ("main-5-2", "main.5", 8, (1, 7), "smear"),
        ("main-5-3", "main.5", 8, (2,), "dots"),
    ]
    assert patch.evidence.chosen_seeds() == [range(12)]
    assert patch.provenance.tool.startswith("ganpatch ")
    with applied(small_dcgan.module, patch):
        small_dcgan.sample([0])


def test_verdicts_survive_their_file(manifest: Manifest, tmp_path: Path) -> None:
    verdicts = Verdicts(run=manifest.run, flags=(Flag(layer="main.5", unit=7, reason="smeared “sky”"),))
    save_verdicts(tmp_path, verdicts)
    assert read_verdicts(tmp_path / "verdicts.json", manifest) == verdicts


def faults(manifest: Manifest, path: Path) -> list[str]:
    with pytest.raises(GanpatchError) as fault:
        read_verdicts(path, manifest)
    return str(fault.value).replace(str(path), "v.json").splitlines()


def test_verdicts_about_something_else(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    path.write_text(json.dumps({"format": "ganpatch-verdicts/1", "run": "0" * 16, "flags": []}))
    assert faults(manifest, path) == [f"v.json: the verdicts are about run {'0' * 16}, this is run {manifest.run}"]
    flags = [{"layer": "main.5", "unit": 8}, {"layer": "main.3", "unit": 0}, {"layer": "main.2", "unit": 11}]
    path.write_text(json.dumps({"format": "ganpatch-verdicts/1", "run": manifest.run, "flags": flags}))
    assert faults(manifest, path) == [
        "v.json: $.flags[0]: unit 8 is outside layer 'main.5' (8 units, 0-7)",
        "v.json: $.flags[1]: layer 'main.3' is not in this run; it ranks main.2, main.5; did you mean 'main.5'?",
    ]
    path.write_text(json.dumps({"format": "x", "run": manifest.run, "flags": [{"layer": 3, "unit": -1}], "more": 1}))
    assert [line.split(": ")[1] for line in faults(manifest, path)] == [
        "$.format",
        "$.flags[0].layer",
        "$.flags[0].unit",
        "$.more",
    ]
    path.write_text("no json")
    assert faults(manifest, path)[0].startswith("v.json: $: invalid json")


def test_which_flags_a_command_means(run: Path, manifest: Manifest, tmp_path: Path) -> None:
    ask = {"units": None, "layer": None, "reason": "", "verdicts": None}
    named = chosen_flags(run, manifest, **{**ask, "units": "3,5-6", "layer": "main.5", "reason": "smear"})
    assert named == tuple(Flag(layer="main.5", unit=unit, reason="smear") for unit in (3, 5, 6))
    for request, message in [
        ({"units": "3"}, "the run ranks main.2, main.5; say which one with --layer"),
        ({"units": "3", "verdicts": run}, "give --units or --verdicts, not both"),
        ({"reason": "x"}, "--layer and --reason go with --units"),
        ({}, f"nothing is flagged in '{run}' yet: give --units or --verdicts, or use 'ganpatch review'"),
    ]:
        with pytest.raises(GanpatchError) as fault:
            chosen_flags(run, manifest, **{**ask, **request})
        assert str(fault.value) == message


def test_a_patch_of_nothing_and_a_patch_that_exists(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(GanpatchError, match="no unit is flagged"):
        patch_from_flags(manifest, [], name="fix")
    with pytest.raises(GanpatchError) as fault:
        patch_from_flags(manifest, [Flag(layer="main.5", unit=99)], name="fix")
    assert str(fault.value) == "unit 99 is outside layer 'main.5' (8 units, 0-7)"
    patch = patch_from_flags(manifest, [Flag(layer="main.5", unit=1)], name="fix")
    save_new_patch(patch, tmp_path / "fix.yaml")
    with pytest.raises(GanpatchError, match="exists; choose another -o, or --overwrite"):
        save_new_patch(patch, tmp_path / "fix.yaml")
    save_new_patch(patch, tmp_path / "fix.yaml", overwrite=True)
    assert Patch.load(tmp_path / "fix.yaml") == patch
    with pytest.raises(GanpatchError, match="a patch ends in .yaml"):
        save_new_patch(patch, tmp_path / "fix.yam")
