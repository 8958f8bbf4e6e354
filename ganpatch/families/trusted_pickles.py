"""A whole model from a pickle that the user trusts: the one place where code that a file names is executed.

    module = read_pickled_module(Path("model.pt"), key=None)    # --trust-pickle

Classes are looked for beside the file and in the working folder, then among the installed packages.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganpatch.errors import GanpatchError, first_line
from ganpatch.families.user_code import importing_from
from ganpatch.untrusted.zip_archives import is_archive


def read_pickled_module(path: Path, key: str | None) -> nn.Module | None:
    """Unpickle a whole model, or the one under `key`, which runs whatever the file names; None if it holds none."""
    try:
        with importing_from(path.parent, Path()):
            content = _unpickled(path)
    except Exception as fault:
        raise GanpatchError(f"cannot unpickle '{path}': {_explained(fault, path)}") from fault
    content = getattr(content, "module", content) if isinstance(content, nn.DataParallel) else content
    if isinstance(content, Mapping):
        content = content.get(key)
    return content if isinstance(content, nn.Module) else None


def _unpickled(path: Path) -> Any:
    if not is_archive(path):
        with path.open("rb") as file:
            content = pickle.load(file)
        if not isinstance(content, int):  # the first of the pickles that torch wrote before 1.6 is a number
            return content
    return torch.load(path, map_location="cpu", weights_only=False)


def _explained(fault: Exception, path: Path) -> str:
    said = f"{type(fault).__name__}: {first_line(fault)}"
    if "__main__" in str(fault):
        return (
            f"{said}; the class was defined in the script that saved it: name that script, without --trust-pickle: "
            "--arch script.py:Class"
        )
    if isinstance(fault, ImportError | AttributeError):
        return f"{said}; its code was looked for in '{path.parent}', in the working folder and among installed packages"
    return said
