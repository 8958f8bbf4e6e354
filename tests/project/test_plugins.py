"""What installed packages add: the example in docs/plugin, as an installer would put it."""

import importlib
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import ganpatch
from ganpatch import GanpatchError
from ganpatch.finding.methods import suggest
from ganpatch.finding.task import Task
from ganpatch.plugins import FORMER_MODULES, find_plugin, plugin_names
from tests.support.shared import ROOT

EXAMPLE = ROOT / "docs" / "plugin"


def install(folder: Path, site: Path, *, name: str = "") -> None:
    """Put the example and what an installer writes about it into `site`."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    title = name or project["name"]
    about = site / f"{title.replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {title}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items()) for group, points in groups
    ]
    (about / "entry_points.txt").write_text("\n".join(lines))
    for module in folder.glob("*.py"):
        shutil.copy(module, site)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    import sys

    for name in ("ganpatch_blobs", *FORMER_MODULES):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


def test_the_example_adds_a_generator_a_segmenter_and_a_scorer(site: Path) -> None:
    import sys

    install(EXAMPLE, site)
    assert "blobs" in plugin_names("ganpatch.generators")
    assert "ganpatch_blobs" not in sys.modules, "nothing is imported before it is asked for"
    generator = ganpatch.load("blobs", arch_args={"spots": 12})
    images = generator.sample(range(3))
    assert images.shape == (3, 3, 32, 32)
    assert generator.range == (0.0, 1.0)
    assert str(generator.latent) == "normal:8"
    ranking = ganpatch.rank(generator, ["spots"], seeds=range(4), k=2)
    found = suggest(Task(generator=generator, ranking=ranking), ["brightness"])
    assert found["brightness"].layers["spots"].score.shape == (12,)
    segmenter = ganpatch.load_segmenter("blobs", generator)
    assert segmenter.labels(images).shape == (3, 32, 32)
    with pytest.raises(GanpatchError, match="segmenter 'blob' is none of .*; did you mean 'blobs'"):
        ganpatch.load_segmenter("blob", generator)
    with pytest.raises(GanpatchError, match="method 'brightnes' is not one of .*; did you mean 'brightness'"):
        suggest(Task(generator=generator, ranking=ranking), ["brightnes"])


def test_a_package_can_be_the_code_of_the_users_weights(site: Path, tmp_path: Path) -> None:
    install(EXAMPLE, site)
    state = {name: tensor * 2 for name, tensor in ganpatch.load("blobs").module.state_dict().items()}
    torch.save(state, tmp_path / "mine.pt")
    loaded = ganpatch.load(tmp_path / "mine.pt", arch="blobs")
    assert torch.equal(loaded.module.state_dict()["colour.bias"], state["colour.bias"])


FORMER_IMPORTS = """\
from ganpatch import Built
from ganpatch.find.task import Task
from ganpatch.inputs import parse_latent
from ganpatch.segment import Segmenter
from ganpatch.suggestions import Found
"""


def test_a_package_with_former_imports_still_works(site: Path) -> None:
    install(EXAMPLE, site)
    module = site / "ganpatch_blobs.py"
    now = "from ganpatch import Built, Found, Segmenter, Task, parse_latent\n"
    assert now in module.read_text()
    module.write_text(module.read_text().replace(now, FORMER_IMPORTS))
    generator = ganpatch.load("blobs")
    assert str(generator.latent) == "normal:8"
    assert ganpatch.load_segmenter("blobs", generator).concepts == ("dark", "bright")
    ranking = ganpatch.rank(generator, ["spots"], seeds=range(4), k=2)
    scored = suggest(Task(generator=generator, ranking=ranking), ["brightness"])
    assert scored["brightness"].layers["spots"].score.shape == (16,)


def test_a_former_module_offers_public_names_only(site: Path) -> None:
    install(EXAMPLE, site)
    find_plugin("ganpatch.scorers", "brightness")
    from ganpatch import inputs  # type: ignore[attr-defined]

    with pytest.raises(AttributeError) as fault:
        inputs.draw_inputs  # noqa: B018
    assert str(fault.value) == "'draw_inputs' is not a public name of ganpatch"


def test_what_is_not_there_or_not_clear(site: Path) -> None:
    with pytest.raises(GanpatchError) as fault:
        find_plugin("ganpatch.scorers", "brightnes")
    assert str(fault.value) == "no scorer 'brightnes': no installed package offers any"
    install(EXAMPLE, site)
    with pytest.raises(GanpatchError) as fault:
        find_plugin("ganpatch.scorers", "brightnes")
    assert str(fault.value) == (
        "no scorer 'brightnes': installed packages offer brightness; did you mean 'brightness'?"
    )
    with pytest.raises(GanpatchError, match="did you mean 'blobs'"):
        find_plugin("ganpatch.generators", "blob")
    (site / "ganpatch_blobs.py").write_text("import nothing_like_this\n")
    with pytest.raises(GanpatchError) as fault:
        ganpatch.load("blobs")
    assert str(fault.value) == (
        "cannot load 'blobs' of the package ganpatch-blobs (ganpatch_blobs:generator): "
        "ModuleNotFoundError: No module named 'nothing_like_this'"
    )


def test_two_packages_with_one_name(site: Path) -> None:
    install(EXAMPLE, site)
    install(EXAMPLE, site, name="other-blobs")
    other = site / "other_blobs-0.1.dist-info" / "entry_points.txt"
    other.write_text(other.read_text().replace("ganpatch_blobs", "other_blobs"))
    with pytest.raises(GanpatchError) as fault:
        find_plugin("ganpatch.scorers", "brightness")
    assert str(fault.value) == (
        "'brightness' of ganpatch.scorers is offered by several packages: ganpatch-blobs, other-blobs; remove all but one"
    )
