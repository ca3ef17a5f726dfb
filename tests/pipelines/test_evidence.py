"""What the log says beside the gate: every estimator in one line, and what the champion saved."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from features.table import Table
from pipelines.context import Context
from pipelines.evidence import gather
from pipelines.train import Training, train_selector

AT = datetime(2026, 3, 1, tzinfo=UTC)


def logged(table: Table, rows: np.ndarray, known: bool = True) -> Table:
    """The table with some rows known for one candidate alone, drawn from all alike."""
    rng = np.random.default_rng(0)
    n, m = table.quality.shape
    served = np.where(rows, rng.integers(m, size=n), -1)
    hidden = rows[:, None] & (np.arange(m) != served[:, None])
    values = {
        name: np.where(hidden, np.nan, getattr(table, name))
        for name in ("quality", "cost_usd", "latency_ms", "output_tokens")
    }
    return replace(
        table, served=served, propensity=np.where(rows & known, 1 / m, np.nan), probed=~rows, **values
    )  # fmt: skip


@pytest.fixture
def training(context: Context, table: Table, candidates) -> Training:
    late = np.arange(len(table)) >= 0.6 * len(table)
    return train_selector(context, logged(table, late), candidates, AT)


def test_every_estimator_is_told_and_what_the_champion_saved(context: Context, training: Training) -> None:
    found = gather(context, training, training.bundle)
    line = found.facts["off-policy, from the log alone"]
    for name in ("doubly robust", "SNIPS", "IPS", "SWITCH-DR", "direct method"):
        assert f"{name} " in line
    assert "propensities logged" in line
    told = found.facts["the champion saved, against the log itself"]
    assert "per 1,000 requests against what was asked" in told
    share = found.metrics["saved/against_the_log_itself"]
    assert f"{share:.1%} [" in told
    assert found.metrics["saved/against_the_log_itself_low"] < share

    first = gather(context, training, training.first)
    assert first.facts["the champion saved, against best single"].startswith("the champion is the best single")

    # A log without propensities gives no number.
    blind = replace(training, test=logged(training.test, np.ones(len(training.test), dtype=bool), known=False))
    found = gather(context, blind, training.bundle)
    assert "carry a propensity and an outcome" in found.facts["off-policy, from the log alone"]
    assert "0 requests carry a propensity" in found.facts["the champion saved, against the log itself"]
    assert found.metrics == {}
