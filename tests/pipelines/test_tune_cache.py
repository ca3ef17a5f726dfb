"""The cache as it was tuned, from logged demand to the tiers that an application opens."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from beastmode.cache import Cache, LearnedVerifier, Memory, Question, Semantic, Sqlite
from beastmode.cache.pairs import features
from beastmode.cache.reading import BUCKETS, Rarity
from beastmode.cache.tuned import VERIFIERS
from beastmode.cache.tuned import opened as tiers
from beastmode.cache.tuned import tuned as stored
from beastmode.cache.verifiers import Cosine
from beastmode.errors import BundleError, StoreError
from beastmode.eviction import DEFAULT, Adaptive
from beastmode.objective import Objective
from beastmode.records import Request
from beastmode.router import Router
from beastmode.store import Store
from models.cache_tuning import Alike
from models.evictors.next_use import train
from models.evictors.settings import EvictorSettings, Past
from models.verifiers import embedding
from models.warmers.warmer import Warmer
from pipelines.alike import alike, compared
from pipelines.train_warmer import train_warmer
from pipelines.tune_cache import tuned
from pipelines.warm_bundle import WarmerBundle, load_warmer, warmers
from pipelines.warm_demand import Logged, logged
from pipelines.warm_settings import WarmSettings
from tests.pipelines.test_promote import bundle
from tests.pipelines.test_warm import configured, opened, provider  # noqa: F401


def judge(threshold: float) -> LearnedVerifier:
    """A verifier that finds `please` harmless, and different numbers not."""
    rarity = Rarity.of(np.ones(BUCKETS, dtype=np.float32))
    pairs = [(f"{a}+{b}?", f"{a}+{b}? please", 1.0) for a in range(1, 15) for b in range(15)]
    pairs += [(f"{a}+{b}?", f"{a}+{b + 1}?", 0.0) for a in range(1, 15) for b in range(15)]
    rows = np.array([features(one, other, 0.9, rarity) for one, other, _ in pairs])
    known = {"objective": "binary", "num_leaves": 4, "min_data_in_leaf": 5, "verbose": -1, "num_threads": 1, "seed": 0}
    text = lgb.train(known, lgb.Dataset(rows, [same for *_, same in pairs]), 20).model_to_string()
    return LearnedVerifier.of(text, rarity.table, threshold)


AT = datetime(2026, 3, 1, tzinfo=UTC).isoformat()


def warmer(**known) -> WarmerBundle:
    made = Warmer("ewma", "ewma", 0, levels=(0.0,), chances=(0.5,))
    return WarmerBundle(
        name="w",
        created=AT,
        warmer=made,
        window_seconds=3600.0,
        ttl_seconds=3600.0,
        evaluation={},
        training={},
        **known,
    )


def log(texts: list[str], requests: np.ndarray, at: np.ndarray) -> Logged:
    k = len(texts)
    return Logged(
        keys=tuple(text.encode() for text in texts), key=requests, at=at, session=np.arange(len(requests)),
        tenant=np.zeros(k, np.int64), miss_usd=np.full(k, 0.01), miss_ms=np.full(k, 500.0),
        answer_bytes=np.full(k, 1000.0), requests=tuple(Request.of(text) for text in texts),
    )  # fmt: skip


def test_only_questions_of_one_partition_are_compared_and_the_likeliest_comes_first():
    texts = ["what is two and two", "what is two and two please", "name a river", "what is two and two now"]
    questions = [Question.of(Request.of(text), "m") for text in texts]
    questions.append(Question.of(Request.of(texts[0], tenant="acme"), "m"))
    questions.append(None)
    embed = embedding(bundle("router").encoder)
    found = compared(questions, np.array([3, 2, 1, 1, 5, 9]), embed, Cosine(0.9))
    assert found.key.shape == found.score.shape == (6, 4)
    assert found.threshold == 0.9
    assert set(found.key[0].tolist()) <= {1, 2, 3, -1}
    assert {1, 3} <= set(found.key[0].tolist())
    assert (np.diff(found.score[0]) <= 0).all()
    assert (found.key[4] == -1).all(), "nobody else asks in that tenant's partition"
    assert (found.key[5] == -1).all(), "no prompt, nothing to compare"
    assert compared(questions, np.ones(6, np.int64), embed, replace(judge(0.5), threshold=math.inf)) is None


def test_the_dearer_a_wrong_answer_the_higher_the_score_from_which_one_is_served():
    rng = np.random.default_rng(0)
    texts = [f"{a}+{b}?{end}" for a in range(1, 5) for b in range(10) for end in ("", " please")]
    texts += [f"{a} plus {b} is?" for a in range(1, 5) for b in range(10)]
    known = log(texts, rng.integers(0, len(texts), 3000), np.sort(rng.uniform(0, 86_400 * 3, 3000)))
    key = np.full((len(texts), 4), -1)
    score = np.zeros((len(texts), 4))
    for number in range(80):
        key[number, 0], score[number, 0] = number ^ 1, 0.97
        key[number, 1], score[number, 1] = (number + 2) % 80, 0.7
    near = Alike(key, score, 0.6)
    settings = WarmSettings(trials=30, hit_usd=0.0, ttl_seconds=3600.0)
    free = tuned(known, settings, Objective(), 0, near)
    assert free.choice.threshold == 0.6, "where nothing is lost by it, the verifier's budget alone bounds it"
    dear = tuned(known, replace(settings, wrong_usd=0.1), Objective(), 0, near)
    assert 0.7 < dear.choice.threshold <= 0.97
    assert dear.chosen.meant > 0
    assert dear.tiers["semantic_threshold"] == dear.kept.threshold
    ruinous = tuned(known, replace(settings, wrong_usd=10.0), Objective(), 0, near)
    assert ruinous.choice.threshold > 0.97
    assert ruinous.chosen.meant == 0
    assert tuned(known, settings, Objective(), 0).tiers == {"eviction": DEFAULT, "semantic_threshold": None}
    assert "by meaning" in "\n".join(dear.lines())
    assert dear.metrics()["cache/chosen/semantic_hit_rate"] > 0


def test_what_was_tuned_is_what_an_application_opens(provider, tmp_path, database, monkeypatch):  # noqa: F811
    now = datetime.now(UTC)
    context = opened(configured(tmp_path, provider, trials=12), database, monkeypatch, now)
    where = tmp_path / "cache.sqlite"
    with pytest.raises(StoreError, match="train-warmer"):
        Cache.from_bundle(context.store.path)
    assert alike(context, logged(context, now)) is None, "no verifier serves yet"
    verifiers = Store(context.store.path / VERIFIERS)
    judge(0.6).write(verifiers.folder("v"))
    verifiers.promote("v", at=now.isoformat(), reason="test")
    near = alike(context, logged(context, now))
    assert near is not None
    assert near.threshold == 0.6
    done = train_warmer(context, now, lambda stage, share: None)
    assert done.tuned is not None
    kept = load_warmer(context)
    assert kept.tiers == done.tuned.tiers
    assert kept.tiers["semantic_threshold"] >= 0.6
    other = replace(
        kept, name="other", cache={"ttl_seconds": 77.0}, sizes={"memory": 50_000_000, "sqlite": 70_000_000},
        tiers={"eviction": "adaptive", "semantic_threshold": 0.8},
    )  # fmt: skip
    other.write(warmers(context).folder("other"))
    warmers(context).promote("other", at=now.isoformat(), reason="test")
    assert WarmerBundle.read(warmers(context).folder("other")).tiers == other.tiers
    found = stored(context.store.path)
    router = Router(context.store.load_champion())
    memory, disk, meaning = tiers(found, context.store.path, where, router.bundle.encoder)
    assert isinstance(memory, Memory)
    assert isinstance(disk, Sqlite)
    assert isinstance(meaning, Semantic)
    assert (memory.max_bytes, disk.max_bytes) == (50_000_000, 70_000_000)
    assert isinstance(memory._eviction, Adaptive)
    disk.close()
    calls = []
    with Cache.from_bundle(context.store.path, where, router=router, seed=0) as cache:
        assert cache.settings.ttl_seconds == 77.0

        def ask(miss):
            calls.append(miss.request.text)
            return "four"

        first = cache.fetch("2+2?", ask, model="m")
        assert not first.hit
        assert cache.fetch("2+2?", ask, model="m").tier == "memory"
        assert [health.name for health in cache.health()] == ["memory", "sqlite", "semantic"]
    with Cache.from_bundle(context.store.path, where) as cache:
        assert cache.get("2+2?", model="m").tier == "sqlite"
    assert calls == ["2+2?"]


def test_a_memory_that_is_full_is_given_the_rule_that_was_learned_for_it(tmp_path: Path):
    rng = np.random.default_rng(0)
    # Half of the requests come once, the other half to sixty questions: answers of half a megabyte, so that a memory of
    # the least size holds thirty of them. Disk costs what makes it useless.
    n = 3000
    requests = np.where(rng.random(n) < 0.5, rng.integers(0, 60, n), np.arange(n) + 60)
    requests = np.unique(requests, return_inverse=True)[1]
    k = int(requests.max()) + 1
    known = replace(
        log([str(number) for number in range(k)], requests, np.sort(rng.uniform(0, 86_400 * 3, n))),
        answer_bytes=np.full(k, 5e5),
    )  # fmt: skip
    settings = WarmSettings(
        trials=40, hit_usd=0.0, ttl_seconds=86_400.0 * 3, disk_gigabyte_month_usd=1e6, memory_gigabyte_month_usd=4000.0
    )
    found = tuned(known, settings, Objective(), 0)
    assert found.better
    assert found.kept.tier == "memory"
    assert found.kept.eviction != "lru"
    forced = replace(found, choice=replace(found.choice, eviction="adaptive"), pace=30.0)
    assert forced.evictor == found.evictor
    text = train(Past(requests, 30), EvictorSettings(), 0)
    made = warmer(tiers={**replace(forced, evictor=text).tiers}, evictor=text)
    assert made.tiers["pace"] == 30.0
    store = Store(tmp_path / "warmers")
    made.write(store.folder("w"))
    store.promote("w", at=AT, reason="test")
    assert WarmerBundle.read(store.folder("w")).evictor == text
    cache = Cache.from_bundle(tmp_path)
    rule = stored(tmp_path).taught
    assert rule is not None
    assert list(rule().rules)[-1] == "next_use"
    for number in requests[:300].tolist():
        if cache.get(str(number), model="m") is None:
            cache.put(str(number), "x" * 400_000, model="m")
    assert cache.get(str(requests[299]), model="m") is not None


@pytest.mark.parametrize(
    ("broken", "names"),
    [({"eviction": "mru"}, "'mru' is none of lru"), ({"semantic_threshold": "high"}, "could not convert")],
)
def test_tiers_that_this_version_does_not_know_are_refused(broken, names, tmp_path: Path):
    store = Store(tmp_path / "warmers")
    warmer(tiers=broken).write(store.folder("w"))
    store.promote("w", at=AT, reason="test")
    with pytest.raises(BundleError, match=names):
        stored(tmp_path)
