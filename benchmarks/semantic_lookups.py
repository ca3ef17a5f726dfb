"""Median times of a lookup in the semantic tier with a learned verifier."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle
from typing import Any

from beastmode.cache import Cache, CacheSettings, Memory, Partition, Question, Semantic
from beastmode.cache.learned import LearnedVerifier
from beastmode.cache.making import answer_entry
from beastmode.encoding import Encoder
from benchmarks.decision import UNDISTURBED, alternating, matrix_product, quantile
from models.verifiers import embedding

HELD = 10_000
HERE = Partition("m", "tenant")


def lookups(encoder: Encoder, verifier: LearnedVerifier, texts: Sequence[str], times: int) -> dict[str, Any]:
    """Return median microseconds: the verifier for one pair, a match, and a lookup from text to answer."""
    semantic = Semantic(as_served(encoder), verifier, quarantine_seconds=0, canary_share=0)
    count = min(HELD, len(texts) // 2)
    with Cache([Memory(1 << 30), semantic], CacheSettings(ttl_seconds=1e9, jitter=0)) as cache:
        for text, vector in zip(texts[:count], embedding(encoder)(texts[:count]), strict=True):
            question = Question(HERE, text)
            # As in service, where a question that is held was first looked for.
            semantic.match(question, vector, 2e9)
            cache.looker.hold(question, answer_entry(cache.looker, question, "An answer.", None), vector)
        # Never asked before, so that no part of a lookup remembers it: each measure has questions of its own.
        each = min(times + times // 10 + 1, (len(texts) - count) // 3)
        verified, matched, looked_up = (texts[count + i * each : count + (i + 1) * each] for i in range(3))
        pairs = cycle(zip(verified, texts[:count], strict=False))
        ready = cycle([(Question(HERE, t), v) for t in matched if (v := semantic.embed(t)) is not None])
        questions = cycle([Question(HERE, text) for text in looked_up])

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


def as_served(encoder: Encoder) -> Encoder:
    """Return an encoder without the memory of training, as a bundle carries it: a new text is embedded."""
    if encoder.sentences is None:
        return encoder
    transformer = replace(encoder.sentences.transformer, memory=None)
    return replace(encoder, sentences=replace(encoder.sentences, transformer=transformer))


def _timed(act: Callable[[], Any], times: int) -> dict[str, float]:
    taken, _, products = alternating(act, matrix_product(), times)
    p50, matmul = quantile(taken, 0.5), quantile(products, UNDISTURBED)
    return {"p50_us": round(1000 * p50, 1), "p10_us": round(1000 * quantile(taken, UNDISTURBED), 1),
            "per_matmul": round(p50 / matmul, 4), "matmul_512_ms": round(matmul, 3)}  # fmt: skip
