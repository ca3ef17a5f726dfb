"""Progress against targets: what is measured is what the lake holds, and what is tracked is what was measured."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beastmode.interactions import Interaction
from features.prices import PriceBook
from features.table import Table
from models.attainment import Measured
from pipelines import measures, measures_router
from pipelines.columns import interactions_table
from pipelines.context import Context
from pipelines.measures_router import Fresh
from pipelines.settings import SettingsError, parse
from pipelines.target_settings import TargetSettings
from pipelines.tracker import HEADER, Progress, progress
from pipelines.tracker_history import EXPERIMENT, past
from tests.pipelines.test_main import run
from tests.pipelines.traffic import bundle, champion

START = datetime(2026, 3, 1, tzinfo=UTC)


def fill(context: Context, rows: Sequence[Interaction]) -> None:
    with context.lake.writing():
        for day in {row.at.date() for row in rows}:
            some = [row for row in rows if row.at.date() == day]
            context.lake.append("interactions", day, interactions_table(some, PriceBook(listed=False)))


def row(i: int, minutes: float, **known: Any) -> Interaction:
    at = START + timedelta(minutes=minutes)
    return Interaction(event_id=f"e{i:05}", request_id=f"r{i:05}", at=at, **{"latency_ms": 100.0, **known})


def traffic() -> list[Interaction]:
    """200 requests, one every five minutes, in sessions of two: each fourth hits, each tenth fails; prompts repeat."""
    rows = []
    for i in range(200):
        known: dict[str, Any] = {"session_id": f"s{i // 2}", "prompt_sha256": f"p{i % 50}", "latency_ms": 100.0 + i}
        if i % 4 == 0:
            known |= {"cache_tier": "semantic" if i % 8 == 0 else "memory", "latency_ms": 1.0, "cost_usd": 0.0}
        elif i % 10 == 1:
            known |= {"status": "failure", "error_type": "provider_timeout" if i % 20 == 1 else "caller_cancelled"}
        rows.append(row(i, 5 * i, **known))
    return rows


def verdicts(found: Progress) -> dict[str, str]:
    return {each[0]: each[HEADER.index("verdict")] for each in found.rows}


def cell(found: Progress, measure: str, column: str) -> str:
    (line,) = [each for each in found.rows if each[0] == measure]
    return line[HEADER.index(column)]


def held_to(context: Context, **targets: Any) -> Context:
    return replace(context, settings=context.settings.model_copy(update={"targets": TargetSettings(**targets)}))


def test_each_figure_is_what_the_lake_holds(context: Context) -> None:
    fill(context, traffic())
    at = START + timedelta(minutes=1000)
    known = measures.served(context, at)
    assert known is not None
    assert len(known.rows) == 200
    hits = measures.hit_rate(context, known)
    assert hits.measured is not None
    assert hits.measured.value == pytest.approx(0.25)
    assert hits.measured.low < 0.25 < hits.measured.high
    assert hits.about == "exact 12%, semantic 12%; ceiling 75%"
    assert hits.ceiling == pytest.approx(0.75)
    errors = measures.error_rate(known, 0.95)
    assert errors.measured is not None
    assert errors.measured.value == pytest.approx(0.1)
    assert errors.about == "provider 10, caller 10"
    up = measures.uptime(known, 0.95)
    assert up.measured is not None
    assert (up.measured.value, up.measured.n) == (pytest.approx(0.9), 200)
    slow = measures.p95(known, 0.95)
    answered = sorted(r.latency_ms for r in traffic() if r.status == "success" and r.latency_ms is not None)
    assert slow.measured is not None
    assert slow.measured.n == 180
    assert answered[169] <= slow.measured.value <= answered[171]


def test_a_retry_and_a_fallback_are_one_request_that_waited_for_both(context: Context) -> None:
    """And the journal's row of a request that a gateway's cache answered is no miss."""
    rows = []
    for i in range(40):
        known = {"trace_id": f"t{i}", "format": "litellm"}
        failed = {"status": "failure", "error_type": "provider_timeout", "latency_ms": 400.0}
        rows.append(row(2 * i, 10 * i, **known, **failed))
        rows.append(row(2 * i + 1, 10 * i + 0.01, **known, latency_ms=300.0))
    one = row(500, 500)
    rows += [one, replace(one, event_id="gateway", format="litellm", cache_tier="gateway")]
    fill(context, rows)
    known = measures.served(context, START + timedelta(days=1))
    assert known is not None
    assert len(known.rows) == 41
    errors, slow = measures.error_rate(known, 0.95).measured, measures.p95(known, 0.95).measured
    assert errors is not None
    assert errors.value == 0.0
    assert slow is not None
    assert slow.value == pytest.approx(900.0)
    hits = measures.hit_rate(context, known).measured
    assert hits is not None
    assert hits.value == pytest.approx(1 / 41)


def test_a_cache_that_answers_no_more_has_a_hit_rate_of_zero_and_none_at_all_has_none(context: Context) -> None:
    fill(context, [row(i, 60 * i, prompt_sha256=f"p{i}") for i in range(100)])
    at = START + timedelta(days=5)
    none = measures.served(context, at)
    assert none is not None
    assert measures.hit_rate(context, none).measured is None
    fill(context, [row(900, -60 * 24 * 10, cache_tier="memory")])
    stopped = measures.hit_rate(context, none).measured
    assert stopped is not None
    assert (stopped.value, stopped.low) == (0.0, 0.0)
    assert 0.02 < stopped.high < 0.05


def test_a_minute_is_up_where_one_request_succeeds_and_quiet_minutes_are_unknown(context: Context) -> None:
    down = {"status": "failure", "error_type": "provider_unavailable"}
    rows = [row(i, i % 100, **(down if i % 100 < 10 or i >= 100 else {})) for i in range(200)]
    fill(context, rows)
    known = measures.served(held_to(context, days=1), START + timedelta(days=1))
    assert known is not None
    up = measures.uptime(known, 0.95)
    assert up.measured is not None
    assert (up.measured.value, up.measured.n) == (pytest.approx(0.9), 100)
    assert up.about == "of 100 minutes with traffic; the other 1,340 are unknown"


def test_a_log_that_went_silent_is_told_first(context: Context) -> None:
    rows = [row(i, 10 * i, format="litellm") for i in range(100)] + [row(900 + i, 20 * i) for i in range(80)]
    fill(context, rows)
    at = START + timedelta(minutes=1590)
    found = progress(held_to(context, error_rate=0.5), at)
    assert found.rows[0][:2] == ("data", "litellm: 10 h old")
    assert verdicts(found)["data"] == "missed"
    assert found.sentence == "Data are late (litellm: 10 h old). 1 of 1 targets are met."
    known = measures.served(context, at)
    assert known is not None
    dead = {source.name: source.dead for source in measures.sources(known, at, TargetSettings())}
    assert dead == {"litellm": True, "journal": False}
    # A day is too long for any log, however long its silences.
    (late, _) = measures.sources(known, START + timedelta(days=3), TargetSettings(gaps=1000.0))
    assert late.dead
    assert late.allowed == timedelta(days=1)


def test_an_empty_lake_says_what_is_missing(context: Context) -> None:
    found = progress(held_to(context, hit_rate=0.5), START)
    assert set(verdicts(found).values()) == {"missed", "not known yet"}
    assert found.sentence == "Data are late (none). 0 of 1 targets are met."
    assert all("python -m pipelines ingest" in each[-1] for each in found.rows)


def test_verdicts_are_by_the_interval_and_runs_make_a_trend(context: Context) -> None:
    fill(context, traffic())
    context = held_to(context, hit_rate=0.1, error_rate=0.01, uptime=0.9, p95_ms=10_000.0)
    first = progress(context, START + timedelta(minutes=1000))
    assert verdicts(first) == {
        "data": "met", "hit rate": "met", "error rate": "missed", "uptime": "within noise of the target",
        "p95 latency": "met", "selection accuracy": "not known yet", "cost saving": "not known yet",
    }  # fmt: skip
    assert cell(first, "hit rate", "trend") == "first look"
    assert "improve" in cell(first, "cost saving", HEADER[-1])
    # An hour later everything fails.
    failed = {"status": "failure", "error_type": "provider_timeout"}
    fill(context, [row(1000 + i, 1000 + i / 5, **failed) for i in range(400)])
    second = progress(context, START + timedelta(minutes=1090))
    assert cell(second, "error rate", "trend").endswith("(worse)")
    assert cell(second, "error rate", "trend").startswith("+60.00 points")
    assert cell(second, "p95 latency", "trend") == "unchanged since 03-01 16:40"
    client = context.tracker.client
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    assert [each.info.run_id for each in runs] == [first.run_id, second.run_id]
    kept = runs[1].data
    assert kept.tags["mlflow.note.content"].startswith("| measure | measured | 95% interval | target |")
    assert "error rate" in kept.tags["missed"].split(", ")
    assert kept.tags["verdict.p95_latency"] == "met"
    # MLflow draws a metric's steps as a line, so each run holds those before it.
    line = client.get_metric_history(second.run_id, "error_rate")
    assert [(each.step, each.value) for each in line] == [(0, pytest.approx(0.1)), (1, pytest.approx(0.7))]
    assert kept.metrics["error_rate"] == pytest.approx(0.7)
    names = {each.path for each in client.list_artifacts(second.run_id)}
    assert {"report.html", "plots"} <= names
    known = past(context, START + timedelta(days=2))
    assert [each.known["error_rate"].value for each in known] == [pytest.approx(0.1), pytest.approx(0.7)]
    assert isinstance(known[0].known["p95_ms"], Measured)
    # Figures of other days are no trend of these.
    assert past(held_to(context, days=1), START + timedelta(days=2)) == ()


def test_the_page_opens_with_the_answer_and_spells_out_what_comes_from_logs(context: Context) -> None:
    fill(context, [replace(each, format="<b>bad</b>") for each in traffic()])
    found = progress(held_to(context, error_rate=0.5), START + timedelta(minutes=1000))
    page = found.path.read_text(encoding="utf-8")
    assert "<h1>1 of 1 targets are met.</h1>" in page
    assert '<td class="better">met</td>' in page
    assert "<b>bad</b>" not in page
    assert "<b>bad</b>" not in found.markdown
    assert page.count("data:image/png;base64") == 1


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"hit_rat": 0.1}, "did you mean 'hit_rate'"),
        ({"hit_rate": 1.1}, "targets.hit_rate: .*less than or equal to 1"),
        ({"p95_ms": 0}, "targets.p95_ms: .*greater than 0"),
        ({"saving": 2}, "targets.saving: .*less than or equal to 1"),
        ({"days": 0}, "targets.days: .*greater than 0"),
    ],
)
def test_a_target_that_is_none_is_refused(known: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse({"targets": known})


@pytest.mark.slow
def test_the_flow_judges_what_the_demo_made(tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    made = run("demo --config small", root)
    assert made.returncode == 0, made.stderr
    targets = ["--set", "targets.selection_accuracy=0.2", "--set", "targets.saving=0.99", "--set", "targets.days=28"]
    done = run("progress --config small", root, *targets)
    assert done.returncode == 0, done.stderr
    lines = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    assert "missed" in lines["data"]
    assert "met" in lines["selection accuracy"]
    assert "missed" in lines["cost saving"]
    assert "not known yet" in lines["hit rate"]
    assert "no target" in lines["uptime"]
    assert (root / "reports" / "progress.html").is_file()
    assert "Finished in state Completed" in done.stderr


def probes(right: Sequence[tuple[float, float]]) -> Table:
    """Requests that were asked of "small" and "large", whose answers were so good; large costs a cent more."""
    n = len(right)
    return Table(
        candidates=("small", "large"), request_ids=np.array([f"r{i}" for i in range(n)]),
        texts=tuple(f"prompt {i}" for i in range(n)), at=np.datetime64("2026-03-01", "us") + np.arange(n),
        sessions=np.array([f"s{i}" for i in range(n)]), input_tokens=np.full(n, 10.0), quality=np.array(right),
        cost_usd=np.tile([0.01, 0.02], (n, 1)), latency_ms=np.full((n, 2), 100.0), output_tokens=np.full((n, 2), 10.0),
        served=np.full(n, 1), propensity=np.ones(n), probed=np.ones(n, dtype=bool),
    )  # fmt: skip


def test_selection_is_right_where_the_choice_is_as_good_as_the_best_within_the_margin(context: Context) -> None:
    """The champion always takes "large": right alone on 30, equal on 40, a hair short on 10, wrong on 20."""
    right = [(0.0, 1.0)] * 30 + [(1.0, 1.0)] * 40 + [(0.95, 0.9)] * 10 + [(1.0, 0.0)] * 20
    known = Fresh(bundle("first"), probes(right), "small", "")
    found = measures_router.selection_accuracy(context, known).measured
    assert found is not None
    assert (found.value, found.n) == (pytest.approx(0.8), 100)
    strict = measures_router.selection_accuracy(held_to(context, margin=0.0), known)
    assert strict.measured is not None
    assert strict.measured.value == pytest.approx(0.7)
    assert strict.about == "of 100 random probes, 0.205 utility short of the best; always small 70%"
    few = measures_router.selection_accuracy(context, replace(known, table=known.table.take(np.arange(29))))
    assert few.measured is None
    assert few.about.startswith("29 random probes since first was trained, 30 are needed")


def test_saving_is_that_of_the_comparison_against_the_baseline(context: Context) -> None:
    known = Fresh(bundle("first"), probes([(0.5, 0.6), (0.4, 0.7)] * 50), "small", "")
    # A cent more of one: the baseline is half as dear.
    found = measures_router.saving(context, known).measured
    assert found is not None
    assert found.value == pytest.approx(-1.0)
    same = measures_router.saving(held_to(context, baseline="large"), known)
    assert (same.measured, same.about) == (Measured(0.0, 0.0, 0.0, 100), "the router asks large every time")
    unknown = measures_router.saving(held_to(context, baseline="huge"), known)
    assert unknown.measured is None
    assert unknown.about == "the log knows no candidate 'huge'; it has small, large"


def test_what_the_champion_learned_from_is_no_evidence(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither older requests nor later ones with a prompt that it knows; of requests without a prompt none is known."""
    known = replace(probes([(0.0, 1.0)] * 100), texts=("old",) * 50 + ("new",) * 30 + ("old",) * 20)
    made = replace(bundle("first"), training={"until": str(known.at[49])})
    champion(context, made)
    monkeypatch.setattr(measures_router.history, "table", lambda _context, _at: known)
    found = measures_router.fresh(context, START - timedelta(days=1), START + timedelta(days=1))
    assert isinstance(found, Fresh)
    assert set(found.table.texts) == {"new"}
    assert len(found.table) == 30
    free = replace(known, texts=("",) * 100)
    monkeypatch.setattr(measures_router.history, "table", lambda _context, _at: free)
    found = measures_router.fresh(context, START - timedelta(days=1), START + timedelta(days=1))
    assert isinstance(found, Fresh)
    assert len(found.table) == 50
    assert found.best_single == "large"
