"""A call without an answer is worth nothing, where that tells candidates apart."""

import numpy as np
import pytest

from features.table import Table
from tests.features.test_joins import call, joined, word

NAMES = ("flaky", "steady")


def log(rates: tuple[float, float], judged: float, n: int = 4000, kind: str | None = "provider_server_error") -> Table:
    """Every second request goes to either candidate; answers of the flaky one are .9 good, the steady one's .6."""
    rng = np.random.default_rng(0)
    rows, words = [], []
    for i in range(n):
        name = NAMES[i % 2]
        bad = rng.random() < rates[i % 2]
        known = {"status": "failure", "error_type": kind, "output_tokens": None, "cost_usd": None} if bad else {}
        rows.append(call(f"r{i}", i / 60, plan=name, model_served=name, **known))
        if not bad and rng.random() < judged:
            words.append(word(f"r{i}", (0.9, 0.6)[i % 2], i / 3600))
    return joined(rows, words, hours=n)


@pytest.mark.parametrize("judged", [1.0, 0.1])
def test_a_candidate_is_worth_what_an_application_gets_from_it_however_few_answers_are_judged(judged: float) -> None:
    table = log((0.6, 0.02), judged)
    worth, known = np.nanmean(table.quality, axis=0), np.isfinite(table.quality).sum(axis=0)
    assert worth == pytest.approx([0.9 * 0.4, 0.6 * 0.98], abs=4 * 0.45 / np.sqrt(known.min()))
    assert known / 2000 == pytest.approx([judged, judged], abs=0.03), "as often known as an answer is judged"
    assert np.isfinite(table.cost_usd[np.isfinite(table.quality)]).all()
    assert np.isfinite(table.latency_ms[np.isfinite(table.quality)]).all()


def test_failures_that_hit_all_alike_are_left_out() -> None:
    table = log((0.05, 0.05), 1.0)
    assert np.nanmin(table.quality) == 0.6
    assert table.failed is not None
    assert np.nanmean(table.failed, axis=0) == pytest.approx([0.05, 0.05], abs=0.015)


@pytest.mark.parametrize(
    "kind", ["provider_rate_limited", "provider_authentication", "caller_cancelled", "router_error"]
)
def test_what_is_no_fault_of_the_provider_takes_nothing(kind: str) -> None:
    table = log((0.6, 0.0), 1.0, kind=kind)
    assert np.nanmin(table.quality) == 0.6
    assert table.failed is not None
    assert np.isnan(table.failed[:, 0]).mean() > 0.5, "neither answered nor failed"
    assert not np.nansum(table.failed)


def test_a_failure_of_no_told_kind_is_the_candidates() -> None:
    assert np.nanmin(log((0.6, 0.0), 1.0, kind=None).quality) == 0.0


def test_a_call_that_succeeded_on_retry_did_not_fail() -> None:
    rows, words = [], []
    for i in range(400):
        known = {"plan": "a", "model_served": "a", "session_id": f"s{i}", "trace_id": f"t{i}"}
        if i % 2:
            rows.append(call(f"first{i}", 2 * i, status="failure", error_type="provider_timeout", **known))
        rows.append(call(f"r{i}", 2 * i + 0.1, **known))
        rows.append(call(f"b{i}", 2 * i + 1, plan="b", model_served="b"))
        words += [word(f"first{i}" if i % 2 else f"r{i}", 1.0, i), word(f"b{i}", 1.0, i)]
    table = joined(rows, words, hours=1000)
    assert table.failed is not None
    assert not np.nansum(table.failed)
    assert np.nanmin(table.quality) == 1.0


@pytest.mark.parametrize("judged", [1.0, 0.2])
def test_paired_evidence_counts_first_calls_though_failed_ones_are_asked_again(judged: float) -> None:
    """Served by the flaky one, probed until everybody answered: its cells are no better for the second chance."""
    rng = np.random.default_rng(1)
    rows, words = [], []
    for i in range(3000):
        asked = {"flaky": 0, "steady": 0}
        bad = rng.random() < 0.3
        ended = {"status": "failure", "error_type": "provider_timeout"}
        rows.append(call(f"r{i}", i, plan="flaky", model_served="flaky", **(ended if bad else {})))
        if not bad and rng.random() < judged:
            words.append(word(f"r{i}", 0.9, i / 60))
        for name, rate in (("flaky", 0.3), ("steady", 0.0)):
            while bad or name == "steady":
                asked[name] += 1
                again = rng.random() < rate
                known = {"purpose": "probe", "parent_request_id": f"r{i}", "plan": name, "model_served": name}
                own = f"p{i}{name}{asked[name]}"
                rows.append(call(own, i + asked[name] / 9, **known, **(ended if again else {})))
                if not again:
                    words.append(word(own, {"flaky": 0.9, "steady": 0.6}[name], i / 60))
                    break
    table = joined(rows, words, hours=3000)
    complete = table.quality[table.probed]
    assert len(complete) / 3000 == pytest.approx(judged, abs=0.03)
    assert complete.mean(axis=0) == pytest.approx([0.63, 0.6], abs=4 * 0.42 / np.sqrt(len(complete)))


def test_the_lot_is_the_same_for_ever() -> None:
    one, other = log((0.6, 0.0), 0.3, n=600), log((0.6, 0.0), 0.3, n=600)
    np.testing.assert_array_equal(one.quality, other.quality)
