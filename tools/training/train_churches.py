"""Train the bundled generator `churches` on the project's own scenes.

    python -m tools.training.train_churches --folder runs/churches                       # eight hours on two cores
    python -m tools.training.train_churches --folder runs/churches --device cuda
    python -m tools.training.train_churches --folder runs/churches --stages 128:60,fight:60  # continue

The stages, with their minutes, are done in order, and each can be continued from FOLDER/latest.pt:
  16, 32, 64, 128   regression, growing: the generator learns the scene whose slots its z are. Weighted L1 at several
                    scales, and L1 of the differences between neighbours; from 64 on, layers after 32x32 see a random
                    window, and a second output at 32x32 keeps the whole image in place
  fight             adversarial, on windows (Goodfellow et al. 2014): non-saturating loss, R1 every 16 steps (Mescheder
                    et al. 2018), with the regression fading, but never to nothing

Training scenes are drawn meanwhile, by a process of its own. The weights of the exponential moving average are
written to FOLDER/best.safetensors when their error to held-out scenes is the lowest so far, and after `fight`.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import click
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.training.church_measures import Measures, write_weights
from tools.training.church_networks import Discriminator, Grown, window
from tools.training.church_scenes import SceneFolder

FIGHT = "fight"
STAGES = "16:30,32:60,64:90,128:210,fight:90"
BATCHES = {"16": 32, "32": 32, "64": 32, "128": 32, FIGHT: 16}
# With equalised weights a few of z's slots must grow large in the first layers; at one rate for all that takes hours.
RATE, FIRST_LAYERS_FASTER = 2e-2, 3
FIGHT_RATE, DISCRIMINATOR_RATE = 4e-3, 1e-2
WARM_UP = 200  # steps of each stage
EVERY_R1 = 16
DISCRIMINATOR_FIRST = 150  # steps in which it learns alone
EDGES = 0.5  # weight of the differences between neighbours
FINE = 0.3  # weight of the L1 at 128 pixels in the adversarial stage
PULL = (10.0, 5.0)  # weight of the regression in the adversarial stage, at its start and end


@dataclass
class Run:
    """The content of a checkpoint. `images` and `seconds` are of each stage; `stage` is the one under way."""

    device: torch.device
    bf16: bool
    generator: Grown
    ema: Grown
    discriminator: Discriminator
    g_optimizer: torch.optim.Adam
    d_optimizer: torch.optim.Adam
    stage: str
    images: dict[str, int]
    seconds: dict[str, float]
    step: int = 0  # of this stage
    best: float = math.inf

    @classmethod
    def fresh(cls, device: torch.device, *, bf16: bool) -> "Run":
        torch.manual_seed(0)
        generator, ema, discriminator = Grown().to(device), Grown().to(device), Discriminator().to(device)
        ema.load_state_dict(generator.state_dict())
        return cls(
            device=device,
            bf16=bf16,
            generator=generator,
            ema=ema.requires_grad_(False),
            discriminator=discriminator,
            g_optimizer=g_optimizer(generator),
            d_optimizer=torch.optim.Adam(
                discriminator.parameters(), lr=DISCRIMINATOR_RATE, betas=(0.0, 0.99), fused=True
            ),
            stage="16",
            images={},
            seconds={},
        )

    def save(self, path: Path) -> None:
        """Write a checkpoint, replacing an older one at once."""
        parts = {name: getattr(self, name).state_dict() for name in _PARTS}
        temporary = path.with_suffix(".tmp")
        torch.save({**parts, **{name: getattr(self, name) for name in _FIGURES}}, temporary)
        temporary.rename(path)

    def load(self, path: Path) -> None:
        """Read a checkpoint."""
        state = torch.load(path, weights_only=True, map_location=self.device)
        for name in _PARTS:
            getattr(self, name).load_state_dict(state[name])
        for name in _FIGURES:
            setattr(self, name, state[name])

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def enter(self, stage: str) -> None:
        """Begin a stage, or continue the one that the checkpoint is in."""
        if stage != self.stage:
            self.stage, self.step = stage, 0
            if stage == FIGHT:  # the adversarial stage needs no momentum
                for group in self.g_optimizer.param_groups:
                    group["betas"] = (0.0, 0.99)
        self.images.setdefault(stage, 0)
        self.seconds.setdefault(stage, 0.0)


_PARTS = ("generator", "ema", "discriminator", "g_optimizer", "d_optimizer")
_FIGURES = ("stage", "images", "seconds", "step", "best")


def g_optimizer(generator: nn.Module) -> torch.optim.Adam:
    """Return Adam with two groups: the first two layers, and the rest."""
    first, rest = [], []
    for name, parameter in generator.named_parameters():
        (first if name.startswith(("layers.layer1.", "layers.layer2.")) else rest).append(parameter)
    return torch.optim.Adam([{"params": first}, {"params": rest}], lr=RATE, betas=(0.9, 0.99), fused=True)


def pyramid_l1(fake: Tensor, real: Tensor, weights: Tensor, scales: int) -> Tensor:
    """Return the mean weighted L1 over so many scales, each half of the one before, and that of differences."""
    losses = [EDGES * (_edges(fake - real) * weights[..., 1:, 1:]).mean()]
    for scale in range(scales):
        if scale:
            fake, real, weights = (F.avg_pool2d(images, 2) for images in (fake, real, weights))
        losses.append(((fake - real).abs() * weights).mean())
    return torch.stack(losses).sum() / scales


def _edges(gap: Tensor) -> Tensor:
    """Return |dx| + |dy| of each pixel but those of the first row and column."""
    return (gap[..., 1:, 1:] - gap[..., 1:, :-1]).abs() + (gap[..., 1:, 1:] - gap[..., :-1, 1:]).abs()


def regression(run: Run, z: Tensor, real: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss of the regression, and what the generator drew, with its scene: a window of them, from 64 on."""
    size = 128 if run.stage == FIGHT else int(run.stage)
    real, weights = (F.avg_pool2d(images, 128 // size) if size < 128 else images for images in (real, weights))
    with run.autocast():
        x = run.generator.trunk(z, min(size, 32))
        if size <= 32:
            fake = run.generator.head(x, size).float()
            return pyramid_l1(fake, real, weights, 2 if size == 16 else 3), fake, real
        whole = run.generator.head(x, 32).float()
        part, kept, seen = window(size)
        fake = run.generator.upper(x[..., part[0], part[1]], size)[..., kept[0], kept[1]].float()
    small, small_weights = (F.avg_pool2d(images, size // 32) for images in (real, weights))
    real, weights = real[..., seen[0], seen[1]], weights[..., seen[0], seen[1]]
    loss = pyramid_l1(whole, small, small_weights, 3)
    if run.stage != FIGHT:
        return (loss + pyramid_l1(fake, real, weights, 2)) / 2, fake, real
    coarse = [F.avg_pool2d(images, 4) for images in (fake, real, weights)]  # sharpness is the discriminator's
    loss = loss + FINE * ((fake - real).abs() * weights).mean() + pyramid_l1(*coarse, 2)
    return loss / 2, fake, real


def regress(run: Run, scenes: SceneFolder, progress: float) -> dict[str, float]:
    """Do one step of the regression; `progress` of the stage from 0 to 1."""
    rate = RATE * min(1, (run.step + 1) / WARM_UP) * _decay(progress, last=run.stage == "128")
    _set_rates(run.g_optimizer, FIRST_LAYERS_FASTER * rate, rate)
    z, real, weights = (part.to(run.device) for part in scenes.batch(BATCHES[run.stage]))
    loss, fake, _ = regression(run, z, real, weights)
    run.g_optimizer.zero_grad()
    loss.backward()
    run.g_optimizer.step()
    update_ema(run, min(0.998, 1 - 10 / (run.step + 11)))
    return {"loss": loss.item(), "spread": fake.detach().std(0).mean().item()}


def fight(run: Run, scenes: SceneFolder, progress: float) -> dict[str, float]:
    """Do one step of each player, or first of the discriminator alone; `progress` of the stage from 0 to 1."""
    decay = _decay(progress, last=True)
    _set_rates(run.g_optimizer, FIGHT_RATE * decay, FIGHT_RATE * decay)
    _set_rates(run.d_optimizer, DISCRIMINATOR_RATE * decay)
    z, real, weights = (part.to(run.device) for part in scenes.batch(BATCHES[FIGHT], by_chance=True))
    pulled, fake, real = regression(run, z, real, weights)
    with run.autocast():
        scores = run.discriminator.fast(torch.cat([fake.detach(), real]))
    fake_score, real_score = scores.float().split(len(fake))
    d_loss = F.softplus(fake_score).mean() + F.softplus(-real_score).mean()
    run.d_optimizer.zero_grad()
    d_loss.backward()
    if run.step % EVERY_R1 == 0:
        (_gradient_penalty(run, real) * (0.5 * EVERY_R1)).backward()
    run.d_optimizer.step()
    if run.step >= DISCRIMINATOR_FIRST:
        run.discriminator.requires_grad_(False)
        with run.autocast():
            score = run.discriminator.fast(fake)
        run.discriminator.requires_grad_(True)
        pull = PULL[0] + (PULL[1] - PULL[0]) * progress
        run.g_optimizer.zero_grad()
        (F.softplus(-score.float()).mean() + pull * pulled).backward()
        run.g_optimizer.step()
        update_ema(run, 0.999)
    spread = fake.detach().std(0).mean().item()  # falls at once when the generator collapses
    figures = {"d": d_loss, "real": real_score.mean(), "fake": fake_score.mean(), "loss": pulled}
    return {name: value.item() for name, value in figures.items()} | {"spread": spread}


def _gradient_penalty(run: Run, real: Tensor) -> Tensor:
    """R1: the mean squared norm of the discriminator's gradient at real images."""
    images = real[: len(real) // 2].clone().requires_grad_(True)
    with run.autocast():
        score = run.discriminator(images).float().sum()
    (gradient,) = torch.autograd.grad(score, images, create_graph=True)
    return gradient.square().sum([1, 2, 3]).mean()


def _decay(progress: float, *, last: bool) -> float:
    """Return the factor of the rate: down to a half within a stage; along a cosine to a hundredth in a `last` one."""
    if not last:
        return 1 - 0.5 * min(1, progress)
    return 0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * min(1, max(0, progress - 0.2) / 0.8)))


def _set_rates(optimizer: torch.optim.Adam, *rates: float) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def update_ema(run: Run, decay: float) -> None:
    """Move the averaged weights towards those of the generator."""
    with torch.no_grad():
        torch._foreach_lerp_(list(run.ema.parameters()), list(run.generator.parameters()), 1 - decay)


def parse_stages(_context: click.Context, _parameter: click.Parameter, text: str) -> dict[str, float]:
    """Read "16:30,fight:90"."""
    stages = dict(part.split(":", 1) if ":" in part else (part, "") for part in text.split(","))
    if not set(stages) <= set(BATCHES) or not all(minutes.replace(".", "", 1).isdigit() for minutes in stages.values()):
        raise click.BadParameter(f"stages and minutes look like {STAGES}")
    if list(stages) != [name for name in BATCHES if name in stages]:
        raise click.BadParameter(f"stages come in this order: {', '.join(BATCHES)}")
    return {name: float(minutes) for name, minutes in stages.items()}


def due(run: Run, stages: dict[str, float]) -> list[str]:
    """Return the stages yet to do: never one before that of the checkpoint."""
    order = list(BATCHES)
    left = [name for name in stages if order.index(name) >= order.index(run.stage)]
    return [name for name in left if run.seconds.get(name, 0.0) < 60 * stages[name]]


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=Path("runs/churches"), show_default=True)
@click.option("--stages", callback=parse_stages, default=STAGES, show_default=True, help="Minutes of each stage.")
@click.option("--minutes", type=float, default=math.inf, help="Stop after so many minutes; run again to continue.")
@click.option("--scenes", "count", default=100_000, show_default=True, help="Number of training scenes.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--bf16/--no-bf16", default=True, help="Much slower on a CPU without AVX512-BF16 or AMX.")
@click.option("--look-every", default=10.0, show_default=True, help="Minutes between measurements.")
def main(
    folder: Path,
    stages: dict[str, float],
    minutes: float,
    count: int,
    device: str,
    threads: int,
    bf16: bool,
    look_every: float,
) -> None:
    """Train the bundled generator."""
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    run = Run.fresh(torch.device(device), bf16=bf16)
    if (folder / "latest.pt").exists():
        run.load(folder / "latest.pt")
    run.ema.to(memory_format=torch.channels_last)
    run.generator.to(memory_format=torch.channels_last).compile_parts()
    run.discriminator.compile_parts()
    scenes = SceneFolder(folder / "scenes", count, seed=sum(run.images.values()))
    while len(scenes) < min(count, 2000):
        time.sleep(1)
    measures = Measures(folder)
    ends = time.monotonic() + 60 * minutes
    for stage in due(run, stages):
        run.enter(stage)
        while run.seconds[stage] < 60 * stages[stage] and time.monotonic() < ends:
            train(run, scenes, 60 * stages[stage], min(ends, time.monotonic() + 60 * look_every))
            report(run, measures, folder)
        if run.seconds[stage] >= 60 * stages[stage]:
            run.save(folder / f"{stage}.pt")


def train(run: Run, scenes: SceneFolder, length: float, until: float) -> None:
    """Train for a stage of `length` seconds, until it or the clock is at its end."""
    last, rows = time.monotonic(), list[dict[str, float]]()
    while run.seconds[run.stage] < length and last < until:
        rows.append((fight if run.stage == FIGHT else regress)(run, scenes, run.seconds[run.stage] / length))
        run.step += 1
        run.images[run.stage] += BATCHES[run.stage]
        now = time.monotonic()
        run.seconds[run.stage], last = run.seconds[run.stage] + now - last, now
        if run.step % 50 == 0:
            means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
            figures = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
            print(f"{run.stage} step {run.step}  {run.seconds[run.stage] / 60:.1f} min  {figures}", flush=True)
            rows.clear()


def report(run: Run, measures: Measures, folder: Path) -> None:
    """Save a checkpoint, draw a sheet, and measure the averaged generator."""
    run.save(folder / "latest.pt")
    size = 128 if run.stage == FIGHT else int(run.stage)
    error = measures.error(run.ema, size)
    spread = measures.sheet(run.ema, size)
    line = f"{run.stage} step {run.step}  images {run.images[run.stage]}  error {error:.2f}  spread {spread:.3f}"
    if size == 128:
        line += f"  swd {measures.distance(run.ema):.2f}"
        if error < run.best or run.stage == FIGHT:
            run.best = min(error, run.best)
            write_weights(run.ema, folder / "best.safetensors")
    print(line, flush=True)
    with (folder / "log.txt").open("a") as log:
        log.write(line + "\n")


if __name__ == "__main__":
    main()
