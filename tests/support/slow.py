"""A slow generator that reports when it has begun: for tests that stop it within a run."""

import os
import time
from pathlib import Path

import torch
from torch import Tensor, nn


class Slow(nn.Module):
    """Draws 8x8 images; the eighth pass writes the process id to $SLOW_FOLDER, and from there on each takes a while."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first = nn.ConvTranspose2d(6, 12, 4)
            self.last = nn.ConvTranspose2d(12, 3, 2, 2)
        self.passes = 0

    def forward(self, z: Tensor) -> Tensor:
        self.passes += 1
        folder = os.environ.get("SLOW_FOLDER")
        if folder and self.passes == 8:
            (Path(folder) / f"{os.environ.get('RANK', 0)}.pid").write_text(str(os.getpid()))
        if folder and self.passes >= 8:
            time.sleep(0.2)
        return torch.tanh(self.last(self.first(z[:, :, None, None]).relu()))
