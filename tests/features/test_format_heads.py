"""A log's first record from its first bytes, whatever they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.formats.heads import beginning


@pytest.mark.parametrize(
    ("head", "known"),
    [
        (b'\xef\xbb\xbf\n {"a": 1, "b": {"c": 2}}\n{"d": 3}', {"a": 1, "b": {"c": 2}}),
        (b' [ {"a": 1}, {"b"', {"a": 1}),
        (b"a, b ,c\n1,2,3\n", {"a": None, "b": None, "c": None}),
        (b'{"a": 1, "b": "a long prompt that the head cuts', {"a": None, "b": None}),
        (b"[1, 2]", {}), (b"", {}), (b"PAR1\x00", {}), (b"\x80\x04\x95", {}), (b"PK\x03\x04", {}),
    ],
)  # fmt: skip
def test_the_first_record_is_known_as_far_as_it_goes(head: bytes, known: dict[str, object]) -> None:
    assert beginning(head) == known


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | st.just(b"[" * 100_000))
def test_no_bytes_break_it(head: bytes) -> None:
    assert isinstance(beginning(head), dict)
