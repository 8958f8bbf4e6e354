"""lightweight-gan, similar to FastGAN, with the tensor names of lucidrains' code; GE is the averaged generator.

z [N, Z] -> GE.initial_conv (4x4) -> GE.layers.0.0 (8x8), GE.layers.1.0, … -> GE.out_conv -> image in [0, 1].

A layer may have attention before it (`layers.i.2`), and excite a layer four sizes up (`layers.i.1`). Noise is fixed.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganpatch.errors import GanpatchError
from ganpatch.families.family import Built, Wish
from ganpatch.families.shared_layers import Gate, Noise, map_of, numbered
from ganpatch.families.stylegan2_lucid import Blur, DepthWise, Normed, linear_attention
from ganpatch.generator.latents import Latent
from ganpatch.untrusted.state_dicts import State

NAME = "lightweight-gan"

_HEAD = 64  # channels per head of attention
_AHEAD = 4  # an excited layer is this many sizes above the one that excites it


class Shuffled(nn.Module):
    """Twice the size: four times the channels, rearranged."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(before, 4 * after, 1), nn.SiLU(), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class GlobalContext(nn.Module):
    """Gates [N, C, 1, 1] from a weighted mean over all pixels (Cao et al. 2019)."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        self.to_k = nn.Conv2d(state[f"{name}.to_k.weight"].shape[1], 1, 1)
        self.net = _gates(state, f"{name}.net")

    def forward(self, x: Tensor) -> Tensor:
        weights = self.to_k(x).flatten(2).softmax(-1)
        return self.net(torch.matmul(x.flatten(2), weights.transpose(1, 2)).unsqueeze(-1))


class FrequencyContext(nn.Module):
    """Gates [N, C, 1, 1] from one frequency per channel (Qin et al. 2021)."""

    dct_weights: Tensor

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        self.register_buffer("dct_weights", torch.zeros(state[f"{name}.dct_weights"].shape))
        self.net = _gates(state, f"{name}.net")

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x * self.dct_weights).sum((2, 3), keepdim=True))


class Attention(nn.Module):
    """Linear attention, and full attention over the 3x3 neighbours of each pixel."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.to_lin_q, self.to_lin_kv = nn.Conv2d(channels, inner, 1, bias=False), DepthWise(channels, 2 * inner)
        self.to_q, self.to_kv = (nn.Conv2d(channels, n * inner, 1, bias=False) for n in (1, 2))
        self.to_out = nn.Conv2d(2 * inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        k, v = self.to_lin_kv(x).chunk(2, dim=1)
        far = F.gelu(linear_attention(self.to_lin_q(x), k, v))
        k, v = self.to_kv(x).chunk(2, dim=1)
        return self.to_out(torch.cat((far, _near(self.to_q(x), k, v)), 1))


class LightweightDrawing(nn.Module):
    """The generator that the tensors of `state` under `name` describe."""

    def __init__(self, state: State, name: str) -> None:
        super().__init__()
        latent, wide = state[f"{name}.initial_conv.0.weight"].shape[:2]
        first = nn.ConvTranspose2d(latent, wide, 4)
        self.initial_conv = nn.Sequential(first, _norm(state, f"{name}.initial_conv.1", wide), Gate())
        numbers = numbered(state, rf"{name}\.layers\.(\d+)\.")
        self.layers = nn.ModuleList(_layer(state, f"{name}.layers.{n}", 8 * 2**n) for n in numbers)
        channels, last = state[f"{name}.out_conv.weight"].shape[:2]
        self.out_conv = nn.Conv2d(last, channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = F.normalize(self.initial_conv(map_of(z)), dim=1)
        gates: dict[int, Tensor] = {}
        for place, layer in enumerate(self.layers):
            up, excite, attention = cast(nn.ModuleList, layer)
            if not isinstance(attention, nn.Identity):
                x = attention(x) + x
            x = up(x)
            if not isinstance(excite, nn.Identity):
                gates[place + _AHEAD - 1] = excite(x)
            if place in gates:
                x = x * gates[place]
        return self.out_conv(x)


class LightweightGenerator(nn.Module):
    """The averaged generator, under its name in the checkpoint."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.GE = LightweightDrawing(state, "GE")

    def forward(self, z: Tensor) -> Tensor:
        return self.GE(z)


def detect(state: State) -> bool:
    """Return whether `state` has GE with shuffled upsampling in its layers."""
    return {"GE.initial_conv.0.weight", "GE.layers.0.0.0.net.0.weight", "GE.out_conv.weight"} <= set(state)


def build(state: State, wish: Wish) -> Built:
    """Build the averaged generator of `state`."""
    wish.without(NAME, "labels", "repo", "truncation")
    if state["GE.out_conv.weight"].shape[0] == 4:
        raise GanpatchError(f"{NAME}: it draws transparent images, with 4 channels; only 1 and 3 are read")
    latent = Latent(kind="normal", shape=(state["GE.initial_conv.0.weight"].shape[0],))
    return Built(
        module=LightweightGenerator(state), latent=latent, range=(0.0, 1.0), unused=(r"G\.", r"D\.", r"D_aug\.")
    )


def _layer(state: State, name: str, size: int) -> nn.ModuleList:
    before, wide = state[f"{name}.0.0.net.0.weight"].shape[1], state[f"{name}.0.2.1.weight"].shape[0]
    kernel = state[f"{name}.0.2.1.weight"].shape[2]
    edge = kernel // 2
    conv = nn.Conv2d(before, wide, kernel)
    same = nn.Sequential(nn.ZeroPad2d((edge, edge - 1, edge, edge - 1)), conv)
    parts = [Shuffled(before, before), Blur(), same, Noise(size), _norm(state, f"{name}.0.4", wide), Gate()]
    excite: nn.Module = nn.Identity()
    if f"{name}.1.to_k.weight" in state:
        excite = GlobalContext(state, f"{name}.1")
    elif f"{name}.1.dct_weights" in state:
        excite = FrequencyContext(state, f"{name}.1")
    inner = state.get(f"{name}.2.fn.to_q.weight")
    attention = nn.Identity() if inner is None else Normed(before, Attention(before, inner.shape[0]))
    return nn.ModuleList([nn.Sequential(*parts), excite, attention])


def _norm(state: State, name: str, channels: int) -> nn.Module:
    if f"{name}.running_mean" in state:
        return nn.BatchNorm2d(channels)
    return nn.InstanceNorm2d(channels, affine=f"{name}.weight" in state)


def _gates(state: State, name: str) -> nn.Sequential:
    inner, before = state[f"{name}.0.weight"].shape[:2]
    after = state[f"{name}.2.weight"].shape[0]
    return nn.Sequential(nn.Conv2d(before, inner, 1), nn.LeakyReLU(0.1), nn.Conv2d(inner, after, 1), nn.Sigmoid())


def _near(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend to the 3x3 neighbours of every pixel: q, k, v [N, heads * 64, H, W]."""
    size = q.shape[2:]
    q = q.unflatten(1, (-1, _HEAD)).flatten(3) * _HEAD**-0.5
    k, v = (F.unfold(part, 3, padding=1).unflatten(1, (-1, _HEAD, 9)) for part in (k, v))
    weights = (q.unsqueeze(3) * k).sum(2, keepdim=True).softmax(3)
    return (weights * v).sum(3).flatten(1, 2).unflatten(2, size)
