"""The package as others get it: built, installed in an environment of its own, run and type-checked from there."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from ganpatch.version import VERSION
from tests.support.shared import ROOT, once

PROGRAM = '''
"""A program of somebody who installed ganpatch."""

from pathlib import Path

import ganpatch

generator = ganpatch.load("churches")
ranking = ganpatch.rank(generator, layers=["layer4"], seeds=range(8), k=4)
edit = ganpatch.Edit(id="one", layer="layer4", channels=ranking["layer4"].units, units=(3,))
patch: ganpatch.Patch = ganpatch.Patch(name="fix", model=ranking.model, edits=(edit,))
with ganpatch.applied(generator.module, patch):
    images = generator.sample(range(4))
outcome: str = ganpatch.bake(generator, patch).decisions[0].outcome
page: Path = ganpatch.write_page(Path("run"))
ganpatch.rank(generator, k="four")
'''
# torch's own types take a minute to read, and are not what is asked about.
TYPES = """
[mypy]
strict = True
follow_imports = silent
[mypy-fastapi.*,numpy.*,onnx.*,onnx_ir.*,onnxruntime.*,onnxscript.*,torch.*,torchmetrics.*,torchvision.*,uvicorn.*]
follow_imports = skip
"""
DISTRIBUTIONS = {"PIL": "pillow", "yaml": "PyYAML"}  # that are not called as what is imported from them
OF_OTHERS = {"pydantic_core": "pydantic", "starlette": "fastapi"}  # parts of a dependency, by its promise


@dataclass(frozen=True)
class Package:
    """What was built, and an environment with it and its dependencies, and nothing of the checkout."""

    source: Path
    wheel: Path
    environment: Path

    def run(self, *words: str, folder: Path) -> str:
        """Run a program of the environment."""
        done = run(str(self.environment / "bin" / words[0]), *words[1:], folder=folder)
        assert done.returncode == 0, done.stderr
        return done.stdout


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program that knows nothing of this checkout."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(words, cwd=folder, env=bare, capture_output=True, text=True)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    place = once(tmp_path_factory, "package", build)
    wheel = place / f"ganpatch-{VERSION}-py3-none-any.whl"
    return Package(source=place / f"ganpatch-{VERSION}.tar.gz", wheel=wheel, environment=place / "environment")


def build(place: Path) -> None:
    """Build the source archive, the wheel out of that, and install the wheel."""
    checkout = place / "checkout"
    for name in known_files():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, checkout / name)
    python = place / "environment" / "bin" / "python"
    install = [
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--find-links",
        str(place),
    ]
    for words in (
        ["build", "--no-isolation", "--outdir", str(place), str(checkout)],
        ["venv", "--without-pip", str(place / "environment")],
        [*install, "ganpatch"],
    ):
        done = run(sys.executable, "-m", *words, folder=place)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (packages,) = (place / "environment").glob("lib/python*/site-packages")
    # A line in a .pth file makes importable what is there, and not what the .pth files there point to: no checkout.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")


def known_files() -> list[str]:
    """Return the files that git knows, or would if one added them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(name for name in set(listed) if (ROOT / name).is_file())


def test_the_source_archive_has_what_git_has(package: Package) -> None:
    held = set()
    with tarfile.open(package.source) as archive:
        for member in archive:
            name = member.name.partition("/")[2]
            made = name in ("PKG-INFO", "setup.cfg") or name.startswith("ganpatch.egg-info/")
            stored = archive.extractfile(member)
            if stored is not None and not made:
                held.add(name)
                assert stored.read() == (ROOT / name).read_bytes(), name
    assert held == set(known_files())


def test_the_wheel_holds_the_package_byte_for_byte(package: Package) -> None:
    with zipfile.ZipFile(package.wheel) as archive:
        held = {name for name in archive.namelist() if not name.startswith(f"ganpatch-{VERSION}.dist-info/")}
        assert held == {name for name in known_files() if name.startswith("ganpatch/")}
        for name in held:
            assert archive.read(name) == (ROOT / name).read_bytes(), name


def test_it_runs_where_it_is_installed(package: Package, tmp_path: Path) -> None:
    where = package.run("python", "-c", "import ganpatch; print(ganpatch.__file__)", folder=tmp_path)
    assert Path(where.strip()).is_relative_to(package.environment)
    assert package.run("ganpatch", "--version", folder=tmp_path) == f"ganpatch {VERSION}\n"
    layers = json.loads(package.run("ganpatch", "layers", "--json", folder=tmp_path))
    assert {"name": "layer4", "kind": "Block", "units": 256, "size": [8, 8], "calls": 1, "tokens": []} in layers
    package.run("ganpatch", "rank", "--layer", "layer2", "--n", "8", "-o", "run", folder=tmp_path)
    assert (tmp_path / "run" / "index.html").stat().st_size > 20_000


def test_its_types_reach_those_who_install_it(package: Package, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "mypy.ini").write_text(TYPES)
    python = str(package.environment / "bin" / "python")
    done = run(sys.executable, "-m", "mypy", "--python-executable", python, "program.py", folder=tmp_path)
    assert done.stdout == (
        'program.py:16: error: Argument "k" to "rank" has incompatible type "str"; expected "int"  [arg-type]\n'
        "Found 1 error in 1 file (checked 1 source file)\n"
    )


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[^\w-]", one)[0].lower() for one in project["dependencies"]}
    extra = {one for name in ("transformers", "spandrel") for one in project["optional-dependencies"][name]}
    for path in (ROOT / "ganpatch").rglob("*.py"):
        for name in imported(path) - set(sys.stdlib_module_names) - {"ganpatch"}:
            assert DISTRIBUTIONS.get(name, OF_OTHERS.get(name, name)).lower() in declared | extra, f"{path}: {name}"


def imported(path: Path) -> set[str]:
    """Name the packages that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_all_versions_are_exact() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    names = [line.partition("==")[0].lower() for line in lines]
    assert names == sorted(set(names))
