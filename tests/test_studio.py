"""The studio without its page: strokes, changes, the session on disk, the engine."""

import json
import multiprocessing
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from ganpatch import Edit, GanpatchError, Generator, Mask, Patch, applied
from ganpatch.patch import Model
from ganpatch.segment.strokes_file import Strokes
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
    Tune,
    Undo,
    Unflag,
    changed,
)
from ganpatch.studio.engine import LONGEST, Busy, Engine
from ganpatch.studio.folder import Folder, lock_folder
from ganpatch.studio.frames import Frames, inputs_at
from ganpatch.studio.jobs import Jobs
from ganpatch.studio.palette import Brush, LayerShape, Painting, painted_edit, unit_brush
from ganpatch.studio.state import Content, Entry, Painted, Point
from ganpatch.studio.strokes import LabelStroke, Stroke, painted
from ganpatch.studio.tasks import in_child

CHANNELS = {"main.2": 12, "main.5": 8}


def summary(content: Content) -> list[tuple[Any, ...]]:
    return [(entry.edit.layer, entry.edit.units, entry.edit.reason) for entry in content.edits]


def after(*changes: Any, content: Content | None = None) -> Content:
    content = content or Content()
    for number, change in enumerate(changes, 1):
        content = changed(content, change, number, CHANNELS)
    return content


def flag(unit: int, reason: str = "", layer: str = "main.5") -> Flag:
    return Flag(id="x", layer=layer, unit=unit, reason=reason)


# ---- strokes -------------------------------------------------------------------------------------------


def test_a_stroke_covers_the_share_of_each_feature_under_the_brush() -> None:
    """Against a plain count of fine pixels, at sizes that do not divide each other."""
    image, layer = (40, 60), (7, 9)
    strokes = [
        Stroke(radius=5.5, points=[(10, 8), (31, 22.5), (50, 20)]),
        Stroke(radius=3, points=[(30, 20)], erase=True),
    ]
    fine = 6
    share = painted(strokes, image=image, layer=layer)
    assert share.shape == layer
    for row, column in ((1, 1), (3, 4), (3, 7), (6, 0)):
        inside = 0
        for y in range(fine):
            for x in range(fine):
                px = (column + (x + 0.5) / fine) * image[1] / layer[1]
                py = (row + (y + 0.5) / fine) * image[0] / layer[0]
                near = min(
                    _distance(px, py, *one, *other) for one, other in (((10, 8), (31, 22.5)), ((31, 22.5), (50, 20)))
                )
                inside += near <= 5.5 and (px - 30) ** 2 + (py - 20) ** 2 > 9
        assert share[row, column] == pytest.approx(inside / fine**2, abs=2.5 / fine), (row, column)


