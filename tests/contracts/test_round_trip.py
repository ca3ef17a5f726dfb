"""A thousand requests of a world, written in every format that can be written, come out as the same interactions."""

import io
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from beastmode.interactions import Interaction
from features.formats import FORMATS, Note, Row, Source, detect, read
from features.worlds.replay import WorldSettings
from features.worlds.synthetic import SyntheticSettings, synthetic

WRITABLE = sorted(name for name, known in FORMATS.items() if known.write is not None)
SOURCE = Source("shop", datetime(2026, 6, 1, tzinfo=UTC))
DOCS = Path(__file__).resolve().parents[2] / "docs" / "logs.md"


@pytest.fixture(scope="module")
def requests() -> tuple[Interaction, ...]:
    """A thousand served requests and their probes; a twentieth of the calls failed, some tokens were cached."""
    world = synthetic(SyntheticSettings(prompts=1000), WorldSettings(probe_share=0.1, failures=0.05), 1)
    return tuple(_used(row, number) for number, row in enumerate(world.interactions))


def _used(row: Interaction, number: int) -> Interaction:
    # The world's own attempt says nothing that the row does not; a log that holds one record a call knows none.
    row = replace(row, attempts=())
    if row.input_tokens is None or row.output_tokens is None or number % 3:
        return row
    return replace(row, cache_read_tokens=row.input_tokens // 2, reasoning_tokens=row.output_tokens // 4)


def written(name: str, rows: tuple[Interaction, ...]) -> bytes:
    stream = io.BytesIO()
    writer = FORMATS[name].write
    assert writer is not None
    writer(stream, rows)
    return stream.getvalue()


def differences(name: str, before: Interaction, after: Interaction) -> Iterator[str]:
    for field in fields(Interaction):
        value, again = getattr(before, field.name), getattr(after, field.name)
        if field.name in FORMATS[name].cannot_carry:
            continue
        if isinstance(value, float):
            value, again = pytest.approx(value, rel=1e-9, abs=1e-6), again
        if value != again:
            yield f"{before.request_id}.{field.name}: {value} came out as {again}"


@pytest.mark.parametrize("name", WRITABLE)
def test_a_thousand_requests_come_out_of_every_format_as_they_went_in(
    name: str, requests: tuple[Interaction, ...]
) -> None:
    log = written(name, requests)
    assert detect(log)[0] == name
    events = [event for event in read(name, io.BytesIO(log), SOURCE) if not isinstance(event, Note)]
    back = {event.interaction.request_id: event.interaction for event in events if isinstance(event, Row)}
    assert len(events) == len(back) == len(requests) > 1000
    assert sum(row.purpose == "serve" for row in requests) == 1000
    assert not [text for row in requests for text in differences(name, row, back[row.request_id])][:5]
    identities = {row.event_id for row in back.values()}
    assert len(identities) == len(requests)


def test_the_page_on_logs_lists_what_each_format_cannot_carry() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    for name in WRITABLE:
        lost = ", ".join(sorted(FORMATS[name].cannot_carry - {"event_id", "format"})) or "nothing"
        assert listed.get(name) == lost, f"docs/logs.md, table of what is lost: | `{name}` | {lost} |"
