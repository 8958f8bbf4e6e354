"""A generator: a module, how to draw its inputs from seeds, and how to read its images.

Example:

    generator = Generator(name="mine", module=module, latent=parse_latent("normal:100"))
    args, kwargs = generator.inputs(seeds=[0, 1])
    images = generator.images(generator.module(*args, **kwargs))      # [2, 3, H, W] in [0, 1]
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ganpatch.errors import GanpatchError, first_line
from ganpatch.generator.device import Compute
from ganpatch.generator.fingerprints import Fingerprint, fingerprint
from ganpatch.generator.latents import Drawn, Labels, draw_inputs
from ganpatch.generator.layers import tensor_of
from ganpatch.generator.load_options import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """A module in eval mode and float32, with its input distribution and the range of its output values.

    `unused` are patterns of tensor names that its file holds beside the generator: a discriminator, an encoder.
    `origin` is what it was loaded from, None for a module that was made in Python.
    """

    name: str
    module: nn.Module
    latent: Drawn
    labels: Labels | None = None
    range: tuple[float, float] = (-1.0, 1.0)
    unused: tuple[str, ...] = ()
    compute: Compute = field(default_factory=Compute)
    origin: Origin | None = None

    def placed(self, compute: Compute) -> "Generator":
        """Move the module to where `compute` says, and give the generator that runs there and so.

        Raises GanpatchError when there is no such device, or the module does not run so.
        """
        compute = compute.resolved()
        self.module.to(compute.device)
        if compute.channels_last:
            self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        placed = replace(self, compute=compute)
        if compute != Compute():
            placed._try_out()
        return placed

    def _try_out(self) -> None:
        try:
            self.sample([0, 1])
        except (RuntimeError, TypeError) as fault:
            reason = first_line(fault, None)
            raise GanpatchError(f"{self.name}: a forward pass {self.compute} fails: {reason}") from fault

    @property
    def device(self) -> torch.device:
        return next((parameter.device for parameter in self.module.parameters()), torch.device("cpu"))

    def own_tensors(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a file's state dict without those that stand beside the generator."""
        return {name: t for name, t in state.items() if not any(re.match(pattern, name) for pattern in self.unused)}

    def fits(self, state: Mapping[str, Tensor]) -> bool:
        """Return whether a file's state dict holds weights of this generator, by their names."""
        own = self.own_tensors(state)
        return bool(own) and set(own) <= set(self.module.state_dict())

    @property
    def fingerprint(self) -> Fingerprint:
        return fingerprint(self.module)

    def first_seeds(self, count: int) -> Sequence[int]:
        """Return the first `count` seeds, or as many as there are different inputs."""
        return range(min(count, self.latent.count or count))

    def inputs(self, seeds: Sequence[int]) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
        """Draw the module's arguments, one row per seed, equal whatever the batch."""
        drawn = draw_inputs(self.latent, self.labels, seeds)
        return tuple(part.to(self.device) for part in drawn), {}

    def outputs(self, args: tuple[Tensor, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run the module, in the number format that was asked for."""
        with self.compute.casting():
            return self.module(*args, **kwargs)

    def images(self, output: Any) -> Tensor:
        """Read a module's output as images [N, 3, H, W] in [0, 1]; grey images are repeated to three channels."""
        tensor = tensor_of(output)
        if tensor is None or tensor.ndim != 4 or tensor.shape[1] not in (1, 3):
            found = f"a tensor {list(tensor.shape)}" if tensor is not None else f"a {type(output).__name__}"
            raise GanpatchError(f"{self.name}: the output is {found}, not images [N, 1 or 3, H, W]")
        low, high = self.range
        images = tensor.float().sub(low).div(high - low).clamp(0, 1)
        return images.expand(-1, 3, -1, -1)

    @torch.inference_mode()
    def sample(self, seeds: Sequence[int]) -> Tensor:
        """Draw images [N, 3, H, W] in [0, 1] of `seeds`, in one batch."""
        args, kwargs = self.inputs(seeds)
        return self.images(self.outputs(args, kwargs))
