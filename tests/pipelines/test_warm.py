"""Warming end to end: real logs in a real lake, a real MLflow, a real provider on a socket, a real cache file."""

# The fixture `provider` is imported, and every test that takes it would "redefine" it.
# ruff: noqa: F811

import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from beastmode.bundle import OperatingPoint
from beastmode.cache import Cache, CacheSettings, Sqlite
from beastmode.cache.tuned import tuned
from beastmode.errors import BundleError, StoreError
from beastmode.eviction import RULES
from beastmode.interactions import Interaction
from beastmode.journal import Journal
from beastmode.objective import Objective
from beastmode.records import Request
from beastmode.router import Router
from features.formats import FORMATS
from models.warmers import WARMERS
from models.warmers.settings import WarmerSettings
from pipelines import history, logs
from pipelines.context import Context
from pipelines.printing import told
from pipelines.rollback import rollback
from pipelines.settings import SettingsError, load
from pipelines.train import NotEnough
from pipelines.train_warmer import Trained, train_warmer
from pipelines.warm import Warmed, warm
from pipelines.warm_bundle import WarmerBundle, demand_of, load_warmer, warmers
from pipelines.warm_demand import logged
from pipelines.warm_ledger import Ledger
from pipelines.warm_pace import Pace
from tests.pipelines.test_probe import CALL, INPUT, OUTPUT, PRICE, provider  # noqa: F401
from tests.pipelines.test_promote import bundle

DAYS = 4
POPULAR, JOBS = 10, 8
MODELS = ("small", "large")


def asked(now: datetime, seed: int = 0) -> list[tuple[float, str]]:
    """Four days of sums in time order: popular ones, jobs at one hour of each day, and ones that never come back."""
    rng = np.random.default_rng(seed)
    end = now.timestamp()
    start = end - DAYS * 86_400
    rows = []
    for i in range(POPULAR):
        n = rng.poisson(DAYS * 24 * 0.7)
        rows += [(at, f"1+{i}?") for at in rng.uniform(start, end, n)]
    for i in range(JOBS):
        hour = 3600 * (3 * i)
        rows += [(day + hour + rng.uniform(0, 600), f"2+{i}?") for day in np.arange(start, end - hour - 600, 86_400)]
    rows += [(at, f"3+{i}?") for i, at in enumerate(rng.uniform(start, end, 400))]
    return sorted(rows)


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml(inner)}" for name, inner in value.items()) + " }"
    return json.dumps(value)


def configured(tmp_path: Path, provider, **section) -> Path:
    blocks = "".join(
        f'[[candidates]]\nname = "{model}"\nprovider = "local"\nbase_url = "{provider.url}"\n'
        f"price = {{ input_per_mtok = {PRICE['input_per_mtok']}, output_per_mtok = {PRICE['output_per_mtok']} }}\n"
        for model in MODELS
    )
    (tmp_path / "candidates.toml").write_text(blocks)
    known = {
        "cache": "{root}/cache.sqlite", "budget_usd": 100.0, "max_output_tokens": 16, "timeout_seconds": 10.0,
        "hit_usd": 0.2, "requests_per_minute": 60_000.0, "window_hours": 3.0, "ttl_seconds": 14_400.0, "trials": 5,
        "longest_wait_seconds": 1.0, **section,
    }  # fmt: skip
    lines = "\n".join(f"{name} = {toml(value)}" for name, value in known.items())
    path = tmp_path / "mine.toml"
    path.write_text(
        f'catalogue = "{tmp_path}/candidates.toml"\n[paths]\nroot = "{tmp_path}/workspace"\n'
        f'[[ingest.sources]]\npath = "{{root}}/logs/*.jsonl"\n[warming]\n{lines}\n'
    )
    return path


