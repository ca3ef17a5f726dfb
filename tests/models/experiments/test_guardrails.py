"""Guardrails: seldom breached by the harmless, soon by the harmful, and Holm's arithmetic."""

import numpy as np
import pytest

from models.experiments.differences import Dealing
from models.experiments.guardrails import guardrails, holm
from models.experiments.settings import Settings
from tests.models.experiments.worlds import experiment, ramped


def breaches(seed, **known):
    rows = experiment(np.random.default_rng(seed), **known)
    return {g.name: g for g in guardrails(rows, Dealing.of(rows, 200), Settings(planned=8000))}


def test_at_the_very_margin_a_guardrail_is_breached_as_seldom_as_it_says():
    """Errors and latency rise by just what is allowed; 100 worlds at .05, all looks and guardrails together."""
    found = [
        any(g.breached.any() for g in breaches(seed, n=4000, errors=0.01, slower=1.2, per_unit=2).values())
        for seed in range(100)
    ]
    assert np.mean(found) <= 0.05 + 2 * 0.022


@pytest.mark.parametrize(
    ("known", "name"), [({"errors": 0.05}, "error rate"), ({"slower": 1.8}, "p95 latency in ms")], ids=["errors", "p95"]
)
def test_harm_is_found_and_named(known, name):
    found = [breaches(seed, **known) for seed in range(20)]
    assert np.mean([one[name].breached[-1] for one in found]) >= 0.95
    assert f"{name} is breached: challenger" in found[0][name].sentence
    assert "refusal rate holds" in found[0]["refusal rate"].sentence


def test_a_ramp_does_not_compare_the_champions_quiet_days_with_busy_ones():
    """All answers become slower while the share rises: the champion's plain p95 is that of quieter days."""
    ratios, breached = [], 0
    for seed in range(20):
        rows = ramped(np.random.default_rng(seed), 12_000, slower=(1.0, 2.0, 5.0))
        slow = {g.name: g for g in guardrails(rows, Dealing.of(rows, 400), Settings(planned=8000))}["p95 latency in ms"]
        ratios.append(slow.challenger[-1] / slow.champion[-1])
        breached += bool(slow.breached.any())
        mine = rows.arm == "challenger"
        assert np.quantile(rows.latency_ms[mine], 0.95) > 1.2 * np.quantile(rows.latency_ms[~mine], 0.95)
    assert np.mean(ratios) == pytest.approx(1.0, abs=3 * np.std(ratios) / np.sqrt(20))
    assert breached <= 1


def test_harm_is_found_on_a_ramp_too():
    rows = ramped(np.random.default_rng(0), 12_000, slower=(5.0, 2.0, 1.0))
    rows.latency_ms[rows.arm == "challenger"] *= 1.8
    slow = {g.name: g for g in guardrails(rows, Dealing.of(rows, 400), Settings(planned=8000))}["p95 latency in ms"]
    assert slow.breached[-1]


def test_without_latencies_two_guardrails_remain():
    rows = experiment(np.random.default_rng(0), n=1000)
    rows.latency_ms[:] = np.nan
    assert len(guardrails(rows, Dealing.of(rows, 200), Settings())) == 2


def reference_holm(p, alpha):
    order = np.argsort(p)
    rejected = np.zeros(len(p), dtype=bool)
    for rank, k in enumerate(order):
        if p[k] > alpha / (len(p) - rank):
            break
        rejected[k] = True
    return rejected


def test_holm_is_the_step_down_procedure_on_p_values():
    p = np.random.default_rng(1).beta(0.4, 4, (3, 500))
    levels = np.array([0.05 / 3, 0.05 / 2, 0.05])
    found = holm({str(k): p[k][None, :] <= levels[:, None] for k in range(3)})
    expected = np.array([reference_holm(p[:, look], 0.05) for look in range(500)]).T
    assert (np.stack(list(found.values())) == expected).all()
    assert 0 < expected.mean() < 1
