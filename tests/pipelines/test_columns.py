"""What a decision foretold reaches the lake whole, through the journal."""

from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from beastmode.bundle import Bundle
from beastmode.candidates import Candidate, Price
from beastmode.encoding import Encoder
from beastmode.journal import Journal
from beastmode.lexical import NAMES
from beastmode.objective import Objective
from beastmode.policies import Greedy
from beastmode.records import Prediction
from beastmode.router import Router
from beastmode.scorers import Constant
from features.formats import FORMATS
from features.formats.events import Row, Source
from features.prices import PriceBook
from pipelines.columns import interactions_table

NO_PRICES = PriceBook(listed=False)


def test_every_field_of_a_prediction_is_kept(tmp_path: Path) -> None:
    around = np.array([[20.0, np.nan], [50.0, np.nan], [90.0, np.nan]])
    bundle = Bundle(
        name="b", candidates=(Candidate("known", price=Price(1.0, 2.0)), Candidate("new")),
        encoder=Encoder(np.zeros(len(NAMES)), np.ones(len(NAMES))), policy=Greedy(), objective=Objective(),
        scorer=Constant(np.array([0.9, 0.5]), np.array([60.0, np.nan]), np.array([700.0, np.nan]), around, 10 * around),
        created="2026-01-01", code_version="0",
    )  # fmt: skip
    decision = Router(bundle, seed=0).route("What is 2+2?")
    with Journal(tmp_path / "journal") as journal, journal.attempt(decision):
        pass
    rows = []
    for path in sorted((tmp_path / "journal").rglob("*.jsonl")):
        with path.open("rb") as stream:
            events = FORMATS["journal"].read(stream, Source("app", datetime(2100, 1, 1, tzinfo=UTC)))
            rows += [event.interaction for event in events if isinstance(event, Row)]
    told = interactions_table(rows, NO_PRICES)["predictions"].to_pylist()[0]
    assert [set(known) for known in told] == [{field.name for field in fields(Prediction)}] * 2
    for known, expected in zip(told, decision.predictions, strict=True):
        assert known == {name: getattr(expected, name) for name in known}
    assert (told[0]["output_tokens_low"], told[0]["latency_ms_high"]) == (20.0, 900.0)
    assert told[1]["output_tokens_low"] is None
