"""What every generator must do, whatever family it is of; and small models of each family, from names and shapes alone.

    fixture = Fixture.read(Path("tests/families/fastgan.json"))
    torch.save(fixture.state(), "model.pt")
    conform(ganpatch.load("model.pt", **fixture.options))       # {"load": "64x64", "seeds": "2e-07", …}

A fixture has names and shapes of the tensors of a small model of the real code, and a few numbers that the real code
drew with weights that `state` makes again: tools/conformance writes it, and the table in docs/families.md.
"""

import json
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ganpatch import Edit, Generator, Patch, applied, bake, export_onnx, load, rank
from ganpatch.errors import GanpatchError
from ganpatch.forward.default_layer import default_layer
from ganpatch.forward.layer_facts import list_layers
from ganpatch.generator.layers import hooked, tensor_of
from ganpatch.patch.patch_file import Model

SAME = 1e-4  # of the largest value: other batch sizes, other orders of the same sums


@dataclass(frozen=True)
class Fixture:
    """A small model of one family: how it is loaded, its tensors' names and shapes, and some pixels that it draws."""

    name: str
    version: str
    tensors: dict[str, tuple[str, list[int]]]
    options: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    gain: float = 2.5
    pixels: list[float] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "Fixture":
        return cls(**json.loads(path.read_text()))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), separators=(",", ":")).replace('],"', '],\n"') + "\n")

    def state(self) -> dict[str, Tensor]:
        """Make the weights, each from its name, the same every time."""
        state = {name: _tensor(name, kind, shape, self.gain) for name, (kind, shape) in self.tensors.items()}
        for name in [name for name in state if name.endswith("weight_orig")]:
            _converge(state, name)
        return state


