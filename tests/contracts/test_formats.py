"""Every format that is registered keeps the promises of a format."""

import io
from collections.abc import Iterable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beastmode.interactions import Attempt, Interaction
from features.formats import FORMATS, FormatError, detect, expect
from features.formats.events import Event, Note, Rating, Refusal, Row, Source, Waiting
from features.formats.values import prompt_facts

DATA = Path(__file__).resolve().parents[1] / "data"
SAMPLES = {
    "journal": ("journal.jsonl",),
    "litellm": ("litellm_spend_logs.jsonl", "litellm_payload.jsonl"),
    "openai": ("openai.jsonl",),
    "tensorzero": ("tensorzero.jsonl",),
    "matrix": ("matrix_wide.csv", "matrix_raw.csv", "matrix_long.jsonl"),
    "langfuse": ("langfuse.jsonl",),
    "helicone": ("helicone.jsonl", "helicone.csv"),
    "otel": ("otel.jsonl",),
    "mlflow": ("mlflow.jsonl",),
    "feedback": ("feedback.jsonl",),
    "table": ("table.csv", "table.jsonl"),
}
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SOURCE = Source("shop", NOW)
EACH = [(name, sample) for name, samples in SAMPLES.items() for sample in samples]
WRITABLE = [name for name, known in FORMATS.items() if known.write is not None]


def read(name: str, data: bytes, source: Source = SOURCE) -> list[Event]:
    return [event for event in FORMATS[name].read(io.BytesIO(data), source) if not isinstance(event, Note)]


def records(data: bytes) -> int:
    return sum(bool(line.strip()) for line in data.split(b"\n"))


def taken(events: Iterable[Event]) -> int:
    return sum(event.lines for event in events if not isinstance(event, Note))


def test_every_format_has_a_sample() -> None:
    assert set(SAMPLES) == set(FORMATS)


@pytest.mark.parametrize(("name", "sample"), EACH)
def test_a_sample_is_recognised_and_read_whole(name: str, sample: str) -> None:
    data = (DATA / sample).read_bytes()
    assert detect(data)[0] == name
    events = read(name, data)
    assert any(isinstance(event, Row | Rating) for event in events)
    assert not [event for event in events if isinstance(event, Refusal | Waiting)]
    for event in events:
        if isinstance(event, Row):
            assert event.interaction.format == name
            assert event.interaction.at.tzinfo is not None


