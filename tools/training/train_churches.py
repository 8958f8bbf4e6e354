"""Train the bundled generator `churches` on the project's own scenes.

    python -m tools.training.train_churches --folder runs/churches

Three phases, each resumable from FOLDER/latest.pt:
  scenes   draw 100 000 training scenes once
  regress  the generator learns the scene whose slots its z are: L1 at four scales, small things weighted up
  fight    adversarial (Goodfellow et al. 2014): non-saturating loss, R1 every 16 steps (Mescheder et al. 2018), EMA;
           the regression continues at 16x16 and below, ever weaker

The best checkpoint by sliced Wasserstein distance to held-out scenes is kept as FOLDER/best.safetensors.
"""

import math
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from ganpatch.families.churches.scenes import SIZE, SLOTS, draw, slots_of
from ganpatch.families.progressive_gan import ProgressiveGenerator

LATENT = 96
SIZES = [LATENT, 256, 256, 96, 48, 24]
SEEDS = range(1_000_000, 1_100_000)  # training scenes; held-out scenes and tests use seeds from HELD_OUT on
HELD_OUT = range(2_000_000, 2_002_000)
BATCH, FIGHT_BATCH = 32, 16  # on few cores more steps teach more than larger batches
EVERY_R1 = 16
SAVED_EVERY = 500
DISCRIMINATOR_FIRST = 150  # steps in which it learns alone
# Weights of the pixels of CONCEPTS in the regression: doors and windows are small, and are what makes a church.
WEIGHTS = (1, 2, 2, 1, 2, 2, 2, 3, 4, 4)
# With equalised weights a few of z's slots must grow large in the first layers; at one rate for all that takes hours.
RATE, FIRST_LAYERS_FASTER = 5e-3, 10


class Discriminator(nn.Module):
    """A mirror of the generator with skip connections: image [N, 3, 64, 64] -> score [N]."""

    def __init__(self) -> None:
        super().__init__()
        widths = [16, 32, 64, 128, 192]
        self.first = EqualConv(3, widths[0], 1)
        self.blocks = nn.ModuleList(Down(a, b) for a, b in pairwise(widths))
        self.last = EqualConv(widths[-1] + 1, widths[-1], 3)
        self.hidden = EqualConv(widths[-1], widths[-1], 4, padding=0)
        self.score = EqualConv(widths[-1], 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(images), 0.2)
        for block in self.blocks:
            x = block(x)
        x = F.leaky_relu(self.last(torch.cat([x, _batch_spread(x)], 1)), 0.2)
        return self.score(F.leaky_relu(self.hidden(x), 0.2)).flatten()


class Down(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.one, self.two = EqualConv(before, before, 3), EqualConv(before, after, 3)
        self.skip = EqualConv(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        straight = F.leaky_relu(self.two(F.leaky_relu(self.one(x), 0.2)), 0.2)
        return F.avg_pool2d(straight + self.skip(x), 2) * 0.5**0.5


class EqualConv(nn.Module):
    """A convolution with N(0, 1) weights that are scaled at run time (equalised learning rate)."""

    def __init__(self, before: int, after: int, kernel: int, padding: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(after, before, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after))
        self.scale = 2**0.5 / (kernel * before**0.5)
        self.padding = kernel // 2 if padding is None else padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


def _batch_spread(x: Tensor) -> Tensor:
    """Minibatch standard deviation over groups of 4, as one map [N, 1, H, W]."""
    groups = x.float().view(4, -1, *x.shape[1:])
    spread = (groups.var(0, correction=0) + 1e-8).sqrt().mean([1, 2, 3], keepdim=True)
    return spread.repeat(4, 1, *x.shape[2:]).to(x.dtype)


@dataclass
class Run:
    """All that a checkpoint holds."""

    generator: ProgressiveGenerator
    ema: ProgressiveGenerator
    discriminator: Discriminator
    g_optimizer: torch.optim.Adam
    d_optimizer: torch.optim.Adam
    bf16: bool = False
    step: int = 0
    seconds: float = 0.0
    best: float = math.inf

    @classmethod
    def fresh(cls) -> "Run":
        generator = ProgressiveGenerator(SIZES, "to_rgb").to(memory_format=torch.channels_last)
        discriminator = Discriminator().to(memory_format=torch.channels_last)
        return cls(
            generator,
            deepcopy(generator).requires_grad_(False),
            discriminator,
            g_optimizer(generator),
            torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.0, 0.99), fused=True),
        )

    def save(self, path: Path) -> None:
        parts = {name: part.state_dict() for name, part in self._parts()}
        temporary = path.with_suffix(".tmp")
        torch.save({**parts, "step": self.step, "seconds": self.seconds, "best": self.best}, temporary)
        temporary.rename(path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True, map_location="cpu")
        for name, part in self._parts():
            part.load_state_dict(state[name])
        self.step, self.seconds, self.best = state["step"], state["seconds"], state["best"]

    def _parts(self) -> Iterator[tuple[str, nn.Module | torch.optim.Adam]]:
        for name in ("generator", "ema", "discriminator", "g_optimizer", "d_optimizer"):
            yield name, getattr(self, name)


