"""Median times of a lookup in the semantic tier with a learned verifier."""

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

from beastmode.cache import Cache, CacheSettings, Memory, Partition, Question, Semantic
from beastmode.cache.learned import LearnedVerifier
from beastmode.cache.making import answer_entry
from beastmode.encoding import Encoder
from benchmarks.decision import UNDISTURBED, alternating, matrix_product, quantile

HELD = 10_000
HERE = Partition("m", "tenant")


def lookups(encoder: Encoder, verifier: LearnedVerifier, texts: Sequence[str], times: int) -> dict[str, Any]:
    """Return median microseconds: the verifier for one pair, a match, and a lookup from text to answer."""
    semantic = Semantic(encoder, verifier, quarantine_seconds=0, canary_share=0)
    count = min(HELD, len(texts) // 2)
    with Cache([Memory(1 << 30), semantic], CacheSettings(ttl_seconds=1e9, jitter=0)) as cache:
        for text in texts[:count]:
            question = Question(HERE, text)
            cache.looker.hold(question, answer_entry(cache.looker, question, "An answer.", None))
        # Never asked before, so that no part of a lookup remembers it.
        fresh = texts[count : count + 3 * times + 3 * (times // 10 + 1)]
        questions = cycle([Question(HERE, text) for text in fresh])
        ready = cycle(
            [(q, v) for q in (Question(HERE, t) for t in fresh[:times]) if (v := semantic.embed(q.text)) is not None]
        )
        pairs = cycle(list(zip(fresh, texts[:count], strict=False)))

        def match() -> None:
            question, vector = next(ready)
            semantic.match(question, vector, 2e9)

        def verify() -> None:
            verifier.accepts(*next(pairs), 0.9)

        return {
            "held": count,
            "verifier": _timed(verify, times),
            "without_embedding": _timed(match, times),
            "with_embedding": _timed(lambda: cache.get(next(questions)), times),
        }


def _timed(act: Callable[[], Any], times: int) -> dict[str, float]:
    taken, products = alternating(act, matrix_product(), times)
    p50, matmul = quantile(taken, 0.5), quantile(products, UNDISTURBED)
    return {"p50_us": round(1000 * p50, 1), "p10_us": round(1000 * quantile(taken, UNDISTURBED), 1),
            "per_matmul": round(p50 / matmul, 4), "matmul_512_ms": round(matmul, 3)}  # fmt: skip
