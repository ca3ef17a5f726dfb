"""The one recipe by which a router is trained: a flow and a benchmark both call `train`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

from beastmode.bundle import OperatingPoint
from beastmode.candidates import Candidate
from beastmode.encoding import Encoder
from beastmode.objective import Objective
from beastmode.policies import Greedy, Policy
from beastmode.scoring import Scorer
from beastmode.transformer import Transformer
from features.table import Table
from models import encoders, logged
from models.encoders import EncoderSettings, Teacher
from models.examples import Examples, examples
from models.fitted import Fitted, Judge, Learning
from models.operating import RATIOS, Trade, operating_points
from models.rehearsal import Rehearsal
from models.routing_metrics import auc, brier, calibration, ece
from models.selectors import SELECTORS
from models.usage_metrics import Ratio, scores
from models.values import NEVER, Gain, crossed

Floats = NDArray[np.float64]
Progress = Callable[[str, float], None]
"""Called with what is being done and the share of the whole that is done."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a training run may be told."""

    selector: str = "blend"
    """A key of `models.selectors.SELECTORS`."""
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    learning: Learning = field(default_factory=Learning)
    ratios: tuple[Annotated[float, Ge(0), Le(1)], ...] = RATIOS
    """Shares of the best single candidate's quality for which an operating point is sought."""

    @classmethod
    def small(cls) -> "Settings":
        """Return settings for a demonstration: seconds, not a minute."""
        return cls(learning=Learning(folds=4, trials=6, rounds=40, prototypes=256))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A router before it is a bundle, with all that was learned about it."""

    encoder: Encoder
    scorer: Scorer
    policy: Policy
    objective: Objective
    candidates: tuple[Candidate, ...]
    metrics: Mapping[str, float]
    """Cross-validated on the training table; standard errors end in `_se`. Of `output_tokens` and `latency`: `pinball`
    loss, the mean over the 5%, 50% and 95% quantiles, in tokens or ms, and its ratio to that of each model's own
    quantiles; `coverage` of the 90% interval; `r2_log` of what the quantiles speak of, against each model's own mean.
    `cv_cost_ratio` is predicted by actual cost, in total."""
    report: Mapping[str, Any]
    """What a person wants to see: what was chosen and why, as plain data."""
    operating_points: tuple[OperatingPoint, ...]
    earned: Floats
    """(judged rows,) The utility that the cross-validated policy earned on each."""
    rehearsal: Rehearsal
    """Out of fold: the training requests whose every outcome and cost is known."""
    baseline: Scorer | None
    """The tuned nearest neighbours on the same encoder; None where the table is too small for them."""
    baseline_policy: Policy | None = None

    @property
    def reference(self) -> str:
        """What a guarantee is measured against: the best single by quality, or by utility where costs are unknown."""
        known = len(self.rehearsal) > 0
        return self.candidates[self.rehearsal.reference].name if known else str(self.report["best_single"])


def train(
    table: Table,
    settings: Settings,
    seed: int,
    *,
    candidates: Sequence[Candidate],
    objective: Objective,
    teacher: Teacher | Transformer | None = None,
    study: Any = None,
    progress: Progress | None = None,
) -> Trained:
    """Train a router on a table; `seed` fixes every draw.

    `candidates` are the catalogue's entries for the table's columns, in any order. `study` is an Optuna study to
    resume or share between workers; without it tuning runs in memory. Raises ValueError on an unknown selector, on
    candidates that are not the table's, and on a table without any observed quality.
    """
    say = progress or (lambda stage, share: None)
    if settings.selector not in SELECTORS:
        raise ValueError(f"unknown selector {settings.selector!r}; known: {', '.join(SELECTORS)}")
    catalogue = in_order(candidates, table.candidates)
    say("encoder", 0.0)
    encoder = encoders.fit(table.texts, table.sessions.tolist(), settings.encoder, seed, teacher)
    say("encoding", 0.3)
    encoding = encoder.encode(table.texts)
    known = examples(
        table, encoding, encoder.names, encoder.embedding, catalogue, objective, settings.learning.folds, seed
    )
    say("baseline", 0.4)
    baseline = SELECTORS["neighbours"](known, settings.learning, seed, None)
    say(settings.selector, 0.5)
    fitted = SELECTORS[settings.selector](known, settings.learning, seed, study)
    fitted = logged.learn(known, fitted, settings.learning.caution)
    say("operating points", 0.95)
    judge = Judge.of(known, fitted.out_of_fold.amounts, settings.learning.caution)
    margin, _ = judge.margin(fitted.out_of_fold.quality[judge.rows])
    won = _earned(known, fitted, judge)
    single = judge.realised[: len(won), known.incumbent]
    stated = Gain.of(won - single)
    # The margin was picked among many, so its own bound flatters it: what it earns across folds must lie above zero
    # too, by half the caution (odds of two to one where that is 1).
    confirmed = margin < NEVER and stated.lower(judge.caution / 2) > 0
    if not confirmed:
        margin, won = NEVER, single
    rehearsal = _rehearsal(known, fitted)
    trades = _trades(rehearsal, settings, margin)
    report = {
        "selector": settings.selector,
        "scorer": fitted.scorer.parts().known["kind"],
        "best_single": table.candidates[known.incumbent],
        "routes": margin < NEVER,
        "margin": margin if margin < NEVER else None,
        "unconfirmed": None if confirmed else {"gain": stated.mean, "gain_se": stated.se},
        "judged": len(judge.rows),
        "candidates": [asdict(candidate) for candidate in catalogue],
        "fit": {name: value for name, value in fitted.report.items() if name not in _LIFTED},
        **{name: fitted.report.get(name, []) for name in _LIFTED},
        "baseline": dict(baseline.report),
        "trades": [dict(trade.to_json()) for trade in trades],
        "calibration": [asdict(b) for b in calibration(table.quality, fitted.out_of_fold.quality)],
    }
    say("done", 1.0)
    return Trained(
        encoder=encoder,
        scorer=fitted.scorer,
        policy=Greedy(known.incumbent, margin),
        objective=objective,
        candidates=catalogue,
        metrics=_metrics(known, fitted, judge, won),
        report=report,
        operating_points=tuple(trade.point for trade in trades),
        earned=won,
        rehearsal=rehearsal,
        baseline=baseline.scorer,
        baseline_policy=Greedy(),
    )


_LIFTED = ("trials", "feature_importance", "newcomers")
"""What a selector reports that has its own place."""


def in_order(candidates: Sequence[Candidate], names: Sequence[str]) -> tuple[Candidate, ...]:
    """Return the candidates of a table's columns; raises ValueError naming one that the catalogue lacks."""
    by_name = {candidate.name: candidate for candidate in candidates}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise ValueError(f"candidate {missing[0]!r} of the table is not in the catalogue; add a block for it")
    return tuple(by_name[name] for name in names)


