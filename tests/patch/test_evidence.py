"""The evidence of a patch: records that survive their file, free data that stays, seeds that are refused."""

from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganpatch import Edit, GanpatchError, Patch
from ganpatch.patch.evidence import Evidence, Figure, Record
from tests.support.patch_files import FULL, faults, write
from tests.support.patches import made_up_patch

EDIT = Edit(id="a", layer="l", channels=4, units=[1])
MEASURED = Record(
    made_by="ganpatch evaluate",
    measured_on=range(20_000, 20_500),
    reference="500 real images of photos",
    baselines=2,
    settings={"features": "plain", "bins": [1, 2], "nested": {"deep": None}},
    figures={
        "most_frechet": Figure(before=1.5, after=1.25, random=[1.5, 2.0]),
        "preferred": Figure(value=0.79, interval=(0.7, 0.86), what="share of pairs"),
        "ssim": 0.93,
        "pairs": 50,
    },
    note="More typical.",
)

TEXT = """evidence:
  records:
    - made_by: review
      chosen_on: 0-999
    - made_by: ganpatch evaluate
      measured_on: 20000-20499
      reference: 500 real images of photos
      baselines: 2
      settings:
        features: plain
        bins: [1, 2]
        nested:
          deep: null
      figures:
        most_frechet:
          before: 1.5
          after: 1.25
          random: [1.5, 2.0]
        preferred:
          what: share of pairs
          value: 0.79
          interval: [0.7, 0.86]
        ssim: 0.93
        pairs: 50.0
      note: More typical.
"""


def test_records_read_well_and_survive_their_file(tmp_path: Path) -> None:
    patch = made_up_patch(EDIT).with_record(Record(made_by="review", chosen_on=range(1000))).with_record(MEASURED)
    patch.save(tmp_path / "fix.yaml")
    assert (tmp_path / "fix.yaml").read_text().endswith(TEXT)
    assert Patch.load(tmp_path / "fix.yaml") == patch
    jsonschema.validate(patch.plain(), Patch.model_json_schema())
    assert made_up_patch(EDIT).to_yaml().count("evidence") == 0, "a patch without evidence says nothing of it"


def test_free_data_of_older_patches_stays_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path, FULL)
    assert Patch.load(path).evidence.free == {"seeds": "0-999", "fd": {"before": 0, "after": 0.5}}
    Patch.load(path).with_record(MEASURED).save(path)
    assert Patch.load(path).evidence == Evidence(records=(MEASURED,), seeds="0-999", fd={"before": 0, "after": 0.5})


def test_what_is_measured_again_replaces_the_first_time() -> None:
    again = MEASURED.model_copy(update={"figures": {"ssim": Figure(value=0.5)}, "note": "Worse."})
    elsewhere = MEASURED.model_copy(update={"measured_on": "1-2"})
    otherwise = MEASURED.model_copy(update={"settings": {"features": "churches"}})
    found = Evidence.of(MEASURED).with_records([elsewhere, otherwise, again])
    assert found.records == (elsewhere, otherwise, again)
    assert found.by("ganpatch evaluate") == again
    assert found.by("ganpatch judge") is None


@given(st.lists(st.integers(0, 50), unique=True))
def test_seeds_are_written_as_people_write_them(seeds: list[int]) -> None:
    spans = Evidence.of(Record(made_by="x", chosen_on=seeds)).chosen_seeds()
    assert [seed for span in spans for seed in span] == seeds


def test_seeds_that_a_patch_was_chosen_on_are_refused() -> None:
    evidence = Evidence.of(
        Record(made_by="review", chosen_on=range(1000)),
        Record(made_by="ganpatch tune", chosen_on="1500,1600-1699", measured_on="5000"),
    )
    assert evidence.chosen_seeds() == [range(1000), range(1500, 1501), range(1600, 1700)]
    evidence.refuse_chosen([*range(1000, 1500), *range(1700, 6000)])
    for seeds, seed, span in (
        ([2000, 999], 999, "0-999"),
        ([1500], 1500, "1500"),
        (range(1601, 3000), 1601, "1600-1699"),
    ):
        with pytest.raises(GanpatchError) as found:
            evidence.refuse_chosen(seeds)
        assert str(found.value) == (
            f"seed {seed} is one that the patch was chosen on ({span}): "
            "results on them would be biased; choose other --seeds"
        )


def test_the_longest_range_of_seeds_takes_no_memory() -> None:
    evidence = Evidence.of(*(Record(made_by=f"{n}", chosen_on=f"0-{10**17}") for n in range(3)))
    assert evidence.chosen_seeds() == [range(10**17 + 1)] * 3


@pytest.mark.parametrize(
    ("free", "seeds"),
    [
        ({"flagged": {"seeds": "0-11", "score": "peak"}}, [range(12)]),
        ({"suggested": {"by": "spike", "seeds": "3"}, "tuned": {"seeds": "5-6"}}, [range(3, 4), range(5, 7)]),
        ({"looked_at": [{"seeds": "0-1"}, {"seeds": "7"}]}, [range(2), range(7, 8)]),
        ({"flagged_on_seeds": "0-999"}, [range(1000)]),
        ({"flagged": "everything", "tuned": {"seeds": "all of them"}, "seeds": "0-999"}, []),
    ],
)
def test_seeds_of_patches_that_are_older_than_records(free: dict[str, object], seeds: list[range]) -> None:
    assert Evidence(**free).chosen_seeds() == seeds
    assert Evidence(**free).choices().chosen_seeds() == seeds, "a patch made of it knows them too"


def record(text: str) -> str:
    return FULL.replace("evidence:\n", f"evidence:\n  records:\n    - made_by: x\n{text}\n")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "      measured: 1-2",
            "$.evidence.records[0].measured: unknown key; did you mean 'measured_on'? (line 26)",
        ),
        (
            "      chosen_on: 9-1",
            "$.evidence.records[0].chosen_on: seeds '9-1': the range 9-1 runs backwards; write 1-9 (line 26)",
        ),
        (
            "      chosen_on: some",
            "$.evidence.records[0].chosen_on: seeds 'some': 'some' is not a number or a range like 4-6 (line 26)",
        ),
        ("      chosen_on: 1.5", "$.evidence.records[0].chosen_on: should be a valid string, not '1.5' (line 26)"),
        ("      baselines: -1", "$.evidence.records[0].baselines: should be greater than or equal to 0, not '-1' (line 26)"),
        (
            "      figures:\n        fd: {befor: 1}",
            "$.evidence.records[0].figures.fd.befor: unknown key; did you mean 'before'? (line 27)",
        ),
        (
            "      figures:\n        fd: high",
            "$.evidence.records[0].figures.fd: should be a mapping with the keys "
            "what, value, before, after, random, interval (line 27)",
        ),
        (
            "      figures:\n        fd: .nan",
            "$.evidence.records[0].figures.fd: should be a finite number, not 'nan' (line 27)",
        ),
        ("      settings: {a: .inf}", "$.evidence.records[0].settings.a: inf is not finite (line 26)"),
    ],
)  # fmt: skip
def test_faults_of_a_record(tmp_path: Path, text: str, fault: str) -> None:
    assert faults(write(tmp_path, record(text))) == [f"fix.yaml: {fault}"]


def test_what_no_file_can_hold_is_refused_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="a PosixPath is no plain data; use texts, numbers, lists and mappings"):
        Record(made_by="x", settings={"folder": Path("x")})
