"""The studio's session on disk: every change at once, undo, a kill at any moment, a patch changed by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ganpatch import Edit, GanpatchError, Generator, Mask, Patch, applied
from ganpatch.patch.evidence import Evidence, Record
from ganpatch.patch.patch_file import Model
from ganpatch.segmenters.loading import load_segmenter
from ganpatch.segmenters.strokes_file import Strokes
from ganpatch.studio.changes import (
    Describe,
    Flag,
    Label,
    Move,
    Overtaken,
    Pin,
    Redo,
    Remove,
    Rename,
    Restore,
    Tune,
    Undo,
)
from ganpatch.studio.history import Folder
from ganpatch.studio.state import Entry, Painted, Point
from ganpatch.studio.strokes import LabelStroke, Stroke
from ganpatch.studio.versions import difference, versions

CHANNELS = {"main.2": 12, "main.5": 8}


@pytest.fixture
def model(small_dcgan: Generator) -> Model:
    return Model.of("small", small_dcgan.fingerprint)


@pytest.fixture
def folder(tmp_path: Path, model: Model) -> Folder:
    return Folder.open(tmp_path / "s", model, CHANNELS)


def again(folder: Folder) -> Folder:
    return Folder.open(folder.path, folder.state.model, CHANNELS)


def painted_entry(revision: int) -> Entry:
    edit = Edit(id="painted-a", layer="main.5", channels=8, units=(2,), mask=Mask.of(torch.eye(8)))
    stroke = Stroke(radius=2, points=[(1, 1)])
    how = Painted(label="unit 2", mode="remove", seed=1, size=(16, 16), strokes=(stroke,))
    return Entry(edit=edit, rev=revision, painted=how)


def test_every_change_is_in_the_patch_at_once(folder: Folder, small_dcgan: Generator) -> None:
    folder.change(Flag(id="1", layer="main.5", unit=3, reason="smear"))
    folder.put("2", painted_entry)
    patch = Patch.load(folder.path / "patch.yaml")
    assert [(edit.id, edit.units) for edit in patch.edits] == [("main-5-1", (3,)), ("painted-a", (2,))]
    assert torch.equal(patch.edits[1].mask.values, torch.eye(8))  # type: ignore[union-attr]
    with applied(small_dcgan.module, patch):
        small_dcgan.sample([0])
    folder.change(Describe(id="3", edit="main-5-1", rev=2, on=False))
    folder.change(Remove(id="4", edit="painted-a", rev=3))
    assert not (folder.path / "patch.yaml").exists()
    assert again(folder).state == folder.state


def test_undo_and_redo_go_through_every_version_also_after_a_restart(folder: Folder) -> None:
    for unit in (1, 2, 3):
        folder.change(Flag(id=f"f{unit}", layer="main.5", unit=unit))
    folder.put("p", painted_entry)
    folder = again(folder)
    seen = []
    for number in range(4):
        folder.change(Undo(id=f"u{number}", revision=folder.state.revision))
        seen.append([entry.edit.units for entry in folder.state.content.edits])
    assert seen == [[(1, 2, 3)], [(1, 2)], [(1,)], []]
    with pytest.raises(Overtaken, match="nothing to undo"):
        folder.change(Undo(id="more", revision=folder.state.revision))
    folder = again(folder)
    for number in range(4):
        folder.change(Redo(id=f"r{number}", revision=folder.state.revision))
    mask = folder.state.content.edits[1].edit.mask
    assert mask is not None
    assert torch.equal(mask.values, torch.eye(8))
    folder.change(Undo(id="one", revision=folder.state.revision))
    folder.change(Flag(id="other", layer="main.5", unit=7))
    with pytest.raises(Overtaken, match="nothing to redo"):
        folder.change(Redo(id="none", revision=folder.state.revision))


def test_any_version_can_be_brought_back_as_a_new_one(folder: Folder) -> None:
    for unit in (1, 2, 3):
        folder.change(Flag(id=f"f{unit}", layer="main.5", unit=unit))
    folder.put("p", painted_entry)
    folder.change(Undo(id="u", revision=folder.state.revision))
    folder.change(Flag(id="other", layer="main.2", unit=7))  # what was undone is no longer ahead, and is kept
    folder = again(folder)
    assert [view.version for view in versions(folder, 60)] == [7, 5, 4, 3, 2, 1]
    state = folder.change(Restore(id="r", version=5, revision=folder.state.revision))
    assert [entry.edit.units for entry in state.content.edits] == [(1, 2, 3), (2,)]
    mask = Patch.load(folder.path / "patch.yaml").edits[1].mask
    assert mask is not None
    assert torch.equal(mask.values, torch.eye(8))
    folder.change(Undo(id="back", revision=state.revision))
    assert [entry.edit.layer for entry in folder.state.content.edits] == ["main.5", "main.2"]
    early = folder.patch(version=2)
    assert early is not None
    assert (early.edits[0].units, folder.patch(version=1)) == ((1,), None)
    with pytest.raises(Overtaken, match="changed in another tab"):
        folder.change(Restore(id="late", version=2, revision=state.revision))
    with pytest.raises(GanpatchError, match="000099.json"):
        folder.change(Restore(id="none", version=99, revision=folder.state.revision))


def test_versions_say_what_they_changed(folder: Folder) -> None:
    said = []
    rev = lambda: folder.state.content.edits[0].rev  # noqa: E731
    for number, change in enumerate(
        (
            lambda: Flag(id="1", layer="main.5", unit=3),
            lambda: Flag(id="2", layer="main.5", unit=4),
            lambda: Tune(id="3", edit="main-5-1", rev=rev(), alpha=0.5),
            lambda: Describe(id="4", edit="main-5-1", rev=rev(), on=False, reason="smear"),
            lambda: Flag(id="5", layer="main.2", unit=0, reason="cage"),
            lambda: Move(id="6", edit="main-5-1", rev=rev(), place=1),
            lambda: Remove(id="7", edit="main-2-1", rev=rev()),
            lambda: Rename(id="8", name="fine"),
        )
    ):
        folder.change(change())
        view = versions(folder, 1)[0]
        said.append((view.said, view.edits, view.units))
        assert view.version == number + 2
    assert said == [
        ("unit 3 of main.5 flagged", 1, 1),
        ("unit 4 of main.5 flagged", 1, 2),
        ("'main-5-1' replaced 0.5", 1, 2),
        ("'smear' off; 'main-5-1' called 'smear'", 0, 0),
        ("unit 0 of main.2 flagged", 1, 1),
        ("'cage' moved to place 1", 1, 1),
        ("unit 0 of main.2 no longer flagged", 0, 0),
        ("named fine", 0, 0),
    ]
    folder.put("p", painted_entry)
    assert versions(folder, 1)[0].said == "'painted-a' painted"
    assert versions(folder, 60)[-1].said == "the beginning"
    assert difference(folder.state.content, folder.state.content) == "nothing that shows"


def test_undo_of_something_unseen_is_refused(folder: Folder) -> None:
    seen = folder.change(Flag(id="1", layer="main.5", unit=1)).revision
    folder.change(Flag(id="2", layer="main.5", unit=2))
    with pytest.raises(Overtaken, match="changed in another tab"):
        folder.change(Undo(id="3", revision=seen))


def test_a_change_that_arrives_twice_is_made_once(folder: Folder) -> None:
    first = folder.change(Flag(id="1", layer="main.5", unit=1))
    assert folder.change(Flag(id="1", layer="main.5", unit=1)) is first
    folder.change(Undo(id="2", revision=first.revision))
    assert again(folder).change(Flag(id="1", layer="main.5", unit=1)).content.edits == ()


def test_a_kill_at_any_moment_loses_nothing(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was written before the kill, the session opens with the state before or after the change, whole."""
    from ganpatch.studio import history as room

    folder.change(Flag(id="0", layer="main.5", unit=1))

    class Killed(BaseException):
        pass

    outcomes = set()
    for moment in range(6):
        count = [0]

        def die(what: Any, count: list[int] = count, moment: int = moment) -> Any:
            def wrapped(*given: Any, **named: Any) -> Any:
                count[0] += 1
                if count[0] > moment:
                    raise Killed
                return what(*given, **named)

            return wrapped

        unit = 2 + moment
        with monkeypatch.context() as patched:
            patched.setattr(room, "write_text", die(room.write_text))
            try:
                folder.change(Flag(id=f"k{moment}", layer="main.5", unit=unit))
                outcomes.add("whole")
            except Killed:
                outcomes.add("killed")
        folder = again(folder)
        edits = folder.state.content.edits
        assert Patch.load(folder.path / "patch.yaml").edits == tuple(entry.edit for entry in edits)
        assert (f"k{moment}" in folder.state.seen) == (unit in edits[0].edit.units)
    assert outcomes == {"whole", "killed"}