def _rehearsal(known: Examples, fitted: Fitted) -> Rehearsal:
    said = fitted.out_of_fold
    expected_cost = known.rates.cost_usd(known.table.expected_tokens, said.output_tokens)
    cost = np.where(np.isfinite(known.cost), known.cost, expected_cost)
    rows = np.flatnonzero(known.judged & np.isfinite(cost).all(axis=1) & np.isfinite(expected_cost).all(axis=1))
    # A newcomer's outcome is unknown on most of these requests: no policy is rehearsed that would choose it.
    quality = np.where(known.active, said.quality[rows], np.nan)
    return Rehearsal(known.table.quality[rows], cost[rows], quality, expected_cost[rows], said.latency_ms[rows])


def _trades(rehearsal: Rehearsal, settings: Settings, margin: float) -> tuple[Trade, ...]:
    if len(rehearsal) < 2:
        return ()
    return operating_points(
        rehearsal.expected_quality,
        rehearsal.expected_cost_usd,
        rehearsal.quality,
        rehearsal.cost_usd,
        rehearsal.reference,
        settings.ratios,
        settings.learning.assurance,
        margin if margin < NEVER else 0.0,
    )


def _earned(known: Examples, fitted: Fitted, judge: Judge) -> Floats:
    """Return what the policy earned on each judged row; nothing where there are too few to choose a margin on."""
    if len(judge.rows) < 2:
        return np.zeros(0)
    utility = judge.utility(fitted.out_of_fold.quality[judge.rows])
    return crossed(utility, judge.realised, known.incumbent, judge.caution, known.fold[judge.rows])


def _metrics(known: Examples, fitted: Fitted, judge: Judge, won: Floats) -> dict[str, float]:
    observed, said = known.table.quality, fitted.out_of_fold.quality
    metrics = {"auc": auc(observed, said), "brier": brier(observed, said), "ece": ece(observed, said)}
    if len(won):
        single = Gain.of(judge.realised[:, known.incumbent])
        gain = Gain.of(won - judge.realised[:, known.incumbent])
        metrics |= {
            "best_single_utility": single.mean,
            "best_single_utility_se": single.se,
            "utility": single.mean + gain.mean,
            "gain": gain.mean,
            "gain_se": gain.se,
        }
    metrics |= _usage_metrics(known, fitted)
    return {f"cv_{name}": value for name, value in metrics.items()}


def _usage_metrics(known: Examples, fitted: Fitted) -> dict[str, float]:
    """Return how well lengths, latencies and costs are foretold; nothing of what was never observed."""
    table, said = known.table, fitted.out_of_fold
    amounts = {
        "output_tokens": (table.output_tokens, said.output_tokens_quantiles),
        "latency": (table.latency_ms, said.latency_ms_quantiles),
    }
    metrics = {
        f"{name}_{score}": value
        for name, (observed, quantiles) in amounts.items()
        for score, value in scores(observed, quantiles, known.fold).items()
    }
    cost = known.rates.cost_usd(table.expected_tokens, said.output_tokens)
    both = np.isfinite(cost) & np.isfinite(known.cost)
    if both.any():
        metrics["cost_ratio"] = Ratio.of(cost[both], known.cost[both]).value
    return metrics
