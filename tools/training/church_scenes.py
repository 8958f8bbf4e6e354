"""The training scenes of `train_churches.py`, drawn in a process of their own and read while their folder grows."""

import multiprocessing
import os
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor

from ganpatch.families.churches.faults import FAULTS, FIRST_SLOT, RATES
from ganpatch.families.churches.scenes import CONCEPTS, SIZE, SLOTS, draw_slots, slots_of

FIRST_SEED = 1_000_000  # training scenes; held-out scenes and tests use seeds from HELD_OUT on
HELD_OUT = range(2_000_000, 2_002_000)
FORCED = 0.3  # of the training scenes have one fault more than by chance: a fault of 5 % is learned slowly
EVERY = 200
# Weights of the pixels of CONCEPTS: doors and windows are small, and are what makes a church; faults are rare.
WEIGHTS = (1, 2, 1.5, 1, 2, 2, 2.5, 2.5, 3.5, 3.5, 3, 3, 3, 3)


def training_slots(seed: int) -> tuple[np.ndarray, bool]:
    """Return the [96] slots of a training scene, and whether a fault was forced on it."""
    slots, source = slots_of(seed), np.random.default_rng((seed, 1))
    forced = bool(source.random() < FORCED)
    if forced:
        fault = int(source.integers(len(FAULTS)))
        part = source.uniform(1 - RATES[FAULTS[fault]], 1)
        slots[FIRST_SLOT + 2 * fault] = NormalDist().inv_cdf(min(part, 0.9999))
    return slots, forced


class SceneFolder:
    """Training scenes in `folder`, up to `count`; a process of its own draws those that are missing."""

    def __init__(self, folder: Path, count: int, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.images = _array(folder / "images.npy", (count, SIZE, SIZE, 3), np.uint8)
        self.labels = _array(folder / "labels.npy", (count, SIZE, SIZE), np.uint8)
        self.slots = _array(folder / "slots.npy", (count, SLOTS), np.float32)
        self.forced = _array(folder / "forced.npy", (count,), np.bool_)
        self._drawn = _array(folder / "drawn.npy", (1,), np.int64)
        self._weights = torch.tensor(WEIGHTS).float()
        self._source = np.random.default_rng(seed)
        if len(self) < count:
            multiprocessing.get_context("spawn").Process(
                target=_draw_missing, args=(folder, count), daemon=True
            ).start()

    def __len__(self) -> int:
        return int(self._drawn[0])

    def batch(self, size: int, *, by_chance: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return z [N, 96], its scenes [N, 3, 128, 128] in [-1, 1], and weights [N, 1, 128, 128] of their pixels.

        Faults are more frequent than by chance, unless `by_chance`.
        """
        rows = self._source.integers(len(self), size=size)
        while by_chance and (forced := self.forced[rows]).any():
            rows[forced] = self._source.integers(len(self), size=int(forced.sum()))
        weights = self._weights[torch.from_numpy(self.labels[rows]).long()].unsqueeze(1)
        return torch.from_numpy(self.slots[rows]), as_floats(self.images[rows]), weights

    def labelled(self, size: int) -> tuple[Tensor, Tensor]:
        """Return images [N, 3, 128, 128] in [0, 1] and their labels [N, 128, 128]."""
        rows = self._source.integers(len(self), size=size)
        return as_floats(self.images[rows]).add(1).div(2), torch.from_numpy(self.labels[rows]).long()


def _array(path: Path, shape: tuple[int, ...], kind: type) -> np.ndarray:
    """Open an array on disk, or make it, or make it longer."""
    if not path.exists():
        return open_memmap(path, "w+", kind, shape)
    found = np.load(path, mmap_mode="r+")
    if len(found) >= shape[0]:
        return found
    longer = open_memmap(path.with_suffix(".longer"), "w+", kind, shape)
    longer[: len(found)] = found
    path.with_suffix(".longer").rename(path)
    return longer


def _draw_missing(folder: Path, count: int) -> None:
    """Draw the scenes that are missing, as long as the process that asked for them lives."""
    asked = os.getppid()
    names = ("images", "labels", "slots", "forced", "drawn")
    images, labels, slots, forced, drawn = (np.load(folder / f"{name}.npy", mmap_mode="r+") for name in names)
    for row in range(int(drawn[0]), count):
        slots[row], forced[row] = training_slots(FIRST_SEED + row)
        scene = draw_slots(slots[row])
        images[row], labels[row] = scene.image, scene.labels
        if (row + 1) % EVERY == 0 or row + 1 == count:
            drawn[0] = row + 1
            if os.getppid() != asked:
                return


def as_floats(images: np.ndarray) -> Tensor:
    """Return images [N, H, W, 3] uint8 as [N, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1)


assert len(WEIGHTS) == len(CONCEPTS)
