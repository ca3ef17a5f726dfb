"""Benchmarks become fully probed requests with the numbers of the file."""

import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import joins
from features.formats import FormatError, read
from features.formats.events import Event, Note, Rating, Refusal, Row, Skipped, Source
from features.outcomes import outcomes
from features.prices import PriceBook
from features.table import Table
from pipelines.columns import feedback_table, interactions_table

NO_PRICES = PriceBook(listed=False)

SAMPLES = Path(__file__).resolve().parents[1] / "data"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
START = datetime(2026, 2, 1, tzinfo=UTC)
CELL = {"dataset": "arena", "prompt_id": "0", "prompt": "2+2?", "model": "small", "score": 1.0, "cost_usd": 0.001}


def events(data: bytes | Sequence[Mapping[str, Any]], columns: Mapping[str, str] | None = None) -> list[Event]:
    if not isinstance(data, bytes):
        data = b"".join(json.dumps(row).encode() + b"\n" for row in data)
    source = Source("bench", NOW, columns or {}, START)
    return [event for event in read("matrix", io.BytesIO(data), source) if not isinstance(event, Note)]


def interactions(found: Sequence[Event]) -> list[Any]:
    return [event.interaction for event in found if isinstance(event, Row)]


def table(found: Sequence[Event]) -> Table:
    rows = interactions_table(interactions(found), NO_PRICES).to_pandas()
    words = feedback_table([event.feedback for event in found if isinstance(event, Rating)]).to_pandas()
    return joins.table(rows, words, NOW)


def test_a_wide_benchmark_becomes_one_probed_request_a_prompt_with_its_numbers() -> None:
    found = table(events((SAMPLES / "matrix_wide.csv").read_bytes()))
    assert found.candidates == ("gpt-4-1106-preview", "mistralai/mixtral-8x7b-chat")
    assert found.request_ids.tolist() == ["mmlu-anatomy.val.1", "grade-school-math.dev.7", "hellaswag.val.3"]
    np.testing.assert_array_equal(found.quality, [[1, 0], [1, 1], [0, np.nan]])
    np.testing.assert_array_equal(found.cost_usd, [[0.00241, 0.00014], [0.0041, 0.00025], [0.0012, np.nan]])
    assert found.probed.tolist() == [True, True, False]
    assert found.served.tolist() == [-1, -1, -1]
    assert found.texts[0] == "Which bone is the longest? Answer A, B, C or D."
    assert found.texts[1] == "Roy has 3 apples.\nHow many has Roy's sister?"


def test_wide_and_raw_copies_of_a_benchmark_are_the_same_calls() -> None:
    wide = interactions(events((SAMPLES / "matrix_wide.csv").read_bytes()))
    raw = interactions(events((SAMPLES / "matrix_raw.csv").read_bytes()))
    assert {row.event_id for row in raw} < {row.event_id for row in wide}


def test_every_cell_is_a_probe_that_was_certain_to_be_made() -> None:
    first, second = interactions(events([CELL, {**CELL, "model": "large"}]))
    assert (first.purpose, first.parent_request_id, first.request_id) == ("probe", "arena/0", "arena/0:small")
    assert (first.plan, first.candidates, first.probabilities, first.propensity) == (
        "small", ("small",), {"small": 1.0}, 1.0,
    )  # fmt: skip
    assert (second.parent_request_id, second.at) == (first.parent_request_id, first.at) == ("arena/0", START)


def test_prompts_stand_a_millisecond_apart_in_their_order_and_a_note_says_so() -> None:
    rows = [{**CELL, "prompt_id": str(k), "model": model} for model in ("small", "large") for k in range(3)]
    source = Source("bench", NOW, {}, START)
    found = list(read("matrix", io.BytesIO(b"".join(json.dumps(row).encode() + b"\n" for row in rows)), source))
    assert [row.at for row in interactions(found)] == [START + timedelta(milliseconds=k) for k in (0, 1, 2, 0, 1, 2)]
    assert [note.text for note in found if isinstance(note, Note)] == [
        "a benchmark has no moments: its k-th prompt stands at 2026-02-01T00:00:00+00:00 plus k ms; set start"
    ]


def test_ids_that_are_numbers_are_told_apart_by_their_benchmark() -> None:
    first, second = interactions(events([CELL, {**CELL, "dataset": "other"}]))
    assert (first.parent_request_id, second.parent_request_id) == ("arena/0", "other/0")


def test_a_failed_call_has_no_score_and_says_why() -> None:
    found = events([{**CELL, "error_code": "429.0", "latency_ms": 0}])
    row = found[0]
    assert [type(event) for event in found] == [Row]
    assert isinstance(row, Row)
    assert (row.interaction.status, row.interaction.error_type) == ("failure", "provider_rate_limited")
    assert row.interaction.latency_ms is None


def test_a_bad_cell_costs_itself_alone_and_the_line_is_counted_once() -> None:
    line = {"sample_id": "a", "prompt": "p", "m": 1.0, "n": 0.5, "m|total_cost": -1, "n|total_cost": 0.1}
    found = events([line])
    assert [type(event) for event in found] == [Refusal, Row, Rating]
    assert isinstance(found[0], Refusal)
    assert found[0].reason.startswith("cost_logged_usd = -1: must be at least 0")
    assert [event.lines for event in found if not isinstance(event, Note)] == [1, 0, 0]
    second = events([{**line, "m|total_cost": 1, "n|total_cost": -1}])
    assert [type(event) for event in second] == [Row, Rating, Refusal]
    assert isinstance(second[2], Refusal)
    assert (second[2].lines, second[2].of_call) == (0, True)


