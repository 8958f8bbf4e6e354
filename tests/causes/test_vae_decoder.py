"""The decoder of a variational autoencoder is dissected and edited like any generator: a small one, on the scenes."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ganpatch
from ganpatch import Generator, bake, dissect, load_segmenter
from ganpatch.causes.concept_shares import concept_change
from ganpatch.causes.interventions import Interventions, ablated
from ganpatch.families.churches import scenes
from tests.support.shared import patch_for

STEPS, BATCH, LATENT = 90, 16, 24


class Decoder(nn.Module):
    """z [N, 24] -> images [N, 3, 64, 64] in [0, 1], GroupNorm and SiLU as in the decoders of diffusion models."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(LATENT, 48 * 64)
        widths = (48, 32, 24, 12)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(4, b), nn.SiLU()) for a, b in pairwise(widths)
        )
        self.out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = F.silu(self.first(z).view(-1, 48, 8, 8))
        for block in self.blocks:
            x = F.interpolate(block(x), scale_factor=2)
        return torch.sigmoid(self.out(x))


@pytest.fixture(scope="module")
def vae() -> Generator:
    """Train encoder and decoder for a few seconds; the encoder is then thrown away."""
    torch.manual_seed(0)
    images = np.stack([scenes.draw(seed, size=64).image for seed in range(3_000_000, 3_000_200)])
    data = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    encoder = nn.Sequential(
        nn.Conv2d(3, 16, 4, 4), nn.SiLU(), nn.Conv2d(16, 32, 4, 4), nn.SiLU(), nn.Flatten(), nn.Linear(512, 2 * LATENT)
    )
    decoder = Decoder()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=4e-3)
    for _ in range(STEPS):
        batch = data[torch.randint(len(data), (BATCH,))]
        mean, log_variance = encoder(batch).chunk(2, 1)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        divergence = (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        loss = F.mse_loss(decoder(z), batch) + 2e-3 * divergence
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return ganpatch.load(decoder.requires_grad_(False), latent=f"normal:{LATENT}", range=(0, 1))


def test_a_decoder_is_dissected_edited_and_baked(vae: Generator) -> None:
    segmenter = load_segmenter("churches", vae)
    found = dissect(vae, segmenter, ["blocks.0", "blocks.1"], range(40))
    sky, grass = found.index("sky"), found.index("grass")
    assert found["blocks.1"].iou[:, sky].max() > 0.4
    assert found["blocks.1"].iou[:, grass].max() > 0.4
    bench = Interventions(vae, segmenter, "blocks.2")
    prefix = bench.prefix(range(200, 208))
    effect = torch.stack([bench.shares(prefix, ablated(torch.tensor([unit])))[:, grass].mean() for unit in range(12)])
    order = effect.argsort().tolist()  # the first leave least grass

    def removed(units: list[int]) -> float:
        edit = patch_for(vae, {"layer": "blocks.2", "channels": 12, "units": sorted(units)}).edits
        return concept_change(vae, segmenter, edit, range(300, 320)).removed("grass")

    assert removed(order[:6]) > removed(order[6:]) + 0.05, "what was learned is true on other seeds"
    patch = patch_for(vae, {"layer": "blocks.0.0", "channels": 32, "units": range(6), "alpha": 0.5})
    assert bake(vae, patch).proof.float64 < 1e-9