def _distance(px: float, py: float, ax: float, ay: float, bx: float, by: float) -> float:
    t = max(0, min(1, ((px - ax) * (bx - ax) + (py - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2)))
    return ((px - ax - t * (bx - ax)) ** 2 + (py - ay - t * (by - ay)) ** 2) ** 0.5


def test_strokes_outside_the_image_cover_nothing() -> None:
    assert not painted([Stroke(radius=4, points=[(-50, -50), (-20, 900)])], image=(64, 64), layer=(8, 8)).any()
    assert painted([Stroke(radius=500, points=[(0, 0)])], image=(64, 64), layer=(8, 8)).all()


# ---- changes -------------------------------------------------------------------------------------------


def test_flags_of_one_reason_are_one_edit() -> None:
    content = after(flag(3, "smear"), flag(1, "smear"), flag(5, "cage"), flag(2, "smear", "main.2"))
    assert summary(content) == [("main.5", (1, 3), "smear"), ("main.5", (5,), "cage"), ("main.2", (2,), "smear")]
    assert summary(after(Unflag(id="x", layer="main.5", unit=3), flag(5, "smear"), content=content)) == [
        ("main.5", (1,), "smear"),
        ("main.5", (5,), "smear"),
        ("main.2", (2,), "smear"),
    ]


def test_a_unit_keeps_its_numbers_under_another_reason() -> None:
    content = after(flag(1), flag(4), flag(6))
    tuned = after(Tune(id="t", edit="main-5-1", rev=3, unit=4, alpha=0.5), content=content)
    assert tuned.edits[0].edit.alpha == (1.0, 0.5, 1.0)
    moved = changed(tuned, flag(4, "cage"), 9, CHANNELS)
    assert [(entry.edit.units, entry.edit.alpha) for entry in moved.edits] == [((1, 6), (1.0,)), ((4,), (0.5,))]
    grown = changed(tuned, flag(2), 9, CHANNELS)
    assert (grown.edits[0].edit.units, grown.edits[0].edit.alpha) == ((1, 2, 4, 6), (1.0, 1.0, 0.5, 1.0))


def test_a_gate_of_one_unit_gives_it_an_edit_of_its_own() -> None:
    content = after(flag(1), flag(4), Tune(id="t", edit="main-5-1", rev=2, unit=4, above=2.5, gated=True))
    assert [(entry.edit.units, entry.edit.above) for entry in content.edits] == [((1,), None), ((4,), (2.5,))]
    own = content.edits[1]
    open_again = after(Tune(id="t", edit=own.id, rev=own.rev, unit=4, gated=False), content=content)
    assert open_again.edits[1].edit.above is None


def test_edits_are_moved_switched_and_removed() -> None:
    content = after(flag(1, "a"), flag(2, "b"), flag(3, "c"))
    assert [
        entry.edit.reason for entry in after(Move(id="m", edit="main-5-3", rev=3, place=0), content=content).edits
    ] == ["c", "a", "b"]
    off = after(Describe(id="d", edit="main-5-2", rev=2, on=False, reason="z"), content=content).edits[1]
    assert (off.on, off.edit.reason) == (False, "z")
    assert len(after(Remove(id="r", edit="main-5-1", rev=1), content=content).edits) == 2


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (Remove(id="r", edit="main-5-1", rev=7), "edit 'main-5-1' was changed in another tab"),
        (Remove(id="r", edit="none", rev=1), "edit 'none' was removed in another tab"),
        (Tune(id="r", edit="main-5-1", rev=1, unit=5, alpha=0.5), "unit 5 is no longer in edit 'main-5-1'"),
    ],
)
def test_a_change_of_what_another_tab_changed_is_refused(change: Any, text: str) -> None:
    with pytest.raises(Overtaken) as caught:
        after(change, content=after(flag(1)))
    assert str(caught.value) == text


def test_a_unit_that_is_not_there_is_refused() -> None:
    with pytest.raises(GanpatchError, match=r"^unit 8 is outside layer 'main.5' \(8 units, 0-7\)$"):
        after(flag(8))
    with pytest.raises(GanpatchError, match=r"^layer 'main.4' has no units; did you mean 'main.5'\?$"):
        after(flag(1, layer="main.4"))


# ---- the session on disk ---------------------------------------------------------------------------------


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
    from ganpatch.studio import folder as room

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
    begun = Folder.open(tmp_path / "t", model, CHANNELS, start)
    assert Patch.load(begun.path / "patch.yaml").name == "fix"
    with pytest.raises(GanpatchError, match="holds a session already"):
        Folder.open(tmp_path / "t", model, CHANNELS, start)
    other = model.model_copy(
        update={"fingerprint": model.fingerprint.model_copy(update={"weights": "sha256:" + "0" * 64})}
    )
    with pytest.raises(GanpatchError, match="session of small with other weights"):
        Folder.open(folder.path, other, CHANNELS)


def test_two_studios_do_not_write_one_folder(tmp_path: Path) -> None:
    lock = lock_folder(tmp_path)
    with pytest.raises(GanpatchError, match="is open in another studio"):
        lock_folder(tmp_path)
    lock.close()
    lock_folder(tmp_path).close()


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


