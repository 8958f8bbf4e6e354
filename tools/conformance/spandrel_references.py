"""Small upscalers and restorers of the package spandrel: references for the families that it has the code of."""

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganpatch.torchvision_import import made_importable
from tools.conformance.reference import Reference


class Renamed(nn.Module):
    """An upscaler of spandrel whose tensors have the names of Real-ESRGAN or BSRGAN, which spandrel translates."""

    def __init__(self, module: nn.Module, names: dict[str, str]) -> None:
        super().__init__()
        self.inner, self.names = module, names

    def state_dict(self, *_args: Any, **_kwargs: Any) -> dict[str, Tensor]:  # type: ignore[override]
        return {self._renamed(name): tensor for name, tensor in self.inner.state_dict().items()}

    def load_state_dict(self, state: dict[str, Tensor], **_kwargs: Any) -> None:  # type: ignore[override]
        from spandrel.architectures.ESRGAN import ESRGANArch

        self.inner = ESRGANArch().load(state).model

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)

    def _renamed(self, name: str) -> str:
        for pattern, new in self.names.items():
            if match := re.fullmatch(pattern, name):
                return match.expand(new)
        raise KeyError(name)


def esrgan(_checkout: Path, names: dict[str, str] | None = None, **choices: Any) -> Reference:
    made_importable()
    from spandrel.architectures.ESRGAN import ESRGAN

    module = ESRGAN(num_filters=8, num_blocks=1, **({"scale": 4} | choices))
    channels = choices.get("out_nc", 3)
    module = Renamed(module, names) if names else module
    return Reference(module, lambda x: module(x), options={"latent": f"images:{channels},16,16"}, gain=1)


def names_of(body: str, dense: str, trunk: str, up: str, high: str) -> dict[str, str]:
    """Return the names of one block and two enlargements after those of the first release."""
    return {
        r"model\.0\.(\w+)": r"conv_first.\1",
        r"model\.1\.sub\.0\.RDB(\d)\.conv(\d)\.0\.(\w+)": rf"{body}.0.{dense}\1.conv\2.\3",
        r"model\.1\.sub\.1\.(\w+)": rf"{trunk}.\1",
        r"model\.3\.(\w+)": rf"{up}1.\1",
        r"model\.6\.(\w+)": rf"{up}2.\1",
        r"model\.8\.(\w+)": rf"{high}.\1",
        r"model\.10\.(\w+)": r"conv_last.\1",
    }


def compact(_checkout: Path, **choices: Any) -> Reference:
    made_importable()
    from spandrel.architectures.Compact import Compact

    module = Compact(num_feat=8, num_conv=2, **choices)
    return Reference(module, module, options={"latent": f"images:{choices.get('num_in_ch', 3)},16,16"}, gain=1)


def span(_checkout: Path, **choices: Any) -> Reference:
    made_importable()
    from spandrel.architectures.SPAN import SPAN

    module = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2, **choices)
    return Reference(module, lambda x: module(x), options={"latent": "images:3,16,16"}, gain=0.3)


def read_by_spandrel(place: str, name: str, **choices: Any) -> Reference:
    """Return a small network of one of spandrel's architectures, which ganpatch has no reader for."""
    made_importable()
    torch.manual_seed(0)
    made = getattr(importlib.import_module(f"spandrel.architectures.{place}"), name)(**choices)
    return Reference(made.eval(), lambda x: made(x), options={"latent": "images:3,64,64"}, own_weights=True)


SPANDREL: dict[str, tuple[str, str, dict[str, Any]]] = {
    "PLKSR": ("PLKSR", "PLKSR", {"dim": 16, "n_blocks": 2, "upscaling_factor": 2}),
    "RCAN": ("RCAN", "RCAN", {"n_resgroups": 1, "n_resblocks": 2, "n_feats": 16, "scale": 2}),
    "SAFMN": ("SAFMN", "SAFMN", {"dim": 16, "n_blocks": 2, "upscaling_factor": 2}),
    "NAFNet": ("NAFNet", "NAFNet", {"width": 8, "middle_blk_num": 1, "enc_blk_nums": [1], "dec_blk_nums": [1]}),
    "RealCUGAN": ("RealCUGAN", "UpCunet2x", {}),
    "SwinIR": (
        "SwinIR",
        "SwinIR",
        {
            "img_size": 16,
            "embed_dim": 16,
            "depths": [2],
            "num_heads": [2],
            "window_size": 8,
            "upscale": 2,
            "upsampler": "pixelshuffle",
            "mlp_ratio": 2,
        },
    ),
    "DAT": (
        "DAT",
        "DAT",
        {"img_size": 16, "embed_dim": 16, "depth": [2], "num_heads": [2], "split_size": [4, 4], "upscale": 2},
    ),
    "HAT": (
        "HAT",
        "HAT",
        {
            "img_size": 16,
            "embed_dim": 48,
            "depths": [2],
            "num_heads": [2],
            "window_size": 8,
            "upscale": 2,
            "upsampler": "pixelshuffle",
        },
    ),
    "OmniSR": ("OmniSR", "OmniSR", {"num_feat": 16, "res_num": 1, "up_scale": 2}),
}


OF_SPANDREL: dict[str, tuple[str, Callable[[Path], Reference]]] = {
    "esrgan": ("spandrel", lambda path: esrgan(path, names_of("body", "rdb", "conv_body", "conv_up", "conv_hr"))),
    "esrgan-bsrgan": (
        "spandrel",
        lambda path: esrgan(path, names_of("RRDB_trunk", "RDB", "trunk_conv", "upconv", "HRconv")),
    ),
    "esrgan-first": ("spandrel", lambda path: esrgan(path, in_nc=1, out_nc=1, scale=8)),
    "esrgan-plus": ("spandrel", lambda path: esrgan(path, plus=True, scale=1)),
    "esrgan-unshuffle": ("spandrel", lambda path: esrgan(path, in_nc=12, shuffle_factor=2)),
    "compact": ("spandrel", lambda path: compact(path, upscale=4)),
    "compact-grey": ("spandrel", lambda path: compact(path, upscale=1, num_in_ch=1, num_out_ch=1)),
    "span": ("spandrel", span),
    "span-no-norm": ("spandrel", lambda path: span(path, norm=False)),
    **{
        f"{name} (spandrel)": ("spandrel", lambda _path, made=made: read_by_spandrel(*made[:2], **made[2]))
        for name, made in SPANDREL.items()
    },
}
