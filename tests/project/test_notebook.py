"""Results show themselves in a notebook."""

from pathlib import Path

import ganpatch
from tests.support.tiny_project import Setup


def test_every_result_shows_itself(tmp_path: Path) -> None:
    made = Setup.made(tmp_path)
    ranking = ganpatch.Ranking.load(tmp_path / "run")
    shown = {
        "main.5, 8 units": ranking,
        "<b>8 units, the 8 most active</b>": ranking["main.5"],
        "<td>main.5</td><td>3 of 8</td><td>ablate</td>": made.patch,
        "<td>edit0</td><td>main.5</td><td>folded</td>": ganpatch.bake(made.dcgan, made.patch),
        "<b>Painter, maps: units that cause a concept</b>": made.causes,
        "<b>Painter: concepts of eye</b>": ganpatch.Dissection.load(tmp_path / "dissection"),
        made.evaluation.verdict.sentence: made.evaluation,
    }
    for text, result in shown.items():
        assert text in result._repr_html_(), text


def test_names_in_results_are_text_not_markup() -> None:
    edit = ganpatch.Edit(id="one", layer="<script>alert(1)</script>", channels=4, units=(1,), reason="<b>x</b>")
    prints = ganpatch.Prints(structure=f"sha256:{'0' * 64}", weights=f"sha256:{'1' * 64}")
    patch = ganpatch.Patch(name="p", model=ganpatch.Model(name="<i>m", fingerprint=prints), edits=(edit,))
    shown = patch._repr_html_()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert not any(markup in shown for markup in ("<script", "<b>x", "<i>"))
