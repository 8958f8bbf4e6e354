"""What a module answers whose passes do not run in torch: an ONNX graph in onnxruntime.

It looks like any module: it has layers with names, hooks on them see activations [N, C, ...] and may replace them, and
calling it returns images. What torch would answer about parameters, it answers itself.
"""

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from ganpatch.generator.fingerprints import Fingerprint

if TYPE_CHECKING:
    from ganpatch.generator.device import Compute


class Backend(nn.Module):
    """A module that runs outside torch."""

    @abstractmethod
    def place(self, compute: "Compute") -> None:
        """Run on this device from now on; raise GanpatchError where that cannot be."""

    @property
    @abstractmethod
    def identity(self) -> Fingerprint:
        """The fingerprint of the weights."""

    @property
    @abstractmethod
    def is_known(self) -> bool:
        """Whether `identity` is known to be that of the torch model; else a patch is taken to fit."""

    @abstractmethod
    def reopened(self, path: Path) -> "Backend":
        """Return the same kind of module from another file, called alike."""

    @abstractmethod
    def why_missing(self, layer: str) -> str:
        """Return why there is no such layer, or ""."""
