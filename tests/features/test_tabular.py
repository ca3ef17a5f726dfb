"""Every container gives its records, each counted once, and a file that is still being written waits."""

import io
import json

import pytest

from features.formats.tabular import BLOCK, kind, records

OBJECTS = [{"id": i, "said": "北京 Größe " * 9000} for i in range(3)]


def pretty(objects: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(item, indent=2, ensure_ascii=False) + "\n" for item in objects).encode()


def test_objects_spread_over_lines_are_records_that_count_all_their_lines() -> None:
    data = pretty(OBJECTS)
    assert kind(data) == "spread"
    found = list(records(io.BytesIO(data)))
    assert [item.values for item in found] == OBJECTS
    assert [item.lines for item in found] == [4, 4, 4]
    assert [item.values for item in records(io.BytesIO(b"\xef\xbb\xbf" + data))] == OBJECTS


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_torn_object_of_many_lines_waits_and_those_before_it_stand(cut: int) -> None:
    data = pretty([{"id": 1}, {"id": 2, "said": "hello, hello"}])
    data = data[: -cut - 1]
    *whole, torn = records(io.BytesIO(data))
    assert [item.values for item in whole] == [{"id": 1}]
    assert torn.torn
    assert torn.lines == sum(bool(line.strip()) for line in data.splitlines()) - 3


def test_a_character_on_the_border_of_two_blocks_stays_whole() -> None:
    for shift in range(3):
        said = "x" * (BLOCK - 20 - shift) + "北京" * 20
        array = json.dumps([{"said": said}], ensure_ascii=False)
        for data in (array.encode(), pretty([{"said": said}])):
            (item,) = records(io.BytesIO(data))
            assert item.values == {"said": said}


def test_lines_of_objects_are_no_spread_objects() -> None:
    assert kind(b'{"a": 1}\n{"a": 2}\n') == "lines"
    assert kind(b'{"a":') == kind(b"{") == "lines"
    assert kind(b'{\r\n  "a": 1\r\n}\r\n') == "spread"
