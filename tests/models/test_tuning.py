"""Tuning: the stated configurations come first, a study that was cut short goes on, workers share the count."""

import optuna
import pytest

from models.tuning import tune


def score(trial) -> float:
    return -((trial.suggest_float("x", -2.0, 2.0) - 0.5) ** 2)


def test_the_best_of_all_trials_is_returned():
    best, trials = tune(score, 12, 0, first=({"x": 0.4},))
    assert len(trials) == 12
    assert trials[0]["params"] == {"x": 0.4}
    assert best == max(trials, key=lambda trial: trial["value"])["params"]
    assert abs(best["x"] - 0.5) <= 0.1


def test_the_seed_decides_what_is_drawn():
    runs = [tune(score, 6, seed)[1] for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_a_study_goes_on_where_it_stopped(tmp_path):
    def study() -> optuna.Study:
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "log")))
        return optuna.create_study(storage=storage, study_name="s", direction="maximize", load_if_exists=True)

    calls = []

    def cut(trial) -> float:
        calls.append(trial.number)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return score(trial)

    with pytest.raises(KeyboardInterrupt):
        tune(cut, 5, 0, study())
    _, trials = tune(score, 5, 0, study())
    assert len(trials) == 5
    assert tune(cut, 5, 0, study())[1] == trials
    assert len(calls) == 3


def test_equal_scores_are_settled_by_the_earlier_trial():
    best, trials = tune(lambda trial: 0.0 * trial.suggest_float("x", 0, 1), 4, 0, first=({"x": 0.25},))
    assert best == {"x": 0.25}
    assert len(trials) == 4
