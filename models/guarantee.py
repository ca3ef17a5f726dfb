"""The cheapest operating point whose risk of a quality loss is certified on requests that nobody was trained on.

Learn then test (Angelopoulos, Bates, Candès, Jordan and Lei 2021, arXiv 2110.01052): training rows order the policies
from the surest to the boldest, and fresh rows test them in this order until the first that fails. The probability that
any policy before it has a risk above alpha is at most delta, for every distribution and every selector.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt
from numpy.typing import NDArray

from beastmode.bundle import Bundle
from beastmode.certificate import ALL, Certificate
from beastmode.objective import Objective
from beastmode.policies import Greedy
from features.outcomes import fingerprint
from features.table import Table
from models.exact import lower, needed, p_values, passed, upper
from models.operating import prices
from models.rehearsal import Rehearsal, rehearse
from models.savings import paired_ratio
from models.values import MARGINS, Gain, best, earned, prefer

Floats = NDArray[np.float64]

METHOD = "learn then test, fixed sequence ordered on training rows, exact binomial"
STEP = 0.01
"""The share of the reference's cost that a policy must save beyond the one tested before it."""
RESERVE = 1 / 3
"""The share of delta that no test spends. It stands for what no test can see: requests that have more in common than a
prompt or a session, and the promotion that is decided on the same held-out rows."""
ROUNDING = 1e-9
"""Differences of quality under it are none."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is to be guaranteed: P(quality loss > `loss`) <= `alpha`, with confidence 1 - `delta`."""

    loss: Annotated[float, Ge(0), Lt(1)] = 0.0
    alpha: Annotated[float, Gt(0), Lt(1)] = 0.05
    delta: Annotated[float, Gt(0), Lt(1)] = 0.1
    of: Literal["all", "diverted"] = "all"
    """Whether `alpha` is a share of all requests, or of those that leave the reference."""

    @property
    def level(self) -> float:
        """The chance of an error that the test allows itself."""
        return self.delta * (1 - RESERVE)


@dataclass(frozen=True, slots=True)
class Step:
    """A policy of the family: leave the reference for the highest utility at a price of money, beyond a margin."""

    per_dollar: float
    margin: float

    def choice(self, rehearsal: Rehearsal, objective: Objective, reference: int) -> NDArray[np.intp]:
        """Return the candidate of each request, (n,), by the very code that serves."""
        priced = replace(objective, per_dollar=self.per_dollar)
        said = rehearsal.expected_quality
        utility = priced.utility(said, rehearsal.expected_cost_usd, rehearsal.expected_latency_ms)
        eligible = priced.reaching(said, np.ones(said.shape, dtype=bool))
        return np.asarray(Greedy(reference, self.margin).probabilities(utility, eligible).argmax(axis=1))


@dataclass(frozen=True, slots=True)
class Trial:
    """A step on `n` requests whose outcomes are known; all arrays (n,)."""

    step: Step
    lost: NDArray[np.bool_]
    leaves: NDArray[np.bool_]
    """Which requests go to another candidate than the reference."""
    spent: Floats
    """US dollars"""

    def take(self, rows: NDArray[np.intp]) -> "Trial":
        """Return the trial on some of the requests."""
        return Trial(self.step, self.lost[rows], self.leaves[rows], self.spent[rows])

    def asked(self, of: str) -> int:
        """Return how many requests the risk is a share of."""
        return len(self.lost) if of == ALL else int(self.leaves.sum())

    def risk(self, of: str) -> float | None:
        """Return the lost requests as a share of those asked."""
        asked = self.asked(of)
        return float(self.lost.sum()) / asked if asked else None


