"""Names that no program likes: too long, not UTF-8, with control characters, not of the letters that a patch may have."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ganpatch
from ganpatch import Dissection, Edit, GanpatchError, Patch, merge_patches, rank
from ganpatch.cli import cli_error
from ganpatch.disk.atomic_files import file_name, write_text
from ganpatch.disk.seals import is_sealed, sealed
from ganpatch.dissection.comparison import compare
from ganpatch.families.origins import ORIGIN
from ganpatch.patch.new_files import name_from
from ganpatch.review.flags import flag_units
from ganpatch.runs.ranking_run import rank_to_folder
from ganpatch.runs.run_folder import RunFolder
from ganpatch.studio.palette import Palette
from ganpatch.studio.state import Entry
from tests.support import own_files as own
from tests.support.patches import PRINTS
from tests.support.shared import ROOT

NOT_UTF8 = os.fsdecode(b"m\xff")
LONG = "b" * 900


def refused(work: object) -> str:
    with pytest.raises(GanpatchError) as fault:
        work()  # type: ignore[operator]
    return str(fault.value)


def test_a_model_whose_name_is_not_utf8_is_ranked(tmp_path: Path) -> None:
    """Its run names it in letters that any file can hold, and does not say how to load it again."""
    path, run = tmp_path / f"{NOT_UTF8}.pt", tmp_path / "run"
    torch.save(own.generator().module.state_dict(), path)
    generator = ganpatch.load(path)
    assert generator.name == "m\\udcff"
    rank_to_folder(generator, run, [own.LAYER], range(8), k=2)
    assert not (run / ORIGIN).exists()
    patch = flag_units(run, {own.LAYER: [1]}, name="fix")
    patch.save(tmp_path / f"{NOT_UTF8}.yaml")
    assert Patch.load(tmp_path / f"{NOT_UTF8}.yaml").model.name == generator.name


def test_libraries_that_open_no_such_file_are_not_asked_to(tmp_path: Path) -> None:
    run = tmp_path / NOT_UTF8
    wanted = "'{}': its name must be UTF-8, and those of its folders; rename it"
    assert refused(lambda: rank_to_folder(own.generator(), run, [own.LAYER], range(8))) == wanted.format(run)
    own.make_run(run)
    assert refused(lambda: compare([run, run])) == wanted.format(run / "ranking.safetensors")
    path = tmp_path / f"{NOT_UTF8}.onnx"
    assert refused(lambda: ganpatch.export_onnx(own.generator(), path)) == wanted.format(path)
    path.write_bytes(b"")
    assert refused(lambda: ganpatch.list_onnx_layers(path)) == wanted.format(path)


def test_a_text_that_would_name_such_a_file_is_not_written(tmp_path: Path) -> None:
    said = refused(lambda: write_text(tmp_path / "a.toml", f'# model\npath = "{NOT_UTF8}.pt"\n'))
    assert said == (
        f"cannot write '{tmp_path}/a.toml': it would name '# model path = \"{NOT_UTF8}.pt\"', which is not UTF-8; "
        "rename that file"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_seal_of_such_a_name_holds() -> None:
    assert is_sealed(NOT_UTF8, sealed(NOT_UTF8))
    assert not is_sealed("m\\udcff", sealed(NOT_UTF8))


def test_the_name_of_a_file_becomes_that_of_its_patch() -> None:
    assert name_from(Path("a/my fix v1.2.yaml")) == "my-fix-v1.2"
    assert name_from(Path(f"{NOT_UTF8}.yaml")) == "m"
    assert name_from(Path("…….yaml")) == "patch"
    assert len(name_from(Path("m" * 250))) == 100


def test_a_patch_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    edits = [Edit(id=f"e{unit}", layer="l", channels=8, units=[unit]) for unit in (1, 2)]
    one, two = (Patch(name=edit.id, model={"name": "m", "fingerprint": PRINTS.model_dump()}, edits=[edit]) for edit in edits)  # fmt: skip
    said = refused(lambda: merge_patches([one, two], name="b c").save(tmp_path / "x.yaml"))
    assert said == (
        f"'{tmp_path}/x.yaml' is not written: $.name: may hold letters, digits, '.', '_' and '-', and begins with a "
        "letter or digit, not 'b c'"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("reason", "name", "place"), [("", "x y", "the patch: $.name"), ("r" * 2001, "x", "the flags: $.reason")])  # fmt: skip
def test_flags_that_no_patch_may_have(reason: str, name: str, place: str, tmp_path: Path) -> None:
    own.make_run(tmp_path)
    said = refused(lambda: flag_units(tmp_path, {own.LAYER: [1]}, name=name, reason=reason))
    assert said.startswith(f"{place}: ")


def test_names_of_our_files_have_a_bound() -> None:
    first, second = (file_name("ä" * 300 + last) for last in "ab")
    assert first != second
    assert len(first.encode()) <= 120
    assert file_name("layer 4/x") == "layer-4-x"


def test_the_system_refuses_in_one_sentence() -> None:
    """What no command expected of a file or stream is still one line."""
    assert (
        cli_error(OSError(errno.ENAMETOOLONG, "File name too long", "mm"))
        == "'mm': file name too long; choose a shorter name with -o"
    )
    assert cli_error(PermissionError(13, "Permission denied", b"a\xff")) == f"'{NOT_UTF8.replace('m', 'a')}': permission denied"  # fmt: skip
    assert (
        cli_error(OSError(28, "No space left on device")) == "cannot write to standard output: no space left on device"
    )
    assert cli_error(OSError(9, "Bad file descriptor")) == "cannot write to standard output: it is closed"


@pytest.mark.parametrize(
    ("redirected", "said"),
    [
        ("> /dev/full", "error: cannot write to standard output: no space left on device"),
        (">&-", "error: cannot write to standard output: it is closed"),
        (">&- 2>&-", ""),
    ],
)
def test_standard_output_is_full_or_closed(redirected: str, said: str) -> None:
    command = f"'{sys.executable}' -m ganpatch patch schema {redirected}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr.strip()) == (1, said)


def test_long_names_of_concepts_and_reasons_are_brushes(tmp_path: Path) -> None:
    own.make_run(tmp_path)
    dissection = Dissection.load(tmp_path)
    palette = Palette({own.LAYER: 8}, lambda layer: {})
    palette.add_dissection("run", ganpatch_with_concepts(dissection, (LONG, LONG + "c")))
    entry = Entry(edit=Edit(id="a", layer=own.LAYER, channels=8, units=[1], reason=LONG), rev=1)
    brushes = palette.all([entry])
    assert len({brush.name for brush in brushes}) == 3
    assert all(len(brush.name) <= 700 and len(brush.label) <= 200 for brush in brushes)
    assert all(palette.find(brush.name, [entry]) == brush for brush in brushes)


def ganpatch_with_concepts(dissection: Dissection, concepts: tuple[str, ...]) -> Dissection:
    from dataclasses import replace

    return replace(dissection, concepts=concepts)


def test_a_run_of_the_same_folder_without_an_origin_keeps_no_former_one(tmp_path: Path) -> None:
    """The former origin would load another model."""
    path = tmp_path / "a.pt"
    torch.save(own.generator().module.state_dict(), path)
    rank_to_folder(ganpatch.load(path), tmp_path / "run", [own.LAYER], range(8), k=2)
    assert (tmp_path / "run" / ORIGIN).exists()
    rank_to_folder(own.generator(), RunFolder(tmp_path / "run", overwrite=True), [own.LAYER], range(8), k=2)
    assert not (tmp_path / "run" / ORIGIN).exists()
    assert rank(own.generator(), [own.LAYER], range(8), k=2)
