"""The right output of each picture that goes into a network: a folder of pictures with the same names.

    targets = TargetPictures.of(generator, Path("sharp"))
    targets(seeds)                          # [N, 3, H, W] in [0, 1], what the network should have drawn

Where an input is the middle of a picture at its own scale, its target is the middle of a picture that is as many times
larger as the network enlarges. Where an input was scaled to fit, so is its target.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ganpatch.errors import GanpatchError, listed
from ganpatch.generator.generator import Generator
from ganpatch.generator.input_files import Images, picture_files, picture_size


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPictures:
    """The target of every input, as pictures [3, H, W]; `enlarged` says how many times larger they are."""

    inputs: Images
    targets: Images
    enlarged: int

    @classmethod
    def of(cls, generator: Generator, folder: Path) -> "TargetPictures":
        """Match the pictures of `folder` to the inputs of `generator`, by their names without suffixes.

        Raises GanpatchError when the generator takes no pictures, a picture has no target, or one of another size.
        """
        inputs = generator.latent
        if not isinstance(inputs, Images):
            raise GanpatchError(f"--targets {folder}: {generator.name} takes no pictures, so none has a right output")
        height, width = generator.sample([0]).shape[-2:]
        found = {path.stem: path for path in picture_files(folder)}
        files = tuple(found[path.stem] for path in inputs.files if path.stem in found)
        if missing := [path.name for path in inputs.files if path.stem not in found]:
            raise GanpatchError(f"--targets {folder}: it has no picture for {listed(missing, 3)}")
        enlarged, rest = divmod(height, inputs.shape[1])
        if inputs.cropped and (rest or width != enlarged * inputs.shape[2]):
            raise GanpatchError(f"--targets {folder}: the network turns {inputs.shape[1:]} into {(height, width)}")
        shape = (3, height, width)
        made = cls(inputs=inputs, targets=Images(shape=shape, files=files, cropped=inputs.cropped), enlarged=enlarged)
        made._check_sizes()
        return made

    def __call__(self, seeds: Sequence[int]) -> Tensor:
        """Return the target pictures [N, 3, H, W] of `seeds`."""
        return torch.stack([self.targets.pixels(seed) for seed in seeds]) / 255

    def _check_sizes(self) -> None:
        """Raise GanpatchError where a target is not as many times larger than its input as it should be."""
        if not self.inputs.cropped:
            return
        for path, target in zip(self.inputs.files, self.targets.files, strict=True):
            height, width = picture_size(path)
            wanted, have = (height * self.enlarged, width * self.enlarged), picture_size(target)
            if have != wanted:
                raise GanpatchError(
                    f"'{target}' is {have[0]}x{have[1]}; the target of '{path.name}' is {wanted[0]}x{wanted[1]}, "
                    f"{self.enlarged} times its size"
                )
