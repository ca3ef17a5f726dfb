"""The evidence on a challenger that is tried on traffic: in the shadow, and with a share of the units."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import norm

from beastmode.bundle import Bundle
from beastmode.guard import Alarm
from beastmode.objective import Objective
from beastmode.pointer import Baseline
from beastmode.router import Router
from models import comparison, experiments
from models.comparison import Judgement
from models.experiments.differences import Dealing, difference
from models.experiments.judging import Verdict
from models.experiments.rows import CHALLENGER as CHALLENGERS
from pipelines import plots, stage_plots
from pipelines.evaluation import CHALLENGER, CHAMPION, contestant, headline
from pipelines.report import Section
from pipelines.seen import Seen, placed
from pipelines.stage_settings import StageSettings
from pipelines.wording import compared

Floats = NDArray[np.float64]
LEAST = 50
"""Requests of a kind, under which nothing is said of it."""
TIMED = 60
"""Requests on which a decision is timed."""
FAMILY = 0.05
"""The chance that any segment's interval misses."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A stage's verdict with its reason, and what a report shows of it."""

    verdict: Verdict
    reason: str
    sections: tuple[Section, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    baseline: Baseline | None = None
    """What was usual in the canary: what the guard holds a promoted challenger to."""


def shadow(
    seen: Seen, champion: Bundle, challenger: Bundle, settings: StageSettings, gate: comparison.Settings
) -> Evidence:
    """Judge a challenger by what it would have done: can it decide, how fast, and is it proven worse?

    *Roll back* where its failures to decide are proven above `shadow_errors` (always valid), *reject* where it is
    proven worse off-policy or on probes, or decides too slowly, *promote* to the canary after `shadow_requests`.
    """
    rows = seen.shadows(challenger.sha256 or "")
    failed = (rows["status"] == "failure").to_numpy(dtype=bool)
    alarm = Alarm(settings.shadow_errors, gate.alpha)
    broken = any(alarm.add(bool(hit)) for hit in failed)
    decided = rows[~failed]
    facts = {"decided in the shadow": f"{len(decided):,} requests, {int(failed.sum()):,} more it failed to decide"}
    metrics = {"requests": float(len(decided)), "errors": float(failed.mean()) if len(rows) else 0.0}
    if broken:
        why = str(rows["error_message"][failed].iloc[-1])
        reason = (
            f"It failed to decide {int(failed.sum()):,} of {len(rows):,} requests, proven more than the "
            f"{settings.shadow_errors:.1%} allowed; the last: {why}."
        )
        return Evidence("roll back", reason, metrics=metrics, facts=facts)
    if len(decided) < settings.shadow_requests:
        reason = (
            f"It has decided {len(decided):,} of the {settings.shadow_requests:,} requests that the shadow asks for."
        )
        return Evidence("hold", reason, metrics=metrics, facts=facts)
    slow = decision_ms(challenger, seen)
    facts["a decision takes"] = (
        f"{slow:.2f} ms at the 95th percentile ({decision_ms(champion, seen):.2f} the champion's)"
    )
    metrics["decision_p95_ms"] = slow
    judgement, figures, more = _shadow_value(seen, decided, champion, challenger, gate)
    facts["value of what it would have done"] = judgement.reason
    metrics |= more
    found = Evidence("hold", "", (_compared(judgement),), figures, metrics, facts)
    if slow > settings.decision_ms:
        reason = f"A decision takes {slow:.1f} ms, more than {settings.decision_ms:g}."
        return replace(found, verdict="reject", reason=reason)
    if judgement.verdict == "reject":
        return replace(found, verdict="reject", reason=judgement.reason)
    said = (
        f"It decided {len(decided):,} requests without harm, {int(failed.sum()):,} failed, {slow:.2f} ms a decision; "
        + ("on what was served it is proven better." if judgement.verdict == "promote" else "it is not proven worse.")
    )
    return replace(found, verdict="promote", reason=said)


def canary(seen: Seen, champion: Bundle, challenger: Bundle, settings: StageSettings, objective: Objective) -> Evidence:
    """Judge a challenger that serves a share of the units, as `models.experiments.judge` does, at every look."""
    rows = seen.rows(champion)
    if not len(rows) or len(set(rows.arm.tolist())) < 2:
        return Evidence("hold", f"{len(rows):,} requests were dealt so far, and an arm has none of them.")
    judged = experiments.judge(rows, settings.canary, objective, every=settings.look_every)
    figures = {
        f"interval/{metric}": stage_plots.interval(
            judged, metric, settings.canary.quality_margin if metric == "quality" else 0.0
        )
        for metric in dict.fromkeys((*settings.canary.aims, "quality"))
        if metric in judged.intervals and np.isfinite(judged.intervals[metric].bounds.low).any()
    }
    bars = _segments(seen, champion, objective)
    if bars:
        figures["segments"] = stage_plots.segments(bars)
    figures["weights"] = stage_plots.weights(1 / rows.arm_probability, "one over the probability of the arm")
    figures |= _calibration(seen, challenger)
    last = {name: one.bounds for name, one in judged.intervals.items()}
    gained = [(name, f"{b.value[-1]:+.4g}", f"[{b.low[-1]:+.4g}, {b.high[-1]:+.4g}]", f"{b.n[-1]:,.0f}")
              for name, b in last.items()]  # fmt: skip
    guarded = [(g.name, f"{g.champion[-1]:.4g}", f"{g.challenger[-1]:.4g}", f"{g.limit[-1]:.4g}",
                "breached" if g.breached[-1] else "holds") for g in judged.guardrails]  # fmt: skip
    sections = (
        Section("Challenger less champion, on live traffic", ("in", "difference", "interval", "units"), gained,
                "Each interval holds at every look, so that one may look at any time. Costs and latency are better "
                "when lower."),
        Section("What must not become worse", ("guardrail", "champion", "challenger", "limit", ""), guarded,
                "A guardrail is breached where the challenger is proven beyond the limit."),
    )  # fmt: skip
    metrics = {f"{name}{end}": float(getattr(b, part)[-1]) for name, b in last.items()
               for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))}  # fmt: skip
    metrics["units"] = float(judged.units[-1])
    facts = {"units": f"{int(judged.units[-1]):,} of the {settings.canary.planned:,} planned, {len(rows):,} requests"}
    return Evidence(
        judged.verdict, f"{_plainly(judged)}{judged.reason}", sections, figures, metrics, facts, _usual(rows)
    )


def _plainly(judged: experiments.Judged) -> str:
    """Return what was seen in words that need no statistics; nothing while too little was seen."""
    known = judged.intervals.get("quality")
    if known is None or not np.isfinite(known.bounds.low[-1]):
        return ""
    quality = [float(getattr(known.bounds, part)[-1]) for part in ("value", "low", "high")]
    spent = judged.intervals.get("cost_usd")
    sure = spent is not None and bool(np.isfinite(spent.bounds.low[-1]))
    cost = float(spent.bounds.value[-1]) if spent is not None and sure else None
    said = compared("the challenger's", quality, cost)
    return f"On {said}. "


def decision_ms(bundle: Bundle, seen: Seen) -> float:
    """Return the 95th percentile of a bundle's decision time on what was served, in milliseconds, here and now."""
    texts = () if seen.table is None else seen.table.texts[-TIMED:]
    router, spent = Router(bundle), []
    for text in texts:
        begun = time.perf_counter()
        router.route(text)
        spent.append(1000 * (time.perf_counter() - begun))
    return float(np.quantile(spent, 0.95)) if spent else 0.0


