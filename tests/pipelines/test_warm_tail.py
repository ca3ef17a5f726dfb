"""The tail of journals that real journals write: what comes is told once, whatever becomes of the files."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from beastmode.journal import Journal
from beastmode.records import Decision, Plan, Request
from pipelines.keeping import Keeping
from pipelines.sources import SourceSettings
from pipelines.warm_demand import demand, key_of
from pipelines.warm_settings import WarmSettings
from pipelines.warm_tail import Tail


def decision(text: str, **known) -> Decision:
    return Decision(
        request=Request.of(text, **known), plan=Plan.single("small"), probabilities={}, propensity=None,
        policy="test", bundle_sha256=None, predictions=(), reason="test",
    )  # fmt: skip


def ask(journal: Journal, text: str, purpose: str = "serve", **known) -> None:
    with journal.attempt(decision(text, **known), purpose=purpose) as attempt:
        attempt.tokens(input=1, output=1)


def lines(tmp_path: Path, *texts: str) -> bytes:
    """What a real journal writes of some requests."""
    folder = tmp_path / f"journal-{time.time_ns()}"
    with Journal(folder) as journal:
        for text in texts:
            ask(journal, text)
    (file,) = folder.iterdir()
    return file.read_bytes()


def tail(tmp_path: Path, pattern: str = "logs/*.jsonl", keeping: str = "redacted", **known) -> Tail:
    return Tail([SourceSettings(path=f"{tmp_path}/{pattern}", **known)], Keeping(keeping))


def texts(of: Tail) -> list[str]:
    return sorted(request.text for request in demand(of.requests(), WarmSettings()).requests if request is not None)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def test_requests_are_told_when_they_begin_once_and_by_the_keys_of_the_lake(tmp_path, logs):
    with Journal(logs) as journal:
        ask(journal, "before")
        followed = tail(tmp_path)
        assert texts(followed) == []
        with journal.attempt(decision("now", tenant="t", context={"task": "sum"})):
            rows = followed.requests()
            found = demand(rows, WarmSettings())
            assert found.keys == (key_of(Request.of("now", tenant="t", context={"task": "sum"}), WarmSettings()),)
            assert abs(found.at[0] - time.time()) < 60
        # Its end is no other request; prefills, probes and feedback are none.
        ask(journal, "ahead", purpose="warm")
        ask(journal, "probed", purpose="probe")
        journal.feedback("r", "stars", 1.0)
        assert texts(followed) == []
        ask(journal, "my key is sk-abcdefghijklmnopqrstuvwxyz0123456789ABCD")
        (redacted,) = texts(followed)
        assert "abcdef" not in redacted, "keys are those of the lake, which keeps no secrets"
    followed.close()


def test_a_torn_line_waits_for_its_end_and_a_broken_one_is_passed_over(tmp_path, logs):
    file = logs / "a.jsonl"
    file.write_bytes(lines(tmp_path, "old"))
    followed = tail(tmp_path)
    data = lines(tmp_path, "first", "second", "third")
    cut = data.index(b"second")
    for part, told in (
        (data[:cut], ["first"]), (data[cut : cut + 5], []), (b"", []), (data[cut + 5 :], ["second", "third"]),
        (b'{"kind": "begin", "v": 1, tor\n' + lines(tmp_path, "after"), ["after"]),
    ):  # fmt: skip
        with file.open("ab") as stream:
            stream.write(part)
        assert texts(followed) == told
    followed.close()


def test_rotated_truncated_copied_new_and_vanished_files_lose_nothing_and_tell_nothing_twice(tmp_path, logs):
    file = logs / "a.jsonl"
    file.write_bytes(lines(tmp_path, "old"))
    followed = tail(tmp_path)

    def add(path: Path, *said: str) -> None:
        with path.open("ab") as stream:
            stream.write(lines(tmp_path, *said))

    add(file, "one")
    assert texts(followed) == ["one"]
    # Renamed out of the pattern, and still written to by its process, while another begins a file of that name.
    with file.open("ab") as writer:
        file.rename(logs / "a.jsonl.1")
        writer.write(lines(tmp_path, "two"))
        writer.flush()
        add(file, "three")
        assert texts(followed) == ["three", "two"]
        writer.write(lines(tmp_path, "four"))
    assert texts(followed) == ["four"]
    # Copied and truncated: what the copy holds was told.
    (logs / "copy.jsonl").write_bytes(file.read_bytes())
    os.truncate(file, 0)
    assert texts(followed) == []
    add(file, "five")
    assert texts(followed) == ["five"]
    # Packed archives and other logs are left alone.
    (logs / "b.jsonl.gz").write_bytes(b"\x1f\x8b no journal")
    (logs / "other.jsonl").write_text('{"request_id": "r", "model": "m"}\n')
    add(logs / "new.jsonl", "six")
    (logs / "empty.jsonl").touch()
    assert texts(followed) == ["six"]
    add(logs / "empty.jsonl", "seven")
    add(logs / "new.jsonl", "eight")
    (logs / "new.jsonl").unlink()
    assert texts(followed) == ["eight", "seven"]
    file.unlink()
    add(file, "nine")
    assert texts(followed) == ["nine"]
    for path in logs.iterdir():
        path.unlink()
    logs.rmdir()
    assert texts(followed) == []
    followed.close()


def test_what_was_asked_before_the_run_is_told_by_nobody(tmp_path, logs):
    known = lines(tmp_path, "long ago")
    then = (datetime.now(UTC) - timedelta(hours=2)).isoformat().encode()
    at = known.index(b'"at":"') + 6
    old = known[:at] + then + known[known.index(b'"', at) :]
    followed = tail(tmp_path)
    (logs / "restored.jsonl").write_bytes(old + lines(tmp_path, "now"))
    assert texts(followed) == ["now"]
    followed.close()


def test_sources_without_a_journal_say_so(tmp_path, logs):
    assert tail(tmp_path).lacking is None, "its files may come"
    (logs / "other.jsonl").write_text('{"request_id": "r", "prompt": "p", "model": "m"}\n')
    assert "holds a journal" in str(tail(tmp_path).lacking)
    assert tail(tmp_path, format="journal").lacking is None
    assert "is a journal" in str(tail(tmp_path, format="litellm").lacking)
    assert "is a journal" in str(Tail([SourceSettings(path="s3://logs/*.jsonl")], Keeping()).lacking)
