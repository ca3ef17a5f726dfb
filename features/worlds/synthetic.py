"""A world that needs no file: made-up prompts on several topics, and candidates that are good at some of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from beastmode.candidates import Candidate, Price
from features.table import Floats, Table
from features.worlds.latency import Hosts
from features.worlds.replay import WorldSettings, replay
from features.worlds.topics import DETAILS, LEVELS, TOPICS
from features.worlds.world import World

CANDIDATES: tuple[tuple[Candidate, dict[str, float], float], ...] = (
    (
        Candidate("atlas-large", price=Price(5.0, 15.0), context_tokens=200_000, vision=True),
        {"default": 2.4},
        1.25,
    ),
    (
        Candidate("atlas-small", price=Price(0.6, 1.8), context_tokens=128_000),
        {"default": 1.2, "support": 2.4, "writing": 1.6},
        1.0,
    ),
    (
        Candidate("forge-coder", price=Price(0.9, 2.7), context_tokens=128_000),
        {"default": 0.2, "code": 2.7, "data": 2.8, "logic": 1.0},
        1.05,
    ),
    (
        Candidate("abacus-reason", price=Price(1.1, 4.4), context_tokens=64_000),
        {"default": 0.4, "maths": 2.9, "logic": 2.6, "data": 1.2},
        1.6,
    ),
    (
        Candidate("quill-writer", price=Price(0.4, 1.2), context_tokens=64_000),
        {"default": 0.1, "translation": 2.7, "writing": 2.6, "support": 1.8, "medicine": 1.0},
        0.9,
    ),
    (
        Candidate("spark-nano", price=Price(0.05, 0.2), context_tokens=32_000, tools=False),
        {"default": -0.6, "support": 2.0, "translation": 0.8},
        0.7,
    ),
)
"""Who there is: strength by topic in logits of a right answer, and how wordy they are. No such models exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSettings:
    """How much there is to ask."""

    prompts: Annotated[int, Ge(8)] = 3600
    noise: Annotated[float, Ge(0)] = 0.5
    """Standard deviation of a prompt's own difficulty that no word betrays, in logits."""


def outcomes(settings: SyntheticSettings, seed: int) -> tuple[Table, tuple[str, ...]]:
    """Return every candidate's outcome for every prompt, and the topic of each prompt, which no log shows.

    Quality is 1 with probability sigmoid(strength by topic - difficulty), else 0.
    """
    rng = np.random.default_rng([seed, 1])
    texts, topics, difficulty = _prompts(settings, rng)
    names = tuple(candidate.name for candidate, _, _ in CANDIDATES)
    strength = np.array([[known.get(t, known["default"]) for _, known, _ in CANDIDATES] for t in topics])
    logits = strength - difficulty[:, None]
    quality = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float64)
    typical = np.array([TOPICS[topic].answer_tokens for topic in topics])[:, None]
    wordy = np.array([words for _, _, words in CANDIDATES])[None, :]
    harder = np.exp(0.25 * difficulty)[:, None]
    tokens = np.maximum(np.round(typical * wordy * harder * np.exp(rng.normal(0, 0.3, size=logits.shape))), 8)
    into = np.array([round(len(text) / 4) + 40 for text in texts], dtype=np.float64)
    prices = [candidate.price for candidate, _, _ in CANDIDATES]
    cost = np.stack([_cost(price, into, tokens[:, j]) for j, price in enumerate(prices)], axis=1)
    n = len(texts)
    ids = np.array([f"synthetic-{i:06d}" for i in range(n)], dtype=str)
    table = Table(
        candidates=names,
        request_ids=ids,
        texts=tuple(texts),
        at=np.datetime64("2025-01-06T00:00:00", "us") + np.arange(n).astype("timedelta64[s]"),
        sessions=ids,
        input_tokens=into,
        quality=quality,
        cost_usd=cost,
        latency_ms=np.full(logits.shape, np.nan),
        output_tokens=tokens,
        served=np.full(n, -1, dtype=np.int64),
        propensity=np.full(n, np.nan),
        probed=np.ones(n, dtype=bool),
    )
    return table, tuple(topics)


def _prompts(settings: SyntheticSettings, rng: np.random.Generator) -> tuple[list[str], list[str], Floats]:
    words = sum(len(adjectives) for _, adjectives in LEVELS.values())
    most = sum(len(t.templates) * len(t.subjects) for t in TOPICS.values()) * words * len(DETAILS) ** 2 // 2
    if settings.prompts > most:
        raise ValueError(f"synthetic world: prompts = {settings.prompts} are more than its templates can make ({most})")
    texts: dict[str, tuple[str, float]] = {}
    names, levels = list(TOPICS), list(LEVELS)
    while len(texts) < settings.prompts:
        name = names[int(rng.integers(len(names)))]
        level = levels[int(rng.choice(len(levels), p=(0.4, 0.4, 0.2)))]
        harder, adjectives = LEVELS[level]
        asked = _pick(TOPICS[name].templates, rng).format(
            level=_pick(adjectives, rng), subject=_pick(TOPICS[name].subjects, rng)
        )
        text = f"{asked} {_pick(DETAILS, rng)} {_pick(DETAILS, rng)}".strip()
        texts.setdefault(" ".join(text.split()), (name, harder + float(rng.normal(0, settings.noise))))
    known = list(texts.values())
    return list(texts), [name for name, _ in known], np.array([harder for _, harder in known])


def _cost(price: Price, into: Floats, out: Floats) -> Floats:
    return np.array([price.cost_usd(a, b) for a, b in zip(into.tolist(), out.tolist(), strict=True)])


def _pick(among: Sequence[str], rng: np.random.Generator) -> str:
    return among[int(rng.integers(len(among)))]


def synthetic(
    settings: SyntheticSettings,
    world: WorldSettings,
    seed: int,
    *,
    gaps: Floats | None = None,
    hosts: Hosts | None = None,
) -> World:
    """Return a log of the synthetic world, and its truth; `gaps` and `hosts` as in `replay`."""
    table, topics = outcomes(settings, seed)
    candidates = tuple(candidate for candidate, _, _ in CANDIDATES)
    return replay(table, candidates, world, seed, subjects=topics, gaps=gaps, hosts=hosts)
