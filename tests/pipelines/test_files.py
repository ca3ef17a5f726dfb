"""Files that a kill leaves whole."""

import stat

from pipelines.files import json_lines, write_whole


def test_a_file_is_whole_and_nothing_is_left_beside_it(tmp_path):
    place = tmp_path / "new" / "plan.json"
    write_whole(place, "one")
    write_whole(place, "two", private=True)
    assert place.read_text() == "two"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert [path.name for path in place.parent.iterdir()] == ["plan.json"]


def test_a_torn_line_and_what_is_no_object_are_passed_over(tmp_path):
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"a": 1}\n\n[2]\n{"b": \n{"c": 3}\n')
    assert list(json_lines(lines)) == [{"a": 1}, {"c": 3}]