def _shadow_value(
    seen: Seen, decided: pd.DataFrame, champion: Bundle, challenger: Bundle, gate: comparison.Settings
) -> tuple[Judgement, dict[str, Figure], dict[str, float]]:
    """Judge the journalled decisions of both on what was served and probed; watched, as it is judged at every look."""
    rows = decided.set_index("parent_request_id")["probabilities"]
    served = seen.served.set_index("request_id")["probabilities"]
    table = seen.table
    if table is None:
        return Judgement("hold", "No verdict: no outcome is known yet.", {}, (), "no outcome is known yet"), {}, {}
    table = table.take([i for i, name in enumerate(table.request_ids.tolist()) if name in rows and name in served])
    if not len(table):
        return Judgement("hold", "No verdict: no outcome is known yet.", {}, (), "no outcome is known yet"), {}, {}
    names = table.request_ids.tolist()
    theirs = replace(contestant(challenger, table), probabilities=placed(rows.loc[names], table.candidates))
    own = replace(contestant(champion, table), probabilities=placed(served.loc[names], table.candidates))
    judgement = comparison.judge({CHALLENGER: theirs, CHAMPION: own}, table, challenger.objective, gate, watched=True)
    at = np.flatnonzero((table.served >= 0) & (table.propensity > 0))
    figures = plots.calibration(theirs.quality.ravel(), table.quality.ravel())
    drawn = {"calibration": figures}
    if len(at):
        weight = theirs.probabilities[at, table.served[at]] / table.propensity[at]
        drawn["weights"] = stage_plots.weights(weight, "what the challenger would have done against what was done")
    same = float((theirs.probabilities.argmax(axis=1) == own.probabilities.argmax(axis=1)).mean())
    return judgement, drawn, {**headline(judgement, (CHAMPION,)), "same_choice": same}


