"""FastGAN (Liu et al. 2021): spectral norm, gated linear units, and small maps that excite large ones.

z [N, Z] -> init (4x4) -> feat_8, feat_16, … -> to_big -> image; se_64 scales feat_64 by gates from feat_4, and so on.

Noise is one fixed map per layer. The small image of `to_128` only helps training and is not drawn.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import Gate, Noise, map_of, numbered
from ganpatch.generator.latents import Latent
from ganpatch.untrusted.state_dicts import State

NAME = "FastGAN"

_BACK = 16  # an excited map is so many times larger than the one that excites it
_SQUASHED = 1024  # the size from which on the image goes through tanh


class First(nn.Module):
    """z -> the 4x4 map."""

    def __init__(self, latent: int, channels: int) -> None:
        super().__init__()
        first = spectral_norm(nn.ConvTranspose2d(latent, channels, 4, bias=False))
        self.init = nn.Sequential(first, nn.BatchNorm2d(channels), Gate())

    def forward(self, z: Tensor) -> Tensor:
        return self.init(map_of(z))


class Excitation(nn.Module):
    """Scale the channels of a large map by gates from a small one."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        first, second = nn.Conv2d(before, after, 4, bias=False), nn.Conv2d(after, after, 1, bias=False)
        pool = nn.AdaptiveAvgPool2d(4)
        self.main = nn.Sequential(pool, spectral_norm(first), nn.SiLU(), spectral_norm(second), nn.Sigmoid())

    def forward(self, small: Tensor, large: Tensor) -> Tensor:
        return large * self.main(small)


class FastGANGenerator(nn.Module):
    """The generator that the tensors of `state` describe."""

    def __init__(self, state: State) -> None:
        super().__init__()
        latent, channels = state["init.init.0.weight_orig"].shape[:2]
        self.init = First(latent, channels)
        self.sizes = numbered(state, r"feat_(\d+)\.1\.")
        for size in self.sizes:
            self.add_module(f"feat_{size}", _up(state, f"feat_{size}", size))
        self.excited = numbered(state, r"se_(\d+)\.")
        for size in self.excited:
            after, before = state[f"se_{size}.main.1.weight_orig"].shape[:2]
            self.add_module(f"se_{size}", Excitation(before, after))
        for name in ("to_128", "to_big"):
            after, before, kernel, _ = state[f"{name}.weight_orig"].shape
            conv = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
            self.add_module(name, spectral_norm(conv))

    def forward(self, z: Tensor) -> Tensor:
        maps = {4: self.init(z)}
        for size in self.sizes:
            x = self.get_submodule(f"feat_{size}")(maps[size // 2])
            maps[size] = self.get_submodule(f"se_{size}")(maps[size // _BACK], x) if size in self.excited else x
        image: Tensor = self.get_submodule("to_big")(maps[self.sizes[-1]])
        return torch.tanh(image) if self.sizes[-1] >= _SQUASHED else image


def detect(state: State) -> bool:
    """Return whether `state` has FastGAN's first layer, features and outputs."""
    return {"init.init.0.weight_orig", "feat_8.1.weight_orig", "to_big.weight_orig", "to_128.weight_orig"} <= set(state)


def build(state: State, wish: Wish) -> Built:
    """Build the generator of `state`."""
    wish.without(NAME, "labels", "repo", "truncation")
    latent = Latent(kind="normal", shape=(state["init.init.0.weight_orig"].shape[0],))
    return Built(module=FastGANGenerator(state), latent=latent)


def _up(state: State, name: str, size: int) -> nn.Sequential:
    """Double the size; then one convolution, or two with noise."""
    layers: list[nn.Module] = [nn.Upsample(scale_factor=2, mode="nearest")]
    noisy = f"{name}.2.running_mean" not in state
    for place in (1, 5) if noisy else (1,):
        after, before = state[f"{name}.{place}.weight_orig"].shape[:2]
        layers.append(spectral_norm(nn.Conv2d(before, after, 3, padding=1, bias=False)))
        layers += [Noise(size)] if noisy else []
        layers += [nn.BatchNorm2d(after), Gate()]
    return nn.Sequential(*layers)
