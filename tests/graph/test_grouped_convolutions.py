"""StyleGAN2's fused modulated convolution, `groups=batch`, for any batch size."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ganpatch
from ganpatch import Patch, export_onnx
from ganpatch.export.file_runners import compared, open_onnx, output_of
from ganpatch.export.repairing import exported_program
from ganpatch.graph.grouped_convolutions import _convolution, _transposed_convolution


class Fused(nn.Module):
    """The batch in the channels; every second layer upsamples by a transposed convolution with the same trick."""

    def __init__(self, before: int, after: int, up: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, 3, 3) * 0.2)
        self.affine, self.up = nn.Linear(8, before), up
        nn.init.ones_(self.affine.bias)
        self.register_buffer("noise", torch.randn(8, 8) * 0.1)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        n = x.shape[0]
        weight = self.weight[None] * self.affine(w)[:, None, :, None, None]
        weight = weight * (weight.square().sum([2, 3, 4], keepdim=True) + 1e-8).rsqrt()
        after, before = self.weight.shape[:2]
        x = x.reshape(1, -1, *x.shape[2:])
        if self.up:
            weight = weight.transpose(1, 2).reshape(n * before, after, 3, 3)
            x = F.conv_transpose2d(x, weight, stride=2, padding=1, output_padding=1, groups=n)
        else:
            x = F.conv2d(x, weight.reshape(n * after, before, 3, 3), padding=1, groups=n)
        x = x.reshape(n, after, *x.shape[2:])
        return F.leaky_relu(x + self.noise, 0.2)


class FusedGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.const = nn.Parameter(torch.randn(1, 6, 4, 4))
        self.conv0, self.conv1, self.torgb = Fused(6, 5, True), Fused(5, 4, False), nn.Conv2d(4, 3, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.const.expand(z.shape[0], -1, -1, -1)
        return self.torgb(self.conv1(self.conv0(x, z), z))


@pytest.fixture(scope="module")
def generator() -> ganpatch.Generator:
    torch.manual_seed(0)
    return ganpatch.load(FusedGenerator(), latent="normal:8")


def test_any_batch_size_in_onnx_and_pt2(
    generator: ganpatch.Generator, tmp_path: Path, make_patch: Callable[..., Patch]
) -> None:
    patch = make_patch(generator, {"layer": "conv0", "channels": 5, "units": [1, 3], "value": 0.3})
    exported = export_onnx(generator, tmp_path / "fixed.onnx", patch=patch)
    assert exported.decisions[0].outcome == "inserted", "behind a demodulation"
    args = generator.inputs_of(range(2))
    program = exported_program(generator.module, args).module()
    for seeds in (range(1), range(5), range(10, 17)):
        inputs, _ = generator.inputs(seeds)
        wanted = output_of(generator.module, inputs, patch.edits)
        assert compared(wanted, open_onnx(exported.path).run(inputs)).largest < 1e-5
        assert compared(output_of(generator.module, inputs), program(*inputs)).largest < 1e-5


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, (1, 0)])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
def test_the_same_sums(stride: int, padding: object, dilation: int, bias: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3 * 4, 9, 8, dtype=torch.float64)
    given = {"input": x, "stride": stride, "padding": padding, "dilation": dilation, "groups": 3}
    if bias:
        given["bias"] = torch.randn(3 * 5, dtype=torch.float64)
    weight = torch.randn(3 * 5, 4, 3, 2, dtype=torch.float64)
    assert torch.allclose(_convolution({**given, "weight": weight}), F.conv2d(**given, weight=weight))
    weight = torch.randn(3 * 4, 5, 3, 2, dtype=torch.float64)
    for more in ({}, {"output_padding": 1}) if stride == 2 or dilation == 2 else ({},):
        given_ = {**given, **more, "weight": weight}
        assert torch.allclose(_transposed_convolution(given_), F.conv_transpose2d(**given_))
