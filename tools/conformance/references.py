"""Small models of the real code of each family, from checkouts that the user has: what tools/conformance compares with.

Each reference makes a module of the family's own code, says how it is loaded here, and how it is called there. What the
real code needs and this test does not (compiled CUDA operations, a GPU, loggers) is replaced by a stub.
"""

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from ganpatch.families.shared_layers import fixed_noise
from ganpatch.torchvision_import import made_importable
from tools.conformance.reference import Reference
from tools.conformance.spandrel_references import OF_SPANDREL

RANDN = torch.randn


class Anything(types.ModuleType):
    """Replaces a package that is imported and not needed."""

    __path__: list[str] = []

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return mock.MagicMock()


def stand_in(*names: str) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:
            sys.modules[name] = Anything(name)


def constant_randn(*shape: Any, **_kwargs: Any) -> Tensor:
    """The fixed noise that ganpatch uses, in place of torch.randn inside the real code's forward pass."""
    sizes = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    with mock.patch("torch.randn", RANDN):
        return fixed_noise(sizes[-1]).expand(sizes)


def stand_in_for_pkg_resources() -> None:
    """Stand in for what setuptools 82 dropped, and NVlabs' operators import to compare versions."""
    if importlib.util.find_spec("pkg_resources") is None:
        sys.modules["pkg_resources"] = Anything("pkg_resources")
        sys.modules["pkg_resources"].parse_version = torch.torch_version.TorchVersion  # type: ignore[attr-defined]


def stylegan3(checkout: Path, generation: str = "3", conditional: bool = False) -> Reference:
    sys.path.insert(0, str(checkout))
    stand_in_for_pkg_resources()
    names = ["networks_stylegan3"] if generation == "3" else ["networks_stylegan2", "networks"]
    file = next(name for name in names if (checkout / "training" / f"{name}.py").exists())
    networks = importlib.import_module(f"training.{file}")
    size = {"z_dim": 16, "c_dim": 3 if conditional else 0, "w_dim": 16, "img_resolution": 32, "img_channels": 3}
    more = {"channel_base": 512, "channel_max": 16} | ({"num_layers": 6} if generation == "3" else {})
    given = {"synthesis_kwargs": more} if file == "networks" else more
    module = networks.Generator(**size, **given)
    labels = (lambda given: given[0]) if conditional else (lambda given: torch.zeros(0))

    def draw(z: Tensor, *given: Tensor) -> Tensor:
        c = labels(given) if given else torch.zeros(len(z), 0)
        return module(z, c, noise_mode="const", force_fp32=True)

    return Reference(module, draw, options={"repo": str(checkout)}, gain=0)


def rosinality(checkout: Path) -> Reference:
    sys.path.insert(0, str(checkout))
    with mock.patch("torch.utils.cpp_extension.load", return_value=None):
        code = importlib.import_module("model")
    module = code.Generator(32, 16, 3, channel_multiplier=1)
    return Reference(module, lambda z: module([z], randomize_noise=False)[0], gain=0)


def fastgan(checkout: Path) -> Reference:
    sys.path.insert(0, str(checkout))
    module = importlib.import_module("models").Generator(ngf=8, nz=12, im_size=256)

    def draw(z: Tensor) -> Tensor:
        with mock.patch("torch.randn", constant_randn):
            return module(z)[0]

    return Reference(module, draw)


def biggan(checkout: Path, deep: bool = False, **choices: Any) -> Reference:
    sys.path.insert(0, str(checkout))
    code = importlib.import_module("BigGANdeep" if deep else "BigGAN")
    given = {
        "G_ch": 8,
        "dim_z": 20,
        "resolution": 32,
        "G_attn": "16",
        "n_classes": 5,
        "skip_init": True,
        "no_optim": True,
    }
    module = code.Generator(**(given | choices))
    gain = 0.5 if choices.get("G_param") == "none" else 2.5
    return Reference(module, lambda z, label: module(z, module.shared(label)), gain=gain)


def hf_biggan(checkout: Path) -> Reference:
    sys.path.insert(0, str(checkout))
    stand_in("boto3", "botocore", "botocore.exceptions", "requests", "tqdm")
    sys.modules["pytorch_pretrained_biggan"] = package = types.ModuleType("pytorch_pretrained_biggan")
    package.__path__ = [str(checkout / "pytorch_pretrained_biggan")]
    config = importlib.import_module("pytorch_pretrained_biggan.config").BigGANConfig(
        output_dim=64, z_dim=8, class_embed_dim=8, channel_width=8, num_classes=6, n_stats=51,
        layers=[(False, 16, 16), (True, 16, 8), (False, 8, 8), (True, 8, 4), (False, 4, 4), (True, 4, 1)],
        attention_layer_position=4,
    )  # fmt: skip
    config.layers[5] = (True, 4, 2)
    config.layers.append((False, 2, 2))
    config.layers.append((True, 2, 1))
    module = importlib.import_module("pytorch_pretrained_biggan.model").BigGAN(config)
    return Reference(module, lambda z, label: module(z, label, 0.37), options={"truncation": 0.37})


