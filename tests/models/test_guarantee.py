"""The guarantee errs as seldom as it says, is about what the router really does, and says so where nothing is safe."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from beastmode.objective import Objective
from beastmode.router import Router
from features.outcomes import catalogue, fingerprint
from features.table import Table
from features.worlds.synthetic import SyntheticSettings, outcomes
from models import exporting, guarantee
from models.exact import upper
from models.fitted import Learning
from models.guarantee import Settings, Step, Trial, certify, cheapest, ladder, recheck, safe
from models.recipes import Settings as Recipe
from models.recipes import Trained, train
from models.rehearsal import Rehearsal

THRESHOLDS = np.linspace(0.95, 0.0, 60)


def drawn(n: int, rng: np.random.Generator) -> list[Trial]:
    """A world of known truth: a request leaves from its score on, and is lost with .3 (1 - score) when it does."""
    score = rng.random(n)
    would = rng.random(n) < 0.3 * (1 - score)
    sides = [(t, score >= t) for t in THRESHOLDS]
    return [Trial(Step(1 - t, 0.0), would & leaves, leaves, np.where(leaves, 0.1, 1.0)) for t, leaves in sides]


def true_risk(threshold: float, of: str) -> float:
    """E[.3 (1 - score) 1[score >= t]] = .15 (1 - t)^2, and its share of those that leave."""
    return 0.15 * (1 - threshold) ** (2 if of == "all" else 1)


@pytest.mark.parametrize(("of", "alpha"), [("all", 0.05), ("diverted", 0.08)])
@pytest.mark.parametrize("n", [200, 1000])
def test_the_certificate_errs_no_more_often_than_delta(of, alpha, n):
    rng, worlds = np.random.default_rng(0), 600
    settings = Settings(alpha=alpha, delta=0.1, of=of)
    start = 0 if of == "all" else 10
    wrong = naive = 0
    for _ in range(worlds):
        trials = drawn(n, rng)[start:]
        certified = cheapest(safe(trials, settings))
        wrong += certified is not None and true_risk(1 - certified.step.per_dollar, of) > alpha
        hopeful = cheapest([t for t in trials if (t.risk(of) or 0.0) <= alpha])
        naive += hopeful is not None and true_risk(1 - hopeful.step.per_dollar, of) > alpha
    assert wrong <= binom.ppf(0.999, worlds, 0.1)
    assert naive > 0.3 * worlds, "the cheapest that looks safe is not"


def test_more_requests_certify_more():
    rng, settings = np.random.default_rng(1), Settings()
    assert settings.level < settings.delta
    reached = [
        np.mean([t.step.per_dollar for t in [cheapest(safe(drawn(n, rng), settings)) for _ in range(50)] if t])
        for n in (200, 1000, 5000)
    ]
    best = 1 - next(t for t in THRESHOLDS[::-1] if true_risk(t, "all") <= 0.05)
    assert reached[0] < reached[1] < reached[2] <= best
    assert reached[2] > best - 0.06


@pytest.fixture(scope="module")
def table() -> Table:
    known = outcomes(SyntheticSettings(prompts=1500), 5)[0]
    # What a router takes for the tokens of a prompt.
    return replace(known, input_tokens=np.array([len(text) / 4 for text in known.texts]))


@pytest.fixture(scope="module")
def trained(table) -> Trained:
    recipe = Recipe(selector="neighbours", learning=Learning(folds=3, trials=2, prototypes=64))
    return train(table.take(np.arange(500)), recipe, 0, candidates=catalogue(table), objective=Objective())


@pytest.fixture(scope="module")
def bundle(trained):
    return exporting.bundle(trained, name="b", created="2026-01-01T00:00:00+00:00", training={}, evaluation={})


def test_steps_rise_in_risk_and_fall_in_cost_on_the_training_rows(trained):
    settings = Settings(alpha=0.1)
    steps = ladder(trained.rehearsal, Objective(), settings)
    reference = trained.rehearsal.reference
    trials = [guarantee.trial(s, trained.rehearsal, Objective(), reference, 0.0) for s in steps]
    lost = [int(t.lost.sum()) for t in trials]
    spent = [float(t.spent.mean()) for t in trials]
    due = trained.rehearsal.cost_usd[:, reference].mean()
    assert len(steps) > 5
    assert lost == sorted(lost)
    assert (-np.diff([due, *spent]) >= 0.0099 * due).all()


def test_what_is_certified_is_what_the_router_does(table, trained, bundle, tmp_path):
    settings = Settings(alpha=0.1)
    held = table.take(np.arange(500, 1000))
    known = certify(ladder(trained.rehearsal, Objective(), settings), bundle, held, trained.reference, settings, 0)
    assert known.safe
    replace(bundle, guarantee=known).write(tmp_path / "b")
    router = Router.load(tmp_path / "b", guaranteed=True)
    columns = np.array([table.candidates.index(router.route(text).candidate) for text in held.texts])
    reference, rows = table.candidates.index(known.reference), np.arange(len(held))
    lost = held.quality[:, reference] - held.quality[rows, columns] > 1e-9
    assert known.n == len(held)
    assert known.lost == lost.sum()
    assert known.diverted == (columns != reference).mean() > 0
    assert known.risk == lost.mean() <= known.upper <= known.alpha
    assert known.upper == upper(known.lost, known.n, settings.level)
    saved = held.cost_usd[:, reference] - held.cost_usd[rows, columns]
    assert known.saving_usd == pytest.approx(saved.mean())
    assert known.saving_usd_se == pytest.approx(saved.std(ddof=1) / np.sqrt(len(held)))
    assert known.saving == pytest.approx(saved.mean() / held.cost_usd[:, reference].mean())
    assert (known.data_sha256, known.until) == (fingerprint(held), str(held.at.max()))
    assert f"{known.diverted:.0%} of requests go to another candidate than {known.reference}" in known.sentence
    assert "with 90% confidence at most 0.1 of all requests lose quality" in known.sentence


def test_a_share_of_the_diverted_is_measured_on_the_diverted(table, trained, bundle):
    settings = Settings(alpha=0.4, of="diverted")
    held = table.take(np.arange(500, 1500))
    known = certify(ladder(trained.rehearsal, Objective(), settings), bundle, held, trained.reference, settings, 0)
    assert known.safe
    assert known.risk == pytest.approx(known.lost / (known.diverted * known.n))
    assert known.risk <= known.upper == upper(known.lost, round(known.diverted * known.n), settings.level) <= 0.4


def test_where_nothing_is_safe_it_is_said_with_what_would_help(table, trained, bundle):
    held = table.take(np.arange(500, 530))
    settings = Settings(alpha=0.05)
    steps = ladder(trained.rehearsal, Objective(), settings)
    known = certify(steps, bundle, held, trained.reference, settings, 0)
    assert not known.safe
    # Thirty requests of which none was lost still allow a risk of 1 - .1 ** (1 / 30) = .074, and more.
    assert known.smallest_alpha >= 0.0738
    assert known.sentence.startswith("No threshold is safe")
    assert f"{known.smallest_alpha:.4f}" in known.sentence
    assert known.probes_needed is None or known.probes_needed > 30
    lenient = replace(settings, alpha=known.smallest_alpha + 1e-6)
    assert certify(steps, bundle, held, trained.reference, lenient, 0).safe
    with pytest.raises(ValueError, match="nothing to check again"):
        recheck(known, bundle, held, 0)


def test_no_policy_that_saves_and_no_request_that_tells_are_said_apart(table, trained, bundle):
    held = table.take(np.arange(500, 900))
    rehearsal = trained.rehearsal
    free = replace(rehearsal, cost_usd=0 * rehearsal.cost_usd, expected_cost_usd=0 * rehearsal.cost_usd)
    assert ladder(free, Objective(), Settings()) == ()
    assert ladder(Rehearsal(*(np.zeros((0, 3)) for _ in range(5))), Objective(), Settings()) == ()
    assert (
        "none of the policies that were tried saves money"
        in certify((), bundle, held, trained.reference, Settings(), 0).sentence
    )
    served = replace(held, quality=np.where(np.arange(held.quality.shape[1]) == 0, held.quality, np.nan))
    steps = ladder(rehearsal, Objective(), Settings())
    assert (
        "no held-out request was asked of every candidate"
        in certify(steps, bundle, served, trained.reference, Settings(), 0).sentence
    )
    with pytest.raises(ValueError, match="'gone' is no candidate"):
        certify(steps, bundle, held, "gone", Settings(), 0)


def test_fresh_requests_confirm_break_or_leave_open(table, trained, bundle):
    settings = Settings(alpha=0.1)
    held, fresh = table.take(np.arange(500, 800)), table.take(np.arange(800, 1500))
    known = certify(ladder(trained.rehearsal, Objective(), settings), bundle, held, trained.reference, settings, 0)
    assert known.safe
    found = recheck(known, bundle, fresh, 0)
    assert (found.n, found.asked) == (700, 700)
    assert found.low <= found.lost / found.asked <= found.high
    assert recheck(replace(known, alpha=found.high), bundle, fresh, 0).verdict == "holds"
    assert recheck(replace(known, alpha=found.low - 1e-6), bundle, fresh, 0).verdict == "broken"
    assert "is broken" in recheck(replace(known, alpha=found.low - 1e-6), bundle, fresh, 0).sentence
    assert recheck(replace(known, alpha=(found.low + found.high) / 2), bundle, fresh, 0).verdict == "too few"
    # Where every candidate but the reference began to fail, what was certified is seen to be broken.
    quality = fresh.quality.copy()
    quality[:, [name != known.reference for name in table.candidates]] = 0.0
    assert recheck(known, bundle, replace(fresh, quality=quality), 0).verdict == "broken"


def test_requests_that_certified_are_not_fresh(table, trained, bundle):
    settings = Settings(alpha=0.1)
    held = table.take(np.arange(500, 800))
    known = certify(ladder(trained.rehearsal, Objective(), settings), bundle, held, trained.reference, settings, 0)
    assert recheck(known, bundle, held, 0).verdict == "too few"
    assert recheck(known, bundle, table.take(np.arange(500, 810)), 0).n == 10
