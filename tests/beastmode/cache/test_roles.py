"""Tiers and indexes of an application: the documented minimum works, and less is refused when it is handed over."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from beastmode.cache import (
    Cache,
    CacheSettings,
    Cosine,
    Entry,
    Flat,
    Graph,
    Index,
    Memory,
    Redis,
    Semantic,
    Shared,
    Snapshot,
    Sqlite,
    Tier,
)
from beastmode.cache.roles import promised, require
from beastmode.errors import CacheError
from tests.beastmode.cache.parts import Dial, Model, need_redis

ALONE = tuple(promised(Tier))
TOGETHER = tuple(name for name in promised(Shared) if name not in ALONE)


class Dict:
    """The least that is a tier."""

    name = "dict"

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}

    def get(self, key: bytes) -> Entry | None:
        return self.entries.get(key)

    def put(self, entry: Entry) -> Sequence[Entry]:
        self.entries[entry.key] = entry
        return ()

    def remove(self, key: bytes) -> None:
        self.entries.pop(key, None)

    def close(self) -> None:
        self.entries.clear()


class Common(Dict):
    """The least that is a shared one."""

    name = "common"

    def __init__(self) -> None:
        super().__init__()
        self.owners: dict[bytes, str] = {}
        self.tags: Counter[str] = Counter()
        self.gone: list[bytes] = []

    def lease(self, key: bytes, owner: str, seconds: float, now: float) -> bool:
        return self.owners.setdefault(key, owner) == owner

    def release(self, key: bytes, owner: str) -> None:
        if self.owners.get(key) == owner:
            del self.owners[key]

    def snapshot(self) -> Snapshot:
        return Snapshot("life", max(self.tags.values(), default=0))

    def invalidations(self, tags: Sequence[str]) -> tuple[str, list[int]]:
        return "life", [self.tags[tag] for tag in tags]

    def invalidate(self, tag: str) -> None:
        self.tags[tag] = self.snapshot().seen + 1

    def recall(self, key: bytes) -> None:
        self.remove(key)
        self.gone.append(key)

    def recalled(self, since: int | None) -> tuple[int, Sequence[bytes] | None]:
        return len(self.gone), () if since is None else self.gone[since:]


class Nearest:
    """The least that is an index."""

    def __init__(self, width: int) -> None:
        self.vectors: dict[bytes, Any] = {}

    def __len__(self) -> int:
        return len(self.vectors)

    def add(self, key: bytes, vector: Any) -> None:
        self.vectors[key] = vector

    def remove(self, key: bytes) -> None:
        self.vectors.pop(key, None)

    def nearest(self, vector: Any, most: int, floor: float) -> list[tuple[bytes, float]]:
        near = [(key, float(known @ vector)) for key, known in self.vectors.items()]
        return sorted((pair for pair in near if pair[1] >= floor), key=lambda pair: -pair[1])[:most]


class Letters:
    """An encoder that counts letters."""

    embedding = slice(0, 26)

    def encode(self, texts: Sequence[str]) -> Any:
        return np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts], dtype=np.float32)


class Mine:
    """All of another part but one thing."""

    def __init__(self, part: object, missing: str) -> None:
        self.part = part
        self.missing = missing

    def __getattr__(self, name: str) -> Any:
        if name == self.missing:
            raise AttributeError(name)
        return getattr(self.part, name)


def test_the_least_tier_holds_forgets_invalidates_and_streams(dial: Dial, model: Model) -> None:
    tier = Dict()
    model.tags = ("prices",)
    with Cache([tier], CacheSettings(ttl_seconds=10, jitter=0), **dial.clocks()) as cache:
        assert [cache.fetch("q", model, model="m").tier for _ in range(2)] == [None, "dict"]
        cache.invalidate(tag="prices")
        assert cache.fetch("q", model, model="m").value == "q #2"
        cache.remove("q", model="m")
        assert cache.get("q", model="m") is None
        for _ in range(2):
            with cache.stream("s", lambda miss: iter(["a", "b"]), model="m") as stream:
                assert list(stream) == ["a", "b"]
        dial.pass_(11)
        assert cache.get("s", model="m") is None
        assert [health.up for health in cache.health()] == [True]


def test_the_least_shared_tier_fills_once_and_tells_others_what_is_over(dial: Dial, model: Model) -> None:
    common = Common()
    model.seconds, model.tags = 0.05, ("prices",)
    one, two = (Cache([Memory(), common], CacheSettings(tag_lag_seconds=0), **dial.clocks()) for _ in range(2))
    threads = [threading.Thread(target=cache.fetch, args=("q", model), kwargs={"model": "m"}) for cache in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(model.calls) == 1
    assert two.fetch("q", model, model="m").hit
    dial.pass_(0.001)
    one.invalidate(tag="prices")
    assert two.get("q", model="m") is None
    model.tags = ()
    two.fetch("q", model, model="m")
    one.fetch("q", model, model="m")
    dial.pass_(0.001)
    one.remove("q", model="m")
    assert two.get("q", model="m") is None
    assert all(health.up for cache in (one, two) for health in cache.health())


def test_the_least_index_serves(dial: Dial, model: Model) -> None:
    semantic = Semantic(Letters(), Cosine(0.99), index=Nearest, quarantine_seconds=0, canary_share=0)
    cache = Cache([Dict(), semantic], **dial.clocks())
    cache.fetch("what is it", model, model="m")
    assert cache.fetch("is it what", model, model="m").tier == "semantic"
    cache.remove("what is it", model="m")
    assert not cache.fetch("it is what", model, model="m").hit


@pytest.mark.parametrize("missing", ALONE)
def test_less_than_a_tier_is_refused_with_its_name_what_it_lacks_and_the_remedy(missing: str) -> None:
    name = "None" if missing == "name" else "'dict'"
    told = rf"^Cache: tier {name} \(Mine\): {missing} is missing; give it what beastmode.cache.Tier has$"
    with pytest.raises(CacheError, match=told):
        Cache([Memory(), Mine(Dict(), missing)])


@pytest.mark.parametrize("missing", TOGETHER)
def test_half_of_a_shared_tier_is_refused_by_the_method_that_is_missing(missing: str) -> None:
    told = (
        rf"^Cache: tier 'common' \(Mine\): {missing} is missing; give it what beastmode.cache.Shared has, "
        "or leave out all of lease, release, snapshot, invalidations, invalidate, recall, recalled"
    )
    with pytest.raises(CacheError, match=told):
        Cache([Memory(), Mine(Common(), missing)])


def test_a_tier_with_only_a_lease_is_told_all_that_it_lacks() -> None:
    class Leased(Dict):
        def lease(self, key: bytes, owner: str, seconds: float, now: float) -> bool:
            return True

    with pytest.raises(CacheError, match=r"release is missing; snapshot is missing; .*recalled is missing"):
        Cache([Leased()])


def test_a_method_that_takes_less_than_it_is_given_is_refused() -> None:
    class Timeless(Common):
        def lease(self, key: bytes, owner: str, seconds: float) -> bool:  # type: ignore[override]
            return True

    with pytest.raises(CacheError, match=r"lease does not take \(key, owner, seconds, now\)"):
        Cache([Timeless()])

    class Floorless(Nearest):
        def nearest(self, vector: Any, most: int) -> list[tuple[bytes, float]]:  # type: ignore[override]
            return super().nearest(vector, most, -1.0)

    told = r"^Semantic: Index Floorless: nearest does not take \(vector, most, floor\); give it what .*cache.Index has$"
    makers: list[Callable[[int], Any]] = [Floorless, lambda width: Floorless(width)]
    for make in makers:
        with pytest.raises(CacheError, match=told):
            Semantic(Letters(), Cosine(), index=make)


@pytest.mark.parametrize("missing", promised(Index))
def test_less_than_an_index_is_refused(missing: str) -> None:
    with pytest.raises(CacheError, match=f"Semantic: Index Mine: {missing} is missing"):
        Semantic(Letters(), Cosine(), index=lambda width: Mine(Nearest(width), missing))


def test_less_than_a_verifier_or_an_encoder_is_refused() -> None:
    with pytest.raises(CacheError, match="Semantic: Verifier Letters: threshold is missing; accepts is missing"):
        Semantic(Letters(), Letters())  # type: ignore[arg-type]
    with pytest.raises(CacheError, match="Semantic: TextEncoder Cosine: embedding is missing; encode is missing"):
        Semantic(Cosine(), Cosine())  # type: ignore[arg-type]


def test_what_is_shipped_keeps_its_role(tmp_path: Any) -> None:
    need_redis()
    for tier in (Sqlite(tmp_path / "c.sqlite"), Redis("redis://localhost"), Common()):
        require(tier, Shared, "tier", "")
    for tier in (Memory(), Dict()):
        require(tier, Tier, "tier", "")
        assert not hasattr(tier, "lease")
    for index in (Flat(4), Graph(4)):
        require(index, Index, "index", "")


def test_compiled_methods_whose_arguments_are_unknown_pass() -> None:
    class Compiled(Dict):
        get = dict[bytes, Any]().get
        remove = max  # has no signature

    require(Compiled(), Tier, "tier", "")


def test_a_put_that_returns_nothing_takes_the_tier_out_and_costs_no_request(dial: Dial, model: Model) -> None:
    class Silent(Dict):
        def put(self, entry: Entry) -> Sequence[Entry]:
            return None  # type: ignore[return-value]

    cache = Cache([Memory(), Silent()], **dial.clocks())
    assert [cache.fetch("q", model, model="m").hit for _ in range(2)] == [False, True]
    (error,) = [health.last_error for health in cache.health() if not health.up]
    assert "TypeError" in str(error)


@pytest.mark.parametrize("part", ["encoder", "verifier", "add", "nearest", "remove"])
def test_a_part_of_the_semantic_tier_that_fails_costs_no_request_and_comes_back(
    dial: Dial, model: Model, part: str
) -> None:
    broken = False

    def maybe() -> None:
        if broken:
            raise OSError("no such luck")

    class Encoder(Letters):
        def encode(self, texts: Sequence[str]) -> Any:
            _ = part == "encoder" and maybe()
            return super().encode(texts)

    class Verifier:
        threshold = 0.99

        def accepts(self, question: str, stored_question: str, cosine: float) -> float:
            _ = part == "verifier" and maybe()
            return cosine

    class Index(Nearest):
        def add(self, key: bytes, vector: Any) -> None:
            _ = part == "add" and maybe()
            super().add(key, vector)

        def nearest(self, vector: Any, most: int, floor: float) -> list[tuple[bytes, float]]:
            _ = part == "nearest" and maybe()
            return super().nearest(vector, most, floor)

        def remove(self, key: bytes) -> None:
            _ = part == "remove" and maybe()
            super().remove(key)

    semantic = Semantic(Encoder(), Verifier(), index=Index, quarantine_seconds=0, canary_share=0)
    cache = Cache([Dict(), semantic], CacheSettings(ttl_seconds=1e6, jitter=0), **dial.clocks())
    cache.fetch("what is it", model, model="m")
    broken = True
    assert cache.fetch("it is what", model, model="m").value in ("it is what #2", "what is it #1")
    cache.fetch("something else", model, model="m")
    cache.remove("something else", model="m")
    cache.put("yet another", "one", model="m")
    assert cache.fetch("yet another", model, model="m").value == "one"
    assert [(health.name, health.up) for health in cache.health()] == [("dict", True), ("semantic", False)]
    broken = False
    dial.pass_(60)
    assert cache.fetch("is it what", model, model="m").tier == "semantic"
    assert cache.health()[1].up
    assert not cache.fetch("thing some else", model, model="m").hit, "what was removed is not served"


def test_two_shared_tiers_are_refused_for_a_removal_reaches_the_other_machines_through_one_alone(tmp_path: Any) -> None:
    with pytest.raises(CacheError, match=r"tiers sqlite, redis are shared.*; keep the one that all of them see"):
        Cache([Memory(), Sqlite(tmp_path / "c.sqlite"), Redis("redis://localhost")])