def test_a_score_that_is_no_number_costs_the_score_alone() -> None:
    found = events([{**CELL, "score": "good"}])
    assert [type(event) for event in found] == [Row, Refusal]
    assert isinstance(found[1], Refusal)
    assert (found[1].lines, found[1].of_call) == (0, False)
    assert found[1].reason == "score = 'good': expected a number"


def test_a_line_of_which_no_model_has_anything_is_skipped() -> None:
    found = events([{"sample_id": "a", "prompt": "p", "m": None, "m|total_cost": None}])
    assert found == [Skipped(1, "no model has a score or a cost here", 1)]


def test_columns_of_another_name_are_given_by_the_source() -> None:
    rows = [{"qid": "7", "ask": "2+2?", "who": "small", "grade": 0.5}]
    with pytest.raises(FormatError, match=r"matrix: no column for the model and its score.*among qid, ask, who, grade"):
        events(rows)
    row, word = events(rows, {"prompt_id": "qid", "prompt": "ask", "model": "who", "score": "grade"})
    assert isinstance(row, Row)
    assert isinstance(word, Rating)
    assert (row.interaction.request_id, row.interaction.messages, word.feedback.value) == (
        "7:small", ({"role": "user", "content": "2+2?"},), 0.5,
    )  # fmt: skip


def test_models_are_known_without_their_costs_too_and_words_are_no_scores() -> None:
    found = events([{"sample_id": "a", "prompt": "p", "eval_name": "e", "author": "me", "m": 0.5, "n": "1", "o": ""}])
    assert [row.plan for row in interactions(found)] == ["m", "n"]
    with pytest.raises(FormatError, match="nor a column a model, among prompt, author"):
        events([{"prompt": "p", "author": "me"}])


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("['one']", "one"), ("['one', \"it's two\"]", "one\nit's two"), ("[1, 2] sorted?", "[1, 2] sorted?"),
        ("['torn", "['torn"), ("[1, 2]", "[1, 2]"), ("[open('x')]", "[open('x')]"),
        ("[" * 5000 + "]", "[" * 5000 + "]"), ("[\\d]", "[\\d]"),
    ],
)  # fmt: skip
def test_a_prompt_that_is_the_text_of_a_list_is_its_turns_and_nothing_is_ever_run(written: str, read_as: str) -> None:
    (row,) = interactions(events([{**CELL, "prompt": written}]))
    assert row.messages == ({"role": "user", "content": read_as},)


def test_a_missing_score_in_parquet_is_no_score() -> None:
    stream = io.BytesIO()
    pq.write_table(
        pa.table({"prompt_id": ["a"], "model": ["m"], "score": [float("nan")], "cost_usd": [0.5], "prompt": ["p"]}),
        stream,
    )
    found = events(stream.getvalue())
    assert [type(event) for event in found] == [Row]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    scores=st.lists(
        st.lists(st.none() | st.floats(0, 1, allow_subnormal=False), min_size=3, max_size=3), min_size=1, max_size=6
    )
)
def test_what_a_matrix_holds_is_what_the_table_holds(scores: list[list[float | None]]) -> None:
    models = ("a", "b", "c")
    rows = [
        {"sample_id": f"s.{k}", "prompt": f"p{k}", **dict(zip(models, line, strict=True)),
         **{f"{model}|total_cost": 0.25 * j for j, model in enumerate(models)}}
        for k, line in enumerate(scores)
    ]  # fmt: skip
    found = table(events(rows))
    expected = np.array([[np.nan if value is None else value for value in line] for line in scores])
    np.testing.assert_array_equal(found.quality, expected)
    np.testing.assert_array_equal(found.cost_usd, np.tile([0, 0.25, 0.5], (len(scores), 1)))
    np.testing.assert_array_equal(found.probed, ~np.isnan(expected).any(axis=1))


def test_a_public_outcome_table_reads_whole_and_gives_the_same_numbers(data: Path) -> None:
    path = data / "routerarena_2models.parquet"
    frame = pd.read_parquet(path)
    found = events(path.read_bytes())
    assert sum(event.lines for event in found if not isinstance(event, Note)) == len(frame) == 1618
    assert not [event for event in found if isinstance(event, Refusal)]
    mine, known = table(found), outcomes(frame)
    place = {name: k for k, name in enumerate(mine.request_ids.tolist())}
    rows = [place[f"routerarena/{name}"] for name in known.request_ids.tolist()]
    columns = [mine.candidates.index(name) for name in known.candidates]
    assert mine.probed[rows].all()
    np.testing.assert_array_equal(mine.quality[rows][:, columns], known.quality)
    np.testing.assert_array_equal(mine.cost_usd[rows][:, columns], known.cost_usd)
    assert [mine.texts[k] for k in rows] == list(known.texts)


def test_the_table_format_sends_a_benchmark_to_the_matrix_format_by_name(data: Path) -> None:
    with (data / "routerarena_2models.parquet").open("rb") as stream, pytest.raises(FormatError, match="'matrix'"):
        list(read("table", stream, Source("bench", NOW)))
