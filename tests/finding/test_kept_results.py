"""A search that failed continues from what it had computed; suggestions that no edit can have are refused."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ganpatch import GanpatchError, Generator, Ranking, rank
from ganpatch.finding import closer_look
from ganpatch.finding.kept_results import KEPT, KeptResults
from ganpatch.finding.suggestions import Found, MethodFacts, Suggested, read_suggestions, save_suggestions
from ganpatch.graph.prefix import Prefix
from ganpatch.graph.remainder import Remainder
from ganpatch.ranking.result import read_manifest
from ganpatch.runs.suggestion_run import suggest_for_run
from tests.support import own_files as own


@pytest.fixture(scope="module")
def ranking(small_dcgan: Generator) -> Ranking:
    return rank(small_dcgan, [own.LAYER], range(60), k=3)


def test_a_search_that_fails_continues(
    small_dcgan: Generator, ranking: Ranking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was computed before a failure is kept, and not computed again."""
    ranking.save(tmp_path)
    monkeypatch.setattr(closer_look, "BATCH", 8)
    wanted = suggest_for_run(tmp_path, small_dcgan, ["typicality"], references=40)["typicality"].layers[own.LAYER]
    prefix, sample = Remainder.prefix, Generator.sample
    passes: list[int] = []
    drawn: list[int] = []

    def counted(self: Remainder, seeds: Sequence[int]) -> Prefix:
        passes.append(len(seeds))
        if len(passes) == 5:  # the first two try the traced graph
            raise GanpatchError("no more")
        return prefix(self, seeds)

    def sampled(self: Generator, seeds: Sequence[int]) -> torch.Tensor:
        drawn.append(len(seeds))
        return sample(self, seeds)

    monkeypatch.setattr(Remainder, "prefix", counted)
    monkeypatch.setattr(Generator, "sample", sampled)
    with pytest.raises(GanpatchError, match="no more") as fault:
        suggest_for_run(tmp_path, small_dcgan, ["typicality"], references=40)
    assert fault.value.__notes__ == [f"what was computed is saved in '{tmp_path}'; the same command continues from it"]
    whole, passed = sum(drawn), len(passes)
    drawn.clear()
    again = suggest_for_run(tmp_path, small_dcgan, ["typicality"], references=40)["typicality"].layers[own.LAYER]
    assert torch.equal(again.score, wanted.score)
    assert sum(drawn) < whole / 4, "images were drawn again that trying the graph does not need"
    assert passed == 5
    assert not (tmp_path / KEPT).exists()


def test_a_search_with_other_settings_begins_anew(tmp_path: Path) -> None:
    kept = KeptResults(tmp_path / KEPT, {"images": 12})
    kept.of("a", lambda: torch.ones(3))
    level = torch.ones(3)
    kept.several("b", lambda: {"above": level, "value": level})  # which no file may share
    assert kept.save()
    assert KeptResults(tmp_path / KEPT, {"images": 12}).knows("a")
    assert not KeptResults(tmp_path / KEPT, {"images": 13}).knows("a")
    (tmp_path / KEPT).write_bytes(b"broken")
    assert not KeptResults(tmp_path / KEPT, {"images": 12}).knows("a")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"alpha": torch.full((8,), 1.0156)}, "spike/main.5.alpha has values outside [0, 1]"),
        ({"mask": torch.full((8, 8, 8), -0.1)}, "spike/main.5.mask has values outside [0, 1]"),
        ({"score": torch.arange(7.0)}, "spike/main.5.score does not fit the layer"),
    ],
)
def test_suggestions_that_no_edit_can_have_are_neither_written_nor_read(
    change: dict[str, torch.Tensor], fault: str, tmp_path: Path
) -> None:
    own.make_run(tmp_path)
    manifest = read_manifest(tmp_path)
    facts = MethodFacts(explains="outbursts", layers=("main.5",))
    found = Found(**{"score": torch.arange(8.0), **change})
    with pytest.raises(GanpatchError) as refused:
        save_suggestions(tmp_path, manifest, {"spike": Suggested(facts=facts, layers={"main.5": found})})
    assert str(refused.value) == (
        f"method 'spike' returned what cannot be used: {fault}; what '{tmp_path}' held before is unchanged"
    )
    tensors = load_file(tmp_path / "suggestions.safetensors")
    save_file(tensors | {f"spike/main.5.{name}": tensor for name, tensor in change.items()}, tmp_path / "suggestions.safetensors")  # fmt: skip
    with pytest.raises(GanpatchError, match=re.escape(fault)):
        read_suggestions(tmp_path, manifest)


def test_suggestions_of_no_layer_are_broken(tmp_path: Path) -> None:
    own.make_run(tmp_path)
    index = tmp_path / "suggestions.json"
    document = json.loads(index.read_text())
    document["methods"]["spike"]["layers"] = []
    index.write_text(json.dumps(document))
    with pytest.raises(GanpatchError) as fault:
        read_suggestions(tmp_path, read_manifest(tmp_path))
    assert str(fault.value) == (
        f"'{index}' is broken: methods.spike.layers: Tuple should have at least 1 item after validation, not 0; remove it"
    )


def test_suggestions_whose_arrays_were_removed_are_none(tmp_path: Path) -> None:
    """That is what the message about broken arrays advises."""
    own.make_run(tmp_path)
    (tmp_path / "suggestions.safetensors").unlink()
    assert read_suggestions(tmp_path, read_manifest(tmp_path)) == {}
