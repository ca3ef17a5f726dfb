"""Entries as bytes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastmode.cache.entry import Damaged, Entry, Snapshot, encode, encode_chunks
from beastmode.errors import CacheError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def entry(value: Any = "x", **known: Any) -> Entry:
    kind, body = encode(value)
    base = {"key": b"k" * 32, "partition": b"p" * 32, "made": 10.0, "fresh_until": 20.0, "stale_until": 30.0}
    return Entry(**{**base, "kind": kind, "body": body, **known})


@given(PLAIN | st.binary(), st.text(), st.lists(st.text()))
def test_an_entry_comes_back_as_it_went(value: Any, text: str, tags: list[str]) -> None:
    sent = entry(value, text=text, tags=tuple(tags), snapshot=Snapshot("life", 3), model="m", cost_usd=0.5)
    back = Entry.from_bytes(sent.key, sent.to_bytes())
    assert back == sent
    assert back.value == value


def test_chunks_come_back_one_by_one() -> None:
    kind, body = encode_chunks([encode("a"), encode(b"b"), encode({"c": [1]}), encode("")])
    assert entry(kind=kind, body=body).value == ["a", b"b", {"c": [1]}, ""]


@given(st.data())
def test_any_changed_byte_is_noticed(data: st.DataObject) -> None:
    sent = entry({"answer": "forty-two"})
    raw = bytearray(sent.to_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Damaged):
        Entry.from_bytes(sent.key, bytes(raw))


def test_an_entry_is_known_under_its_own_key_only() -> None:
    with pytest.raises(Damaged):
        Entry.from_bytes(b"j" * 32, entry().to_bytes())
    for cut in (b"", b"BMC1", entry().to_bytes()[:-1]):
        with pytest.raises(Damaged):
            Entry.from_bytes(b"k" * 32, cut)


def test_nobody_s_change_reaches_another_reader() -> None:
    held = entry({"a": [1]})
    held.value["a"].append(2)
    assert held.value == {"a": [1]}


def test_it_is_fresh_then_stale_then_dead_and_from_the_future_never() -> None:
    held = entry()
    assert [held.fresh(now) for now in (4.0, 10.0, 19.9, 20.0)] == [False, True, True, False]
    assert [held.usable(now) for now in (4.0, 25.0, 30.0)] == [False, True, False]


def test_what_is_no_data_is_refused() -> None:
    with pytest.raises(CacheError, match="plain JSON data"):
        encode(object())
