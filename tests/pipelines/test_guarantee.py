"""The guarantee in the flows: asked for in the settings, certified on held-out rows, told in run, bundle and report."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from beastmode.router import Router
from models.guarantee import Settings as Guarantee
from pipelines.compare import compare
from pipelines.context import Context
from pipelines.settings import SettingsError, parse
from pipelines.train import train_selector

AT = datetime(2026, 3, 1, tzinfo=UTC)


def asking(context: Context, known: Guarantee) -> Context:
    return replace(context, settings=context.settings.model_copy(update={"guarantee": known}))


def test_the_settings_ask_for_a_guarantee_and_refuse_nonsense() -> None:
    assert parse({}).guarantee is None
    assert parse({"guarantee": {}}).guarantee == Guarantee(loss=0.0, alpha=0.05, delta=0.1, of="all")
    with pytest.raises(SettingsError, match=r"guarantee\.of"):
        parse({"guarantee": {"of": "some"}})
    with pytest.raises(SettingsError, match="did you mean 'alpha'"):
        parse({"guarantee": {"alfa": 0.1}})


def test_run_bundle_and_report_tell_what_was_certified(context: Context, table, candidates) -> None:
    context = asking(context, Guarantee(alpha=0.15))
    training = train_selector(context, table, candidates, AT)
    known = training.bundle.guarantee
    assert known is not None
    assert known.safe
    assert known.n <= len(training.test)
    assert known.until <= str(training.test.at.max())
    assert Router(training.bundle, guaranteed=True).bundle.objective.per_dollar == known.per_dollar
    found = context.tracker.client.get_run(training.run_id).data
    assert found.metrics["guarantee/upper"] == pytest.approx(known.upper)
    assert found.metrics["guarantee/diverted"] == pytest.approx(known.diverted)
    assert found.tags["guarantee"] == known.sentence
    compared = compare(context, training, training.first, AT)
    assert f"- quality guarantee: {known.sentence}" in compared.report.markdown
    assert "champion&#39;s guarantee" not in compared.report.html


def test_that_nothing_is_safe_is_told_as_plainly(context: Context, table, candidates) -> None:
    context = asking(context, Guarantee(alpha=0.001))
    training = train_selector(context, table, candidates, AT)
    compared = compare(context, training, training.first, AT)
    assert "quality guarantee: No threshold is safe" in compared.report.markdown


def test_the_champion_s_certificate_is_checked_on_what_came_after_it(context: Context, table, candidates) -> None:
    asked = asking(context, Guarantee(alpha=0.15))
    champion = train_selector(asked, table.take(np.arange(400)), candidates, AT).bundle
    assert champion.guarantee is not None
    assert champion.guarantee.safe
    training = train_selector(context, table, candidates, AT)
    compared = compare(context, training, champion, AT)
    line = next(line for line in compared.report.markdown.splitlines() if "champion's guarantee" in line)
    assert "fresh requests" in line
    assert training.bundle.guarantee is None
