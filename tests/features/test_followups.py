import numpy as np
import pytest

from features.followups import NEXT, RARELY, FollowUps, spans


def counted(key, at, after, within):
    """Count one request after the other what `FollowUps` counts in blocks."""
    slots, trials, pairs = {}, {}, {}
    for leader, now in zip(key.tolist(), at.tolist(), strict=True):
        slot = now // within
        if now >= at[-1] - within or slots.get(leader, -1) >= slot:
            continue
        slots[leader], trials[leader] = slot, trials.get(leader, 0) + 1
        near = key[(now + after <= at) & (at <= now + within)].tolist()
        for follower in set(near[:NEXT]) - {leader}:
            pairs[leader, follower] = pairs.get((leader, follower), 0) + 1
    return {(a, b): (count / (trials[a] + 2), trials[a]) for (a, b), count in pairs.items()}


@pytest.mark.parametrize("seed", range(10))
def test_blocks_of_any_size_count_what_one_request_after_the_other_does(seed):
    rng = np.random.default_rng(seed)
    key, at = rng.integers(0, 12, 400), np.sort(rng.integers(0, 3000, 400)).astype(float)
    table, row = FollowUps(), 0
    while row < len(key):
        more = int(rng.integers(1, 60))
        table.add(key[row : row + more], at[row : row + more])
        row += more
    expected = {pair: told for pair, told in counted(key, at, 5.0, 60.0).items() if told[0] >= RARELY}
    keys = np.unique(key)
    place, follower, share, support = table.followers(keys)
    pairs = list(zip(keys[place].tolist(), follower.tolist(), strict=True))
    assert dict(zip(pairs, share.tolist(), strict=True)) == pytest.approx(
        {pair: one[0] for pair, one in expected.items()}
    )
    assert dict(zip(pairs, support.tolist(), strict=True)) == {pair: one[1] for pair, one in expected.items()}


def test_shares_are_what_a_world_of_known_shares_has():
    rng = np.random.default_rng(0)
    start = np.arange(3000) * 600.0
    follows = rng.random(3000) < 0.7
    late = rng.uniform(10, 50, 3000)
    at = np.concatenate([start, (start + late)[follows], start + 2.0, start + 200.0])
    key = np.concatenate([np.zeros(3000), np.ones(int(follows.sum())), np.full(3000, 2), np.full(3000, 3)])
    order = np.argsort(at, kind="stable")
    table = FollowUps()
    table.add(key[order].astype(np.int64), at[order])
    place, follower, share, support = table.followers(np.array([0, 7]))
    # Too soon to be fetched (2) and too late to follow (3) are none.
    assert follower.tolist() == [1]
    assert place.tolist() == [0]
    assert share[0] == pytest.approx(0.7, abs=0.03)
    assert support[0] == 3000


def test_what_comes_in_a_burst_is_one_trial():
    table = FollowUps()
    table.add(np.array([0] * 50 + [1, 9]), np.concatenate([np.linspace(0, 4, 50), [30.0, 500.0]]))
    assert table.followers(np.array([0]))[3].tolist() == [1]


def test_few_pairs_are_remembered_and_those_that_came_most(monkeypatch):
    monkeypatch.setattr("features.followups.PAIRS", 100)
    rng = np.random.default_rng(1)
    table = FollowUps()
    for day in range(30):
        start = day * 86_400.0
        table.add(np.array([0, 1]), np.array([start, start + 20]))
        noise = np.sort(rng.uniform(start + 600, start + 1800, 40))
        table.add(rng.integers(2, 400, 40), noise)
    assert len(table) <= 100
    assert 1 in table.followers(np.array([0]))[1]


def test_bounds_that_leave_no_time_are_refused():
    with pytest.raises(ValueError, match=r"after = 60 .* below within = 60"):
        FollowUps(60, 60)


def test_spans_are_ranges_one_after_the_other():
    begin, end = np.array([5, 0, 2, 7]), np.array([5, 2, 3, 9])
    assert spans(begin, end).tolist() == [0, 1, 2, 7, 8]
    assert spans(begin[:0], end[:0]).tolist() == []
