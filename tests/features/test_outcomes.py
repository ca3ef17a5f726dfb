"""Outcome tables become tables of probed rows, with the prices that their costs betray."""

import numpy as np
import pandas as pd
import pytest

from features.outcomes import catalogue, fingerprint, outcomes


def long_form(rng, prompts=40, models=("a", "b", "c")):
    rows = []
    for i in range(prompts):
        for j, model in enumerate(models):
            into, out = 100 + i, int(rng.integers(20, 300))
            rows.append(
                {
                    "prompt_id": f"p{i}",
                    "prompt": f"Question {i}?",
                    "model": model,
                    "score": float(rng.integers(2)),
                    "cost_usd": (into * 1.25 + out * (j + 1) * 2.0) / 1e6,
                    "input_tokens": into,
                    "output_tokens": out,
                    "latency_ms": None,
                }
            )
    return pd.DataFrame(rows)


def test_prompts_that_differ_by_case_and_space_alone_are_one():
    frame = long_form(np.random.default_rng(1))
    frame.loc[frame["prompt_id"] == "p7", "prompt"] = "  question   6? "
    assert len(outcomes(frame)) == 39


def test_a_prompt_that_a_chosen_model_left_out_is_dropped():
    frame = long_form(np.random.default_rng(2))
    table = outcomes(frame[~((frame["prompt_id"] == "p3") & (frame["model"] == "b"))], ["a", "b"])
    assert table.candidates == ("a", "b")
    assert "p3" not in table.request_ids


def test_a_model_that_sat_out_a_task_does_not_take_its_prompts_with_it():
    frame = long_form(np.random.default_rng(3))
    half = frame["prompt_id"].isin([f"p{i}" for i in range(20)])
    table = outcomes(frame[~((frame["model"] == "c") & half)])
    assert table.candidates == ("a", "b")
    assert len(table) == 40


def test_list_prices_are_recovered_though_a_few_rows_were_billed_otherwise():
    frame = long_form(np.random.default_rng(4))
    frame.loc[frame.index[:2], "cost_usd"] *= 3
    prices = [candidate.price for candidate in catalogue(outcomes(frame))]
    assert [(p.input_per_mtok, p.output_per_mtok) for p in prices] == [(1.25, 2.0), (1.25, 4.0), (1.25, 6.0)]


def test_costs_without_tokens_become_a_price_per_request_and_none_stays_unpriced():
    frame = long_form(np.random.default_rng(5))
    frame["output_tokens"] = None
    frame.loc[frame["model"] == "b", "cost_usd"] = None
    first, second, third = (candidate.price for candidate in catalogue(outcomes(frame), {"c": 0.25}))
    assert first.per_request == pytest.approx(frame[frame["model"] == "a"]["cost_usd"].mean())
    assert second.cost_usd(10, 10) is None
    assert third.per_request == 0.25


def test_what_is_wrong_is_named():
    frame = long_form(np.random.default_rng(6))
    with pytest.raises(ValueError, match="column 'score' is missing"):
        outcomes(frame.drop(columns="score"))
    with pytest.raises(ValueError, match="no rows of model 'z'; it has a, b, c"):
        outcomes(frame, ["a", "z"])


def test_a_fingerprint_knows_one_changed_score():
    frame = long_form(np.random.default_rng(7))
    first = fingerprint(outcomes(frame))
    assert fingerprint(outcomes(frame)) == first
    frame.loc[5, "score"] = 1 - frame.loc[5, "score"]
    assert fingerprint(outcomes(frame)) != first
