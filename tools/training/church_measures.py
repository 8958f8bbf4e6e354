"""What `train_churches.py` measures: error to the scenes described, sliced Wasserstein distance, sheets of images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from ganpatch.families.churches.faults import FAULTS
from ganpatch.families.churches.scenes import SLOTS, Scene, draw, draw_slots
from ganpatch.generator.latents import draw_inputs, parse_latent
from tools.training.church_networks import OUTPUT, Grown
from tools.training.church_scenes import HELD_OUT, as_floats

AT = 64  # pixels: at which size errors and distances are measured, also of larger images
ERROR_SEEDS = range(500_000, 500_256)  # of the generator
DISTANCE_SEEDS = range(600_000, 602_000)


class Measures:
    """Scenes to compare with, drawn once, and what is measured with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._described = as_floats(np.stack([draw_slots(row).image for row in latents(ERROR_SEEDS).numpy()]))
        self._held_out: Tensor | None = None

    def error(self, ema: Grown, size: int) -> float:
        """Return the mean absolute error to the scenes that the latents describe, at 64 pixels or less, of 255."""
        edge = min(size, AT)
        fake, real = shrunk(images(ema, latents(ERROR_SEEDS), size), edge), shrunk(self._described, edge)
        return 127.5 * (fake - real).abs().mean().item()

    def distance(self, ema: Grown) -> float:
        """Return the sliced Wasserstein distance to the held-out scenes, at 64 pixels."""
        if self._held_out is None:
            scenes = np.stack([draw(seed).image for seed in HELD_OUT])
            self._held_out = torch.cat([shrunk(as_floats(part), AT) for part in np.array_split(scenes, 20)])
        drawn = [shrunk(images(ema, part, 128), AT) for part in latents(DISTANCE_SEEDS).split(100)]
        return sliced_wasserstein(torch.cat(drawn), self._held_out)

    def sheet(self, ema: Grown, size: int) -> float:
        """Draw seeds 0 to 63 as FOLDER/latest.png; return the standard deviation over them."""
        drawn = images(ema, latents(range(64)), size)
        write_sheet(drawn, self.folder / "latest.png")
        return drawn.std(0).mean().item()


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultFigures:
    """Of the images whose z describes a fault: their number, in how many it is visible, and its mean strength.

    The strength is 1 where the picture inside the mask is that of the faulty scene, 0 where it is that of the clean
    one (least squares); visible is a strength above one half.
    """

    described: int
    visible: int
    strength: float


def fault_strengths(image: np.ndarray, scene: Scene) -> dict[str, float]:
    """Return how much of each fault of a scene an image [H, W, 3] of 0 to 255 shows."""
    drawn, clean = image.astype(np.float64), scene.clean.astype(np.float64)
    change = scene.image - clean
    found = {}
    for name, mask in scene.faults.items():
        found[name] = float(((drawn - clean) * change)[mask].sum() / max(1.0, (change[mask] ** 2).sum()))
    return found


def fault_figures(generator: Grown, seeds: range) -> dict[str, FaultFigures]:
    """Measure how the generator draws the faults that its z describes."""
    strengths: dict[str, list[float]] = {name: [] for name in FAULTS}
    for z in latents(seeds).split(50):
        scenes = [draw_slots(row) for row in z.numpy()]
        faulty = [number for number, scene in enumerate(scenes) if scene.faults]
        drawn = images(generator, z[faulty], 128).add(1).mul(127.5).permute(0, 2, 3, 1).numpy()
        for image, number in zip(drawn, faulty, strict=True):
            for name, strength in fault_strengths(image, scenes[number]).items():
                strengths[name].append(strength)
    return {
        name: FaultFigures(
            described=len(found),
            visible=sum(strength > 0.5 for strength in found),
            strength=float(np.mean(found)) if found else 0.0,
        )
        for name, found in strengths.items()
    }


def latents(seeds: range) -> Tensor:
    """Return z [N, 96] of the generator's seeds."""
    (z,) = draw_inputs(parse_latent(f"normal:{SLOTS}"), None, seeds)
    return z


@torch.inference_mode()
def images(generator: Grown, z: Tensor, size: int) -> Tensor:
    """Return images [N, 3, size, size] in [-1, 1], on the CPU."""
    device = next(generator.parameters()).device
    return torch.cat([generator(part.to(device), size).clamp(-1, 1).float().cpu() for part in z.split(50)])


def write_sheet(drawn: Tensor, path: Path) -> None:
    """Write images [N, 3, H, W] in [-1, 1] as a PNG, eight in a row."""
    pixels = drawn.add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()
    count, size = pixels.shape[:2]
    grid = pixels.reshape(-1, 8, size, size, 3).transpose(0, 2, 1, 3, 4).reshape(count // 8 * size, 8 * size, 3)
    Image.fromarray(grid).save(path)


def sliced_wasserstein(fake: Tensor, real: Tensor) -> float:
    """Sliced Wasserstein distance of 7x7 patches at 64, 32, 16 pixels (Karras et al. 2018, section 5), times 1000."""
    distances = []
    for size in (64, 32, 16):
        chosen = torch.Generator().manual_seed(size)
        directions = F.normalize(torch.randn(7 * 7 * 3, 128, generator=chosen), dim=0)
        projected = []
        for drawn in (fake, real):
            band = shrunk(drawn, size)
            if size > 16:
                band = band - F.interpolate(F.avg_pool2d(band, 2), scale_factor=2, mode="bilinear")
            patches = F.unfold(band, 7, stride=3).permute(0, 2, 1).reshape(-1, 7 * 7 * 3)
            rows = torch.randperm(len(patches), generator=torch.Generator().manual_seed(0))[:32768]
            projected.append((patches[rows] @ directions).sort(0).values)
        distances.append((projected[0] - projected[1]).abs().mean().item())
    return 1000 * sum(distances) / len(distances)


def shrunk(drawn: Tensor, size: int) -> Tensor:
    """Return square images reduced to `size` by averaging."""
    return drawn if drawn.shape[-1] == size else F.avg_pool2d(drawn, drawn.shape[-1] // size)


def write_weights(generator: Grown, path: Path) -> None:
    """Write the weights as fp16, with gandissect's names; loading brings them back to float32."""
    kept = generator.layers.state_dict()
    assert f"{OUTPUT}.conv.weight" in kept
    save_file({name: tensor.detach().cpu().half().contiguous() for name, tensor in kept.items()}, path)
