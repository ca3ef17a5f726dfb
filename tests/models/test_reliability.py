"""The guardrail of failed calls, in worlds whose truth is known."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from beastmode.objective import Objective
from features.table import Table
from models.comparison import ANSWERED, Contestant, Settings, judge
from tests.models.test_comparison import world

SETTINGS = Settings()
Rates = tuple[float, float, float]


def failing(rng: np.random.Generator, rates: Rates, n: int, logged: bool) -> tuple[Table, Mapping[str, Contestant]]:
    """A challenger that gains 20 points on half of the requests wherever it is answered; of a failed call nothing
    else is known. A log asks everybody alike."""
    table, champion, challenger = world(rng, lift=0.2, n=n)  # type: ignore[no-untyped-call]
    failed = (rng.uniform(size=table.quality.shape) < rates).astype(float)
    quality = np.where(failed == 1, np.nan, table.quality)
    if logged:
        served = rng.integers(3, size=n)
        hidden = np.arange(3) != served[:, None]
        quality[hidden], failed[hidden] = np.nan, np.nan
        table = replace(table, served=served, propensity=np.full(n, 1 / 3))
    probed = np.isfinite(quality).all(axis=1)
    table = replace(table, quality=quality, failed=failed, probed=probed)
    return table, {"challenger": challenger, "champion": champion}


def promoted(rates: Rates, worlds: int, *, n: int, logged: bool) -> tuple[int, int]:
    """How many are promoted, and how many would be if nobody looked at failures."""
    rng = np.random.default_rng(3)
    found: Counter[str] = Counter()
    for _ in range(worlds):
        table, contestants = failing(rng, rates, n, logged)
        found[f"now {judge(contestants, table, Objective(), SETTINGS).verdict}"] += 1
        found[f"else {judge(contestants, replace(table, failed=None), Objective(), SETTINGS).verdict}"] += 1
    return found["now promote"], found["else promote"]


@pytest.mark.parametrize(("n", "logged"), [(700, False), (3000, True)])
def test_a_challenger_that_fails_is_never_promoted(n: int, logged: bool) -> None:
    """One call in five of those it moves: 10 points of all its calls."""
    now, otherwise = promoted((0.02, 0.22, 0.02), 200, n=n, logged=logged)
    assert now == 0
    assert otherwise > 100, "its answers are better, where there are any"


@pytest.mark.parametrize("rate", [0.0, 0.005, 0.02])
@pytest.mark.parametrize(("n", "logged"), [(700, False), (3000, True)])
def test_equal_failures_hold_nobody_beyond_chance(rate: float, n: int, logged: bool) -> None:
    """The bound errs with 5%, with a binomial error of 1.5% over 200 worlds."""
    now, otherwise = promoted((rate,) * 3, 200, n=n, logged=logged)
    assert otherwise - now <= 200 * (0.05 + 2.6 * 0.015)
    assert now > 170


def test_the_reason_has_numbers_the_culprit_and_a_remedy() -> None:
    table, contestants = failing(np.random.default_rng(4), (0.0, 0.5, 0.0), 700, False)
    judged = judge(contestants, table, Objective(), SETTINGS)
    found = judged.comparison("champion", ANSWERED)
    moved = contestants["challenger"].probabilities[:, 1] == 1
    assert table.failed is not None
    assert found.difference == pytest.approx(-table.failed[moved, 1].sum() / 700)
    assert found.verdict == "worse"
    assert judged.verdict == "hold"
    assert f"{found.difference:+.4f}" in judged.reason
    assert "gate.error_margin" in judged.reason
    assert f"b, {table.failed[:, 1].sum():.0f} of whose 700 calls failed" in judged.reason
    assert "take it out of the catalogue" in judged.reason


def test_what_is_proven_to_stay_within_the_margin_is_promoted() -> None:
    table, contestants = failing(np.random.default_rng(5), (0.0, 0.5, 0.0), 700, False)
    lenient = Settings(error_margin=0.4)
    assert judge(contestants, table, Objective(), lenient).verdict == "promote"
