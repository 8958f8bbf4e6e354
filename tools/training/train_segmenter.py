"""Train the bundled segmenter: a small U-Net on the project's scenes, whose label maps are known exactly.

    python -m tools.training.train_segmenter --folder runs/segmenter

Training scenes are blurred, shifted in colour and made noisy, so that the net reads what a generator draws as well.
Writes FOLDER/churches.safetensors and prints its figures on held-out scenes, which CARD.md gives.
"""

import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from ganpatch.families.churches.scenes import CONCEPTS, draw
from ganpatch.segmenters.unet import UNet

TRAINING = range(3_000_000, 3_020_000)
HELD_OUT = range(2_000_000, 2_001_000)
BATCH = 32
# Doors and windows are less than a hundredth of the pixels each.
WEIGHTS = (1, 2, 2, 1, 2, 2, 1.5, 2, 4, 4)


def scenes(seeds: range, processes: int) -> tuple[Tensor, Tensor]:
    """Draw images [N, 3, 64, 64] uint8 and labels [N, 64, 64] uint8."""
    with ProcessPoolExecutor(processes) as pool:
        drawn = list(pool.map(draw, seeds, chunksize=200))
    images = np.stack([scene.image for scene in drawn]).transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(np.stack([s.labels for s in drawn]))


def spoiled(images: Tensor) -> Tensor:
    """Blur, tint, brighten and roughen images [N, 3, H, W] in [0, 1], each by its own amount."""
    count = len(images)
    blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    images = images.lerp(blurred, torch.rand(count, 1, 1, 1) * 0.9)
    images = images * (1 + 0.15 * torch.randn(count, 1, 1, 1)) + 0.06 * torch.randn(count, 3, 1, 1)
    coarse = F.interpolate(torch.randn(count, 3, 8, 8), images.shape[-2:], mode="bilinear")
    images = images + torch.rand(count, 1, 1, 1) * 0.12 * coarse
    return (images + torch.rand(count, 1, 1, 1) * 0.06 * torch.randn_like(images)).clamp(0, 1)


@torch.inference_mode()
def figures(net: UNet, images: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """Return pixel accuracy and the IoU of each concept."""
    net.eval()
    guessed = torch.cat([net(part.float() / 255).argmax(1) for part in images.split(100)])
    net.train()
    pairs = labels.long().flatten() * len(CONCEPTS) + guessed.flatten()
    table = torch.bincount(pairs, minlength=len(CONCEPTS) ** 2).view(len(CONCEPTS), -1).double()
    both = table.diagonal()
    return (both.sum() / table.sum()).item(), both / (table.sum(0) + table.sum(1) - both)


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default="runs/segmenter", show_default=True)
@click.option("--steps", default=2500, show_default=True)
@click.option("--threads", default=2, show_default=True)
def main(folder: Path, steps: int, threads: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    images, labels = scenes(TRAINING, threads)
    held_out = scenes(HELD_OUT, threads)
    net = UNet(len(CONCEPTS))
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    started = time.monotonic()
    for step in range(1, steps + 1):
        chosen = torch.randint(len(images), (BATCH,))
        batch, wanted = images[chosen].float() / 255, labels[chosen].long()
        if step % 2:
            batch, wanted = batch.flip(3), wanted.flip(2)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(spoiled(batch)), wanted, weight=torch.tensor(WEIGHTS))
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 250 == 0:
            accuracy, ious = figures(net, *held_out)
            row = "  ".join(f"{name} {iou:.3f}" for name, iou in zip(CONCEPTS, ious.tolist(), strict=True))
            print(f"{step}  {(time.monotonic() - started) / 60:.1f} min  accuracy {accuracy:.4f}  {row}", flush=True)
            state = {
                name: value.half() if value.is_floating_point() else value for name, value in net.state_dict().items()
            }
            save_file(state, folder / "churches.safetensors")


if __name__ == "__main__":
    main()
