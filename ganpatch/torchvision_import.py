"""torchvision, also where it was built for another torch.

The registry's torchvision is built for CUDA; with a CPU build of torch its import lacks two operators.
Declared by name only, they let all of its Python parts work: models, transforms.
"""

import contextlib
import warnings
from typing import Any

import torch

from ganpatch.errors import GanpatchError

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # a library lives as long as its object


def torchvision_models() -> Any:
    """Return torchvision.models; raise GanpatchError where torchvision is not installed."""
    try:
        return _imported()
    except ImportError:
        raise GanpatchError("this needs the package torchvision, in the version that goes with torch") from None
    except RuntimeError:  # operator torchvision::nms does not exist
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}{_SCHEMA}")
        _declared.append(library)
        return _imported()


def made_importable() -> None:
    """Let libraries import torchvision that do so where it is installed, as torchmetrics does."""
    with contextlib.suppress(GanpatchError):
        torchvision_models()


def _imported() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torchvision.models
    return torchvision.models