def zoo_progressive(checkout: Path) -> Reference:
    sys.path.insert(0, str(checkout))
    module = importlib.import_module("models.networks.progressive_conv_net").GNet(12, 16)
    for depth in (16, 8, 8):
        module.addScale(depth)
    return Reference(module, module, gain=0)


def zoo_dcgan(checkout: Path) -> Reference:
    sys.path.insert(0, str(checkout))
    return Reference(module := importlib.import_module("models.networks.DCGAN_nets").GNet(12, 3, 4), module)


def gandissect(checkout: Path) -> Reference:
    sys.path.insert(0, str(checkout))
    stand_in("torchvision", "torchvision.transforms", "torchvision.models")
    sys.modules["netdissect"] = package = types.ModuleType("netdissect")
    package.__path__ = [str(checkout / "netdissect")]
    module = importlib.import_module("netdissect.proggan").ProgressiveGenerator(sizes=[12, 16, 12, 8])
    return Reference(module, lambda z: module(z[:, :, None, None]), gain=0)


def resnet(checkout: Path, **choices: Any) -> Reference:
    sys.path.insert(0, str(checkout))
    networks = importlib.import_module("models.networks")
    norm = networks.get_norm_layer(choices.pop("norm", "instance"))
    module = networks.ResnetGenerator(3, 3, 4, norm_layer=norm, n_blocks=3, **choices)
    return Reference(module, module, options={"latent": "images:3,64,64"})


def unet(checkout: Path) -> Reference:
    sys.path.insert(0, str(checkout))
    networks = importlib.import_module("models.networks")
    module = networks.UnetGenerator(3, 3, 6, 4, norm_layer=networks.get_norm_layer("batch"), use_dropout=True)
    return Reference(module, module, options={"latent": "images:3,64,64"})


def _lucid_modules(checkout: Path, name: str) -> Any:
    sys.path.insert(0, str(checkout))
    stand_in("kornia", "kornia.filters", "adabelief_pytorch", "contrastive_learner", "aim", "torchvision.transforms")
    stand_in("torchvision", "vector_quantize_pytorch", "tqdm", "wandb", "fire", "retry", "retry.api", "pandas")
    sys.modules[name] = package = types.ModuleType(name)
    package.__path__ = [str(checkout / name)]
    with mock.patch("torch.cuda.is_available", return_value=True):
        return importlib.import_module(f"{name}.{name}")


def lucidrains(checkout: Path, **choices: Any) -> Reference:
    code = _lucid_modules(checkout, "stylegan2_pytorch")
    with mock.patch.object(nn.Module, "cuda", lambda self, *args: self):
        module = code.StyleGAN2(32, latent_dim=16, network_capacity=2, style_depth=2, attn_layers=[3], **choices)
    noise = torch.rand(1, 32, 32, 1, generator=torch.Generator().manual_seed(32))

    def draw(z: Tensor) -> Tensor:
        styles = code.styles_def_to_tensor([(module.SE(z), module.GE.num_layers)])
        return module.GE(styles, noise.expand(len(z), -1, -1, -1))

    return Reference(module, draw)


def lightweight(checkout: Path, **choices: Any) -> Reference:
    code = _lucid_modules(checkout, "lightweight_gan")
    with mock.patch.object(nn.Module, "cuda", lambda self, *args: self):
        given = {"latent_dim": 16, "image_size": 128, "fmap_max": 16, "attn_res_layers": [16], "optimizer": "adam"}
        module = code.LightweightGAN(**(given | choices))

    def draw(z: Tensor) -> Tensor:
        with mock.patch("torch.randn", constant_randn):
            return module.GE(z)

    return Reference(module, draw)


def autoencoder(_checkout: Path) -> Reference:
    made_importable()
    from diffusers import AutoencoderKL

    config = {"block_out_channels": [8, 16, 16], "latent_channels": 4, "norm_num_groups": 4, "sample_size": 64}
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 3, "up_block_types": ["UpDecoderBlock2D"] * 3}
    module = AutoencoderKL(**config, **blocks, layers_per_block=1)
    return Reference(module, lambda z: module.decode(z / 0.18215).sample, config=config)


def autoencoder_tiny(_checkout: Path) -> Reference:
    made_importable()
    from diffusers import AutoencoderTiny

    module = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8),
        num_encoder_blocks=(1, 1, 1, 1), num_decoder_blocks=(1, 1, 1, 1),
    )  # fmt: skip
    return Reference(module, lambda z: module.decode(z).sample, options={"latent": "normal:4,8,8"})


def taesd(checkout: Path, channels: int, **choices: Any) -> Reference:
    sys.path.insert(0, str(checkout))
    module = importlib.import_module("taesd").Decoder(channels, **choices)
    return Reference(module, module, options={"latent": f"normal:{channels},4,4"}, gain=1)