def opened(
    path: Path, database: Path, monkeypatch: pytest.MonkeyPatch, now: datetime,
    demand: Sequence[tuple[float, str]] | None = None, **known,
) -> Context:  # fmt: skip
    """A workspace whose lake holds four days of demand, and whose store has a router in service; `known` is of it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = load(path)
    settings.paths.root.mkdir(parents=True, exist_ok=True)
    (settings.paths.root / "mlflow.db").write_bytes(database.read_bytes())
    context = Context.open(settings)
    rows = [
        Interaction(
            event_id=f"e{i}", request_id=f"r{i}", decision_id=f"d{i}", at=datetime.fromtimestamp(at, UTC),
            purpose="serve", format="journal", messages=[{"role": "user", "content": text}], session_id=f"s{i}",
            plan="small", model_requested="small", status="success", latency_ms=900.0, input_tokens=INPUT,
            output_tokens=OUTPUT, cost_usd=CALL,
        )
        for i, (at, text) in enumerate(asked(now) if demand is None else demand)
    ]  # fmt: skip
    context.workspace.logs.mkdir(parents=True)
    write = FORMATS["journal"].write
    assert write is not None
    with (context.workspace.logs / "journal-then.jsonl").open("wb") as stream:
        write(stream, rows)
    assert logs.ingest(context, now).quarantined == 0
    catalogue = {candidate.name: candidate for candidate in logs.candidates(context)}
    made = replace(bundle("router"), candidates=tuple(catalogue[name] for name in MODELS), **known)
    context.store.add(made)
    context.store.promote("router", at=now.isoformat(), reason="test")
    return context


def trained(context: Context, now: datetime) -> Trained:
    return train_warmer(context, now, lambda stage, share: None)


def application(context: Context) -> Cache:
    """The cache as an application opens it."""
    return Cache([Sqlite(context.workspace.root / "cache.sqlite")], router=Router(context.store.load_champion()))


def files_below(*folders: Path) -> bytes:
    return b"".join(path.read_bytes() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_warmer_is_trained_tracked_put_into_service_and_fills_the_cache_through_the_router(
    provider,
    tmp_path,
    database,
    monkeypatch,
):
    now = datetime.now(UTC)
    context = opened(configured(tmp_path, provider), database, monkeypatch, now)
    with pytest.raises(StoreError, match="train-warmer"):
        warm(context, now)
    done = trained(context, now)
    played = done.tournament.played
    assert {"none"} | {f"{name}@0.1" for name in (*WARMERS, "oracle")} <= set(played)
    assert played["none"].hit_rate < played["ewma@0.1"].hit_rate <= played["oracle@0.1"].hit_rate
    assert played["oracle@0.1"].hit_rate <= done.tournament.ceiling
    wins = done.chosen.low > 0
    assert done.bundle.warmer.name == ("lightgbm" if wins else done.chosen.heuristic)
    # What is served is what the benchmark's recipe makes of the same demand.
    demand = demand_of(logged(context, now))
    learning = WarmerSettings(
        window_seconds=done.bundle.window_seconds, ttl_seconds=done.bundle.ttl_seconds,
        later_share=context.settings.warming.test_share,
    )  # fmt: skip
    assert WARMERS[done.bundle.warmer.name](demand, learning, context.settings.seed) == done.bundle.warmer
    run = context.tracker.client.get_run(done.run_id)
    assert run.data.tags["verdict"] == ("learned" if wins else "heuristic")
    assert run.data.metrics["hit_rate/none"] == pytest.approx(played["none"].hit_rate)
    assert run.data.metrics["hit_rate/lightgbm/at_0.1"] == pytest.approx(played["lightgbm@0.1"].hit_rate)
    assert "hit_rate.png" in {
        Path(each.path).name for each in context.tracker.client.list_artifacts(run.info.run_id, "plots")
    }
    assert run.data.params["warming.window_hours"] == "3.0"
    kept = load_warmer(context)
    assert kept.sha256 == done.pointer.manifest_sha256
    assert kept.warmer == done.bundle.warmer
    written = files_below(warmers(context).path, context.workspace.artifacts)
    assert b"hit_rate" in written
    assert not any(f"{a}+{b}?".encode() in written for a in (1, 2, 3) for b in range(8)), "a prompt left the lake"
    # The cache's settings travel with it.
    settings, sizes, eviction = tuned(context.store.path)[:3]
    assert eviction == kept.tiers["eviction"] in RULES
    assert settings.ttl_seconds == pytest.approx(kept.cache["ttl_seconds"])
    assert sizes == dict(kept.sizes)

    dry = warm(context, now, dry_run=True)
    assert provider.seen == []
    assert f"${dry.plan.usd:.4f}" in "\n".join(told("warm", dry, context.settings))
    assert 0 < len(dry.plan.cells) < dry.plan.keys
    assert all(cell.saving_usd > cell.usd > 0 for cell in dry.plan.cells)

    warmed = warm(context, now)
    assert warmed.filled is not None
    n = len(warmed.plan.cells)
    assert (warmed.filled.filled, warmed.filled.stopped) == (n, None)
    assert warmed.spent_usd == pytest.approx(n * CALL)
    assert Counter(text for _, text in provider.seen).most_common(1)[0][1] == 1
    # An application with the same router finds them.
    with Cache(
        [Sqlite(context.workspace.root / "cache.sqlite")], router=Router(context.store.load_champion())
    ) as cache:
        text = provider.seen[0][1]
        left, _, right = text.removesuffix("?").partition("+")
        found = cache.get(Request.of(text))
        assert found is not None, (text, settings, sizes, len(warmed.plan.cells))
        assert found.value == f"**{int(left) + int(right)}.**"
    # What it did is in the journal at its true cost, and is no candidate's outcome.
    before = len(history.table(context, now))
    assert logs.ingest(context, datetime.now(UTC)).quarantined == 0
    rows = context.lake.interactions()
    prefills = rows[rows["purpose"] == "warm"]
    assert len(prefills) == n
    assert prefills["cost_usd"].sum() == pytest.approx(n * CALL)
    assert set(prefills["plan"]) <= set(MODELS)
    assert len(history.table(context, datetime.now(UTC))) == before
    # What is held for the window is not planned again.
    again = warm(context, datetime.now(UTC))
    assert again.filled is not None
    assert again.filled.filled == 0
    assert len(provider.seen) == n


def test_what_is_fetched_for_an_operating_point_is_for_routers_at_this_point_alone(
    provider, tmp_path, database, monkeypatch
):
    now = datetime.now(UTC)
    points = (OperatingPoint(0.9, 100.0, 0.0, None), OperatingPoint(0.99, 20.0, 0.02, 1))
    path = configured(tmp_path, provider, quality_ratio=0.9)
    context = opened(path, database, monkeypatch, now, operating_points=points)
    trained(context, now)
    warmed = warm(context, now)
    assert warmed.filled is not None
    assert warmed.filled.filled == len(warmed.plan.cells) > 0
    champion, text = context.store.load_champion(), provider.seen[0][1]
    for point, there in ((0.9, True), (0.99, False), (None, False)):
        router = Router(champion, quality_ratio=point)
        with Cache([Sqlite(context.workspace.root / "cache.sqlite")], router=router) as cache:
            assert (cache.get(Request.of(text)) is not None) is there, point


def test_hits_are_journalled_as_the_action_cache_with_their_tier_and_never_enter_a_table(
    provider,
    tmp_path,
    database,
    monkeypatch,
):
    now = datetime.now(UTC)
    context = opened(configured(tmp_path, provider), database, monkeypatch, now)
    before = history.table(context, now)
    # Where money has a price, an answer that is a moment old is worth more than a new one.
    router = Router(replace(context.store.load_champion(), objective=Objective(per_dollar=10.0)))
    with Journal(context.workspace.logs) as journal:
        settings = CacheSettings(half_life_seconds=3600.0)
        with Cache([Sqlite(tmp_path / "c.sqlite")], settings, router=router, journal=journal) as cache:
            for _ in range(3):
                answer = cache.fetch("5+5?", lambda miss: "10")
    assert answer.decision is not None
    assert "sqlite hit" in answer.decision.reason
    assert "worth of the held answer" in answer.decision.reason
    logs.ingest(context, datetime.now(UTC))
    rows = context.lake.interactions()
    served = rows[rows["cache_tier"].notna()]
    assert len(served) == 2
    assert set(served["cache_tier"]) == {"sqlite"}
    assert set(served["plan"]) == {"cache"}
    assert served["cost_usd"].tolist() == [0.0, 0.0]
    assert served["propensity"].isna().all()
    after = history.table(context, datetime.now(UTC))
    assert len(after) == len(before) + 1
    assert "cache" not in after.candidates


def test_the_budget_of_a_window_is_never_exceeded(provider, tmp_path, database, monkeypatch):
    now = datetime.now(UTC)
    context = opened(configured(tmp_path, provider), database, monkeypatch, now)
    trained(context, now)
    poor = Context.open(load(configured(tmp_path, provider, budget_usd=0.13, concurrency=3)))
    warmed = warm(poor, now)
    assert warmed.filled is not None
    assert warmed.spent_usd <= 0.13
    assert 0 < len(provider.seen) == warmed.filled.filled
    assert warmed.plan.beyond > 0
    # A second run in the same window has what the first one left.
    asked_before = len(provider.seen)
    more = warm(poor, now)
    assert more.spent_usd <= 0.13
    assert more.spent_usd == pytest.approx(warmed.spent_usd + (len(provider.seen) - asked_before) * CALL)
    bare = Context.open(load(configured(tmp_path, provider, budget_usd=0.05)))
    (poor.workspace.root / "cache.sqlite").unlink()
    stopped = warm(bare, datetime.now(UTC))
    assert stopped.filled is not None
    assert stopped.filled.stopped is not None
    assert "raise warming.budget_usd" in stopped.filled.stopped


def test_money_alone_never_pays_for_a_prefill_at_the_price_of_a_miss(provider, tmp_path, database, monkeypatch):
    now = datetime.now(UTC)
    context = opened(configured(tmp_path, provider, hit_usd=0.0), database, monkeypatch, now)
    trained(context, now)
    warmed = warm(context, now, dry_run=True)
    assert warmed.plan.cells == ()
    assert warmed.plan.worthless == warmed.plan.keys


def test_what_is_not_configured_is_refused_with_the_remedy(provider, tmp_path, database, monkeypatch):
    now = datetime.now(UTC)
    opened(configured(tmp_path, provider), database, monkeypatch, now)
    path = configured(tmp_path, provider)
    path.write_text(path.read_text().replace('cache = "{root}/cache.sqlite"\n', ""))
    with pytest.raises(SettingsError, match=r"warming\.cache is not set"):
        warm(Context.open(load(path)), now)
    for wrong in ({"budgets": [0.1, -0.2]}, {"providers": {"local": 0}}, {"prefils": 3}):
        with pytest.raises(SettingsError, match=f"warming.{next(iter(wrong))}"):
            load(configured(tmp_path, provider, **wrong))


def test_a_provider_that_asks_for_patience_gets_it_and_one_that_asks_for_too_much_ends_the_run(
    provider,
    tmp_path,
    database,
    monkeypatch,
):
    now = datetime.now(UTC)
    context = opened(configured(tmp_path, provider, concurrency=1), database, monkeypatch, now)
    trained(context, now)
    limited = replace(context.store.load_champion().candidates[1], model="limited")
    made = replace(bundle("limited"), candidates=(context.store.load_champion().candidates[0], limited))
    catalogue = tmp_path / "candidates.toml"
    catalogue.write_text(catalogue.read_text().replace('name = "large"', 'name = "large"\nmodel = "limited"'))
    context.store.add(made)
    context.store.promote("limited", at=now.isoformat(), reason="test")
    impatient = Context.open(load(configured_again(tmp_path, longest_wait_seconds=0.1)))
    stopped = warm(impatient, now)
    assert stopped.filled is not None
    assert stopped.filled.stopped is not None
    assert "0.2 s" in stopped.filled.stopped
    assert len(provider.seen) == 1
    warmed = warm(Context.open(load(configured_again(tmp_path))), now)
    assert warmed.resumed
    assert warmed.filled is not None
    # The one that failed is not asked again in this window.
    assert (warmed.filled.filled, warmed.filled.recalled) == (len(warmed.plan.cells) - 1, 1)


def configured_again(tmp_path: Path, **section) -> Path:
    """The configuration, with settings replaced, over a catalogue that the test has changed."""
    path = tmp_path / "mine.toml"
    lines = path.read_text().splitlines()
    for name, value in section.items():
        lines = [f"{name} = {json.dumps(value)}" if line.startswith(f"{name} =") else line for line in lines]
    again = tmp_path / "again.toml"
    again.write_text("\n".join(lines) + "\n")
    return again


WARM = """
import sys
from datetime import datetime
from pipelines.context import Context
from pipelines.settings import load
from pipelines.warm import warm
warm(Context.open(load(sys.argv[1])), datetime.fromisoformat(sys.argv[2]))
"""


def test_a_killed_run_goes_on_and_pays_for_nothing_twice(provider, tmp_path, database, monkeypatch):
    now = datetime.now(UTC)
    path = configured(tmp_path, provider, concurrency=2)
    context = opened(path, database, monkeypatch, now)
    trained(context, now)
    planned = len(warm(context, now, dry_run=True).plan.cells)
    assert planned >= 5
    provider.delay = 0.15
    process = subprocess.Popen([sys.executable, "-c", WARM, str(path), now.isoformat()])
    deadline = time.monotonic() + 120
    while len(provider.seen) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed_at = len(provider.seen)
    assert 3 <= killed_at < planned
    provider.delay = 0.0
    warmed = warm(context, now)
    assert warmed.resumed
    assert warmed.filled is not None
    counts = Counter(text for _, text in provider.seen)
    assert max(counts.values()) == 1
    # Of those under way at the kill nobody knows the end; every other key is filled.
    told_of = warmed.filled
    assert told_of.filled + told_of.recalled + told_of.rescued == len(warmed.plan.cells)
    assert warmed.spent_usd >= len(provider.seen) * CALL - 1e-9


def test_an_answer_that_was_paid_for_before_a_kill_reaches_the_cache_without_another_call(
    provider,
    tmp_path,
    database,
    monkeypatch,
):
    now = datetime.now(UTC)
    context = opened(configured(tmp_path, provider), database, monkeypatch, now)
    trained(context, now)
    place = context.workspace.root / "warming"
    plan = warm(context, now, dry_run=True).plan
    plan.write(place / f"{plan.name}.open.json")
    ledger = Ledger.open(place / f"{plan.name}.ledger.jsonl")
    ledger.begin(plan.cells[0].key, 1.0)
    ledger.keep(plan.cells[0].key, {"value": "kept", "answered_by": "small", "cost_usd": 0.01})
    warmed = warm(context, now)
    assert warmed.filled is not None
    assert (warmed.resumed, warmed.filled.rescued, warmed.filled.filled) == (True, 1, len(plan.cells) - 1)
    with Cache(
        [Sqlite(context.workspace.root / "cache.sqlite")], router=Router(context.store.load_champion())
    ) as cache:
        texts = {text for _, text in provider.seen}
        missing = {text for _, text in asked(now)} - texts
        assert [text for text in missing if (hit := cache.get(Request.of(text))) is not None and hit.value == "kept"]
    assert not list((place / "answers").glob("*"))


def test_a_torn_ledger_line_is_passed_over_and_an_open_call_counts_as_the_most(tmp_path):
    ledger = Ledger.open(tmp_path / "p.ledger.jsonl")
    ledger.begin("a", 0.5)
    ledger.end("a", 0.2, "filled")
    ledger.begin("b", 0.7)
    with ledger.path.open("ab") as file:
        file.write(b'{"kind": "begin", "key": "c", "mo')
    ledger.begin("d", 0.1)
    again = Ledger.open(ledger.path)
    assert again.spent == pytest.approx(1.0)
    assert again.ended == {"a": "filled", "b": "unknown", "d": "unknown"}


def test_each_provider_is_asked_at_its_own_even_pace():
    now = [0.0]
    pace = Pace(60.0, {"fast": 600.0}, clock=lambda: now[0])
    assert [pace.turn("slow") for _ in range(3)] == [0.0, 1.0, 2.0]
    assert [pace.turn("fast") for _ in range(3)] == pytest.approx([0.0, 0.1, 0.2])
    now[0] = 10.0
    assert pace.turn("slow") == 0.0, "time that nobody asked in is not saved up"
    assert pace.turn("slow") == 1.0
    stop = threading.Event()
    stop.set()
    started = time.monotonic()
    pace.wait("slow", stop)
    assert time.monotonic() - started < 0.5


def test_a_warmer_whose_bytes_are_off_is_refused(provider, tmp_path, database, monkeypatch):
    now = datetime.now(UTC)
    context = opened(configured(tmp_path, provider), database, monkeypatch, now - timedelta(minutes=1))
    done = trained(context, now)
    folder = warmers(context).folder(done.bundle.name)
    assert WarmerBundle.read(folder, done.pointer.manifest_sha256).warmer.name == done.bundle.warmer.name
    file = folder / "calibration.npz"
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    with pytest.raises(BundleError, match="does not match its hash"):
        load_warmer(context)
    with pytest.raises(BundleError, match="no warmer"):
        WarmerBundle.read(context.store.folder("router"))


def test_a_history_in_which_no_answer_dies_teaches_nothing(provider, tmp_path, database, monkeypatch):
    now = datetime.now(UTC)
    context = opened(configured(tmp_path, provider, ttl_seconds=10 * 86_400.0), database, monkeypatch, now)
    with pytest.raises(NotEnough, match=r"in 240 h.*shorter than two times to live"):
        trained(context, now)
    with pytest.raises(StoreError, match="train-warmer"):
        load_warmer(context)
    short = Context.open(load(configured(tmp_path, provider, window_hours=24.0)))
    with pytest.raises(NotEnough, match="a tournament takes 12"):
        trained(short, now)


def test_a_rollback_puts_the_previous_warmer_and_its_cache_back_into_service(provider, tmp_path, database, monkeypatch):
    now = datetime.now(UTC)
    context = opened(configured(tmp_path, provider), database, monkeypatch, now - timedelta(minutes=2))
    with pytest.raises(StoreError, match="no previous bundle"):
        rollback(context, "warmer", now, "test")
    first = trained(context, now - timedelta(minutes=1))
    with pytest.raises(StoreError, match="no previous bundle"):
        rollback(context, "warmer", now, "test")
    other = replace(first.bundle, name="other", cache={"ttl_seconds": 60.0})
    other.write(warmers(context).folder("other"))
    warmers(context).promote("other", at=now.isoformat(), reason="test")
    assert tuned(context.store.path)[0].ttl_seconds == 60.0
    back = rollback(context, "warmer", now, "it fills too much")
    pointer = back.pointer
    assert (pointer.bundle, pointer.reason) == (first.bundle.name, "it fills too much")
    assert load_warmer(context) == first.bundle
    assert f"to go back to other: python -m pipelines rollback --of warmer --config {context.settings.name}" in told(
        "rollback", back, context.settings
    )
    assert tuned(context.store.path)[0].ttl_seconds == first.bundle.cache["ttl_seconds"]
    # A second one comes back; a bundle whose bytes are off is not returned to.
    assert rollback(context, "warmer", now, "test").pointer.bundle == "other"
    (warmers(context).folder(first.bundle.name) / "calibration.npz").write_bytes(b"")
    with pytest.raises(BundleError):
        rollback(context, "warmer", now, "test")
    assert load_warmer(context).name == "other"


def test_a_plan_of_a_window_that_is_over_is_not_gone_on_with(provider, tmp_path, database, monkeypatch):
    now = datetime.now(UTC)
    context = opened(configured(tmp_path, provider), database, monkeypatch, now)
    trained(context, now)
    plan = warm(context, now, dry_run=True).plan
    old = replace(plan, name="old", until=(now - timedelta(hours=1)).isoformat())
    old.write(context.workspace.root / "warming" / "old.open.json")
    warmed: Warmed = warm(context, now)
    assert not warmed.resumed
    assert (context.workspace.root / "warming" / "old.closed.json").exists()
