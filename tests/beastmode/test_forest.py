"""The numpy scorer gives LightGBM's raw scores, and refuses what it cannot give."""

import lightgbm
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beastmode.forest import Forest

COLUMNS = 6


def rows(seed: int, n: int, missing: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = np.round(rng.normal(size=(n, COLUMNS)) * 64) / 64
    values[:, 3] = rng.integers(0, 3, n)
    values[rng.random(values.shape) < missing] = np.nan
    return values


def booster(seed: int = 0, rounds: int = 12, missing: float = 0.1, **known: object) -> lightgbm.Booster:
    x = rows(seed, 400, missing)
    filled = np.nan_to_num(x)
    y = filled[:, 0] * filled[:, 1] + np.isnan(x[:, 2]) + filled[:, 3] ** 2
    if known.get("num_class"):
        y = filled[:, 3]
    parameters = {"num_leaves": 15, "min_data_in_leaf": 3, "verbose": -1, "num_threads": 1, "seed": seed, **known}
    data = lightgbm.Dataset(x, y, categorical_feature=known.pop("categorical", "auto"), params={"verbose": -1})
    return lightgbm.train(parameters, data, rounds)


def raw(model: lightgbm.Booster, x: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict(x, raw_score=True, num_threads=1)).reshape(len(x), -1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "known",
    [
        {},
        {"num_leaves": 2},
        {"num_leaves": 31},
        {"num_leaves": 64, "min_data_in_leaf": 1},
        {"missing": 0.0},
        {"use_missing": False},
        {"objective": "multiclass", "num_class": 3},
        {"objective": "binary", "num_leaves": 7},
        {"objective": "l1", "boosting": "dart"},
        {"linear_tree": False, "extra_trees": True, "feature_fraction": 0.5},
    ],
    ids=str,
)
def test_scores_are_lightgbms(known: dict[str, object], dtype: type) -> None:
    known = dict(known)
    if known.get("objective") == "binary":
        x = rows(0, 400)
        data = lightgbm.Dataset(x, (np.nan_to_num(x[:, 0]) > 0).astype(int))
        model = lightgbm.train({"verbose": -1, "num_threads": 1, **known}, data, 12)
    else:
        model = booster(**known)
    x = rows(1, 700).astype(dtype)
    x[0], x[1], x[2] = np.inf, -np.inf, np.nan
    x[3] = 0.0
    forest = Forest.parse(model.model_to_string())
    assert np.abs(forest.predict(x) - raw(model, x)).max() < 1e-12
    assert forest.outputs == model.num_model_per_iteration()


def test_a_row_alone_scores_as_among_others() -> None:
    forest, x = Forest.parse(booster().model_to_string()), rows(2, 300)
    together = forest.predict(x)
    assert (np.vstack([forest.predict(x[i : i + 1]) for i in range(len(x))]) == together).all()


def test_thresholds_hold_for_values_that_only_single_precision_separates() -> None:
    rng = np.random.default_rng(5)
    x = (1 + np.arange(400)[:, None] * np.finfo(np.float32).eps * np.ones(COLUMNS)).astype(np.float32)
    model = lightgbm.train(
        {"verbose": -1, "num_threads": 1, "num_leaves": 31, "min_data_in_leaf": 1},
        lightgbm.Dataset(x, rng.random(400)),
        8,
    )
    forest = Forest.parse(model.model_to_string())
    assert np.abs(forest.predict(x) - raw(model, x)).max() < 1e-12


def test_joined_forests_score_side_by_side_whatever_their_sizes() -> None:
    models = [
        booster(seed=seed, num_leaves=leaves, min_data_in_leaf=1) for seed, leaves in enumerate((2, 15, 16, 17, 33, 64))
    ]
    models.append(booster(objective="multiclass", num_class=3))
    x = rows(3, 200)
    joined = Forest.join([Forest.parse(model.model_to_string()) for model in models])
    assert np.abs(joined.predict(x) - np.hstack([raw(model, x) for model in models])).max() < 1e-12


def test_a_target_that_never_moves_is_one_leaf() -> None:
    model = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(rows(0, 100), np.full(100, 0.25)), 3)
    forest = Forest.parse(model.model_to_string())
    assert forest.predict(rows(1, 5)).ravel().tolist() == pytest.approx([0.25] * 5, abs=1e-12)


def test_no_rows_give_no_scores() -> None:
    assert Forest.parse(booster().model_to_string()).predict(np.empty((0, COLUMNS))).shape == (0, 1)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"categorical": [3]}, "categorical"),
        ({"linear_tree": True, "missing": 0.0}, "linear"),
        ({"zero_as_missing": True}, "zero_as_missing"),
        ({"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1}, "boosting=rf"),
        ({"num_leaves": 80, "min_data_in_leaf": 1}, "num_leaves"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(known: dict[str, object], message: str) -> None:
    text = booster(**dict(known)).model_to_string()
    with pytest.raises(ValueError, match=message):
        Forest.parse(text)


def test_rows_of_another_width_are_refused() -> None:
    forest = Forest.parse(booster().model_to_string())
    with pytest.raises(ValueError, match="expected"):
        forest.predict(np.zeros((2, COLUMNS + 1)))
    narrow = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(rows(0, 100)[:, :2], np.arange(100)), 1)
    with pytest.raises(ValueError, match="different columns"):
        Forest.join([forest, Forest.parse(narrow.model_to_string())])


TEXT = booster(rounds=2, num_leaves=5).model_to_string()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    at=st.integers(0, len(TEXT.partition("end of trees")[0])),
    length=st.integers(0, 40),
    put=st.one_of(st.text(alphabet="0123456789-+.e =\nTreinfa", max_size=8), st.text(max_size=6)),
)
def test_a_damaged_text_raises_valueerror_or_scores(at: int, length: int, put: str) -> None:
    try:
        forest = Forest.parse(TEXT[:at] + put + TEXT[at + length :])
    except ValueError:
        return
    assert np.isfinite(forest.predict(np.zeros((2, forest.columns)))).all()


@pytest.mark.parametrize(
    ("line", "broken"),
    [
        ("left_child=", "left_child=0 0 0 0"),
        ("left_child=", "left_child=99 1 2 3"),
        ("right_child=", "right_child=-1 -1 -1 -1"),
        ("split_feature=", "split_feature=0 1 2 900"),
        ("split_feature=", "split_feature=0 -1 2 3"),
        ("threshold=", "threshold=nan 0 0 0"),
        ("leaf_value=", "leaf_value=1 2 3"),
        ("leaf_value=", "leaf_value=1 2 inf 4 5"),
        ("num_leaves=", "num_leaves=1000000000000"),
        ("num_leaves=", "num_leaves=" + "9" * 5000),
        ("max_feature_idx=", "max_feature_idx=1000000000"),
        ("num_tree_per_iteration=", "num_tree_per_iteration=0"),
        ("decision_type=", "decision_type=1 1 1 1"),
        ("decision_type=", "decision_type=2 2 2 6"),
    ],
)
def test_a_tree_that_is_no_tree_is_refused(line: str, broken: str) -> None:
    lines = TEXT.splitlines()
    at = next(i for i, known in enumerate(lines) if known.startswith(line))
    lines[at] = broken
    with pytest.raises(ValueError):
        Forest.parse("\n".join(lines))
