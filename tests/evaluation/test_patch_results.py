"""Where results go: what a file holds is never lost, pairs of another patch are refused, default names."""

import json
from pathlib import Path

import pytest

from ganpatch import Generator, Patch
from ganpatch.disk import atomic_files
from ganpatch.errors import GanpatchError
from ganpatch.evaluation.judging import read_comparison
from ganpatch.evaluation.pairs import PairChoices
from ganpatch.evaluation.patch_results import add_record, finish_judging, prepare_judging, tuned_file
from ganpatch.patch.evidence import Record
from tests.support.shared import patch_for

FEW = PairChoices(pairs=4, seeds=range(60_000, 60_060), baselines=2)
FOUND = Record(made_by="ganpatch evaluate", measured_on="100-199", answer="better")


@pytest.fixture
def path(small_dcgan: Generator, tmp_path: Path) -> Path:
    made = patch_for(small_dcgan, {"layer": "main.5", "channels": 8, "units": [1, 3]})
    made.save(tmp_path / "fix.yaml")
    return tmp_path / "fix.yaml"


def answers_to(folder: Path, target: Path) -> Path:
    asked = read_comparison(folder)
    given = {"comparison": asked.id, "answers": [{"pair": pair.id, "better": pair.edited} for pair in asked.pairs]}
    target.write_text(json.dumps(given))
    return target


def test_a_record_joins_what_the_file_holds_now(path: Path) -> None:
    patch = Patch.load(path)
    patch.with_record(Record(made_by="review", chosen_on="0-9")).save(path)
    assert [record.made_by for record in add_record(path, FOUND, patch.digest).evidence.records] == [
        "review",
        "ganpatch evaluate",
    ]
    assert Patch.load(path).evidence.by("review") is not None


def test_a_file_with_other_edits_keeps_its_evidence(path: Path) -> None:
    before = path.read_text()
    with pytest.raises(GanpatchError) as found:
        add_record(path, FOUND, "sha256:0")
    assert str(found.value) == (
        f"'{path}' has other edits than those that were measured; its evidence is left as it is"
    )
    assert path.read_text() == before


def test_nothing_is_lost_when_writing_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patch = Patch.load(path).with_record(Record(made_by="review", chosen_on="0-9"))
    patch.save(path)
    before = path.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_files, "_settle", full)
    with pytest.raises(GanpatchError, match="no space left on device"):
        add_record(path, FOUND, patch.digest)
    assert path.read_text() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["fix.yaml"]


def test_pairs_are_drawn_once_and_counted_into_the_evidence(small_dcgan: Generator, path: Path) -> None:
    folder = prepare_judging(path, lambda: small_dcgan, FEW)
    assert folder == path.with_name("fix-judged")
    asked = read_comparison(folder)
    assert prepare_judging(path, lambda: pytest.fail("drawn twice"), FEW) == folder
    assert read_comparison(folder) == asked
    assert finish_judging(path, folder).answered == 0
    assert Patch.load(path).evidence.records == ()
    judged = finish_judging(path, folder, answers=answers_to(folder, path.with_name("answers.json")))
    assert judged.patch["most"].share == 1
    assert Patch.load(path).evidence.by("ganpatch judge") == judged.record()


def test_an_interrupted_drawing_leaves_no_half_comparison(small_dcgan: Generator, path: Path) -> None:
    def stopped(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_judging(path, lambda: small_dcgan, FEW, progress=stopped)
    folder = prepare_judging(path, lambda: small_dcgan, FEW)
    assert len(read_comparison(folder).pairs) == 8


def test_answers_about_another_patch_are_refused(small_dcgan: Generator, path: Path) -> None:
    folder = prepare_judging(path, lambda: small_dcgan, FEW)
    given = answers_to(folder, path.with_name("answers.json"))
    other = patch_for(small_dcgan, {"layer": "main.5", "channels": 8, "units": [2]})
    other.save(path.with_name("other.yaml"))
    elsewhere = prepare_judging(path.with_name("other.yaml"), lambda: small_dcgan, FEW)
    with pytest.raises(GanpatchError) as found:
        finish_judging(path.with_name("other.yaml"), elsewhere, answers=given)
    ids = [read_comparison(each).id for each in (folder, elsewhere)]
    assert str(found.value) == f"'{given}' answers another comparison ({ids[0]}), not this one ({ids[1]})"
    with pytest.raises(GanpatchError, match="has other edits than those that were measured"):
        finish_judging(path.with_name("other.yaml"), folder, answers=given)


def test_a_tuned_patch_has_a_name_of_its_own(path: Path) -> None:
    assert tuned_file(path) == path.with_name("fix-tuned.yaml")
    path.with_name("fix-tuned.yaml").touch()
    with pytest.raises(GanpatchError) as found:
        tuned_file(path)
    assert str(found.value) == f"'{path.with_name('fix-tuned.yaml')}' exists; choose another -o, or --overwrite"
    assert tuned_file(path, overwrite=True) == path.with_name("fix-tuned.yaml")