def g_optimizer(generator: ProgressiveGenerator) -> torch.optim.Adam:
    first = [p for name, p in generator.named_parameters() if name.startswith(("layer1.", "layer2."))]
    rest = [p for name, p in generator.named_parameters() if not name.startswith(("layer1.", "layer2."))]
    return torch.optim.Adam([{"params": first}, {"params": rest}], lr=RATE, betas=(0.9, 0.99), fused=True)


class Scenes:
    """Training scenes and their z; `batch()` draws at random z, the images that they describe, and pixel weights."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.images = np.load(folder / "scenes.npy", mmap_mode="r")
        self.labels = np.load(folder / "labels.npy", mmap_mode="r")
        self.z = torch.from_numpy(np.load(folder / "slots.npy"))
        self.weights = torch.tensor(WEIGHTS).float()
        self.draw = torch.Generator().manual_seed(seed)

    def batch(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        rows = torch.randint(len(self.images), (size,), generator=self.draw)
        spare = torch.randn(size, LATENT - SLOTS, generator=self.draw)
        labels = torch.from_numpy(np.ascontiguousarray(self.labels[rows.numpy()])).long()
        weights = self.weights[labels].unsqueeze(1)
        return torch.cat([self.z[rows], spare], 1), as_floats(self.images[rows.numpy()]), weights


def as_floats(images: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def draw_scenes(folder: Path) -> None:
    if (folder / "slots.npy").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        drawn = list(pool.map(draw, SEEDS, chunksize=500))
    np.save(folder / "scenes.npy", np.stack([scene.image for scene in drawn]))
    np.save(folder / "labels.npy", np.stack([scene.labels for scene in drawn]))
    np.save(folder / "slots.npy", np.stack([slots_of(seed) for seed in SEEDS]).astype(np.float32))


def pyramid_l1(fake: Tensor, real: Tensor, weights: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Mean weighted L1 over the given resolutions."""
    gaps = [(_shrunk(fake, size) - _shrunk(real, size)).abs() * _shrunk(weights, size) for size in sizes]
    return torch.stack([gap.mean() for gap in gaps]).mean() / 1.5


def _shrunk(images: Tensor, size: int) -> Tensor:
    return images if size == SIZE else F.avg_pool2d(images, SIZE // size)


def regress(run: Run, scenes: Scenes, progress: float) -> dict[str, float]:
    """One step of the regression; `progress` from 0 to 1."""
    rate = RATE * min(1, (run.step + 1) / 200) * (1 if progress < 0.6 else (1 - progress) / 0.4)
    _set_rates(run.g_optimizer, FIRST_LAYERS_FASTER * rate, rate)
    z, real, weights = scenes.batch(BATCH)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=run.bf16):
        fake = run.generator(z)
    loss = pyramid_l1(fake.float(), real, weights, (64, 32, 16, 8))
    run.g_optimizer.zero_grad()
    loss.backward()
    run.g_optimizer.step()
    update_ema(run, 0.98)
    return {"l1": loss.item()}


def fight(run: Run, scenes: Scenes, progress: float, *, alone: bool) -> dict[str, float]:
    """One step of each player, or of the discriminator alone; `progress` from 0 to 1."""
    rate = 1e-3 * (1 if progress < 0.6 else max(0.02, (1 - progress) / 0.4))
    _set_rates(run.g_optimizer, rate, rate)
    _set_rates(run.d_optimizer, rate)
    z, real, weights = scenes.batch(FIGHT_BATCH)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=run.bf16):
        fake = run.generator(z)
        scores = run.discriminator(torch.cat([fake.detach(), real]))
    fake_score, real_score = scores.float().split(FIGHT_BATCH)
    d_loss = F.softplus(fake_score).mean() + F.softplus(-real_score).mean()
    run.d_optimizer.zero_grad()
    d_loss.backward()
    if run.step % EVERY_R1 == 0:
        (_gradient_penalty(run, real) * (0.5 * EVERY_R1)).backward()
    run.d_optimizer.step()
    if not alone:
        _please(run, fake, real, weights, pull=10.0 - 8.0 * progress)
        update_ema(run, 0.999)
    spread = fake.detach().float().std(0).mean().item()  # falls at once when the generator collapses
    return {"d": d_loss.item(), "real": real_score.mean().item(), "fake": fake_score.mean().item(), "spread": spread}


def _please(run: Run, fake: Tensor, real: Tensor, weights: Tensor, pull: float) -> None:
    """The generator's step: please the discriminator, and stay at the scene described, at 16x16 and below."""
    run.discriminator.requires_grad_(False)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=run.bf16):
        score = run.discriminator(fake)
    run.discriminator.requires_grad_(True)
    loss = F.softplus(-score.float()).mean() + pull * pyramid_l1(fake.float(), real, weights, (16, 8))
    run.g_optimizer.zero_grad()
    loss.backward()
    run.g_optimizer.step()


