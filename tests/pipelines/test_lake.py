"""The lake: whole files or none, one writer, and readers that need no lock."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beastmode.candidates import Price
from beastmode.interactions import Attempt, Interaction
from features.prices import PriceBook
from pipelines.columns import INTERACTIONS, interactions_table
from pipelines.identities import Keys, Seen, hashed
from pipelines.lake import Lake, LakeBusyError, LakeError

NO_PRICES = PriceBook(listed=False)
DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


def row(number: int, **known: object) -> Interaction:
    values = {"event_id": f"{number:064x}", "request_id": f"r{number}", "at": DAY, **known}
    return Interaction(**values)  # type: ignore[arg-type]


def test_the_columns_are_the_fields_of_an_interaction() -> None:
    assert INTERACTIONS.names == [field.name for field in fields(Interaction)]


def test_what_is_written_is_read_with_all_that_is_nested(tmp_path: Path) -> None:
    full = row(
        1, messages=({"role": "user", "content": "größe 北京"},), context={"a": [1]}, needs={"json": True},
        candidates=("x", "y"), probabilities={"x": 0.5, "y": 0.5}, predictions=({"candidate": "x", "quality": 0.5},),
        attempts=(Attempt(candidate="x", role="retry", latency_ms=3.0),), latency_ms=1.5, input_tokens=7,
    )  # fmt: skip
    lake = Lake(tmp_path)
    with lake.writing():
        lake.append("interactions", DAY.date(), interactions_table([full, row(2)], NO_PRICES))
    frame = lake.interactions()
    first = frame.iloc[0]
    assert json.loads(first["messages"]) == [{"role": "user", "content": "größe 北京"}]
    assert dict(first["probabilities"]) == {"x": 0.5, "y": 0.5}
    assert list(first["candidates"]) == ["x", "y"]
    assert first["attempts"][0]["role"] == "retry"
    assert first["predictions"][0]["quality"] == 0.5
    assert first["at"] == DAY
    assert frame["latency_ms"].isna().tolist() == [False, True]
    assert frame["messages"].isna().tolist() == [False, True]
    assert (tmp_path / "interactions" / "date=2026-03-01").is_dir()
    assert lake.interactions(columns=["request_id"])["request_id"].tolist() == ["r1", "r2"]
    assert not len(lake.interactions(since=date(2026, 3, 2)))


def test_a_file_that_a_disk_has_changed_is_named_and_never_read_as_other_numbers(tmp_path: Path) -> None:
    lake, rows = Lake(tmp_path), [row(n, latency_ms=n / 7, input_tokens=n * n) for n in range(500)]
    with lake.writing():
        lake.append("interactions", DAY.date(), interactions_table(rows, NO_PRICES))
    (file,) = tmp_path.rglob("*.parquet")
    whole, expected = file.read_bytes(), lake.interactions()
    refused = []
    for place in range(10, len(whole) - 10, len(whole) // 60):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            assert lake.interactions().equals(expected), f"byte {place} of {len(whole)}"
        except LakeError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert all(str(file) in said for said in refused)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LakeError, match=r"put back a copy.*ingest.reread=true"):
        lake.interactions()


def test_an_empty_lake_has_empty_tables(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "none")
    assert (len(lake.interactions()), len(lake.feedback()), len(lake.quarantine())) == (0, 0, 0)
    assert "event_id" in lake.interactions()


def test_costs_come_from_the_catalogue_or_the_log_and_are_never_made_up() -> None:
    prices = PriceBook.of({"m": Price(input_per_mtok=1.0, output_per_mtok=2.0), "flat": Price(per_request=0.25)})
    rows = [
        row(1, model_served="m", input_tokens=1000, output_tokens=500, cost_logged_usd=9.0),
        row(2, model_served="m", input_tokens=1000, cost_logged_usd=9.0),
        row(3, model_served="flat"),
        row(4, model_served="unknown", input_tokens=1, output_tokens=1),
        row(5, model_served="m", input_tokens=1, output_tokens=1, cost_usd=0.5, cost_source="caller"),
        row(6, model_served="m", status="failure", input_tokens=1000, output_tokens=500),
        row(7, model_served="m", cache_tier="memory", input_tokens=9, output_tokens=9, cost_logged_usd=0.0),
        row(8, model_served="vendor/m-2026", plan="m", input_tokens=1000, output_tokens=0),
    ]
    table = interactions_table(rows, prices)
    costs = list(zip(table["cost_usd"].to_pylist(), table["cost_source"].to_pylist(), strict=True))
    assert costs == [
        (0.002, "catalogue"), (9.0, "logged"), (0.25, "catalogue"), (None, None), (0.5, "caller"), (0.002, "catalogue"),
        (0.0, "logged"), (0.001, "catalogue"),
    ]  # fmt: skip


def test_the_same_rows_written_twice_are_one_file(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for _ in range(2):
        with lake.writing():
            lake.append("interactions", DAY.date(), interactions_table([row(1)], NO_PRICES))
    assert len(lake.interactions()) == 1


def test_what_a_killed_writer_left_is_invisible_and_cleaned(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with lake.writing():
        (tmp_path / ".staging").mkdir()
        (tmp_path / ".staging" / "half.parquet").write_bytes(b"PAR1 half a file")
        assert not len(lake.interactions())
    with lake.writing():
        assert not (tmp_path / ".staging").exists()


HOLD = """
import sys, time
from pathlib import Path
from pipelines.lake import Lake
with Lake(Path(sys.argv[1])).writing():
    print("held", flush=True)
    time.sleep(120)