def test_a_patch_changed_by_hand_is_taken_in(folder: Folder) -> None:
    folder.change(Flag(id="1", layer="main.5", unit=1))
    folder.change(Describe(id="2", edit="main-5-1", rev=2, on=True, reason="x"))
    path = folder.path / "patch.yaml"
    path.write_text(path.read_text().replace("units: [1]", "units: [1, 4]"))
    opened = again(folder)
    assert opened.state.content.edits[0].edit.units == (1, 4)
    opened.change(Undo(id="u", revision=opened.state.revision))
    assert Patch.load(path).edits[0].units == (1,)


def test_a_broken_patch_is_kept_aside_and_written_again(folder: Folder) -> None:
    folder.change(Flag(id="1", layer="main.5", unit=1))
    (folder.path / "patch.yaml").write_text("{")
    again(folder)
    assert Patch.load(folder.path / "patch.yaml").edits[0].units == (1,)
    assert [path.read_text() for path in (folder.path / "history").glob("broken-*")] == ["{"]


def test_a_session_begins_with_a_patch_and_is_of_one_model(folder: Folder, model: Model, tmp_path: Path) -> None:
    start = Patch(name="fix", model=model, edits=[Edit(id="a", layer="main.5", channels=8, units=(2,))])
    start = start.with_record(Record(made_by="review", chosen_on=range(100)))
    begun = Folder.open(tmp_path / "t", model, CHANNELS, start)
    assert Patch.load(begun.path / "patch.yaml").name == "fix"
    begun = again(begun)
    begun.evidence = Evidence.of(Record(made_by="studio", chosen_on=range(1000, 1010)))
    begun.change(Flag(id="1", layer="main.5", unit=1))
    seeds = Patch.load(begun.path / "patch.yaml").evidence.chosen_seeds()
    assert seeds == [range(100), range(1000, 1010)], "what the first patch was chosen on is not forgotten"
    with pytest.raises(GanpatchError, match="holds a session already"):
        Folder.open(tmp_path / "t", model, CHANNELS, start)
    other = model.model_copy(
        update={"fingerprint": model.fingerprint.model_copy(update={"weights": "sha256:" + "0" * 64})}
    )
    with pytest.raises(GanpatchError, match="session of small with other weights"):
        Folder.open(folder.path, other, CHANNELS)


