"""What the lake knows of held-out requests: the probabilities of their draw, and their kind."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipelines.held import kinds, probabilities
from pipelines.seen import Seen
from tests.models.logs import World, world

N = 60


@pytest.fixture
def drawn() -> World:
    return world(np.random.default_rng(0), N)


def frame(drawn: World, **columns) -> pd.DataFrame:
    """The lake's rows of a world, as they are read."""
    chances = [list(zip(drawn.table.candidates, row, strict=True)) for row in drawn.chances.tolist()]
    nothing = dict.fromkeys(("tenant", "context", "arm", "arm_probability", "arm_probabilities"), [None] * N)
    known = {**nothing, "probabilities": chances, **columns}
    return pd.DataFrame(known, index=pd.Index(drawn.table.request_ids, name="request_id"))


def test_the_probabilities_of_the_draw_are_found(drawn: World) -> None:
    np.testing.assert_allclose(probabilities(frame(drawn), drawn.table), drawn.chances)


def test_probabilities_that_are_not_those_of_the_propensity_are_not_believed(drawn: World) -> None:
    wrong = replace(drawn.table, propensity=drawn.table.propensity * 0.9)
    assert probabilities(frame(drawn), wrong) is None
    missing = frame(drawn).iloc[1:]
    assert probabilities(missing, drawn.table) is None
    unknown = drawn.table.propensity.copy()
    unknown[0] = np.nan
    assert probabilities(missing, replace(drawn.table, propensity=unknown)) is not None


def test_under_an_experiment_both_arms_count_by_their_share(drawn: World) -> None:
    names = drawn.table.candidates
    other = np.tile([0.2, 0.3, 0.5], (N, 1))
    both = [json.dumps({"champion": dict(zip(names, own, strict=True)),
                        "challenger": dict(zip(names, his, strict=True))})
            for own, his in zip(drawn.chances.tolist(), other.tolist(), strict=True)]  # fmt: skip
    mixed = 0.8 * drawn.chances + 0.2 * other
    at = np.arange(N)
    table = replace(drawn.table, propensity=mixed[at, drawn.table.served])
    arms = np.where(at % 5 == 0, "challenger", "champion").tolist()
    shares = np.where(at % 5 == 0, 0.2, 0.8).tolist()
    found = probabilities(frame(drawn, arm=arms, arm_probability=shares, arm_probabilities=both), table)
    np.testing.assert_allclose(found, mixed)


def test_kinds_are_tasks_before_tenants_before_lengths_and_what_is_chosen(drawn: World) -> None:
    tenants = [f"t{i % 3}" for i in range(N)]
    tasks = [json.dumps({"task": "code" if i % 2 else "chat"}) for i in range(N)]
    found = kinds(frame(drawn, tenant=tenants, context=tasks), drawn.table, drawn.target)
    assert set(found) == {"task code", "task chat", "sent to cheap", "sent to dear"}
    assert found["task code"].sum() == N / 2
    np.testing.assert_array_equal(found["sent to dear"], drawn.target[:, 2] == 1)
    by_tenant = kinds(frame(drawn, tenant=tenants), drawn.table, drawn.target)
    assert {name for name in by_tenant if name.startswith("tenant")} == {"tenant t0", "tenant t1", "tenant t2"}
    tokens = np.where(np.arange(N) < 20, 50.0, 900.0)
    by_length = kinds(frame(drawn), replace(drawn.table, input_tokens=tokens), drawn.target)
    assert {"under 100 tokens", "500 to 2,000 tokens"} < set(by_length)


def test_traffic_is_told_apart_as_held_out_requests_are(drawn: World) -> None:
    tasks = [json.dumps({"task": "code" if i % 2 else "chat"}) for i in range(N)]
    rows = frame(drawn, context=tasks, tenant=["a", "b"] * (N // 2)).assign(purpose="serve").reset_index()
    seen = Seen(rows, drawn.table.take(np.arange(N) < 10))
    kinds = ["task chat", "task code"] * 5
    assert seen.segments() == dict(zip(drawn.table.request_ids[:10].tolist(), kinds, strict=True))
    untagged = Seen(rows.assign(context=None), seen.table).segments()
    assert set(untagged.values()) == {"tenant a", "tenant b"}
    assert Seen(rows, None).segments() == {}


def test_one_kind_is_no_kind(drawn: World) -> None:
    alike = np.tile([0.0, 1.0, 0.0], (N, 1))
    assert kinds(frame(drawn), drawn.table, alike) == {}
    names = [f"user-{i}" for i in range(N)]  # a tenant a request names no kind
    assert kinds(frame(drawn, tenant=names), drawn.table, alike) == {}