def photos(folder: Path) -> Path:
    """Draw a few coarse pictures to be used as inputs."""
    folder.mkdir()
    for number in range(8):
        coarse = torch.randint(0, 255, (8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(number))
        picture = coarse.repeat_interleave(8, 0).repeat_interleave(8, 1)
        Image.fromarray(picture.numpy()).save(folder / f"{number}.png")
    return folder


def pixels_of(images: Tensor) -> list[float]:
    """Return 12 numbers of a batch of raw images, and their mean and spread."""
    flat = images.double().flatten()
    chosen = flat[torch.linspace(0, len(flat) - 1, 12).long()]
    return [round(float(number), 6) for number in (*chosen, flat.mean(), flat.std())]


def conform(generator: Generator, *, onnx: bool = True, layer: str | None = None) -> dict[str, str]:
    """Check everything; raise AssertionError or GanpatchError at the first check that fails."""
    found = {"load": "x".join(str(edge) for edge in generator.sample([0]).shape[2:])}
    found["seeds"] = check_seeds(generator)
    facts = list_layers(generator)
    names = {fact.name for fact in facts}
    chosen = next(fact for fact in facts if fact.name == layer) if layer else default_layer(facts)
    found["layers"] = str(len(names))
    found["rank"] = check_rank(generator, chosen.name)
    edit = Edit(id="off", layer=chosen.name, channels=chosen.units, units=tuple(range(0, chosen.units, 2)), alpha=0.75)
    patch = Patch(name="half", model=Model.of(generator.name, generator.fingerprint), edits=[edit])
    found["hook"] = check_hook(generator, patch)
    with TemporaryDirectory() as folder:
        patch.save(Path(folder) / "half.yaml")
        assert Patch.load(Path(folder) / "half.yaml") == patch
        found["patch"] = "equal"
        baked = bake(generator, patch)
        assert baked.proof.holds
        found["bake"] = baked.decisions[0].outcome
        if onnx:
            found["onnx"] = check_onnx(generator, patch, Path(folder))
    return found


def check_seeds(generator: Generator) -> str:
    """An image depends on its seed alone: not on the batch that it is drawn in, and not on the time."""
    together = raw(generator, [3, 1, 2, 7])
    gap = max(float((raw(generator, [seed])[0] - together[row]).abs().max()) for row, seed in enumerate([3, 1, 2, 7]))
    assert gap <= SAME * float(together.abs().max()), f"the image of a seed changes by {gap:.2g} with its batch"
    assert not torch.equal(together[0], together[1])
    return f"{gap:.0e}"


def check_rank(generator: Generator, layer: str) -> str:
    """The ranking of a layer equals that of plain loops."""
    seeds = range(6)
    ranked = rank(generator, [layer], seeds=seeds, k=3, batch_size=4)[layer]
    rows: list[Tensor] = []

    def keep(output: Any, _call: int) -> None:
        activation = tensor_of(output)
        assert activation is not None
        rows.append(activation[0].flatten(1).amax(1).clone())

    for seed in seeds:
        runs = len(rows)
        with hooked(generator.module, {layer: keep}):
            raw(generator, [seed])
        merged = torch.stack(rows[runs:]).amax(0)
        del rows[runs:]
        rows.append(merged)
    scores = torch.stack(rows, 1).float()
    best = scores.topk(3, 1).values
    assert torch.allclose(ranked.top_scores, best, rtol=1e-4, atol=SAME * float(scores.abs().max()))
    drawn = scores.gather(1, ranked.top_seeds.long())
    assert torch.allclose(drawn, best, rtol=1e-4, atol=SAME * float(scores.abs().max()))
    return f"{len(scores)} units"


def check_hook(generator: Generator, patch: Patch) -> str:
    """The patch changes images inside its block, and nothing is left behind it."""
    before = raw(generator, [0, 1])
    with applied(generator.module, patch):
        during = raw(generator, [0, 1])
    assert torch.equal(before, raw(generator, [0, 1])), "a hook left something behind"
    effect = float((during - before).abs().max())
    assert effect > 0, "the patch changes nothing"
    return f"{effect:.1g}"


def check_onnx(generator: Generator, patch: Patch, folder: Path) -> str:
    """The exported graph equals the hooks, at any batch size, or at one where the model allows no other."""
    try:
        exported = export_onnx(generator, folder / "any.onnx", patch=patch)
        return f"any batch, {exported.difference:.0e}"
    except GanpatchError as fault:
        if "--batch 1" not in str(fault):
            raise
    exported = export_onnx(generator, folder / "one.onnx", patch=patch, batch=1)
    return f"batch 1, {exported.difference:.0e}"


def check_graph(generator: Generator, folder: Path, given: dict[str, Any]) -> str:
    """The exported graph, loaded as a generator, ranks the units as the torch module does, but for ties."""
    try:
        path = export_onnx(generator, folder / "graph.onnx").path
    except GanpatchError as fault:
        if "--batch 1" not in str(fault):
            raise
        path = export_onnx(generator, folder / "graph.onnx", batch=1).path
    graph = load(path, **given)
    assert graph.fingerprint == generator.fingerprint
    own = {fact.name for fact in list_layers(graph)}
    layer = default_layer([fact for fact in list_layers(generator) if fact.name in own]).name
    wanted, found = (rank(one, [layer], range(12), k=4)[layer] for one in (generator, graph))
    largest = wanted.top_scores.abs().max().item()
    gap = (found.top_scores - wanted.top_scores).abs().max().item() / largest
    assert gap < 1e-4, f"scores differ by {gap:.0e} of the largest"
    ties = (wanted.top_scores[:, :-1] - wanted.top_scores[:, 1:]).abs().min(1).values < 2e-4 * largest
    others = (found.top_seeds != wanted.top_seeds).any(1) & ~ties
    assert not others.any(), f"other top images of {int(others.sum())} units"
    return f"{layer}, {gap:.0e}"


@torch.inference_mode()
def raw(generator: Generator, seeds: list[int]) -> Tensor:
    """Return what the module itself draws, before images are read from it."""
    output = generator.module(*generator.inputs_of(seeds))
    assert isinstance(output, Tensor)
    return output


def _tensor(name: str, kind: str, shape: list[int], gain: float) -> Tensor:
    source = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    if not kind.startswith("float"):
        return torch.zeros(shape, dtype=getattr(torch, kind))
    drawn = torch.randn(shape, generator=source)
    leaf = name.rpartition(".")[2]
    if "var" in leaf or "magnitude" in leaf or leaf == "accumulation_counter":
        return drawn.abs() + 0.5
    if len(shape) < 2:
        centre = 1.0 if leaf in ("weight", "gain", "gamma", "g", "f") else 0.0
        return drawn * 0.3 + centre
    if not gain and name.startswith(("mapping.fc", "style.")):
        return drawn * 100  # a mapping network's weights are scaled down by 0.01 at run time
    if not gain or "embed" in name or leaf in ("input", "const", "freqs", "noise_const") or "noise" in name:
        return drawn
    fan = max(1, torch.Size(shape[1:]).numel())
    return drawn * (gain / fan) ** 0.5


def _converge(state: dict[str, Tensor], name: str) -> None:
    """Bring the vectors of torch's spectral norm to where training would have them."""
    weight, prefix = state[name], name.removesuffix("_orig")
    u, v = state[f"{prefix}_u"], state[f"{prefix}_v"]
    order = [1, 0, 2, 3] if len(u) != weight.shape[0] else list(range(weight.ndim))
    matrix = weight.permute(order).reshape(len(u), -1)
    for _ in range(30):
        v = torch.nn.functional.normalize(matrix.t() @ u, dim=0)
        u = torch.nn.functional.normalize(matrix @ v, dim=0)
    state[f"{prefix}_u"], state[f"{prefix}_v"] = u, v
