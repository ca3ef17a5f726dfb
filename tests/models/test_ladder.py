"""The ladder: the cheaper rung stays unless the dearer one is shown to earn more, and errs as often as it says."""

import numpy as np
import pytest

from models.ladder import Rung, sentence, stand

RNG = np.random.default_rng(0)
BASE = RNG.binomial(1, 0.7, 4000).astype(np.float64)


def rung(name: str, gain: float, ms: float, rows: int = 4000, seed: int = 1) -> Rung:
    """A rung that earns `gain` more in the mean; one answer in ten differs from the base, as between two routers."""
    rng = np.random.default_rng(seed)
    changed = rng.random(rows) < 0.1
    return Rung(name, BASE[:rows] + np.where(changed, rng.normal(gain / 0.1, 0.5, rows), 0.0), ms, 1_000_000)


def taken(*rungs: Rung, **known: float) -> str:
    (name,) = [standing.name for standing in stand(rungs, **known) if standing.chosen]
    return name


def test_a_dearer_rung_that_earns_the_same_is_passed_over() -> None:
    assert taken(rung("static", 0.0, 0.3), rung("onnx", 0.0, 15.0, seed=2)) == "static"
    assert taken(rung("onnx", 0.0, 15.0, seed=2), rung("static", 0.0, 0.3)) == "static"


def test_a_dearer_rung_that_earns_more_is_taken() -> None:
    static, onnx = stand([rung("static", 0.0, 0.3), rung("onnx", 0.02, 15.0, seed=2)])
    assert (static.worse, onnx.worse, onnx.chosen) == (True, False, True)
    assert static.behind == pytest.approx(0.02, abs=3 * static.behind_se)
    assert (onnx.behind, onnx.behind_se) == (0.0, 0.0)


def test_a_lead_that_few_rows_cannot_show_is_not_believed() -> None:
    assert taken(rung("static", 0.0, 0.3, rows=100), rung("onnx", 0.02, 15.0, rows=100, seed=4)) == "static"


def test_time_has_its_price() -> None:
    rungs = (rung("static", 0.0, 0.3), rung("onnx", 0.02, 15.0, seed=2))
    assert taken(*rungs) == "onnx"
    assert taken(*rungs, per_second=3.0) == "static"


def test_a_cheaper_rung_that_is_better_is_taken_and_the_worse_one_named() -> None:
    static, onnx = stand([rung("static", 0.02, 0.3), rung("onnx", 0.0, 15.0, seed=2)])
    assert (static.chosen, onnx.worse) == (True, True)


def test_of_three_the_cheapest_that_is_not_worse() -> None:
    assert taken(rung("a", 0.0, 0.1), rung("b", 0.03, 1.0, seed=2), rung("c", 0.031, 9.0, seed=3)) == "b"


def test_without_rows_to_judge_the_cheapest_is_taken() -> None:
    assert taken(Rung("onnx", np.zeros(0), 15.0, 1), Rung("static", np.zeros(0), 0.3, 1)) == "static"


def test_the_error_rate_is_the_stated_one() -> None:
    """Two rungs of equal truth over 600 worlds: the dearer one is taken by luck in 5% of them, within three errors."""
    draws = [
        taken(rung("static", 0.0, 0.3, 500, 2 * i), rung("onnx", 0.0, 15.0, 500, 2 * i + 1)) == "onnx"
        for i in range(600)
    ]
    assert np.mean(draws) == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 600))


def test_a_real_lead_is_found_as_often_as_its_size_says() -> None:
    """A lead of 2.5 standard errors beats a bound of 1.645 of them in Φ(.855) = 80% of worlds."""
    lead = 2.5 * np.sqrt(2 * (0.1 * 0.25) / 500)
    found = [
        taken(rung("static", 0.0, 0.3, 500, 2 * i), rung("onnx", lead, 15.0, 500, 2 * i + 1)) == "onnx"
        for i in range(400)
    ]
    assert np.mean(found) == pytest.approx(0.80, abs=0.07)


def test_rungs_of_different_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"judged on \[100, 200\] rows"):
        stand([rung("a", 0, 1, rows=100), rung("b", 0, 1, rows=200)])
    with pytest.raises(ValueError, match="no rung"):
        stand([])


def test_a_person_reads_what_was_taken_and_why() -> None:
    said = sentence(stand([rung("static", 0.0, 0.3), rung("onnx", 0.0, 15.0, seed=2)]))
    assert said.startswith("static: the cheapest that is not shown to be worse")
    assert "onnx earns" in said
    assert "15 ms" in said
