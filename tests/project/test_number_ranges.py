import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganpatch import GanpatchError
from ganpatch.number_ranges import format_spans, parse_spans


@given(st.lists(st.integers(0, 200), unique=True, min_size=1))
def test_what_is_written_is_read_again(numbers: list[int]) -> None:
    assert list(parse_spans(format_spans(numbers), what="seed")) == numbers


def test_ranges_and_spaces() -> None:
    assert parse_spans("0, 1,4-6", what="seed") == [0, 1, 4, 5, 6]
    assert format_spans(range(1000)) == "0-999"
    assert format_spans([3, 17, 18, 19]) == "3,17-19"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,x", "units '1,x': 'x' is not a number or a range like 4-6"),
        ("", "units '': '' is not a number or a range like 4-6"),
        ("-3", "units '-3': '-3' is not a number or a range like 4-6"),
        ("6-4", "units '6-4': the range 6-4 runs backwards; write 4-6"),
        ("1,2,1", "units '1,2,1': unit 1 is listed twice"),
        ("0-99999999999", "units '0-99999999999': more than 10,000,000 numbers"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(GanpatchError) as fault:
        parse_spans(text, what="unit")
    assert str(fault.value) == message
