"""The Python face: imported lazily, whole, and typed; patches are read without torch."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

import ganpatch
from tests.support.nets import dcgan
from tests.support.shared import ROOT, patch_for
from tools.documentation.pages.written_types import readable

PACKAGE = Path(ganpatch.__file__)


def loaded_by(code: str, folder: Path = ROOT) -> set[str]:
    """Return the top-level packages that are imported once `code` has run in a new process."""
    report = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_importing_ganpatch_imports_nothing_else() -> None:
    assert (
        loaded_by("import ganpatch; dir(ganpatch); ganpatch.__all__; ganpatch.__version__")
        & {*("torch", "numpy", "pydantic", "yaml", "click", "PIL", "safetensors")}
        == set()
    )
    assert "torch" in loaded_by("import ganpatch; ganpatch.Generator")


def test_patches_are_read_checked_compared_and_joined_without_torch(tmp_path: Path) -> None:
    plain = patch_for(tiny(), {"layer": "main.5", "channels": 8, "units": [3]})
    masked = plain.model_copy(update={"name": "masked", "edits": (masked_edit(),)})
    plain.save(tmp_path / "plain.yaml")
    masked.save(tmp_path / "masked.yaml")
    code = """
from ganpatch import GanpatchError, Patch, diff_patches, merge_patches, patch_rows
plain, masked = Patch.load("plain.yaml"), Patch.load("masked.yaml")
assert diff_patches(plain, masked) and patch_rows(masked) and Patch.model_json_schema() and masked.digest
merge_patches([plain, masked], name="both").save("both.yaml")
"""
    found = loaded_by(code, tmp_path)
    assert "torch" not in found
    assert "numpy" in found, "a mask is read, and its digest checked"
    both = ganpatch.Patch.load(tmp_path / "both.yaml")
    assert torch.equal(both.edits[1].mask.values, torch.linspace(0, 1, 16).view(4, 4))
    assert "numpy" not in loaded_by("import ganpatch; ganpatch.Patch.load('plain.yaml')", tmp_path)


def tiny() -> ganpatch.Generator:
    module, latent = dcgan()
    return ganpatch.load(module, latent=latent)


def masked_edit() -> ganpatch.Edit:
    mask = ganpatch.Mask.of(torch.linspace(0, 1, 16).view(4, 4))
    return ganpatch.Edit(id="soft", layer="main.5", channels=8, units=(1, 4), mask=mask)


@pytest.mark.parametrize("name", sorted(ganpatch.MODULE_OF))
def test_every_public_name_is_there(name: str) -> None:
    value = getattr(ganpatch, name)
    assert value is getattr(import_module(ganpatch.MODULE_OF[name]), name)
    assert name in dir(ganpatch)
    assert name in ganpatch.__all__


def test_type_checkers_see_the_same_names() -> None:
    (block,) = [node for node in ast.parse(PACKAGE.read_text()).body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert {alias.asname: node.module for node in imports for alias in node.names} == ganpatch.MODULE_OF
    assert all(alias.asname == alias.name for node in imports for alias in node.names)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError) as fault:
        ganpatch.rnk  # noqa: B018
    assert str(fault.value) == "module 'ganpatch' has no attribute 'rnk'"
    with pytest.raises(ImportError):
        from ganpatch import nothing_like_this  # noqa: F401


def test_modules_and_their_functions_are_both_there() -> None:
    import ganpatch.evaluation.evaluator as evaluator
    import ganpatch.ranking.ranker as ranker

    assert ganpatch.rank is ranker.rank
    assert ganpatch.evaluate is evaluator.evaluate


@pytest.mark.parametrize("name", sorted(ganpatch.MODULE_OF))
def test_every_type_in_a_documented_signature_is_public(name: str) -> None:
    path = PACKAGE.parent.joinpath(*ganpatch.MODULE_OF[name].split(".")[1:]).with_suffix(".py")
    _, classes = readable(path, name)
    assert sorted(classes - ganpatch.MODULE_OF.keys()) == []


@pytest.mark.parametrize("name", sorted(ganpatch.MODULE_OF))
def test_every_public_name_and_its_methods_are_described(name: str) -> None:
    path = PACKAGE.parent.joinpath(*ganpatch.MODULE_OF[name].split(".")[1:]).with_suffix(".py")
    node, _ = readable(path, name)
    methods = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name[0] != "_"]
    for part in [node, *(methods if isinstance(node, ast.ClassDef) else [])]:
        text = ast.get_docstring(part)
        assert text, f"{name}.{part.name}"
        assert text.split()[0] not in ("Give", "Tell", "Say", "Take"), text


def test_a_type_that_is_not_public_is_seen(tmp_path: Path) -> None:
    code = """
from ganpatch.option_values import Score
from ganpatch.ranking.result import Manifest as Index
SEEDS = range(3)
Kind = Annotated[list[Index], 3]
class Inner: ...
def draw(one: "Kind", *, score: Score = "max", seeds: Any = SEEDS) -> Inner | None: ...
"""
    (tmp_path / "module.py").write_text(code)
    node, classes = readable(tmp_path / "module.py", "draw")
    assert classes == {"Manifest", "Inner"}
    assert ast.unparse(node) == (
        "def draw(one: list[Index], *, score: Literal['max', 'mean', 'q99', 'relative']='max', seeds: Any=range(3)) -> "
        "Inner | None:\n    ..."
    )
