"""The studio without its page: strokes, changes, painting."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import ganpatch
from ganpatch import Edit, GanpatchError, Generator, Mask, Patch, applied
from ganpatch.forward.activations import stream
from ganpatch.patch.patch_file import Model
from ganpatch.studio import edited_images
from ganpatch.studio.changes import Describe, Flag, Move, Overtaken, Remove, Tune, Unflag, changed
from ganpatch.studio.frames import LEVEL_SEEDS, Frames, inputs_at
from ganpatch.studio.painting import LayerShape, Painting, painted_edit
from ganpatch.studio.palette import Brush, Palette
from ganpatch.studio.state import Content, Point
from ganpatch.studio.strokes import Stroke, painted

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


# ---- painting ----------------------------------------------------------------------------------------------


def test_a_painting_is_an_edit_with_a_mask() -> None:
    brush = Brush(
        name="b",
        label="sky",
        source="causes",
        layer="main.5",
        channels=8,
        units=(5, 1, 3),
        insert={"q99": (0.5, 0.1, 0.3)},
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
    with pytest.raises(GanpatchError, match=r"^brush 'sky' has no values to insert at level 'q999'; there is q99$"):
        painted_edit(brush, painting.model_copy(update={"level": "q999"}), LayerShape(8, (8, 8)))
    unit = Palette({"main.5": 8}, lambda layer: {}).find("unit:main.5:2", ())
    with pytest.raises(GanpatchError, match=r"^brush 'unit 2' has no values to insert at level 'q99' yet"):
        painted_edit(unit, painting, LayerShape(8, (8, 8)))


def test_frames_are_those_of_hooks(small_dcgan: Generator) -> None:
    frames = Frames(small_dcgan)
    edit = Edit(id="e", layer="main.5", channels=8, units=(1, 4), mask=Mask.of(torch.eye(8)))
    points = [Point(seed=seed) for seed in range(11)]
    assert torch.allclose(frames.images(points), small_dcgan.sample(range(11)), atol=1e-6)
    patch = Patch(name="p", model=Model.of("small", small_dcgan.fingerprint), edits=[edit])
    with applied(small_dcgan.module, patch):
        wanted = small_dcgan.sample(range(11))
    assert torch.allclose(frames.images(points, [edit]), wanted, atol=1e-6)


@pytest.fixture
def ran(small_dcgan: Generator) -> Iterator[list[str]]:
    """The layers that have computed something, in their order."""
    found: list[str] = []
    own = {name: layer.forward for name, layer in small_dcgan.module.named_modules() if name.startswith("main.")}
    for name, forward in own.items():
        small_dcgan.module.get_submodule(name).forward = lambda x, name=name, forward=forward: (
            found.append(name),
            forward(x),
        )[1]
    yield found
    for name in own:
        del small_dcgan.module.get_submodule(name).forward


def test_only_the_layers_after_the_edit_run_again(small_dcgan: Generator, ran: list[str]) -> None:
    frames, whole = Frames(small_dcgan), Frames(small_dcgan)
    edits = [
        Edit(id="e", layer="main.5", channels=8, units=(1, 4), above=(0.1,)),
        Edit(id="f", layer="main.5", channels=8, units=(2,), value=(1.5,), mask=Mask.of(torch.eye(8))),
    ]
    elsewhere = Edit(id="g", layer="main.2", channels=12, units=(1,))
    points = [Point(seed=3), Point(seed=5, to=9, t=0.4)]
    assert torch.equal(frames.images(points, edits, live="main.5"), whole.images(points, edits))
    assert ran.count("main.0") == 2, "not known to fit yet"
    list(frames.expect("main.5"))
    for other in ((), (elsewhere,)):
        wanted = [whole.images(points, [*other, *edits[:count]]) for count in range(3)]
        ran.clear()
        for count in range(3):
            assert torch.equal(frames.images(points, [*other, *edits[:count]], live="main.5"), wanted[count])
        assert (ran.count("main.0"), ran.count("main.6")) == (1, 3)
    one_run = edits[0].model_copy(update={"call": 0})
    assert frames.edited.images(points, [one_run], "main.5") is None
    assert frames.edited.images(points, edits, "main.2") is None


def test_where_leaving_out_changes_the_image_the_whole_pass_runs(small_dcgan: Generator) -> None:
    """A layer that leaves something behind in the module, which a later one reads."""
    frames, first, last = Frames(small_dcgan), *(small_dcgan.module.get_submodule(f"main.{n}") for n in (0, 6))
    left: list[torch.Tensor] = []
    first.forward = lambda x, own=first.forward: (left.append(x.mean()), own(x))[1]
    last.forward = lambda x, own=last.forward: own(x) + left[-1]
    try:
        assert not frames.edited.check("main.5")
    finally:
        del first.forward, last.forward
    assert frames.edited.images([Point(seed=1)], [], "main.5") is None


def test_what_is_kept_is_bounded(small_dcgan: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = Frames(small_dcgan)
    frames.edited.check("main.5")
    prefixes = frames.edited._prefixes
    frames.images([Point(seed=1)], live="main.5")
    monkeypatch.setattr(edited_images, "MOST_KEPT", 3 * next(iter(prefixes.values())).nbytes)
    for seed in range(9):
        frames.images([Point(seed=seed)], live="main.5")
    assert [key[1][0].seed for key in prefixes] == [6, 7, 8]


def test_a_walk_goes_from_one_seed_to_the_other_on_the_sphere(small_dcgan: Generator) -> None:
    start, end = (small_dcgan.inputs([seed])[0][0] for seed in (3, 8))
    points = [Point(seed=3, to=8, t=t) for t in (0.0, 0.5, 1.0)]
    (z,) = inputs_at(small_dcgan, points)
    assert torch.allclose(z[:1], start)
    assert torch.allclose(z[2:], end, atol=1e-5)
    angle = torch.arccos(torch.nn.functional.cosine_similarity(start.flatten(), end.flatten(), 0))
    half = (start + end) * torch.sin(angle / 2) / torch.sin(angle)
    assert torch.allclose(z[1:2], half, atol=1e-5)


def result_of(steps: Iterator[None]) -> tuple[Any, int]:
    """Do all steps; return what they return, and how many there were."""
    for count in itertools.count():
        try:
            next(steps)
        except StopIteration as end:
            return end.value, count
    raise AssertionError


def test_levels_are_those_of_all_pixels(small_dcgan: Generator) -> None:
    frames = Frames(small_dcgan)
    levels, steps = result_of(frames.levels("main.5"))
    assert steps > 10
    y = frames.activation([Point(seed=seed) for seed in LEVEL_SEEDS], "main.5").transpose(0, 1).flatten(1)
    assert torch.allclose(levels.peak, y.amax(1))
    found = levels.histogram(3)
    assert found["high"] == pytest.approx(float(y[3].max()))
    for name, share in (("q99", 0.99), ("q999", 0.999)):
        assert (y[3] <= getattr(levels, name)[3]).float().mean() == pytest.approx(share, abs=0.005)
    assert found["q99"] == float(levels.q99[3])


def test_an_activation_needs_no_more_than_its_layer(small_dcgan: Generator, ran: list[str]) -> None:
    edit = Edit(id="e", layer="main.5", channels=8, units=(3,))
    y = Frames(small_dcgan).activation([Point(seed=seed) for seed in range(11)], "main.5", [edit])
    assert (y.shape, y[:, 3].abs().max(), ran.count("main.5"), ran.count("main.6")) == ((11, 8, 8, 8), 0, 2, 0)
    whole: list[torch.Tensor] = []
    list(stream(small_dcgan, {"main.5": lambda own, _: whole.append(own.clone())}, range(11)))
    assert torch.allclose(y[:, :3], whole[0][:, :3], atol=1e-6)


def test_a_slow_model_is_sampled_in_fewer_images(small_dcgan: Generator) -> None:
    frames = Frames(small_dcgan)
    frames.seconds = 2.0
    levels, _ = result_of(frames.levels("main.5"))
    assert (levels.images, levels.histogram(0)["images"]) == (30, 30)


@pytest.mark.parametrize(("seconds", "chosen"), [(0.01, [1]), (0.3, [1, 3]), (5.0, [1, 3])])
def test_quick_passes_are_left_to_one_thread(
    small_dcgan: Generator, monkeypatch: pytest.MonkeyPatch, seconds: float, chosen: list[int]
) -> None:
    from ganpatch.studio import frames as room

    ticks, threads = itertools.count(), []
    monkeypatch.setattr(room, "perf_counter", lambda: next(ticks) * seconds)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    frames = Frames(small_dcgan)
    assert (frames.settle(), threads) == ((16, 16), chosen)
    assert frames.seconds == pytest.approx(seconds)


def test_the_class_of_a_point() -> None:
    class Conditional(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 3 * 16)

        def forward(self, z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            return self.layer(z).view(-1, 3, 4, 4) + label.view(len(z), -1)[:, :1, None, None]

    for labels in ("onehot:5", "index:5"):
        frames = Frames(ganpatch.load(Conditional(), latent="normal:4", labels=labels))
        (_, drawn), _ = frames.generator.inputs([1, 2, 3])
        wanted = drawn.argmax(1) if labels == "onehot:5" else drawn
        assert [frames.label(Point(seed=seed)) for seed in (1, 2, 3)] == wanted.tolist()
        assert frames.label(Point(seed=1, to=2, t=0.9)) == wanted[1]
        assert frames.images([Point(seed=1)]).shape == (1, 3, 4, 4)


def test_a_stroke_that_grows_is_what_it_is_at_once() -> None:
    points = [(2 + 1.7 * k, 20 + 9 * ((k % 5) - 2)) for k in range(23)]
    grown = [painted([Stroke(radius=3, points=points[:k])], image=(40, 60), layer=(10, 15)) for k in range(1, 24)]
    for k, share in enumerate(grown, 1):
        pieces = [Stroke(radius=3, points=points[i : i + 2]) for i in range(max(1, k - 1))]
        assert torch.equal(
            share,
            painted(
                pieces[: max(1, k - 1)] if k > 1 else [Stroke(radius=3, points=points[:1])],
                image=(40, 60),
                layer=(10, 15),
            ),
        )
