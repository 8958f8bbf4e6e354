"""Train the bundled segmenter: a small U-Net on the project's scenes, whose label maps are known exactly.

    python -m tools.training.train_segmenter --folder runs/segmenter --scenes runs/churches/scenes

The scenes are those of `train_churches.py`, which has drawn them already; a new folder is drawn first. They are
blurred, shifted in colour and made noisy, so that the net reads what a generator draws as well.
Writes FOLDER/churches.safetensors and prints its figures on held-out scenes, which CARD.md reports.
"""

import time
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from ganpatch.families.churches.scenes import CONCEPTS, draw
from ganpatch.segmenters.unet import UNet
from tools.training.church_scenes import HELD_OUT, WEIGHTS, SceneFolder

BATCH = 16
MEASURED = HELD_OUT[:1000]
LOOK_EVERY = 250  # steps


def held_out() -> tuple[Tensor, Tensor]:
    """Return images [N, 3, H, W] in [0, 1] and labels [N, H, W] uint8 of scenes with faults as often as they are."""
    drawn = [draw(seed) for seed in MEASURED]
    images = torch.from_numpy(np.stack([scene.image for scene in drawn])).permute(0, 3, 1, 2)
    return images.float() / 255, torch.from_numpy(np.stack([scene.labels for scene in drawn]))


def spoiled(images: Tensor) -> Tensor:
    """Blur, tint, brighten and roughen images [N, 3, H, W] in [0, 1], each by its own amount."""
    count = len(images)
    for _ in range(2):
        blurred = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
        images = images.lerp(blurred, torch.rand(count, 1, 1, 1))
    images = images * (1 + 0.15 * torch.randn(count, 1, 1, 1)) + 0.06 * torch.randn(count, 3, 1, 1)
    coarse = F.interpolate(torch.randn(count, 3, 8, 8), images.shape[-2:], mode="bilinear")
    images = images + torch.rand(count, 1, 1, 1) * 0.12 * coarse
    return (images + torch.rand(count, 1, 1, 1) * 0.06 * torch.randn_like(images)).clamp(0, 1)


@torch.inference_mode()
def figures(net: UNet, images: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """Return the pixel accuracy and the IoU of each concept."""
    net.eval()
    guessed = torch.cat([net(part).argmax(1) for part in images.split(50)])
    net.train()
    pairs = labels.long().flatten() * len(CONCEPTS) + guessed.flatten()
    table = torch.bincount(pairs, minlength=len(CONCEPTS) ** 2).view(len(CONCEPTS), -1).double()
    both = table.diagonal()
    return (both.sum() / table.sum()).item(), both / (table.sum(0) + table.sum(1) - both)


def report(net: UNet, held: tuple[Tensor, Tensor], folder: Path, line: str) -> None:
    """Print the figures of the net and write its weights."""
    accuracy, ious = figures(net, *held)
    row = "  ".join(f"{name} {iou:.3f}" for name, iou in zip(CONCEPTS, ious.tolist(), strict=True))
    print(f"{line}  accuracy {accuracy:.4f}  {row}", flush=True)
    state = {name: value.half() if value.is_floating_point() else value for name, value in net.state_dict().items()}
    save_file(state, folder / "churches.safetensors")


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default="runs/segmenter", show_default=True)
@click.option("--scenes", type=click.Path(path_type=Path), default="runs/churches/scenes", show_default=True)
@click.option("--count", default=20_000, show_default=True, help="Number of scenes to draw, where they are missing.")
@click.option("--steps", default=2500, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--bf16/--no-bf16", default=True, help="Much slower on a CPU without AVX512-BF16 or AMX.")
def main(folder: Path, scenes: Path, count: int, steps: int, threads: int, bf16: bool) -> None:
    """Train the bundled segmenter."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    drawn = SceneFolder(scenes, count, seed=0)
    while len(drawn) < count:
        time.sleep(1)
    held = held_out()
    net = UNet(len(CONCEPTS))
    compiled = torch.compile(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    started = time.monotonic()
    for step in range(1, steps + 1):
        images, labels = drawn.labelled(BATCH)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            logits = compiled(spoiled(images))
        F.cross_entropy(logits.float(), labels, weight=torch.tensor(WEIGHTS)).backward()
        optimizer.step()
        schedule.step()
        if step % LOOK_EVERY == 0 or step == steps:
            report(net, held, folder, f"{step}  {(time.monotonic() - started) / 60:.1f} min")


if __name__ == "__main__":
    main()
