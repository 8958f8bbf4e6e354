"""Each rule of folding on the same net, as a torch module and as an ONNX graph: the same decisions, both proved."""

from pathlib import Path
from typing import Any

import pytest

import ganpatch
from ganpatch import Edit, Generator, bake
from ganpatch.export.file_runners import TOLERANCES, compared, open_onnx, output_of
from ganpatch.export.onnx_patching import patch_onnx
from ganpatch.fold import downstream, upstream
from tests.export.test_onnx_patching import torch_export
from tests.support.branches import EDITS, UNITS, branches
from tests.support.patches import patch_of

# Rules that graphs do not need: exporters leave these operations out, or write them as others.
NOT_EXPORTED = {"up identity", "down identity", "up gated_halves", "up pixel_unshuffle", "down pixel_unshuffle"}
NOT_BY_DYNAMO = {"up softplus", "down padding"}  # a padding becomes part of the convolution behind it
# Neither exporter keeps a value for a dropout. The newer one notes the module only at the first of several operations,
# and writes softplus as a choice between two values.
LOST = {"dynamo": ("up_dropout", "up_split", "up_pixel_unshuffle", "up_softplus"), "legacy": ("up_dropout",)}
WAYS = {"up": upstream._RULES, "down": downstream._RULES}
KINDS = {f"{way} {kind}": 0 for way, rules in WAYS.items() for kind in rules}
del KINDS["down mark"]  # only other runs of an edited layer are passed so


@pytest.fixture(scope="module")
def generator() -> Generator:
    return ganpatch.load(branches(), latent="normal:3,6,6")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count how often each rule leads to parameters."""
    counts = dict(KINDS)

    def counting(key: str, rule: Any) -> Any:
        def run(*args: Any) -> Any:
            changes = rule(*args)
            counts[key] = counts.get(key, 0) + 1
            return changes

        return run

    for way, rules in WAYS.items():
        for kind, rule in list(rules.items()):
            monkeypatch.setitem(rules, kind, counting(f"{way} {kind}", rule))
    return counts


def edits(*left_out: str) -> list[Edit]:
    """Return the edit of every branch, and one of a whole branch, behind that of its last layer."""
    units = {name: (0, 1, 2, 3) if "shuffle" in name else (0, 2) for name in EDITS}
    outer = Edit(id="outer", layer="up_convolution", channels=UNITS, units=(0, 1), value=0.2)
    inner = [
        Edit(id=name, layer=f"{name}.1", channels=UNITS, units=units[name], **fields)
        for name, fields in EDITS.items()
        if name not in left_out
    ]
    return [outer, *inner]


def test_every_rule_serves_a_torch_module(generator: Generator, counted: dict[str, int]) -> None:
    baked = bake(generator, patch_of(generator, edits()))
    assert {d.edit: d.reason for d in baked.decisions if d.outcome == "inserted"} == {}
    assert [kind for kind, count in counted.items() if count == 0] == []


@pytest.mark.parametrize("exporter", ["dynamo", "legacy"])
def test_every_rule_serves_a_graph(
    generator: Generator, counted: dict[str, int], tmp_path: Path, exporter: str
) -> None:
    source = torch_export(generator, tmp_path / "model.onnx", exporter)
    patch = patch_of(generator, edits(*LOST[exporter]))
    result = patch_onnx(source, patch, tmp_path / "fixed.onnx")
    assert {d.edit: d.reason for d in result.decisions if d.outcome == "inserted"} == {}
    left_out = NOT_EXPORTED | (NOT_BY_DYNAMO if exporter == "dynamo" else set())
    assert {kind for kind, count in counted.items() if count == 0} <= left_out
    inputs, _ = generator.inputs(range(7, 12))
    wanted = output_of(generator.module, inputs, patch.edits)
    assert compared(wanted, open_onnx(result.path).run(inputs)).largest <= TOLERANCES["onnx"] * wanted.abs().max()
