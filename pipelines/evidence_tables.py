"""The evidence beside the gate as tables and sentences that need no statistics to be read."""

from collections.abc import Sequence

from models.comparison import Settings
from models.intervals import Estimate
from models.offpolicy import Segment, Valuation
from models.overlap import Overlap
from models.savings import Saved
from models.sensitivity import Sensitivity
from pipelines.report import Section
from pipelines.wording import between, money, number, percent

NAMES = {
    "dr": ("doubly robust", "the one to act on: a forecast for every request, corrected by what was observed"),
    "snips": ("SNIPS", "the weighted mean of what was observed; should agree with the first"),
    "ips": ("IPS", "the same by plain weights: right on average, the least exact"),
    "switch": ("SWITCH-DR", "the first without its heaviest weights; where they differ, few requests decide"),
    "dm": ("direct method", "the forecast alone: its range is too narrow, never act on it"),
}
"""Estimators in the order in which they are read, with what each is worth."""


def alone(own: Valuation, gain: Valuation, level: float) -> list[Section]:
    """Return every estimator side by side, and what they rest on."""
    rows = [
        (name, _span(own.estimates[key]), _span(gain.estimates[key], signed=True), worth)
        for key, (name, worth) in NAMES.items()
    ]
    whence = (
        "The log says with which probability each model was chosen."
        if own.source == "logged"
        else "Estimated: the log does not say with which probability each model was chosen, so that was guessed from "
        "the requests."
    )
    note = (
        f"{whence} Each logged answer counts by how much more often this router would give it; no probe is used. In "
        f"brackets the {level:.0%} range; few heavy requests can carry a value beyond 1. Where rows disagree by more "
        "than their ranges, trust none of them."
    )
    if own.refused or gain.refused:
        note = f"No value to act on: {own.refused or gain.refused}. {note}"
    header = ("estimator", "this router's utility", "gain over the champion", "what it is worth")
    return [Section("What the log alone says", header, rows, note), _rests(own.overlap, own.source)]


def _rests(seen: Overlap, source: str) -> Section:
    rows = [
        ("requests of the log", f"{seen.n:,}", "served, and how good the answer was is known"),
        ("effective sample size", f"{seen.effective:,.0f}", "requests of equal weight that would say as much"),
        (
            "the largest weight",
            number(seen.largest, 1),
            f"one request counts for so many; it holds {percent(seen.largest_share)} of all weight",
        ),
        ("support violations", percent(seen.unsupported), "of its requests go to models that the log never asks"),
        ("left out", percent(seen.unknown), "of the served requests, as their propensity is unknown"),
        ("propensities", source, "the probability with which the model that answered had been chosen"),
    ]
    return Section("What that rests on", ("", "", "in words"), rows)


def hidden(bounds: Sequence[Sensitivity], gate: Settings) -> Section:
    """Return how strong hidden reasons must be to undo a gain on estimated propensities."""
    rows = [
        (
            "none" if bound.factor == 1 else f"a factor of {bound.factor:g}",
            f"{number(bound.low, signed=True)} to {number(bound.high, signed=True)}",
            "better" if bound.low > 0 else "worse" if bound.high < 0 else "nothing is proven",
        )
        for bound in bounds
    ]
    rule = (
        "An estimate alone promotes nothing here (gate.estimated_odds is not set)."
        if gate.estimated_odds is None
        else f"An estimate promotes only what withstands a factor of {gate.estimated_odds:g} (gate.estimated_odds)."
    )
    note = (
        "Whoever chose the models may have known something that the requests do not show. Each row allows that such a "
        f"reason made each choice so many times likelier or less likely than estimated. {rule}"
    )
    header = ("hidden reasons", "gain in utility over the champion", "so the challenger is")
    return Section("If there were hidden reasons for the choices", header, rows, note)


def segments(found: Sequence[Segment], level: float) -> Section:
    """Return the gain by kind of request."""
    rows = []
    for one in found:
        if one.estimate is None:
            rows.append((one.name, f"{one.n:,}", "–", "", "too little to say"))
            continue
        estimate, p = one.estimate, one.p if one.p is not None else 1.0
        word = "better" if estimate.low > 0 else "worse" if estimate.high < 0 else "not proven either way"
        chance = "under 1 in 1,000" if p < 0.001 else number(p)
        rows.append((one.name, f"{one.n:,}", _span(estimate, signed=True), chance, word))
    note = (
        f"Gain in utility, this router less the champion. All {len(rows)} ranges hold together at {level:.0%}: of many "
        "kinds one looks good by chance, and these ranges allow for that. The fourth column is how often chance alone "
        "would bring such a gain, adjusted in the same way (Holm)."
    )
    return Section("By kind of request", ("kind", "requests", "gain", "by chance", ""), rows, note)


def money_section(said: Sequence[str]) -> Section:
    """Return the sentences on money as a section."""
    note = (
        "Savings are counted against what would have been asked otherwise, never against the dearest model, and after "
        "what routing itself costs: probes with their grading, shadows and warming in the same days."
    )
    return Section("What the champion saves", (), [(line,) for line in said], note)


def money_said(found: Saved) -> str:
    """Return what a champion saves, or costs, in a sentence that begins with it."""
    low, high = found.share.low, found.share.high
    net, other = 1000 * found.net.value, f"{found.reference} ({money(1000 * found.reference_usd)})"
    if net >= 0:
        said = (
            f"The champion saves {money(net)} per 1,000 requests against {other}: {percent(found.share.value)}, "
            f"{between(percent(low), percent(high))}"
        )
        proof = "" if low > 0 else "; that it saves anything is not proven"
    else:
        said = (
            f"The champion costs {money(-net)} more per 1,000 requests than {other}: "
            f"{percent(-found.share.value)} more, {between(percent(-high), percent(-low))}"
        )
        proof = "" if high < 0 else "; that it costs more is not proven"
    return f"{said}{proof}. {_why(found)}"


def _why(found: Saved) -> str:
    extra, gross = 1000 * found.overhead_usd, 1000 * found.gross.value
    if not extra > 0:
        return "There were no probes and no warming to pay for in those days."
    without = f"save {money(gross)}" if gross >= 0 else f"cost {money(-gross)} more"
    return (
        f"That includes {money(extra)} for probes and warming in the same days; its answers alone {without}. Probes "
        "are what a router learns from, and their cost falls when they are asked less often."
    )


def _span(estimate: Estimate, *, signed: bool = False) -> str:
    value, low, high = (number(v, signed=signed) for v in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})"
