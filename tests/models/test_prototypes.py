"""Prototypes: nobody stands alone in one, and folds do not see themselves."""

from dataclasses import replace

import numpy as np
import pytest

from beastmode.neighbours import Prototypes
from beastmode.objective import Objective
from beastmode.vectors import packed
from features.outcomes import catalogue
from features.worlds.synthetic import SyntheticSettings, outcomes
from models.examples import examples
from models.prototypes import IDS, MEMBERS, SESSIONS, Memory, cluster, condense, merge_small


def unit(n: int, d: int = 8, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("groups", [1, 7, 40, 200])
def test_every_group_has_enough_requests_of_enough_sessions(groups):
    rows = unit(200)
    sessions = np.array([f"s{i // 6}" for i in range(200)])
    label = merge_small(rows, cluster(rows, groups, 0), sessions)
    assert label is not None
    for group in np.unique(label):
        assert (label == group).sum() >= MEMBERS
        assert len(set(sessions[label == group])) >= SESSIONS


def test_one_session_alone_makes_no_prototype():
    rows = unit(60)
    assert merge_small(rows, cluster(rows, 5, 0), np.array(["one"] * 60)) is None
    assert merge_small(rows[:4], np.zeros(4, dtype=np.intp), np.array(list("abcd"))) is None


def test_clusters_find_what_lies_apart():
    centres = np.eye(4, 8, dtype=np.float32)
    rows = np.repeat(centres, 25, axis=0) + unit(100) * 0.2
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    label = cluster(rows, 12, 3)
    for group in np.unique(label):
        assert len(set((np.flatnonzero(label == group) // 25).tolist())) == 1


def known_of(n=240):
    table = outcomes(SyntheticSettings(prompts=n), 0)[0]
    rows = unit(n)
    names = tuple(map(str, range(8)))
    return examples(table, rows, names, slice(0, 8), catalogue(table), Objective(), 3, 0)


def test_sums_are_kept():
    known = known_of()
    condensed = condense(known, known.judged, 30, 0)
    assert condensed is not None
    made = condensed.prototypes
    np.testing.assert_array_equal(np.bincount(condensed.label), made.weight)
    assert made.weight.sum() == len(known)
    np.testing.assert_allclose(made.excess.sum(axis=0), known.excess.sum(axis=0), atol=1e-4)
    np.testing.assert_allclose((made.centre * made.weight[:, None]).sum(axis=0), known.unit.sum(axis=0), atol=1e-4)


def test_what_is_said_of_a_row_does_not_move_with_its_own_outcome():
    known = known_of()
    kernel = Memory.of(known, 30, 0).kernel(5.0, 0.2)
    rows = np.arange(len(known))
    before = Memory.of(known, 30, 0).smooth(kernel, rows)
    own = known.fold == 0
    flipped = np.where(own[:, None], 1 - known.table.quality, known.table.quality)
    changed = replace(known, table=replace(known.table, quality=flipped))
    after = Memory.of(changed, 30, 0).smooth(kernel, rows)
    np.testing.assert_array_equal(before[own], after[own])
    assert not np.array_equal(before[~own], after[~own])


def test_a_prototype_keeps_a_few_ids_of_its_own_members_each_of_another_session():
    known = known_of()
    sessions = np.array([f"s{i // 4}" for i in range(len(known))])
    known = replace(known, table=replace(known.table, sessions=sessions))
    memory = Memory.of(known, 30, 0)
    place = {name: row for row, name in enumerate(known.table.request_ids.tolist())}
    assert len(memory.whole.ids) == len(memory.whole.centre)
    for group, few in enumerate(memory.whole.ids):
        rows = [place[name] for name in few]
        assert SESSIONS <= len(rows) <= IDS
        assert (memory.every.label[rows] == group).all()
        assert len(set(sessions[rows])) == len(rows)
        near = known.unit @ memory.whole.centre[group]
        assert near[rows[0]] == near[memory.every.label == group].max(), "the nearest to its centre comes first"
    assert all(not others.prototypes.ids for others in memory.others)


def test_ids_travel_with_the_tables_and_prose_does_not():
    known = known_of()
    named = known.table.request_ids.astype("<U90")
    named[::2] = [f"please summarise {i}" for i in range(len(named[::2]))]
    named[1::4] = [f"someone{i}@example.com" for i in range(len(named[1::4]))]
    named[3] = "x" * 65
    made = Memory.of(replace(known, table=replace(known.table, request_ids=named)), 30, 0).whole
    kept = {name for few in made.ids for name in few}
    assert kept
    assert not any(" " in name or "@" in name or len(name) > 64 for name in kept)
    arrays = made.arrays()
    assert Prototypes.from_parts({"start": 0, "stop": 8}, arrays).ids == made.ids
    with pytest.raises(ValueError, match="ids of 1 prototypes"):
        Prototypes.from_parts({"start": 0, "stop": 8}, {**arrays, "ids": packed(["a b"])})