def test_strokes_for_a_concept_are_written_by_image(folder: Folder) -> None:
    for number, (seed, concept) in enumerate([(4, "tree"), (9, "sky"), (4, "sky")]):
        stroke = Stroke(radius=2, points=[(1, 2), (3, 4)])
        label = LabelStroke(id=f"l{number}", seed=seed, size=(16, 16), concept=concept, stroke=stroke)
        folder.change(Label(id=f"c{number}", label=label))
    content = json.loads((folder.path / "strokes.json").read_text())
    assert content["format"] == "ganpatch-strokes/1"
    assert content["model"] == folder.state.model.model_dump()
    assert content["concepts"] == ["tree", "sky"]
    assert [image.seed for image in Strokes.load(folder.path / "strokes.json").images] == [4, 9]
    assert [(one["seed"], one["size"], [s["concept"] for s in one["strokes"]]) for one in content["images"]] == [
        (4, [16, 16], ["tree", "sky"]),
        (9, [16, 16], ["sky"]),
    ]
    assert content["images"][0]["strokes"][0] == {"concept": "tree", "radius": 2.0, "points": [[1.0, 2.0], [3.0, 4.0]]}
    folder.change(Undo(id="u", revision=folder.state.revision))
    assert len(json.loads((folder.path / "strokes.json").read_text())["images"][0]["strokes"]) == 1


