"""Median times of a lookup in each tier of the cache."""

import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from beastmode.cache import (
    Cache,
    CacheSettings,
    Cosine,
    Flat,
    Graph,
    Memory,
    Partition,
    Question,
    Redis,
    Semantic,
    Sqlite,
)
from beastmode.cache.making import answer_entry
from beastmode.cache.vectors import Index, Vector
from beastmode.encoding import Encoder
from benchmarks.decision import UNDISTURBED, alternating, matrix_product, quantile
from benchmarks.redis_server import RedisServer
from models.encoders import EncoderSettings, fit

ANSWER = "An answer of the length that answers mostly have, in plain words. " * 12
TIMES = 4000
FLAT_ROWS = 10_000
FOREVER = CacheSettings(ttl_seconds=1e9, jitter=0)
HERE = Partition("m", "tenant", {"temperature": 0})


def lookups(
    texts: Sequence[str],
    scratch: Path,
    server: RedisServer | None,
    rows: int,
    vectors: int,
    encoders: Sequence[str],
) -> dict[str, Any]:
    """Return median microseconds on the wall and of the thread's own time, and ratios to the run's matrix product."""
    product = matrix_product()
    found: dict[str, Any] = {"memory": _memory(product), "sqlite": _sqlite(scratch, rows, product)}
    if server is not None:
        found["redis"] = _redis(server, min(rows, 20_000), product)
    for kind in encoders:
        encoder = _encoder(kind, texts)
        found[f"flat_{kind}"] = _flat(encoder, texts, product)
        if kind == "static" and importlib.util.find_spec("hnswlib") is not None:
            found["hnswlib"] = _graph(encoder, texts, vectors, product)
    return found


def _timed(act: Callable[[], Any], product: Callable[[], Any], times: int = TIMES) -> dict[str, float]:
    taken, own, products = alternating(act, product, times)
    p50, matmul = quantile(taken, 0.5), quantile(products, UNDISTURBED)
    return {"p50_us": round(1000 * p50, 2), "cpu_p50_us": round(1000 * quantile(own, 0.5), 2),
            "per_matmul": round(p50 / matmul, 5), "matmul_512_ms": round(matmul, 3)}  # fmt: skip


def _asking(cache: Cache, count: int) -> Callable[[], Any]:
    """Return a function that looks up the next of so many questions, spelt and hashed anew, and finds it."""
    texts = cycle([f"What is the answer to question {number} of the list?" for number in range(count)])

    def ask() -> None:
        if cache.get(Question(HERE, next(texts))) is None:
            raise RuntimeError("a lookup that is timed must find its answer")

    return ask


def _filled(cache: Cache, count: int) -> Cache:
    for number in range(count):
        cache.put(Question(HERE, f"What is the answer to question {number} of the list?"), ANSWER)
    return cache


def _memory(product: Callable[[], Any]) -> dict[str, Any]:
    with _filled(Cache([Memory()], FOREVER), 10_000) as cache:
        whole = _timed(lambda: cache.get("What is the answer to question 7 of the list?", model="m"), product)
        return {**_timed(_asking(cache, 10_000), product), "from_messages_p50_us": whole["p50_us"]}


def _sqlite(scratch: Path, rows: int, product: Callable[[], Any]) -> dict[str, Any]:
    with Cache([Sqlite(scratch / "lookups.sqlite")], FOREVER) as cache:
        started = time.perf_counter()
        _filled(cache, rows)
        put = 1e6 * (time.perf_counter() - started) / rows
        return {"rows": rows, **_timed(_asking(cache, rows), product), "put_mean_us": round(put, 1)}


