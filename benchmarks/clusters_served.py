"""A warmed cache replayed question by question, by the semantic tier that serves."""

import math
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beastmode.cache import Question, Semantic
from beastmode.cache.entry import Entry
from beastmode.cache.verifiers import Verifier
from beastmode.encoding import Encoder
from features.demand import Demand, windows
from features.demand_tally import Tally
from models.warmers.contest import Scoring
from models.warmers.playing import judged
from models.warmers.settings import WarmerSettings

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Requests for `k` questions."""

    demand: Demand
    questions: tuple[Question, ...]
    """(k,)"""
    classes: tuple[Hashable, ...]
    """(k,) Equal where one answer is right for both."""


def serve(
    stream: Stream, vectors: NDArray[np.float32], encoder: Encoder, verifier: Verifier, start: float,
    settings: WarmerSettings, warmer: Scoring | None, budget: float, of: Ints | None, *, told: bool,
) -> dict[str, float]:  # fmt: skip
    """Return what was served from `start` on, right and wrong, of a cache without bound whose answers die.

    Prefills are planned and paid as in `models.warmers.playing.play`, by the clusters `of`, (k,), of questions or where
    it is None by exact keys. A cluster is due when no answer to any of its questions lives through the window, and its
    most asked wording is asked. The application's semantic tier is `told` of a prefill at once, or hears of it when its
    wording is asked for.
    """
    demand = stream.demand
    keys = np.arange(demand.keys) if of is None else of
    planned = demand if of is None else Demand.of(of[demand.key], demand.at)
    tally, single = Tally(planned.tenant, settings.window_seconds), Tally(demand.tenant, settings.window_seconds)
    app = _Application(stream, vectors, Semantic(encoder, verifier, most=len(vectors) + 1, confirmations=0))
    requests = spent = expected = 0
    counts = {"exact": 0, "semantic": 0, "wrong": 0}
    begin, end = judged(demand, start, settings.window_seconds)
    for window in windows(demand, settings.window_seconds):
        counted = begin <= window.begin and window.end <= end and window.start >= start
        allowed = int(budget * (requests + expected) - spent + 1e-9) if counted and warmer is not None else 0
        if warmer is not None and allowed > 0:
            dies = np.full(planned.keys, -np.inf)
            np.maximum.at(dies, keys, app.dies)
            due = tally.seen[dies[tally.seen] < window.start + settings.window_seconds]
            chosen = due[np.argsort(-warmer.score(tally, due), kind="stable")[:allowed]]
            best = np.lexsort((single.total, keys))
            ahead = best[np.searchsorted(keys[best], chosen, side="right") - 1]
            app.fetch(ahead, np.maximum(dies[chosen], window.start) + settings.ttl_seconds, told=told)
            spent += len(chosen)
        for row in range(window.begin, window.end):
            how = app.ask(int(demand.key[row]), float(demand.at[row]), settings.ttl_seconds)
            if counted and how is not None:
                counts[how] += 1
        requests += (window.end - window.begin) * counted
        expected = window.end - window.begin
        tally.add(planned, window)
        single.add(demand, window)
    hits = sum(counts.values())
    shares = {name: round(number / max(requests, 1), 4) for name, number in counts.items()}
    return {"hit_rate": round(hits / max(requests, 1), 4), **shares, "spent": round(spent / max(requests, 1), 4)}


class _Application:
    """Looks for answers as `beastmode.cache.looking` does: exact, then by meaning, and forgets a match that is dead."""

    def __init__(self, stream: Stream, vectors: NDArray[np.float32], semantic: Semantic) -> None:
        self.dies = np.full(len(vectors), -np.inf)
        self._stream, self._vectors, self._semantic = stream, vectors, semantic
        self._place = {question.key: number for number, question in enumerate(stream.questions)}

    def fetch(self, questions: Ints, dies: NDArray[np.float64], *, told: bool) -> None:
        """Hold answers that were asked ahead."""
        self.dies[questions] = dies
        for number in questions.tolist() if told else ():
            self._know(number)

    def ask(self, number: int, at: float, ttl_seconds: float) -> str | None:
        """Return how a request is served, `exact`, `semantic` or `wrong`; None where the model is asked."""
        question, vector = self._stream.questions[number], self._vectors[number]
        if at < self.dies[number]:
            if not self._semantic.confirm(question):
                self._know(number)
            return "exact"
        match = self._semantic.match(question, vector, at) if vector.any() else None
        if match is not None:
            other = self._place[match.key]
            if at < self.dies[other]:
                return "semantic" if self._stream.classes[other] == self._stream.classes[number] else "wrong"
            self._semantic.remove(match.key)
        self.dies[number] = at + ttl_seconds
        self._know(number)
        return None

    def _know(self, number: int) -> None:
        question = self._stream.questions[number]
        held = Entry(question.key, question.partition.digest, "text", b"", 0.0, math.inf, math.inf)
        if self._vectors[number].any():
            self._semantic.add(question, held, self._vectors[number])
