"""What the lake says of the champion on requests that it did not learn from: right choices, and money saved."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from beastmode.bundle import Bundle
from features.table import Table
from models.attainment import Measured, share
from models.savings import Saved
from pipelines import evidence, history
from pipelines.context import Context
from pipelines.evaluation import best_single, contestant
from pipelines.measures import Reading
from pipelines.wording import money, number, percent

PROBE = "random probes: python -m pipelines probe, with probe.budget_usd set"


@dataclass(frozen=True, slots=True)
class Fresh:
    """The champion, and the requests of some days that came after all it learned from."""

    champion: Bundle
    table: Table
    best_single: str | None
    """The best single candidate of its training; None where nothing says which."""
    judged: str
    """What its run knows of its value over the best single candidate."""


def fresh(context: Context, since: datetime, at: datetime) -> Fresh | Reading:
    """Return what the champion can be judged on; where that is nothing, why."""
    if context.store.champion() is None:
        return Reading(None, "no router is in service", missing="python -m pipelines improve")
    champion = context.store.load_champion()
    until = champion.training.get("until")
    if until is None:
        return Reading(
            None, f"{champion.name} does not say until when it learned", missing="python -m pipelines improve"
        )
    try:
        known = history.table(context, at)
    except ValueError as error:
        return Reading(None, str(error), missing="python -m pipelines ingest")
    learned = known.at <= np.datetime64(until)
    later = ~learned & (known.at > np.datetime64(since.astimezone(UTC).replace(tzinfo=None)))
    # A prompt that it learned from is no news; where the log holds no prompts, none is known to be one.
    prompts = known.prompts
    later &= ~np.isin(prompts, prompts[learned]) | (prompts == "")
    tags, metrics = _run(context, champion)
    best = tags.get("best_single") or _best_single(champion, known.take(learned))
    return Fresh(champion, known.take(later), best, _judged(metrics))


def _best_single(champion: Bundle, learned: Table) -> str | None:
    """Return the best single candidate of the rows that a bundle learned from, whose run is not at hand."""
    try:
        utility = champion.objective.utility(learned.quality, learned.cost_usd, learned.latency_ms)
        return learned.candidates[best_single(learned, utility)]
    except ValueError:
        return None


def _run(context: Context, champion: Bundle) -> tuple[dict[str, str], dict[str, float]]:
    tracker = context.tracker
    query = f"tags.bundle_sha256 = '{champion.sha256}' and attributes.status = 'FINISHED'"
    found = tracker.client.search_runs([tracker.experiment_id], query, max_results=1)
    return (dict(found[0].data.tags), dict(found[0].data.metrics)) if found else ({}, {})


def _judged(metrics: dict[str, float]) -> str:
    key = "utility_gain/over_best_single"
    names = (key, f"{key}_low", f"{key}_high")
    if not all(name in metrics for name in names):
        return ""
    value, low, high = (number(metrics[name], 3, signed=True) for name in names)
    return f"; utility over best single when it was judged {value} ({low} to {high})"


def selection_accuracy(context: Context, known: Fresh) -> Reading:
    """Return how often the champion takes a candidate within the margin of the best, of the random probes.

    Each probe counts by the probability with which the champion takes such a candidate.
    """
    table, least = known.table.take(known.table.probed), context.settings.gate.min_rows
    margin, name = context.settings.targets.margin, known.champion.name
    if len(table) < least:
        return Reading(
            None, f"{len(table):,} random probes since {name} was trained, {least} are needed (gate.min_rows)",
            missing=PROBE,
        )  # fmt: skip
    drawn = contestant(known.champion, table).probabilities
    utility = known.champion.objective.utility(table.quality, table.cost_usd, table.latency_ms)
    told = np.isfinite(utility)
    whole = (told | (drawn == 0)).all(axis=1) & told.any(axis=1)
    if int(whole.sum()) < least:
        return Reading(
            None, f"of {len(table):,} random probes {int(whole.sum())} tell the utility of what the router would take",
            missing="prices in the catalogue, and durations in the log, where the objective counts them",
        )  # fmt: skip
    drawn, utility = drawn[whole], utility[whole]
    right = utility >= np.nanmax(utility, axis=1, keepdims=True) - margin
    singles = np.where(np.isfinite(utility).all(axis=0), right.mean(axis=0), np.nan)
    best = "" if np.isnan(singles).all() else (
        f"; always {table.candidates[int(np.nanargmax(singles))]} {percent(float(np.nanmax(singles)))}"
    )  # fmt: skip
    short = (drawn * (np.nanmax(utility, axis=1, keepdims=True) - np.where(drawn > 0, utility, 0.0))).sum(axis=1).mean()
    about = (
        f"of {int(whole.sum()):,} random probes, {number(short)} utility short of the best{best}{known.judged}"
    )  # fmt: skip
    hits = np.minimum((drawn * right).sum(axis=1), 1.0)
    return Reading(share(hits, table.sessions[whole], context.settings.gate.level), about)


def saving(context: Context, known: Fresh) -> Reading:
    """Return the share of the baseline's cost that the champion saves, net of what routing itself costs."""
    baseline, table = context.settings.targets.baseline or known.best_single, known.table
    if baseline is None or baseline not in table.candidates:
        what = "no quality is known of what the champion learned from" if baseline is None else (
            f"the log knows no candidate {baseline!r}; it has {', '.join(table.candidates)}"
        )  # fmt: skip
        return Reading(None, what, missing="targets.baseline = the candidate that you would use without a router")
    if not len(table):
        return Reading(None, f"no request since {known.champion.name} was trained", missing=PROBE)
    drawn = contestant(known.champion, table).probabilities
    if (drawn[:, table.candidates.index(baseline)] == 1).all():
        return Reading(
            Measured(0.0, 0.0, 0.0, len(table)), f"the router asks {baseline} every time",
            missing="a router that asks others too: python -m pipelines probe, then improve",
        )  # fmt: skip
    found = evidence.savings(context, known.champion, table, baseline)["best_single"]
    if not isinstance(found, Saved):
        return Reading(None, found, missing=PROBE)
    if not np.isfinite([found.share.low, found.share.high]).all():
        return Reading(None, "too few sessions to say how exact the figure is", missing=PROBE)
    gross = found.gross.value / found.reference_usd
    about = (
        f"against {baseline}, {percent(gross)} before "
        f"{money(1000 * found.overhead_usd)} per 1,000 requests for probes, grading and warming"
    )
    return Reading(Measured(found.share.value, found.share.low, found.share.high, found.share.n), about, gross)