@pytest.mark.parametrize("radius", [1e-6, 0.5, 1000.5, 65536])
def test_whatever_the_studio_writes_is_read_as_a_segmenter(
    folder: Folder, small_dcgan: Generator, radius: float
) -> None:
    far = [(-65536, 65536), (1.5, 2.5)]
    for number, (concept, size, points) in enumerate([("tree", radius, far), ("sky", 2.5, [(12, 12)])]):
        label = LabelStroke(
            id=f"l{number}", seed=4, size=(16, 16), concept=concept, stroke=Stroke(radius=size, points=points)
        )
        folder.change(Label(id=f"c{number}", label=label))
    assert load_segmenter(f"strokes:{folder.path / 'strokes.json'}", small_dcgan).concepts == ("tree", "sky")
    (image,) = Strokes.load(folder.path / "strokes.json").images
    assert [stroke.radius for stroke in image.strokes] == [radius, 2.5]
    labels = Strokes.load(folder.path / "strokes.json").labels(image, (16, 16))
    assert labels[12, 12] == 1, "the later stroke covers the earlier one"
    assert (labels == 0).any()
    assert bool((labels < 2).all()) == (radius > 1000), "such a brush covers the image"


def test_unfinished_strokes_are_written_and_refused_by_the_reader(folder: Folder) -> None:
    label = LabelStroke(id="l", seed=4, size=(16, 16), concept="tree", stroke=Stroke(radius=2, points=[(1, 2)]))
    folder.change(Label(id="c", label=label))
    path = folder.path / "strokes.json"
    with pytest.raises(GanpatchError) as found:
        Strokes.load(path)
    assert str(found.value) == (
        f"'{path}': 1 concepts on 1 images; paint strokes for 2 to 200 concepts, one may be 'background'"
    )


def test_pins_and_names(folder: Folder) -> None:
    folder.change(Pin(id="1", point=Point(seed=5)))
    folder.change(Pin(id="2", point=Point(seed=5, to=6, t=0.5)))
    folder.change(Pin(id="3", point=Point(seed=5), on=False))
    folder.change(Rename(id="4", name="better"))
    assert [(pin.seed, pin.to) for pin in again(folder).state.pins] == [(5, 6)]
    assert again(folder).state.content.name == "better"


def test_units_in_several_edits_are_said(folder: Folder) -> None:
    for number, unit in enumerate((1, 2, 3)):
        folder.change(Flag(id=f"f{number}", layer="main.5", unit=unit))
    folder.put("p", painted_entry)
    (conflict,) = folder.state.conflicts()
    assert (conflict.layer, conflict.units, conflict.edits) == ("main.5", (2,), ("main-5-1", "painted-a"))


def test_masks_that_do_not_meet_are_no_conflict(folder: Folder) -> None:
    def masked(name: str, values: torch.Tensor) -> None:
        edit = Edit(id=name, layer="main.5", channels=8, units=(2,), mask=Mask.of(values))
        folder.put(name, lambda revision: painted_entry(revision).model_copy(update={"edit": edit}))

    left, right = torch.zeros(8, 8), torch.zeros(8, 8)
    left[:, :4], right[:, 4:] = 1, 0.5
    masked("left", left)
    masked("right", right)
    assert folder.state.conflicts() == ()
    masked("middle", (left.roll(2, 1) > 0).float()[None])  # a mask per unit meets both
    (conflict,) = folder.state.conflicts()
    assert conflict.edits == ("left", "right", "middle")
