"""Small texts that want gigabytes: every reader of text refuses or reads them within bounds of memory and time."""

import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from ganpatch import Dissection, Patch
from ganpatch.causes.result import Causes
from ganpatch.export.patch_record import parse_record
from ganpatch.families.hub_folders import read_config
from ganpatch.finding.suggestions import read_suggestions
from ganpatch.generator.configuration import read_settings
from ganpatch.ranking.result import Manifest, read_manifest
from ganpatch.review.verdicts import read_verdicts
from ganpatch.segmenters.strokes_file import Strokes
from ganpatch.studio.history import Folder
from ganpatch.studio.trust import kept_server
from tests.support import own_files as own
from tests.support.bombs import bombs, measured
from tests.support.bounded import refusal
from tests.support.patches import PRINTS

SIZE = 300_000
MEMORY = 20 * SIZE + 100_000_000  # bytes
SECONDS = 3
Read = Callable[[Path], object]


def make_record(folder: Path) -> None:
    patches = [{"name": "p", "digest": PRINTS.weights, "units": ["main.5:1"]}]
    (folder / "record.json").write_text(
        json.dumps({"result": PRINTS.model_dump(), "patches": patches, "proof": {"a": 1}})
    )


def make_config(folder: Path) -> None:
    (folder / "model.safetensors").touch()
    (folder / "config.json").write_text('{"_class_name": "AutoencoderKL", "block_out_channels": [8, 16]}')


def make_session(folder: Path) -> None:
    own.make_studio(folder)
    state = json.loads((folder / "s" / "studio.json").read_text())
    (folder / "s" / "history" / "000009.json").write_text(json.dumps(state["content"]))


def run_of(folder: Path) -> Manifest:
    """Return the manifest of the run in `folder`, which is not the file that is spoilt."""
    return read_manifest(folder)


def session(folder: Path) -> Folder:
    return Folder.open(folder / "s", own.model(), {own.LAYER: 8})


# name of the file: how valid ones are made, and how it is read
READERS: dict[str, tuple[Callable[[Path], object], Read]] = {
    "manifest.json": (own.make_run, read_manifest),
    "dissection.json": (own.make_run, Dissection.load),
    "suggestions.json": (own.make_run, lambda folder: read_suggestions(folder, run_of(folder))),
    "verdicts.json": (own.make_run, lambda folder: read_verdicts(folder / "verdicts.json", run_of(folder))),
    "causes.json": (own.make_causes, Causes.load),
    "strokes.json": (own.make_strokes, lambda folder: Strokes.load(folder / "strokes.json")),
    "s/studio.json": (own.make_studio, session),
    "s/history/000009.json": (make_session, lambda folder: session(folder).content(9)),
    "s/server.json": (own.make_studio, lambda folder: kept_server(folder / "s")),
    "record.json": (make_record, lambda folder: parse_record((folder / "record.json").read_text(), folder)),
    "config.json": (make_config, lambda folder: read_config(folder / "model.safetensors")),
    "fix.yaml": (own.make_patch, lambda folder: Patch.load(folder / "fix.yaml")),
}


@pytest.fixture(autouse=True)
def little_to_collect() -> Iterator[None]:
    """Leave torch's hundred thousands of objects out of the collections before each measurement."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("name", READERS)
def test_a_text_takes_memory_and_time_by_its_size(name: str, tmp_path: Path) -> None:
    """Each list and object of each file filled with small values."""
    make, read = READERS[name]
    make(tmp_path)
    path = tmp_path / name
    text = path.read_text()
    is_yaml = name.endswith(".yaml")  # its values are counted before its fields are known
    document = yaml.safe_load(text) if is_yaml else json.loads(text)
    read(tmp_path)  # a valid file is read, and what is imported late is imported now
    for what, bomb in bombs(document, SIZE, places=1 if is_yaml else 4):
        path.write_text(bomb)
        cost = measured(lambda: read(tmp_path))
        assert cost.memory < MEMORY, f"{what}: {cost}"
        assert cost.seconds < SECONDS, f"{what}: {cost}"
        assert len(cost.said) < 50_000, what


@pytest.mark.parametrize("value", ["[" + "[]," * 300_000 + "]", "[" + '"",' * 300_000 + "]"])
def test_settings_take_memory_by_their_size(value: str, tmp_path: Path) -> None:
    (tmp_path / "ganpatch.toml").write_text(f"[rank]\nlayers = {value}\n")
    cost = measured(lambda: read_settings(tmp_path))
    assert "ganpatch.toml" in cost.said or cost.said == ""
    assert cost.memory < MEMORY
    assert cost.seconds < SECONDS


def test_the_first_hundred_faults_are_listed(tmp_path: Path) -> None:
    own.make_patch(tmp_path)
    text = (tmp_path / "fix.yaml").read_text()
    edits = "".join(f"  - id: e{index}\n    layer: main.5\n    channels: 8\n    units: [9]\n" for index in range(250))
    (tmp_path / "fix.yaml").write_text(text.partition("edits:\n")[0] + "edits:\n" + edits)
    said = refusal(lambda: Patch.load(tmp_path / "fix.yaml")).splitlines()
    assert len(said) == 101
    assert said[-1] == "… and 150 more faults"
    assert "$.edits[99].units" in said[-2]


def test_a_patch_of_many_values_is_refused_before_it_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "fix.yaml"
    path.write_text("edits: [" + "1," * 900_000 + "1]\n")
    assert refusal(lambda: Patch.load(path)) == f"{path}: $: line 1: more than 30,000 values, keys included"