def r3gan(checkout: Path, classes: int = 0) -> Reference:
    sys.path.insert(0, str(checkout))
    stand_in_for_pkg_resources()
    sys.modules["training"] = package = types.ModuleType("training")
    package.__path__ = [str(checkout / "training")]
    widths = {"WidthPerStage": [16, 16, 8], "CardinalityPerStage": [4, 4, 2], "BlocksPerStage": [1, 1, 1]}
    module = importlib.import_module("training.networks").Generator(
        NoiseDimension=6, **widths, ExpansionFactor=2, FP16Stages=[], c_dim=classes, img_resolution=16,
        ConditionEmbeddingDimension=4 if classes else 0,
    )  # fmt: skip
    return Reference(module, lambda z, c=None: module(z, c), gain=1)


def genforce(checkout: Path) -> Reference:
    """Not a family: the user's own code with --arch, a dict as output, arguments for every call."""
    sys.path.insert(0, str(checkout))
    sys.modules["models"] = package = types.ModuleType("models")
    package.__path__ = [str(checkout / "models")]
    arguments = {"resolution": 32, "z_space_dim": 16, "w_space_dim": 16, "mapping_layers": 2, "mapping_fmaps": 16}
    arguments |= {"fmaps_base": 512, "fmaps_max": 16}
    module = importlib.import_module("models.stylegan2_generator").StyleGAN2Generator(**arguments)
    options = {"arch": "models.stylegan2_generator:StyleGAN2Generator", "arch_args": arguments, "latent": "normal:16"}
    return Reference(module, lambda z: module(z)["image"], options=options | {"call": {"trunc_psi": None}}, gain=0)


def hub_net(width: int = 4) -> nn.Module:
    from huggingface_hub import PyTorchModelHubMixin

    class HubNet(nn.Module, PyTorchModelHubMixin):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.first, self.out = nn.ConvTranspose2d(6, 8 * width, 8), nn.Conv2d(8 * width, 3, 3, padding=1)

        def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
            x = torch.relu(self.first(z[:, :, None, None]))
            return torch.tanh(self.out(x)), x

    return HubNet(width=width)


def hub(_checkout: Path) -> Reference:
    module = hub_net(width=2)
    options = {"arch": f"{__file__}:hub_net", "latent": "normal:6"}
    return Reference(module, lambda z: module(z)[0], options=options)


REFERENCES: dict[str, tuple[str, Callable[[Path], Reference]]] = {
    "stylegan2-ada": ("stylegan2-ada", lambda path: stylegan3(path, "2")),
    "stylegan2-ada-conditional": ("stylegan2-ada", lambda path: stylegan3(path, "2", conditional=True)),
    "stylegan2-in-stylegan3": ("stylegan3", lambda path: stylegan3(path, "2")),
    "stylegan3": ("stylegan3", stylegan3),
    "rosinality": ("rosinality", rosinality),
    "lucidrains": ("lucidrains", lucidrains),
    "lucidrains-no-const": ("lucidrains", lambda path: lucidrains(path, no_const=True)),
    "lightweight-gan": ("lightweight-gan", lightweight),
    "lightweight-gan-grey": ("lightweight-gan", lambda path: lightweight(path, greyscale=True, freq_chan_attn=True)),
    "fastgan": ("fastgan", fastgan),
    "biggan": ("biggan", biggan),
    "biggan-hier": ("biggan", lambda path: biggan(path, hier=True, shared_dim=6, mybn=True)),
    "biggan-unshared": ("biggan", lambda path: biggan(path, G_shared=False, G_param="none")),
    "biggan-deep": ("biggan", lambda path: biggan(path, deep=True, hier=True, shared_dim=12)),
    "hf-biggan": ("hf-biggan", hf_biggan),
    "gan-zoo-progressive": ("gan_zoo", zoo_progressive),
    "gan-zoo-dcgan": ("gan_zoo", zoo_dcgan),
    "gandissect": ("gandissect", gandissect),
    "cyclegan": ("cyclegan", resnet),
    "cyclegan-batch-norm": ("cyclegan", lambda path: resnet(path, norm="batch", use_dropout=True)),
    "pix2pix": ("cyclegan", unet),
    "diffusers-kl": ("diffusers", autoencoder),
    "diffusers-tiny": ("diffusers", autoencoder_tiny),
    **OF_SPANDREL,
    "taesd": ("taesd", lambda path: taesd(path, 4)),
    "taesd-midblock": ("taesd", lambda path: taesd(path, 32, use_midblock_gn=True)),
    "r3gan": ("r3gan", r3gan),
    "r3gan-conditional": ("r3gan", lambda path: r3gan(path, classes=3)),
    "genforce (--arch)": ("genforce", genforce),
    "hub mixin (--arch)": ("huggingface_hub", hub),
}