@pytest.mark.parametrize(("name", "sample"), EACH)
@pytest.mark.parametrize("asked", ["journal", "litellm", "feedback"])
def test_a_log_of_another_format_is_refused_by_name(name: str, sample: str, asked: str) -> None:
    if asked == name:
        return
    with pytest.raises(FormatError, match=rf"no {asked} log: it looks like {name}.*set format = '{name}'"):
        expect(asked, (DATA / sample).read_bytes())


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_no_log_is_no_format(name: str) -> None:
    assert FORMATS[name].sniff(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00") == 0
    assert FORMATS[name].sniff(b"\x89PNG\r\n\x1a\n\x00\x00") == 0
    with pytest.raises(FormatError):
        detect(b"Dear colleague\nthis is a letter\n")


@pytest.mark.parametrize(("name", "sample"), EACH)
def test_a_pickle_is_refused_with_the_reason(name: str, sample: str) -> None:
    if name == "journal":
        assert all(isinstance(event, Refusal | Waiting) for event in read(name, b"\x80\x04\x95\x10\x00\n\x00"))
        return
    with pytest.raises(FormatError, match=r"pickle.*Parquet, CSV or JSON lines"):
        read(name, b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00")


@pytest.mark.parametrize(("name", "sample"), EACH)
def test_identities_depend_on_the_record_and_the_deployment_alone(name: str, sample: str) -> None:
    data = (DATA / sample).read_bytes()

    def identities(source: Source) -> list[str]:
        return [event.interaction.event_id for event in read(name, data, source) if isinstance(event, Row)]

    first = identities(SOURCE)
    assert len(set(first)) == len(first)
    assert identities(Source("shop", NOW + timedelta(days=9))) == first
    assert not set(identities(Source("bank", NOW))) & set(first)


@pytest.mark.parametrize(("name", "sample"), EACH)
def test_a_torn_last_record_waits_and_the_others_stand(name: str, sample: str) -> None:
    data = (DATA / sample).read_bytes()
    whole = read(name, data)
    for cut in range(len(data) - 2, len(data) // 3, -7):
        torn = data[:cut]
        # A record that lacks no more than its newline is not torn.
        if data[cut:].startswith(b"\n") or not torn.rsplit(b"\n", 1)[-1].strip():
            continue
        try:
            events = read(name, torn)
        except FormatError:
            continue  # Too little is left to tell the columns.
        assert any(isinstance(event, Waiting) for event in events), torn[-40:]
        assert not [event for event in events if isinstance(event, Refusal)]
        for event in events:
            if isinstance(event, Row) and name != "journal":
                assert event in whole


def rich() -> list[Interaction]:
    """Interactions that use every field that some format can carry."""
    messages = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": 'Größe von 北京, "quoted"?'})
    sha256, chars = prompt_facts(messages)
    full = Interaction(
        event_id="", format="another", request_id="r1", at=datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=UTC),
        decision_id="d1",
        session_id="s1", tenant="t1", unit="u1", messages=messages, prompt_sha256=sha256, prompt_chars=chars,
        context={"task": "geo"}, needs={"json": True}, candidates=("small", "large"), plan="small",
        probabilities={"small": 0.75, "large": 0.25}, propensity=0.75, propensity_source="logged", arm="champion",
        arm_probability=0.5, policy="epsilon", bundle_sha256="ab" * 32,
        predictions=({"candidate": "small", "quality": 0.5, "utility": 0.4},), model_requested="small",
        model_served="small-1", provider="example", latency_ms=812.25, ttft_ms=101.5, input_tokens=40,
        cache_read_tokens=8, cache_write_tokens=4, output_tokens=20, reasoning_tokens=6, cost_logged_usd=0.00125,
        cost_usd=0.00125, cost_source="catalogue", attempts=(Attempt(candidate="small", latency_ms=812.25),),
    )  # fmt: skip
    failed = replace(
        full, request_id="r2", decision_id="d2", status="failure", error_type="provider_rate_limited",
        error_message="429: slow down", model_served=None, latency_ms=None, ttft_ms=None, input_tokens=None,
        cache_read_tokens=None, cache_write_tokens=None, output_tokens=None, reasoning_tokens=None,
        cost_logged_usd=None, cost_usd=None, cost_source=None, attempts=(),
    )  # fmt: skip
    probe = replace(
        full, request_id="r3", decision_id="d3", purpose="probe", parent_request_id="r1", plan="large",
        candidates=("large",), probabilities={"large": 1.0}, propensity=1.0, model_requested="large",
    )  # fmt: skip
    sticky = replace(full, request_id="r4", decision_id="d4", propensity=None, propensity_source="unknown",
                     sticky_from="d1")  # fmt: skip
    cached = replace(full, request_id="r5", decision_id="d5", cache_tier="gateway", cost_logged_usd=0.0, cost_usd=0.0)
    unpriced = replace(full, request_id="r6", decision_id="d6", cost_logged_usd=None, cost_usd=None, cost_source=None)
    return [full, failed, probe, sticky, cached, unpriced]


@pytest.mark.parametrize("name", WRITABLE)
def test_what_is_written_is_read_again_field_by_field(name: str) -> None:
    known = FORMATS[name]
    stream = io.BytesIO()
    assert known.write is not None
    known.write(stream, rich())
    assert detect(stream.getvalue())[0] == name
    events = read(name, stream.getvalue())
    back = [event.interaction for event in events if isinstance(event, Row)]
    assert len(back) == len(events) == len(rich())
    for before, after in zip(rich(), back, strict=True):
        for field in fields(Interaction):
            if field.name in known.cannot_carry:
                continue
            value, again = getattr(before, field.name), getattr(after, field.name)
            if isinstance(value, float):
                assert again == pytest.approx(value, abs=1e-9), (before.request_id, field.name)
            else:
                assert again == value, (before.request_id, field.name)


@pytest.mark.parametrize("name", WRITABLE)
def test_what_a_format_cannot_carry_is_really_lost(name: str) -> None:
    known = FORMATS[name]
    stream = io.BytesIO()
    assert known.write is not None
    known.write(stream, rich())
    back = [event.interaction for event in read(name, stream.getvalue()) if isinstance(event, Row)]
    for field in known.cannot_carry:
        assert any(getattr(a, field) != getattr(b, field) for a, b in zip(rich(), back, strict=True)), field


# What a format's reader is most likely to stumble over, beside bytes of no meaning.
FRAGMENTS = [
    b'"', b"{", b"}", b"[", b",", b"\n", b"\\", b"null", b"-1", b"1e999", b"NaN", b"\xff", b"true", b'""', b"{}", b"[]",
    b"9" * 30, b"\\ud800", b"0", b":", b"\r", b"\x00",
]  # fmt: skip
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(FRAGMENTS) | st.binary(max_size=6)),
    min_size=1,
    max_size=8,
)


def edited(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for place, removed, added in edits:
        # The first bytes tell what kind of table it is; another kind counts its records in another way.
        at = 2 + int(place * (len(data) - 2))
        data = data[:at] + added + data[at + removed :]
    return data


@pytest.mark.parametrize(("name", "sample"), [pair for pair in EACH if pair[1].endswith(".jsonl")])
@settings(max_examples=200, deadline=None, derandomize=True)
@given(edits=EDITS)
def test_no_mutation_crashes_a_reader_and_every_line_is_accounted_for(
    name: str, sample: str, edits: list[tuple[float, int, bytes]]
) -> None:
    data = edited((DATA / sample).read_bytes(), edits)
    try:
        events = read(name, data)
    except FormatError:
        return
    assert taken(events) == records(data)
    for event in events:
        if isinstance(event, Refusal):
            assert event.reason
            assert len(event.digest) == 64
        if isinstance(event, Row):
            event.interaction.to_json().encode("utf-8")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(edits=EDITS)
def test_no_mutation_of_a_csv_crashes_and_no_line_gets_lost(edits: list[tuple[float, int, bytes]]) -> None:
    data = edited((DATA / "table.csv").read_bytes(), edits)
    try:
        events = read("table", data)
    except FormatError:
        return
    header = data.split(b"\n", 1)[0]
    # A header with a quote in it may go on over lines, and they are the header's then.
    if b'"' not in header and header.strip():
        assert taken(events) == records(data) - 1
