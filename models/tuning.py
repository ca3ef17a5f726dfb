"""Tune by cross-validated policy value: trials are cheap, their out-of-fold predictions are there already."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna

Parameters = Mapping[str, Any]


def tune(
    score: Callable[[optuna.Trial], float],
    trials: int,
    seed: int,
    study: optuna.Study | None = None,
    first: Sequence[Parameters] = (),
) -> tuple[Parameters, list[dict[str, Any]]]:
    """Return the parameters of the highest score, and every trial as plain data.

    A study that was cut short goes on until it holds `trials` finished trials, whoever ran them: workers may share
    one over a storage. `first` are tried before anything is drawn. Equal scores are settled by the earlier trial.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if study is None:
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for parameters in first:
        study.enqueue_trial(dict(parameters), skip_if_exists=True)
    done = (optuna.trial.TrialState.COMPLETE,)
    trials = max(trials, len(first))
    left = trials - len(study.get_trials(deepcopy=False, states=done))
    if left > 0:
        stop = optuna.study.MaxTrialsCallback(trials, states=done)
        study.optimize(score, n_trials=left, callbacks=[stop])
    finished = study.get_trials(deepcopy=False, states=done)
    best = max(finished, key=lambda trial: (trial.value or 0.0, -trial.number))
    return best.params, [
        {"number": t.number, "value": t.value, "params": dict(t.params), "state": t.state.name} for t in finished
    ]
