import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganpatch.untrusted.strict_yaml import YamlFaults, read_yaml, write_yaml


def faults(text: str) -> list[str]:
    with pytest.raises(YamlFaults) as found:
        read_yaml(text)
    return [fault.text for fault in found.value.faults]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1.5", 1.5), (".5", 0.5), ("-2", -2), ("+3", 3), ("0", 0), ("010", "010"), ("0x1F", "0x1F"),
        ("1_000", "1_000"), ("on", "on"), ("yes", "yes"), ("true", True), ("false", False), ("null", None), ("~", None),
        ("2026-11-23", "2026-11-23"), ("'1'", "1"), ('"true"', "true"), ("12:30", "12:30"), (".inf", math.inf),
        ("9" * 50, "9" * 50),
    ],
)  # fmt: skip
def test_scalars_have_one_meaning(text: str, value: object) -> None:
    found = read_yaml(f"a: {text}").data["a"]
    assert found == value
    assert type(found) is type(value)


def test_lines_are_known() -> None:
    document = read_yaml("a: 1\nb:\n  - x\n  - c: 2\n")
    assert document.lines["b", 1, "c"] == 4


def test_duplicate_keys_are_all_reported() -> None:
    assert faults("a: 1\nb: 2\na: 3\nb: 4\n") == [
        "the key is listed twice, on lines 1 and 3",
        "the key is listed twice, on lines 2 and 4",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: &x 1\nb: *x\n", "line 1: anchors and aliases are not used in this format"),
        ("a: !!python/object/apply:os.system ['true']", "the tag tag:yaml.org,2002:python/object/apply:os.system is not used in this format"),
        ("a: !!binary aGk=", "the tag tag:yaml.org,2002:binary is not used in this format"),
        ("{a: 1, <<: {b: 2}}", "line 1: a key must be a plain word"),
        ("? [1, 2]\n: 3\n", "line 1: a key must be a plain word"),
        ("a: [1, 2\nb: 3", "line 2: expected ',' or ']', but got ':'"),
        ("", "the file is empty"),
        ("[" * 3000 + "]" * 3000, "line 1: nested more than 20 levels deep"),
        ("a: 1\n---\nb: 2\n", "line 2: but found another document"),
    ],
)  # fmt: skip
def test_refusals(text: str, fault: str) -> None:
    assert faults(text) == [fault]


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), plain, min_size=1, max_size=4))
def test_what_is_written_is_read_again_with_the_same_bytes(data: dict[str, object]) -> None:
    text = write_yaml(data)
    found = read_yaml(text).data
    assert found == data
    assert write_yaml(found) == text