def _gradient_penalty(run: Run, real: Tensor) -> Tensor:
    """R1: the mean squared norm of the discriminator's gradient at real images."""
    images = real[: FIGHT_BATCH // 2].clone().requires_grad_(True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=run.bf16):
        score = run.discriminator(images).float().sum()
    (gradient,) = torch.autograd.grad(score, images, create_graph=True)
    return gradient.square().sum([1, 2, 3]).mean()


def _set_rates(optimizer: torch.optim.Adam, *rates: float) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def update_ema(run: Run, decay: float) -> None:
    with torch.no_grad():
        for old, new in zip(run.ema.parameters(), run.generator.parameters(), strict=True):
            old.lerp_(new, 1 - decay)


def sliced_wasserstein(fake: Tensor, real: Tensor) -> float:
    """Sliced Wasserstein distance of 7x7 patches at 64, 32, 16 pixels (Karras et al. 2018, section 5), times 1000."""
    distances = []
    for size in (64, 32, 16):
        chosen = torch.Generator().manual_seed(size)
        directions = F.normalize(torch.randn(7 * 7 * 3, 128, generator=chosen), dim=0)
        projected = []
        for images in (fake, real):
            band = _shrunk(images, size)
            if size > 16:
                band = band - F.interpolate(F.avg_pool2d(band, 2), scale_factor=2, mode="bilinear")
            patches = F.unfold(band, 7, stride=3).permute(0, 2, 1).reshape(-1, 7 * 7 * 3)
            rows = torch.randperm(len(patches), generator=torch.Generator().manual_seed(0))[:32768]
            projected.append((patches[rows] @ directions).sort(0).values)
        distances.append((projected[0] - projected[1]).abs().mean().item())
    return 1000 * sum(distances) / len(distances)


@torch.inference_mode()
def look(run: Run, held_out: Tensor, folder: Path) -> float:
    """Measure the EMA generator and draw a sheet of 64 images."""
    z = torch.randn(len(held_out), LATENT, generator=torch.Generator().manual_seed(5))
    images = torch.cat([run.ema(part) for part in z.split(100)]).clamp(-1, 1)
    pixels = images[:64].add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()
    sheet = pixels.reshape(8, 8, SIZE, SIZE, 3).transpose(0, 2, 1, 3, 4).reshape(8 * SIZE, 8 * SIZE, 3)
    Image.fromarray(sheet).save(folder / "latest.png")
    return sliced_wasserstein(images, held_out)


def write_weights(ema: ProgressiveGenerator, path: Path) -> None:
    """Write the weights as fp16; loading brings them back to float32."""
    save_file({name: tensor.detach().half().contiguous() for name, tensor in ema.state_dict().items()}, path)


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=Path("runs/churches"), show_default=True)
@click.option("--regress", "regress_steps", default=1800, show_default=True, help="Steps of the regression.")
@click.option("--fight", "fight_steps", default=3000, show_default=True, help="Adversarial steps after it.")
@click.option("--threads", default=2, show_default=True)
@click.option(
    "--bf16", is_flag=True, help="Twice as fast where the processor has AMX or AVX512-BF16, else much slower."
)
def main(folder: Path, regress_steps: int, fight_steps: int, threads: int, bf16: bool) -> None:
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    draw_scenes(folder)
    torch.manual_seed(0)
    run = Run.fresh()
    if (folder / "latest.pt").exists():
        run.load(folder / "latest.pt")
    run.bf16 = bf16
    run.generator.compile()
    scenes = Scenes(folder, seed=run.step)
    held_out = as_floats(np.stack([draw(seed).image for seed in HELD_OUT]))
    last = time.monotonic()
    total = regress_steps + fight_steps
    while run.step < total:
        row = step(run, scenes, regress_steps, fight_steps)
        run.step += 1
        now = time.monotonic()
        run.seconds, last = run.seconds + now - last, now
        if run.step % 100 == 0:
            figures = "  ".join(f"{name} {value:.3f}" for name, value in row.items())
            print(f"step {run.step}  {run.seconds / 60:.1f} min  {figures}", flush=True)
        if run.step % SAVED_EVERY == 0 or run.step == total:
            distance = look(run, held_out, folder)
            if run.step > regress_steps and distance < run.best:
                run.best = distance
                write_weights(run.ema, folder / "best.safetensors")
            print(f"step {run.step}  swd {distance:.2f}  best {run.best:.2f}", flush=True)
            run.save(folder / "latest.pt")
            last = time.monotonic()


def step(run: Run, scenes: Scenes, regress_steps: int, fight_steps: int) -> dict[str, float]:
    """Do the training step that is due."""
    fought = run.step - regress_steps
    if fought < 0:
        return regress(run, scenes, run.step / regress_steps)
    if fought == 0:  # the adversarial phase wants no momentum
        for group in run.g_optimizer.param_groups:
            group["betas"] = (0.0, 0.99)
    return fight(run, scenes, fought / fight_steps, alone=fought < DISCRIMINATOR_FIRST)


if __name__ == "__main__":
    main()