def ladder(rehearsal: Rehearsal, objective: Objective, settings: Settings) -> tuple[Step, ...]:
    """Return the policies to test, from the surest to the boldest, as training rows order them out of fold.

    Every price of money and every margin is tried; kept are those that no other beats both in p-value and in cost, each
    at least `STEP` cheaper than the one before ("Pareto testing", Laufer-Goldshtein et al. 2023, arXiv 2210.07913).
    Empty where no policy saves anything, or no cost is known. Luck in the order costs power, never validity: the rows
    that test are others.
    """
    n = len(rehearsal)
    if n < 2:
        return ()
    reference, rows = rehearsal.reference, np.arange(n)
    due = float(rehearsal.cost_usd[:, reference].mean())
    found: list[tuple[float, float, Step]] = []
    for per_dollar in prices(rehearsal.expected_quality, rehearsal.expected_cost_usd).tolist():
        utility = prefer(
            replace(objective, per_dollar=per_dollar),
            rehearsal.expected_quality, rehearsal.expected_cost_usd, rehearsal.expected_latency_ms,
        )  # fmt: skip
        choice = best(utility)
        lead = utility[rows, choice] - utility[:, reference]
        worse = _lost(rehearsal.quality, choice, reference, settings.loss)
        saved = rehearsal.cost_usd[:, reference] - earned(rehearsal.cost_usd, choice)
        for margin in MARGINS:
            leaves = (lead > margin) & (choice != reference)
            asked = n if settings.of == ALL else int(leaves.sum())
            p = float(p_values(int((worse & leaves).sum()), asked, settings.alpha))
            found.append((p, due - float(np.where(leaves, saved, 0.0).mean()), Step(per_dollar, margin)))
    steps, lowest = [], due
    for _, cost, step in sorted((tried for tried in found if np.isfinite(tried[1])), key=lambda tried: tried[:2]):
        if cost < lowest and cost <= lowest - STEP * due:
            steps.append(step)
            lowest = cost
    return tuple(steps)


def trial(step: Step, rehearsal: Rehearsal, objective: Objective, reference: int, loss: float) -> Trial:
    """Return what a step does on requests whose outcomes are known."""
    choice = step.choice(rehearsal, objective, reference)
    lost = _lost(rehearsal.quality, choice, reference, loss)
    return Trial(step, lost, choice != reference, earned(rehearsal.cost_usd, choice))


def safe(trials: Sequence[Trial], settings: Settings) -> Sequence[Trial]:
    """Return the trials before the first that fails the test: what may be trusted, all of it at once."""
    lost = np.array([t.lost.sum() for t in trials])
    p = p_values(lost, np.array([t.asked(settings.of) for t in trials]), settings.alpha)
    return trials[: passed(p, settings.level)]


