"""The benchmark of logs beside probes: honest logs, disjoint halves, and differences that add up."""

import json

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.logs import EPSILON, deal, joined
from features.worlds.synthetic import SyntheticSettings, outcomes


@pytest.mark.parametrize("policy", ["best", "length"])
def test_logs_have_one_outcome_each_as_often_as_their_propensity_says(policy):
    table = outcomes(SyntheticSettings(prompts=600), 4)[0]
    probed, logged, test = deal(table, 1, 100, 4000, policy)
    assert len(logged) == 4000, "drawn with replacement where prompts are few"
    assert not set(test.texts) & (set(probed.texts) | set(logged.texts))
    assert not set(probed.texts) & set(logged.texts)
    assert (np.isfinite(logged.quality).sum(axis=1) == 1).all()
    assert np.isfinite(logged.quality[np.arange(4000), logged.served]).all()
    m = len(table.candidates)
    assert set(np.round(logged.propensity, 9)) == {round(1 - EPSILON + EPSILON / m, 9), round(EPSILON / m, 9)}
    # E[1 / propensity of who served] is the number of candidates, whatever the rule.
    assert (1 / logged.propensity).mean() == pytest.approx(m, rel=0.12)
    fewer = deal(table, 1, 100, 200, policy)[1]
    assert fewer.texts == logged.texts[:200]
    both = joined(probed, logged)
    assert len(both) == 4100
    assert len(set(both.request_ids)) == 4100


def test_too_many_probes_are_refused():
    with pytest.raises(ValueError, match="--probes 60: the training half holds 50"):
        deal(outcomes(SyntheticSettings(prompts=100), 4)[0], 0, 60, 10, "best")


def test_the_command_writes_differences_that_add_up(made_up, capsys):
    options = ["--data", str(made_up), "--set", "made_up", "--probes", "100", "--logs", "300", "--seeds", "2"]
    assert main(["logs", *options, "--texts"]) == 0
    found = json.loads(capsys.readouterr().out)
    for row in found["seeds"]:
        one = row["logs"]["300"]
        assert one["difference"] == pytest.approx(one["both"] - row["probes"])
        assert one["weight"] in (0, 0.3, 1)
        assert one["why"]
        assert one["weight"] > 0 or one["texts"] == one["difference"]
    total = found["with_logs"]["300"]
    assert total["difference"]["points"] == pytest.approx(total["by_texts"]["points"] + total["by_outcomes"]["points"])
    assert main(["logs", *options[:2], "--set", "unheard"]) == 2
    assert "no candidate set 'unheard'" in capsys.readouterr().err
