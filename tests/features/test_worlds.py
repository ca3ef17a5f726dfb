"""Worlds: the log says what is true, and its propensities are the frequencies."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from beastmode.errors import ERROR_TYPES
from features.table import normalise_text
from features.worlds.latency import measured
from features.worlds.replay import WorldSettings, replay
from features.worlds.synthetic import CANDIDATES, SyntheticSettings, outcomes, synthetic
from features.worlds.traffic import arrivals, drifting, load, sessions

SMALL = SyntheticSettings(prompts=400)


def test_propensities_are_the_frequencies_of_the_draws() -> None:
    settings = WorldSettings(epsilon=0.3, policy="length", repeats=0.9, failures=0.0)
    truth = synthetic(SMALL, settings, 11).truth
    n, m = len(truth), len(truth.candidates)
    assert n == 4000
    drawn = np.zeros((n, m))
    drawn[np.arange(n), truth.served] = 1
    lengths = np.array([len(text) for text in truth.texts])
    for group in (lengths > np.median(lengths), lengths <= np.median(lengths)):
        wish = drawn[group].sum(axis=0).argmax()
        expected = np.full(m, 0.3 / m)
        expected[wish] += 0.7
        # What the log says is what the policy is defined by, and the draws follow it.
        stated = truth.propensity[group]
        assert np.allclose(stated, expected[truth.served[group]])
        counts = drawn[group].sum(axis=0)
        statistic = float(((counts - group.sum() * expected) ** 2 / (group.sum() * expected)).sum())
        assert statistic < chi2.ppf(0.9999, m - 1)


def test_the_log_says_the_truth() -> None:
    world = synthetic(SMALL, WorldSettings(probes=40, failures=0.1), 5)
    truth = world.truth
    row_of = {request: i for i, request in enumerate(truth.request_ids.tolist())}
    quality = {word.request_id: word.value for word in world.feedback}
    asked: Counter[str] = Counter()
    for row in world.interactions:
        i, j = row_of[row.parent_request_id or row.request_id], truth.candidates.index(row.plan or "")
        assert row.messages == ({"role": "user", "content": truth.texts[i]},)
        if row.purpose == "serve":
            assert row.plan == truth.candidates[truth.served[i]]
            assert row.probabilities is not None
            assert row.propensity == row.probabilities[row.plan] == truth.propensity[i]
        if row.status == "success":
            asked[truth.request_ids[i]] += 1
            assert row.cost_usd == truth.cost_usd[i, j]
            assert row.latency_ms == pytest.approx(truth.latency_ms[i, j], abs=1e-3)
            assert quality[row.request_id] == truth.quality[i, j]
            assert row.ttft_ms is not None
            assert 0 < row.ttft_ms <= row.latency_ms
        else:
            assert row.error_type in ERROR_TYPES
            assert (row.cost_usd, row.latency_ms, row.output_tokens) == (None, None, None)
            assert row.request_id not in quality
    # A probed request has one answer of each candidate, though some calls failed on the way.
    assert truth.probed.sum() == 40
    assert all(asked[request] == 6 for request in truth.request_ids[truth.probed])
    assert len({row.request_id for row in world.interactions}) == len(world.interactions)
    failed = np.mean([row.status == "failure" for row in world.interactions])
    assert 0.06 < failed < 0.14


def test_each_prompt_comes_once_unless_repeats_are_asked_for() -> None:
    once = synthetic(SMALL, WorldSettings(), 1).truth
    assert Counter(map(normalise_text, once.texts)).most_common(1)[0][1] == 1
    again = synthetic(SMALL, WorldSettings(repeats=0.5), 1).truth
    counts = Counter(map(normalise_text, again.texts))
    assert (len(counts), len(again)) == (400, 800)
    # Popular prompts come back much more often than others.
    assert counts.most_common(1)[0][1] > 5
    assert synthetic(SMALL, WorldSettings(requests=50), 1).truth.texts == once.texts[:50]


def test_a_seed_reaches_every_draw_and_nothing_else_does() -> None:
    settings = WorldSettings(probe_share=0.1)
    one, two, other = (synthetic(SMALL, settings, seed) for seed in (7, 7, 8))
    assert one.interactions == two.interactions
    assert one.feedback == two.feedback
    assert one.interactions[0] != other.interactions[0]
    assert (one.truth.served != other.truth.served).any()


def test_arrivals_fill_the_span_with_days_that_are_busier_than_nights() -> None:
    truth = synthetic(SyntheticSettings(prompts=2000), WorldSettings(), 2).truth
    start = np.datetime64("2025-01-06", "us")
    days = (truth.at - start) / np.timedelta64(1, "D")
    assert (np.diff(truth.at.astype("int64")) >= 0).all()
    assert days.min() >= 0
    assert 27 < days.max() <= 28
    hours = (days % 1) * 24
    assert ((hours > 10) & (hours < 18)).sum() > 3 * ((hours > 22) | (hours < 6)).sum()


def test_a_trace_keeps_its_bursts() -> None:
    gaps = np.where(np.arange(1000) % 10 == 0, 100.0, 0.1)
    days = arrivals(1000, 10.0, gaps, np.random.default_rng(0))
    steps = np.diff(days)
    assert np.sort(steps)[-90:].sum() / steps.sum() > 0.9


def test_feedback_lags_by_hours_to_days() -> None:
    world = synthetic(SMALL, WorldSettings(failures=0.0), 3)
    at = {row.request_id: row.at for row in world.interactions}
    lags = np.array([(word.at - at[word.request_id]).total_seconds() / 3600 for word in world.feedback])
    assert 6 < np.median(lags) < 11
    assert lags.max() <= 96
    assert (lags > 24).mean() > 0.05
    assert all(word.received_at >= word.at for word in world.feedback)
    half = synthetic(SMALL, WorldSettings(failures=0.0, feedback_share=0.5), 3)
    assert 0.4 < len(half.feedback) / len(world.feedback) < 0.6


def test_shift_changes_the_mix_of_subjects_and_its_absence_does_not() -> None:
    subjects = ["a", "b"] * 2000
    known = np.array(subjects)

    def early(shift: float) -> float:
        order = drifting(subjects, shift, np.random.default_rng(4))
        assert sorted(order.tolist()) == list(range(4000))
        return float((known[order[:1000]] == "a").mean())

    assert abs(early(0.0) - 0.5) < 0.06
    assert abs(early(1.5) - 0.5) > 0.2


def test_subjects_reach_no_log() -> None:
    world = synthetic(SMALL, WorldSettings(shift=1.0, probe_share=0.1), 3)
    _, topics = outcomes(SMALL, 3)
    for row in world.interactions:
        assert row.context is None
        assert row.session_id not in set(topics)


def test_in_the_shuffled_twin_no_prompt_tells_which_candidate_is_good() -> None:
    table, topics = outcomes(SyntheticSettings(prompts=3000), 1)
    candidates = tuple(candidate for candidate, _, _ in CANDIDATES)
    plain = replay(table, candidates, WorldSettings(), 1).truth
    twin = replay(table, candidates, WorldSettings(shuffled=True), 1).truth
    assert plain.texts == twin.texts
    assert np.allclose(plain.quality.mean(axis=0), twin.quality.mean(axis=0))
    topic = dict(zip(table.texts, topics, strict=True))
    labels = np.array([topic[text] for text in plain.texts])

    def spread(quality: np.ndarray) -> float:
        means = np.array([quality[labels == name].mean(axis=0) for name in sorted(set(topics))])
        return float(means.std(axis=0).mean())

    assert spread(plain.quality) > 4 * spread(twin.quality)


def test_without_decisions_a_log_knows_nothing_of_ours() -> None:
    plain = synthetic(SMALL, WorldSettings(probes=10), 2)
    world = synthetic(SMALL, WorldSettings(probes=10, strip_decisions=True), 2)
    assert len(plain.interactions) == len(world.interactions)
    assert plain.feedback == world.feedback
    for before, row in zip(plain.interactions, world.interactions, strict=True):
        assert (row.propensity, row.propensity_source, row.plan, row.probabilities) == (None, "unknown", None, None)
        assert (row.parent_request_id, row.decision_id, row.purpose) == (None, None, "serve")
        assert (row.request_id, row.at, row.model_served) == (before.request_id, before.at, before.model_served)


def test_the_synthetic_world_can_be_learnt_but_not_trivially() -> None:
    table, topics = outcomes(SyntheticSettings(), 0)
    labels, early = np.array(topics), np.arange(len(table)) < len(table) // 2
    best = int(table.quality[early].mean(axis=0).argmax())
    choice = np.full(len(table), best)
    for topic in sorted(set(topics)):
        mean = table.quality[early & (labels == topic)].mean(axis=0)
        cost = table.cost_usd[early & (labels == topic)].mean(axis=0)
        choice[labels == topic] = int(np.where(mean >= mean.max() - 0.03, cost, np.inf).argmin())
    late = np.flatnonzero(~early)
    single, routed = table.quality[late, best].mean(), table.quality[late, choice[late]].mean()
    assert single < routed < single + 0.06
    assert table.cost_usd[late, choice[late]].mean() < 0.6 * table.cost_usd[late, best].mean()
    assert table.quality[late].max(axis=1).mean() > routed + 0.03
    assert len({normalise_text(text) for text in table.texts}) == len(table)


def test_latency_follows_host_tokens_and_load() -> None:
    frame = pd.DataFrame(
        {"model": ["a"] * 4 + ["b"] * 4, "ttft_ms": [100.0] * 4 + [400.0] * 4, "output_tokens": [50, 100, 200, 400] * 2}
    )
    speed = np.repeat([100.0, 25.0], 4)
    frame["latency_ms"] = frame["ttft_ms"] + frame["output_tokens"] / speed * 1e3
    hosts = measured(frame)
    assert hosts.ttft_ms.tolist() == [100.0, 400.0]
    assert np.allclose(hosts.tokens_per_second, [100.0, 25.0])
    assert np.allclose(hosts.residuals, 0)
    assert load(np.array([15.0]))[0] > 1.3
    assert load(np.arange(24.0)).mean() == pytest.approx(1.0)
    with pytest.raises(ValueError, match="column 'ttft_ms' is missing"):
        measured(frame.drop(columns="ttft_ms"))


def test_sessions_are_short_and_belong_to_one_tenant() -> None:
    world = synthetic(SMALL, WorldSettings(), 3)
    tenants: dict[str, set[str]] = {}
    for row in world.interactions:
        tenants.setdefault(str(row.session_id), set()).add(str(row.tenant))
    assert all(len(known) == 1 for known in tenants.values())
    sizes = Counter(sessions(5000, 0.6, np.random.default_rng(0)).tolist())
    assert 1.5 < np.mean(list(sizes.values())) < 4


def test_what_does_not_fit_together_is_said() -> None:
    table, _ = outcomes(SMALL, 0)
    candidates = tuple(candidate for candidate, _, _ in CANDIDATES)
    with pytest.raises(ValueError, match="are not the outcomes'"):
        replay(table, candidates[::-1], WorldSettings(), 0)
    with pytest.raises(ValueError, match="default = 'gpt' is no candidate; there are atlas-large"):
        replay(table, candidates, WorldSettings(default="gpt"), 0)
    with pytest.raises(ValueError, match="start = 'soon' is no moment"):
        WorldSettings(start="soon")
    with pytest.raises(ValueError, match="outcome of some candidate is missing"):
        replay(replace(table, quality=np.full(table.quality.shape, np.nan)), candidates, WorldSettings(), 0)
    with pytest.raises(ValueError, match="more than its templates can make"):
        synthetic(SyntheticSettings(prompts=10_000_000), WorldSettings(), 0)


def test_a_world_starts_when_it_is_told_to() -> None:
    world = synthetic(SMALL, WorldSettings(start="2026-02-02T00:00:00+02:00", span_days=2), 0)
    first = datetime(2026, 2, 1, 22, tzinfo=UTC)
    assert first <= world.interactions[0].at
    served = [row for row in world.interactions if row.purpose == "serve"]
    assert served[-1].at <= first + timedelta(days=2)