"""


def hold(root: Path) -> "subprocess.Popen[str]":
    here = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)], cwd=here, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_told_who_writes_and_a_killed_writer_leaves_no_lock(tmp_path: Path) -> None:
    holder = hold(tmp_path)
    try:
        busy = pytest.raises(LakeBusyError, match=rf"process {holder.pid} still writes after 0.2 s")
        with busy, Lake(tmp_path).writing(0.2):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with Lake(tmp_path).writing(5.0):
            pass
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()


def test_identities_of_a_day_are_found_whether_they_lie_on_disk_or_were_just_written(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    ids = [f"{i:064x}"[::-1] for i in range(500)]

    def keys(identities: list[str]) -> Keys:
        return Keys.of(pa.array(identities, pa.string()))

    rows = [row(i, event_id=ids[i]) for i in range(300)]
    with lake.writing():
        lake.append("interactions", DAY.date(), interactions_table(rows, NO_PRICES))
    seen = Seen(lake, "interactions")
    assert seen.has(DAY.date(), keys(ids)).tolist() == [True] * 300 + [False] * 200
    assert not seen.has(DAY.date() + timedelta(days=1), keys(ids)).any()
    seen.add(DAY.date(), keys(ids[400:]))
    assert seen.has(DAY.date(), keys(ids)).tolist() == [True] * 300 + [False] * 100 + [True] * 100
    assert not seen.has(DAY.date(), keys([])).any()


def test_long_request_ids_that_begin_alike_are_not_the_same() -> None:
    assert hashed(["x" * 40 + "1", "x" * 40 + "2"]).first().all()


@given(st.lists(st.integers(0, 40)), st.lists(st.integers(0, 40)))
def test_keys_are_found_as_a_set_would_find_them(held: list[int], wanted: list[int]) -> None:
    # Few first halves, so that they collide all the time, which for hashes never happens.
    def keys(numbers: list[int]) -> Keys:
        return Keys.of(pa.array([f"{n % 3:016x}{n:016x}{'f' * 32}" for n in numbers], pa.string()))

    known = keys(held[: len(held) // 2]).joined(keys(held[len(held) // 2 :]))
    assert len(known) == len(set(held))
    assert known.find(keys(wanted)).tolist() == [n in held for n in wanted]
    assert keys(wanted).first().tolist() == [n not in wanted[:i] for i, n in enumerate(wanted)]


def test_a_file_of_an_older_release_lacks_columns_and_is_read_all_the_same(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    full = interactions_table([row(1, attempts=(Attempt(candidate="x"),))], NO_PRICES)
    calls = pa.array([[{"candidate": "x", "role": "primary"}]])
    old = full.drop_columns(["trace_id"]).set_column(full.schema.get_field_index("attempts") - 1, "attempts", calls)
    with lake.writing():
        lake.append("interactions", DAY.date(), old)
        lake.append("interactions", DAY.date(), interactions_table([row(2, trace_id="t")], NO_PRICES))
    frame = lake.interactions()
    assert frame["trace_id"].isna().tolist() == [True, False]
    assert frame.loc[0, "attempts"][0]["candidate"] == "x"
    assert frame.loc[0, "attempts"][0]["status"] is None


def test_the_schema_is_what_arrow_writes() -> None:
    assert interactions_table([row(1)], NO_PRICES).schema == INTERACTIONS
    assert isinstance(INTERACTIONS.field("at").type, pa.TimestampType)