# ---- painting ----------------------------------------------------------------------------------------------


def test_a_painting_is_an_edit_with_a_mask() -> None:
    brush = Brush(
        name="b", label="sky", source="concept", layer="main.5", channels=8, units=(5, 1, 3), insert=(0.5, 0.1, 0.3)
    )
    stroke = Stroke(radius=3, points=[(8, 8)])
    painting = Painting(
        brush="b", mode="insert", count=2, strength=0.75, point=Point(seed=1), size=(16, 16), strokes=(stroke,)
    )
    edit = painted_edit(brush, painting, LayerShape(8, (8, 8)))
    assert edit is not None
    assert edit.mask is not None
    assert (edit.units, edit.value, edit.alpha, edit.reason) == ((1, 5), (0.1, 0.5), (0.75,), "add sky, painted")
    assert torch.equal(edit.mask.values, painted([stroke], image=(16, 16), layer=(8, 8)))
    removing = painted_edit(brush, painting.model_copy(update={"mode": "remove", "count": 99}), LayerShape(8, (8, 8)))
    assert removing is not None
    assert (removing.units, removing.value) == ((1, 3, 5), (0.0,))
    assert painted_edit(brush, painting.model_copy(update={"strokes": ()}), LayerShape(8, (8, 8))) is None
    with pytest.raises(GanpatchError, match="removes only"):
        painted_edit(unit_brush("main.5", LayerShape(8, (8, 8)), 2, None), painting, LayerShape(8, (8, 8)))


def test_frames_are_those_of_hooks(small_dcgan: Generator) -> None:
    frames = Frames(small_dcgan)
    edit = Edit(id="e", layer="main.5", channels=8, units=(1, 4), mask=Mask.of(torch.eye(8)))
    points = [Point(seed=seed) for seed in range(11)]
    assert torch.allclose(frames.images(points), small_dcgan.sample(range(11)), atol=1e-6)
    patch = Patch(name="p", model=Model.of("small", small_dcgan.fingerprint), edits=[edit])
    with applied(small_dcgan.module, patch):
        wanted = small_dcgan.sample(range(11))
    assert torch.allclose(frames.images(points, [edit]), wanted, atol=1e-6)


