from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from beastmode.interactions import Interaction
from pipelines import catalogue, history
from pipelines.columns import interactions_table
from pipelines.context import Context

CATALOGUE = """
[[candidates]]
name = "dear"
prices = [{ since = 2026-01-01, input_per_mtok = 10, output_per_mtok = 10 },
          { since = 2026-02-27, input_per_mtok = 60, output_per_mtok = 60 }]
"""


def test_costs_are_those_of_the_day_for_which_a_router_is_made(context: Context, tmp_path: Path) -> None:
    prices, start = tmp_path / "prices.toml", datetime(2026, 2, 20, tzinfo=UTC)
    prices.write_text(CATALOGUE)
    context = replace(context, settings=context.settings.model_copy(update={"catalogue": prices}))
    for day in range(10):
        at = start + timedelta(days=day)
        row = Interaction(event_id=f"{day:064x}", request_id=f"r{day}", at=at, model_served="dear", input_tokens=400,
                          output_tokens=600, status="success")  # fmt: skip
        with context.lake.writing():
            context.lake.append("interactions", at.date(), interactions_table([row], catalogue.book(prices)))
    before, after = (history.table(context, start + timedelta(days=day)) for day in (6, 9))
    assert before.cost_usd[:, 0].tolist() == pytest.approx([0.01] * 7)
    assert after.cost_usd[:, 0].tolist() == pytest.approx([0.06] * 10), "nobody will pay the old price again"
    split = context.settings.split.model_copy(update={"window_days": 3})
    lately = replace(context, settings=context.settings.model_copy(update={"split": split}))
    assert len(history.table(lately, start + timedelta(days=9))) == 4
