"""A generator: a module, how to draw its inputs from seeds, and how to read its images.

Images can be drawn in one step, or in three:

    generator = Generator(name="mine", module=module, latent=parse_latent("normal:100"))
    images = generator.sample([0, 1])                                   # [2, 3, H, W] in [0, 1]
    inputs = generator.inputs_of([0, 1])
    images = generator.images(generator.outputs(inputs))
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ganpatch.errors import GanpatchError, first_line
from ganpatch.generator.backend import Backend
from ganpatch.generator.device import Compute
from ganpatch.generator.fingerprints import Fingerprint, fingerprint
from ganpatch.generator.latents import Drawn, Labels, draw_inputs
from ganpatch.generator.layers import tensor_of
from ganpatch.generator.load_options import Origin

Inputs = tuple[Tensor, ...]  # a module's arguments, one row per seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """A module in eval mode and float32, with its input distribution and the range of its output values.

    `unused` are patterns of tensor names in its file that belong to something else: a discriminator, an encoder.
    `more` are arguments that are drawn after the latent and the label. `origin` is what it was loaded from, None for a
    module that was made in Python. `remarks` are sentences about what loading chose and left aside.
    """

    name: str
    module: nn.Module
    latent: Drawn
    labels: Labels | None = None
    range: tuple[float, float] = (-1.0, 1.0)
    unused: tuple[str, ...] = ()
    more: tuple[Drawn, ...] = ()
    compute: Compute = field(default_factory=Compute)
    origin: Origin | None = None
    remarks: tuple[str, ...] = ()

    def placed(self, compute: Compute) -> "Generator":
        """Move the module to the device and format of `compute`, and return the generator that runs there.

        Raises GanpatchError when there is no such device, or the module does not run there.
        """
        compute = compute.resolved()
        if isinstance(self.module, Backend):
            self.module.place(compute)
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
        """The device of the module's parameters."""
        return next((parameter.device for parameter in self.module.parameters()), torch.device("cpu"))

    def own_tensors(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a file's state dict that belong to the generator."""
        return {name: t for name, t in state.items() if not any(re.match(pattern, name) for pattern in self.unused)}

    def fits(self, state: Mapping[str, Tensor]) -> bool:
        """Return whether a file's state dict holds weights of this generator, by their names."""
        own = self.own_tensors(state)
        return bool(own) and set(own) <= set(self.module.state_dict())

    @property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of the module's parameters, as they are now."""
        return fingerprint(self.module)

    def first_seeds(self, count: int) -> Sequence[int]:
        """Return the first `count` seeds, fewer if there are fewer different inputs."""
        return range(min(count, self.latent.count or count))

    def inputs(self, seeds: Sequence[int]) -> tuple[Inputs, dict[str, Any]]:
        """Return the module's arguments as (args, kwargs), one row per seed, equal whatever the batch."""
        return self.inputs_of(seeds), {}

    def inputs_of(self, seeds: Sequence[int]) -> Inputs:
        """Return the module's arguments, one row per seed, equal whatever the batch."""
        return tuple(part.to(self.device) for part in draw_inputs(self.latent, self.labels, seeds, self.more))

    def outputs(self, inputs: Inputs) -> Any:
        """Run the module on its arguments, in the number format that was asked for."""
        with self.compute.casting():
            return self.module(*inputs)

    def images(self, output: Any) -> Tensor:
        """Return a module's output as images [N, 3, H, W] in [0, 1]; grey images are repeated to three channels."""
        tensor = tensor_of(output)
        if tensor is None or tensor.ndim != 4 or tensor.shape[1] not in (1, 3):
            found = f"a tensor {list(tensor.shape)}" if tensor is not None else f"a {type(output).__name__}"
            raise GanpatchError(f"{self.name}: the output is {found}, not images [N, 1 or 3, H, W]")
        low, high = self.range
        images = tensor.float().sub(low).div(high - low).clamp(0, 1)
        return images.expand(-1, 3, -1, -1)

    @torch.inference_mode()
    def sample(self, seeds: Sequence[int]) -> Tensor:
        """Return the images [N, 3, H, W] in [0, 1] of `seeds`, drawn in one batch."""
        return self.images(self.outputs(self.inputs_of(seeds)))
