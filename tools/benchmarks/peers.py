"""What a user would run instead to get the top images of each unit: two ways in a few lines, in the same run.

`collect_topk` is how the code of GAN Dissection goes about it: the whole model once per layer, and after every batch
all scores are sorted with the best so far. `stored` is a plain PyTorch loop: it keeps all activations, then torch.topk.
Both return seeds and scores alone; ranking also keeps maps of where the unit was active, mean, firing rate, peak, two
quantiles and thumbnails.
"""

import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

import ganpatch
from ganpatch.cli import _keep_freed_memory
from ganpatch.forward.activations import batched
from ganpatch.ranking.ranker import rank
from tools.benchmarks.measure import Case, How, bare, ratios

K = 12
Top = dict[str, tuple[Tensor, Tensor]]


def collect_topk(generator: ganpatch.Generator, layers: Sequence[str], seeds: range, batch_size: int) -> Top:
    found: Top = {}
    for layer in layers:
        scores, names = torch.empty(0), torch.empty(0, dtype=torch.int64)
        for part, (activation,) in _batches(generator, [layer], seeds, batch_size):
            peaks = activation.amax((2, 3)).cpu()
            every = peaks if not len(names) else torch.cat([scores, peaks])
            arrived = torch.tensor(part)[:, None].expand(-1, peaks.shape[1])
            known = arrived if not len(names) else torch.cat([names, arrived])
            scores, order = every.sort(0, descending=True)
            scores, names = scores[:K], known.gather(0, order[:K])
        found[layer] = names.T, scores.T
    return found


def stored(generator: ganpatch.Generator, layers: Sequence[str], seeds: range, batch_size: int) -> Top:
    kept: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    for _, activations in _batches(generator, layers, seeds, batch_size):
        for layer, activation in zip(layers, activations, strict=True):
            kept[layer].append(activation.cpu().clone())
    found: Top = {}
    for layer, parts in kept.items():
        scores, places = torch.cat(parts).amax((2, 3)).topk(K, 0)
        found[layer] = torch.tensor(seeds)[places].T, scores.T
    return found


def _batches(generator: ganpatch.Generator, layers: Sequence[str], seeds: range, batch_size: int):  # type: ignore[no-untyped-def]
    """Run all batches with plain hooks; yield seeds and activations."""
    outputs: dict[str, Tensor] = {}

    def keep(layer: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _module, _inputs, output: outputs.__setitem__(layer, output)

    named = dict(generator.module.named_modules())
    hooks = [named[layer].register_forward_hook(keep(layer)) for layer in layers]
    try:
        with torch.inference_mode():
            for part in batched(seeds, batch_size):
                args = generator.inputs_of(part)
                generator.module(*args)
                yield part, [outputs[layer] for layer in layers]
    finally:
        for hook in hooks:
            hook.remove()


WAYS: dict[str, Callable[..., object]] = {
    "ganpatch rank": lambda generator, layers, seeds, batch_size: rank(generator, layers, seeds, batch_size=batch_size),
    "collect_topk": collect_topk,
    "stored activations": stored,
}


def peers(case: Case, how: How) -> dict[str, str]:
    torch.set_num_threads(1)
    generator, seeds = case.load(how), range(case.images)
    jobs = {
        f"{way}, {len(layers)} layer{'s' * (len(layers) > 1)}": lambda run=run, layers=layers: run(
            generator, layers, seeds, how.batch_size
        )
        for way, run in WAYS.items()
        for layers in ([case.one], case.four)
    }
    same_winners(generator, case, how)
    found = ratios(lambda: bare(generator, case.images, how.batch_size), jobs, replace(how, repeats=1))
    rows = {f"{name} [x bare]": f"{ratio:.2f}" for name, ratio in found.items()}
    for way in ("ganpatch rank", "stored activations"):
        peaks = [peak_memory(case, way, images) for images in (case.images, 4 * case.images)]
        rows[f"{way}, 4 layers, memory, n and 4 n [MB]"] = " and ".join(f"{peak:.0f}" for peak in peaks)
    return rows


def same_winners(generator: ganpatch.Generator, case: Case, how: How) -> None:
    """All three find the same images, or the comparison says nothing."""
    seeds = range(4 * how.batch_size)
    wanted = rank(generator, [case.one], seeds, batch_size=how.batch_size)[case.one].top_scores
    for way in (collect_topk, stored):
        _, scores = way(generator, [case.one], seeds, how.batch_size)[case.one]
        assert torch.equal(scores.cpu(), wanted), way


def peak_memory(case: Case, way: str, images: int) -> float:
    command = [sys.executable, "-m", "tools.benchmarks.peers", case.model, ",".join(case.four), way, str(images)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> None:
    model, layers, way, images = sys.argv[1:]
    _keep_freed_memory()
    torch.set_num_threads(1)
    WAYS[way](ganpatch.load(model), layers.split(","), range(int(images)), 32)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
