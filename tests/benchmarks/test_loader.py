"""The loader and the follower under attack, in small."""

import random

from benchmarks import follower, loader
from benchmarks.small import plain


def test_no_mutant_loads_and_nothing_but_a_bundle_error_comes_out() -> None:
    found = loader.fuzz(120, 7)
    assert found["defects"] == 0, found["examples"]
    assert set(found["hash"]) == set(found["key"]) == {"refused", "slowest_seconds"}
    assert found["hash"]["refused"] == found["key"]["refused"] == 120
    assert found["neither"]["loaded and routes"] > 0, "mutants that are all refused early test nothing"


def test_a_mutant_that_is_rehashed_agrees_with_its_hashes() -> None:
    files = plain().files()
    rng = random.Random(1)
    made = [loader.mutant(files, rng, rehash=True) for _ in range(30)]
    assert all(m != files for m in made)


def test_a_follower_serves_no_bad_bundle_and_misses_no_good_one() -> None:
    found = follower.follow(15, 6, 2, 3)
    assert (found["bad_served"], found["failed_calls"], found["missed_swaps"]) == (0, 0, 0)
    assert found["bundles_served"] > 10
    assert found["calls"] > 50