def test_a_cut_pass_draws_what_the_whole_pass_draws(small_dcgan: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, whole = Frames(small_dcgan), Frames(small_dcgan)
    list(frames.cut("main.5"))
    edits = [
        Edit(id="e", layer="main.5", channels=8, units=(1, 4), above=(0.1,)),
        Edit(id="f", layer="main.5", channels=8, units=(2,), value=(1.5,), mask=Mask.of(torch.eye(8))),
    ]
    points = [Point(seed=3), Point(seed=5, to=9, t=0.4)]
    wanted = whole.images(points, edits)
    runs: list[int] = []
    monkeypatch.setattr(small_dcgan.module, "forward", lambda *_: runs.append(1))
    for _ in range(2):
        assert torch.allclose(frames.images(points, edits), wanted, atol=1e-6)
    assert runs == []
    elsewhere = Edit(id="g", layer="main.2", channels=12, units=(1,))
    assert frames.tails.images(points, [*edits, elsewhere]) is None
    assert frames.tails.images(points, [elsewhere]) is None


def test_a_walk_goes_from_one_seed_to_the_other_on_the_sphere(small_dcgan: Generator) -> None:
    start, end = (small_dcgan.inputs([seed])[0][0] for seed in (3, 8))
    points = [Point(seed=3, to=8, t=t) for t in (0.0, 0.5, 1.0)]
    (z,) = inputs_at(small_dcgan, points)
    assert torch.allclose(z[:1], start)
    assert torch.allclose(z[2:], end, atol=1e-5)
    angle = torch.arccos(torch.nn.functional.cosine_similarity(start.flatten(), end.flatten(), 0))
    half = (start + end) * torch.sin(angle / 2) / torch.sin(angle)
    assert torch.allclose(z[1:2], half, atol=1e-5)


def test_levels_are_those_of_all_pixels(small_dcgan: Generator) -> None:
    from ganpatch.studio.frames import LEVEL_SEEDS

    frames, steps = Frames(small_dcgan), 0
    work = frames.levels("main.5")
    while True:
        try:
            next(work)
            steps += 1
        except StopIteration as end:
            levels = end.value
            break
    assert steps > 10
    y = frames.activation([Point(seed=seed) for seed in LEVEL_SEEDS], "main.5").transpose(0, 1).flatten(1)
    assert torch.allclose(levels.peak, y.amax(1))
    found = levels.histogram(3)
    assert found["high"] == pytest.approx(float(y[3].max()))
    assert (y[3] <= found["q99"]).float().mean() == pytest.approx(0.99, abs=0.005)


# ---- the engine and the jobs ----------------------------------------------------------------------------------


def test_the_newest_of_a_stream_replaces_what_waits() -> None:
    engine, gate, done = Engine(), threading.Event(), []
    engine.submit(gate.wait)
    stale = [engine.submit(lambda number=number: done.append(number), stream="paint") for number in range(5)]
    other = engine.submit(lambda: done.append("other"), stream="look")
    gate.set()
    other.result(5)
    assert [future.cancelled() for future in stale] == [True] * 4 + [False]
    assert done == [4, "other"]
    engine.close()


def test_calm_work_lets_others_go_first_and_faults_reach_whoever_waits() -> None:
    engine, order = Engine(), []

    def steps() -> Any:
        for number in range(50):
            order.append(number)
            time.sleep(0.002)
            yield
        return "end"

    calm = engine.submit_calm(steps())
    time.sleep(0.02)
    engine.submit(lambda: order.append("urgent")).result(5)
    assert calm.result(5) == "end"
    assert 0 < order.index("urgent") < 40
    with pytest.raises(ZeroDivisionError):
        engine.submit(lambda: 1 / 0).result(5)
    engine.close()


def test_more_than_anybody_waits_for_is_refused() -> None:
    engine, gate = Engine(), threading.Event()
    engine.submit(gate.wait)
    time.sleep(0.05)
    for _ in range(LONGEST):
        engine.submit(int)
    with pytest.raises(Busy):
        engine.submit(int)
    gate.set()
    engine.close()


def test_jobs_run_fail_and_are_cancelled() -> None:
    jobs, gate = Jobs(), threading.Event()

    def slow(report: Any) -> dict[str, Any]:
        gate.wait(5)
        report(1, 2)
        return {"never": 1}

    def fails(report: Any) -> dict[str, Any]:
        raise GanpatchError("no such thing")

    first, second, third = (
        jobs.start("a", "slow", slow),
        jobs.start("b", "fails", fails),
        jobs.start("c", "waits", slow),
    )
    assert jobs.start("a", "slow", slow).id == first.id
    jobs.cancel(first.id)
    jobs.cancel(third.id)
    gate.set()
    deadline = time.monotonic() + 5
    while {job.state for job in jobs.all()} & {"running", "waiting"} and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [(job.state, job.error) for job in jobs.all()] == [
        ("cancelled", ""),
        ("failed", "no such thing"),
        ("cancelled", ""),
    ]
    assert second.kind == "b"
    assert jobs.cancel(99) is None


def _counts(report: Any, upto: int) -> dict[str, Any]:
    for number in range(upto):
        report(number, upto)
    if upto > 50:
        raise GanpatchError("too far")
    return {"upto": upto}


def test_work_in_a_process_of_its_own_reports_answers_and_refuses() -> None:
    seen: list[tuple[int, int]] = []
    found = in_child(_counts, lambda *progress: seen.append(progress), upto=5)  # type: ignore[arg-type]
    assert (found, (4, 5) in seen) == ({"upto": 5}, True)

    def unwanted(done: int, total: int) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        in_child(_counts, unwanted, upto=5)
    assert multiprocessing.active_children() == []