def _redis(server: RedisServer, rows: int, product: Callable[[], Any]) -> dict[str, Any]:
    import redis

    with (
        _filled(Cache([Redis(server.url, timeout=5)], FOREVER), rows) as cache,
        redis.Redis(port=server.port) as client,
    ):
        size = next(iter(client.scan_iter(b"beastmode:e:*")))
        ask = _asking(cache, rows)
        # In turns, a block each, so that whatever else the machine does slows both alike.
        ours, _, bare = alternating(ask, lambda: client.get(size), TIMES, block=1)
        found = _timed(ask, product, TIMES // 4)
        ratio = quantile(ours, 0.5) / quantile(bare, 0.5)
        return {"rows": rows, **found, "bare_get_p50_us": round(1000 * quantile(bare, 0.5), 2),
                "same_run_p50_us": round(1000 * quantile(ours, 0.5), 2), "per_bare_get": round(ratio, 3)}  # fmt: skip


def _encoder(kind: str, texts: Sequence[str]) -> Encoder:
    """Return an encoder of the questions: `static` of terms and surface, `onnx` with the sentence-transformer."""
    taught = list(texts[:20_000])
    sessions = [str(number) for number in range(len(taught))]
    if kind == "static":
        return fit(taught, sessions, EncoderSettings(), seed=0)
    from pipelines.teaching import exported

    with tempfile.TemporaryDirectory() as folder:
        settings = EncoderSettings()
        return fit(
            taught[:2_000], sessions[:2_000], settings, seed=0, teacher=exported(Path(folder), settings.sentence_pieces)
        )


def _flat(encoder: Encoder, texts: Sequence[str], product: Callable[[], Any]) -> dict[str, Any]:
    """Return the times of a semantic lookup among `FLAT_ROWS` questions: the match alone, and from text to answer.

    Where there are few, half of them are held.
    """
    width = encoder.embedding.stop - encoder.embedding.start
    semantic = Semantic(encoder, Cosine(1e-9), quarantine_seconds=0, canary_share=0, floor=-1.0)
    with Cache([Memory(1 << 30), semantic], FOREVER) as cache:
        rng = np.random.default_rng(0)
        rows = min(FLAT_ROWS, len(texts) // 2)
        for text in texts[:rows]:
            # A dear encoder would spend minutes here; the scan's time does not depend on what the numbers are.
            drawn = rng.normal(size=width).astype(np.float32)
            question = Question(HERE, text)
            entry = answer_entry(cache.looker, question, ANSWER, None)
            cache.looker.hold(question, entry, drawn / np.linalg.norm(drawn))
        asked = [Question(HERE, text) for text in texts[rows : rows + 200]]
        vectors = [semantic.embed(question.text) for question in asked]
        pairs = cycle([(q, v) for q, v in zip(asked, vectors, strict=True) if v is not None])
        questions = cycle(asked)

        def match() -> None:
            question, vector = next(pairs)
            semantic.match(question, vector, 2e9)

        alone = _timed(match, product, 1000)
        whole = _timed(lambda: cache.get(next(questions)), product, 400)
    return {"rows": rows, "width": width, **alone, "with_embedding_p50_us": whole["p50_us"],
            "with_embedding_per_matmul": whole["per_matmul"]}  # fmt: skip


def _graph(encoder: Encoder, texts: Sequence[str], count: int, product: Callable[[], Any]) -> dict[str, Any]:
    """Return time and recall of the graph while half of its vectors are replaced, against the flat index."""
    asking = min(1000, len(texts) // 10)
    queries, texts = texts[:asking], texts[asking : asking + 4 * count // 3]
    embedded = encoder.encode(texts)[:, encoder.embedding]
    asked = [vector for vector in encoder.encode(queries)[:, encoder.embedding] if vector @ vector > 0]
    base = min(count, len(texts))
    graph: Index = Graph(embedded.shape[1])
    flat = Flat(embedded.shape[1])
    started = time.perf_counter()
    for number in range(base):
        _add((graph, flat), number, embedded[number])
    graph.settled()  # type: ignore[attr-defined]
    built = time.perf_counter() - started
    recalls = [_recall(graph, flat, asked)]
    gone = np.random.default_rng(1).permutation(base)
    for turn, number in enumerate(range(base, base + base // 2)):
        key = int(gone[turn]).to_bytes(8, "big")
        graph.remove(key)
        flat.remove(key)
        # New questions while there are any, then the one that has just gone, as when its time was up.
        _add((graph, flat), number, embedded[number if number < len(texts) else gone[turn]])
        if turn % (1 + base // 10) == 0:
            recalls.append(_recall(graph, flat, asked))
    graph.settled()  # type: ignore[attr-defined]
    recalls.append(_recall(graph, flat, asked))
    vectors = cycle(asked)
    return {"rows": len(flat), "width": embedded.shape[1], **_timed(lambda: graph.nearest(next(vectors), 4), product),
            "recall_at_1": [round(recall, 4) for recall in recalls], "worst_recall_at_1": round(min(recalls), 4),
            "build_seconds": round(built, 1)}  # fmt: skip


def _add(indexes: Sequence[Index], number: int, vector: Vector) -> None:
    if vector @ vector > 0:
        for index in indexes:
            index.add(number.to_bytes(8, "big"), vector)


def _recall(graph: Index, flat: Index, asked: Sequence[Vector]) -> float:
    """Return the share of queries whose nearest of the graph is as near as the nearest there is; equals count."""
    found = [graph.nearest(vector, 1)[0][1] >= flat.nearest(vector, 1)[0][1] - 1e-5 for vector in asked]
    return sum(found) / len(found)
