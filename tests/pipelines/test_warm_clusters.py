"""Warming by clusters end to end: one wording is asked ahead, and the semantic tier serves the others."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beastmode.cache import Cache, Semantic, Sqlite
from beastmode.cache.tuned import VERIFIERS, verifier
from beastmode.records import Request
from beastmode.router import Router
from beastmode.store import Store
from pipelines.context import Context
from pipelines.printing import told
from pipelines.settings import load
from pipelines.warm import warm
from pipelines.warm_bundle import load_warmer
from pipelines.warm_clusters import Keyed, keyed
from pipelines.warm_demand import demand, logged
from tests.loopback import serving
from tests.models.warmers.test_clusters import WORDINGS, known, meaning_of
from tests.pipelines.test_probe import CALL, INPUT, OUTPUT, Provider
from tests.pipelines.test_warm import configured, opened, trained

DAYS = 6
CLUSTERED = {"keys": "clusters", "window_hours": 1.0}


class Echo(Provider):
    """Says what it was asked."""

    def do_POST(self) -> None:
        text = self.asked()["messages"][-1]["content"]
        with self.server.lock:
            self.server.seen.append(text)
        usage = {"prompt_tokens": INPUT, "completion_tokens": OUTPUT}
        self.answer(200, {"model": "m", "choices": [{"message": {"content": f"on {text}"}}], "usage": usage})


@pytest.fixture
def provider() -> Iterator[Any]:
    with serving(Echo, seen=[], lock=threading.Lock()) as server:
        yield server


def asked(now: datetime, seed: int = 0) -> list[tuple[float, str]]:
    """Six days in which a dozen questions come in three wordings each, and others as often as one of these does."""
    rng = np.random.default_rng(seed)
    end = now.timestamp()
    rows = []
    for texts in (*WORDINGS, *((f"Who came in place {i} at chess?",) for i in range(60))):
        n = rng.poisson(DAYS * 24 * 0.2 * len(texts))
        rows += [(at, str(rng.choice(texts))) for at in rng.uniform(end - DAYS * 86_400, end, n)]
    return sorted(rows)


def prepared(
    tmp_path: Path, provider, database: Path, monkeypatch: pytest.MonkeyPatch, now: datetime, **section
) -> Context:  # fmt: skip
    """A workspace whose router has the encoder of the verifier."""
    path = configured(tmp_path, provider, **{**CLUSTERED, **section})
    return opened(path, database, monkeypatch, now, asked(now), encoder=known()[0])


def serve_a_verifier(context: Context, threshold: float | None = None) -> None:
    store, made = Store(context.store.path / VERIFIERS), known()[1]
    name = f"v{threshold}"
    replace(made, threshold=made.threshold if threshold is None else threshold).write(store.folder(name))
    store.promote(name, at=datetime.now(UTC).isoformat(), reason="test")


@pytest.fixture
def clustered(provider, tmp_path, database, monkeypatch) -> tuple[Context, datetime]:
    """A workspace in which a verifier serves, and the moment it was made at."""
    now = datetime.now(UTC)
    context = prepared(tmp_path, provider, database, monkeypatch, now)
    serve_a_verifier(context)
    return context, now


def test_a_wording_is_asked_ahead_for_its_cluster_and_the_semantic_tier_serves_the_others(clustered, provider):
    context, now = clustered
    asked_of = logged(context, now)
    found = keyed(context, asked_of, None)
    assert isinstance(found, Keyed)
    # Every cluster asks one thing.
    texts = [request.text for request in asked_of.requests]
    cluster = dict(zip(texts, found.clusters.of.tolist(), strict=True))
    assert len({(cluster[text], meaning_of(text)) for text in texts}) == len(found.clusters) < len(texts) - 12

    done = trained(context, now)
    assert done.bundle.training["keys"] == load_warmer(context).training["keys"] == "clusters"
    first = done.compared[0.1]
    assert first.clusters.hit_rate == done.tournament.played[f"{done.chosen.name}@0.1"].hit_rate
    assert first.clusters.hit_rate > first.exact.hit_rate
    assert first.low > 0
    assert first.clusters.spent == pytest.approx(first.exact.spent, abs=0.01)
    run = context.tracker.client.get_run(done.run_id)
    assert run.data.tags["keys"] == "clusters"
    assert run.data.metrics["keys/exact/at_0.1"] == first.exact.hit_rate
    assert run.data.metrics["keys/clusters/at_0.1"] == first.clusters.hit_rate
    said = "\n".join(told("train-warmer", done, context.settings))
    assert f"exact keys {first.exact.hit_rate:.3f}" in said
    assert f"{len(texts)} questions are {len(found.clusters)} clusters" in said

    warmed = warm(context, now)
    assert warmed.filled is not None
    prefills = list(provider.seen)
    assert len(prefills) == len(warmed.plan.cells) == warmed.filled.filled > len(WORDINGS) / 2
    assert warmed.spent_usd == pytest.approx(len(prefills) * CALL)
    assert len({cluster[text] for text in prefills}) == len(prefills), "a cluster is asked ahead once"
    assert warmed.plan.keys == len(found.clusters)
    assert any("clusters" in line for line in warmed.lines())

    router = Router(context.store.load_champion())
    judge = verifier(context.store.path)
    meaning = Semantic(router.bundle.encoder, judge, quarantine_seconds=0, canary_share=0)
    with Cache([Sqlite(context.workspace.root / "cache.sqlite"), meaning], router=router) as cache:
        others = 0
        for text in prefills:
            exact = cache.get(Request.of(text))
            assert exact.tier == "sqlite"
            for wording in set(texts) - {text}:
                if cluster[wording] == cluster[text]:
                    answer = cache.get(Request.of(wording))
                    assert (answer.tier, answer.value) == ("semantic", f"on {text}")
                    others += 1
        assert others >= len(WORDINGS)
        # Nothing crosses a partition.
        assert cache.get(Request.of(prefills[0], tenant="acme")) is None
    # While any wording of a cluster is held, none is planned.
    again = warm(context, datetime.now(UTC))
    assert not {cluster[text] for text in provider.seen[len(prefills) :]} & {cluster[text] for text in prefills}
    assert again.plan.held >= len(prefills)


def test_a_cluster_is_not_asked_ahead_while_another_wording_is_held(clustered):
    context, now = clustered
    trained(context, now)
    planned = warm(context, now, dry_run=True).plan
    asked_of = logged(context, now)
    found = keyed(context, asked_of, None)
    of, ahead = found.clusters.of, [key.hex() for key in found.logged.keys]
    cell, other = next(
        (cell, asked_of.requests[row])
        for cell in planned.cells
        for row in np.flatnonzero(of == ahead.index(cell.key)).tolist()
        if asked_of.keys[row].hex() != cell.key
    )
    with Cache(
        [Sqlite(context.workspace.root / "cache.sqlite")], router=Router(context.store.load_champion())
    ) as cache:
        cache.put(other, "held", ttl_seconds=20_000.0)
    again = warm(context, now, dry_run=True).plan
    assert again.held == planned.held + 1
    assert cell.key not in {one.key for one in again.cells}


def test_a_killed_plan_of_clusters_goes_on_with_the_wordings_that_it_named(clustered, provider):
    context, now = clustered
    trained(context, now)
    plan = warm(context, now, dry_run=True).plan
    asked_of = logged(context, now)
    # It names other wordings than would be chosen now.
    chosen = {cell.key for cell in plan.cells}
    others = [
        replace(plan.cells[0], key=key.hex())
        for key, request in zip(asked_of.keys, asked_of.requests, strict=True)
        if key.hex() not in chosen and meaning_of(request.text) >= 0
    ][:3]
    replace(plan, cells=tuple(others)).write(context.workspace.root / "warming" / f"{plan.name}.open.json")
    warmed = warm(context, now)
    assert warmed.resumed
    assert warmed.filled is not None
    assert warmed.filled.filled == len(provider.seen) == 3


@pytest.mark.parametrize("threshold", [None, np.inf])
def test_without_a_verifier_that_serves_exact_keys_are_warmed_and_the_remedy_is_told(
    threshold,
    provider,
    tmp_path,
    database,
    monkeypatch,
):
    now = datetime.now(UTC)
    context = prepared(tmp_path, provider, database, monkeypatch, now)
    if threshold is not None:
        serve_a_verifier(context, threshold)
    done = trained(context, now)
    assert done.bundle.training["keys"] == "exact"
    assert done.compared == {}
    said = "\n".join(told("train-warmer", done, context.settings))
    assert "exact keys are warmed" in said
    assert ("python -m pipelines train-verifier" if threshold is None else "train one on more pairs") in said
    assert warm(context, now, dry_run=True).plan.keys == len(logged(context, now).keys)


def test_a_warmer_of_clusters_whose_verifier_is_gone_warms_exact_keys_and_says_so(clustered):
    context, now = clustered
    assert trained(context, now).bundle.training["keys"] == "clusters"
    serve_a_verifier(context, np.inf)
    warmed = warm(context, now, dry_run=True)
    assert warmed.plan.keys == len(logged(context, now).keys)
    assert any("the warmer foresees clusters" in line for line in warmed.lines())


def test_a_log_of_hashes_has_no_clusters(clustered):
    context, _ = clustered
    rows = context.lake.interactions()
    hashed = demand(rows.assign(messages=None, prompt_sha256="f" * 64), context.settings.warming)
    assert "log the messages" in keyed(context, hashed, None)


def test_the_best_keys_are_clusters_only_where_they_are_proven_better(clustered, provider, tmp_path):
    context, now = clustered
    best = Context.open(load(configured(tmp_path, provider, **{**CLUSTERED, "keys": "best"})))
    assert trained(best, now).bundle.training["keys"] == "clusters"
    # A threshold over all scores makes every question a cluster of its own: a tie, and exact keys stay.
    serve_a_verifier(context, 1.0)
    tie = trained(best, now + timedelta(seconds=1))
    assert tie.bundle.training["keys"] == "exact"
    assert {one.difference for one in tie.compared.values()} == {0.0}
    assert "not proven better" in "\n".join(told("train-warmer", tie, best.settings))