def _compared(judgement: Judgement) -> Section:
    rows = [(c.metric, f"{c.difference:+.4g}", f"[{c.low:+.4g}, {c.high:+.4g}]", c.verdict)
            for c in judgement.comparisons]  # fmt: skip
    return Section("Challenger less champion, on what was served", ("in", "difference", "interval", ""), rows,
                   "Where the two choose differently, only a probe or an explored answer can say what the "
                   "challenger's answer would have been.")  # fmt: skip


def _segments(seen: Seen, champion: Bundle, objective: Objective) -> list[stage_plots.Bar]:
    """Return the difference in utility on each kind of request; all intervals together err with 5%, at one look."""
    kinds = seen.segments()
    names = sorted(set(kinds.values()))
    known, quality, expected = seen.interactions(), seen.quality, seen.expected(champion)
    bars: list[stage_plots.Bar] = []
    for name in names:
        rows = experiments.Rows.of([i for i in known if kinds.get(i.request_id) == name], quality, expected)
        if len(rows) < LEAST or len(set(rows.arm.tolist())) < 2:
            continue
        outcome = rows.outcome("utility", objective)
        found = difference(Dealing.of(rows, len(rows)), outcome, rows.expectation("utility", objective))
        value, half = float(found.value[-1]), float(found.se[-1] * norm.isf(FAMILY / 2 / len(names)))
        if np.isfinite(value) and np.isfinite(half):
            bars.append((name, value, value - half, value + half, len(rows)))
    return bars


def _calibration(seen: Seen, challenger: Bundle) -> dict[str, Figure]:
    if seen.table is None:
        return {}
    expected = contestant(challenger, seen.table).quality
    return {"calibration": plots.calibration(expected.ravel(), seen.table.quality.ravel())}


def _usual(rows: experiments.Rows) -> Baseline | None:
    """Return what a guard may expect: the challenger's own shares and slowness in the canary."""
    own = rows.arm == CHALLENGERS
    waited = rows.latency_ms[own & np.isfinite(rows.latency_ms)]
    if not len(waited):
        return None
    # One failure more than was seen: a share of nothing would make the first failure an alarm.
    n = int(own.sum())
    usual = [(float(flags[own].sum()) + 1) / (n + 2) for flags in (rows.error, rows.refused)]
    return Baseline(error_rate=usual[0], p95_ms=max(float(np.quantile(waited, 0.95)), 1e-3), refusal_rate=usual[1])