def cheapest(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial that spent least; None of none."""
    return min(trials, key=lambda t: float(t.spent.mean()), default=None)


def _lost(quality: Floats, choice: NDArray[np.intp], reference: int, loss: float) -> NDArray[np.bool_]:
    """Return which requests lose too much, (n,); what is unknown counts as lost."""
    return np.asarray(~(quality[:, reference] - earned(quality, choice) <= loss + ROUNDING))


def certify(
    steps: Sequence[Step], bundle: Bundle, table: Table, reference: str, settings: Settings, seed: int
) -> Certificate:
    """Certify the cheapest step that the held-out requests of a table pass; or say that none is safe.

    `table` must hold nothing that the bundle was trained on; `steps` come from `ladder`. `seed` picks the request that
    stands for each prompt and session. Raises ValueError on a reference that the bundle does not have.
    """
    column = _column(bundle, reference)
    kept, rehearsal = rehearse(bundle, table, seed)
    tried = steps if len(rehearsal) else ()
    trials = [trial(step, rehearsal, bundle.objective, column, settings.loss) for step in tried]
    certified = cheapest(safe(trials, settings))
    shown = certified or (trials[0] if trials else None)
    evidence = _nothing() if shown is None else _evidence(shown, rehearsal.cost_usd[:, column], settings)
    bound = evidence["upper"]
    return Certificate(
        loss=settings.loss,
        alpha=settings.alpha,
        delta=settings.delta,
        of=settings.of,
        reference=reference,
        per_dollar=certified.step.per_dollar if certified else None,
        margin=certified.step.margin if certified else None,
        n=len(rehearsal),
        smallest_alpha=bound if shown and not certified else None,
        probes_needed=_needed(shown, settings) if shown and not certified else None,
        method=METHOD,
        data_sha256=fingerprint(kept),
        since=str(kept.at.min()) if len(kept) else "",
        until=str(kept.at.max()) if len(kept) else "",
        **evidence,
    )


def _nothing() -> dict[str, Any]:
    unknown = dict.fromkeys(("risk", "saving", "saving_usd", "saving_usd_se"))
    return {"diverted": 0.0, "lost": 0, "upper": 1.0, **unknown}


def _evidence(shown: Trial, due: Floats, settings: Settings) -> dict[str, Any]:
    """Return what a trial shows, under the names of a certificate; `due` is what the reference costs, (n,)."""
    lost, gain = int(shown.lost.sum()), Gain.of(due - shown.spent)
    return {
        "diverted": float(shown.leaves.mean()),
        "lost": lost,
        "risk": shown.risk(settings.of),
        "upper": upper(lost, shown.asked(settings.of), settings.level),
        "saving": 1 - paired_ratio(shown.spent, due).mean,
        "saving_usd": gain.mean,
        "saving_usd_se": gain.se,
    }


def _needed(shown: Trial, settings: Settings) -> int | None:
    # The rule of succession: nothing lost among few is no risk of zero.
    risk = (int(shown.lost.sum()) + 1) / (shown.asked(settings.of) + 2)
    requests = needed(risk, settings.alpha, settings.level)
    share = 1.0 if settings.of == ALL else float(shown.leaves.mean())
    return None if requests is None or not share else int(np.ceil(requests / share))


@dataclass(frozen=True, slots=True)
class Recheck:
    """A certificate on fresh requests."""

    verdict: Literal["holds", "broken", "too few"]
    """Whether the risk is proven at most alpha, proven above it, or neither; each errs with at most delta."""
    n: int
    lost: int
    asked: int
    low: float
    high: float

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        said = {"holds": "holds", "broken": "is broken", "too few": "is neither confirmed nor refuted"}
        span = f"{self.lost:,} of {self.asked:,} lost, risk in [{self.low:.4f}, {self.high:.4f}]"
        return f"The guarantee {said[self.verdict]} on {self.n:,} fresh requests ({span})."


def recheck(certificate: Certificate, bundle: Bundle, table: Table, seed: int) -> Recheck:
    """Check a certificate on the requests of a table that came after it and were asked of every candidate.

    Raises ValueError where the certificate stands for no operating point.
    """
    if certificate.per_dollar is None or certificate.margin is None:
        raise ValueError(f"bundle {bundle.name!r}: there is nothing to check again. {certificate.sentence}")
    fresh = table.take(table.at > np.datetime64(certificate.until))
    _, rehearsal = rehearse(bundle, fresh, seed)
    step = Step(certificate.per_dollar, certificate.margin)
    if not len(rehearsal):
        return Recheck("too few", 0, 0, 0, 0.0, 1.0)
    column = _column(bundle, certificate.reference)
    found = trial(step, rehearsal, bundle.objective, column, certificate.loss)
    lost, asked = int(found.lost.sum()), found.asked(certificate.of)
    low, high = (bound(lost, asked, certificate.delta) for bound in (lower, upper))
    verdict: Literal["holds", "broken", "too few"] = "too few"
    if high <= certificate.alpha:
        verdict = "holds"
    elif low > certificate.alpha:
        verdict = "broken"
    return Recheck(verdict, len(rehearsal), lost, asked, low, high)


def _column(bundle: Bundle, reference: str) -> int:
    names = [candidate.name for candidate in bundle.candidates]
    if reference not in names:
        raise ValueError(f"guarantee: the reference {reference!r} is no candidate of the bundle: {', '.join(names)}")
    return names.index(reference)
