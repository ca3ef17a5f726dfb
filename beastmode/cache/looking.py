"""Find the answer that may be served: exact, then of the same meaning, and only where it is worth more than asking."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from beastmode.cache.answer import Answer, CachedFailure
from beastmode.cache.clock import Clock
from beastmode.cache.entry import Entry
from beastmode.cache.guard import Guard
from beastmode.cache.layers import Layers
from beastmode.cache.memory import Memory
from beastmode.cache.partition import Question
from beastmode.cache.semantic import Match, Semantic
from beastmode.cache.settings import CacheSettings
from beastmode.cache.vectors import Vector
from beastmode.cache.worth import Worth, still_valid, worth
from beastmode.errors import RoutingError
from beastmode.records import Decision, Request
from beastmode.router import Router


@dataclass(slots=True)
class Ask:
    """One request on its way, and what was learnt about it so far."""

    question: Question
    request: Request
    purpose: str = "serve"
    look: bool = True
    """Whether an answer that is held will do."""
    newer_than: float | None = None
    """Where it will not, the moment after which another's fill must have been made to do instead."""
    decision: Decision | None = None
    """The router's, once it was asked."""
    vector: Vector | None = None
    canary: Answer | None = None
    """The hit for which the model is asked all the same."""
    began: float = 0.0
    """When it was asked, in monotonic seconds."""
    worth: Worth | None = None
    answers: str | None = None
    """What the router would answer by, where that is the key's model."""


@dataclass(frozen=True, slots=True)
class Looker:
    """Looks through the tiers."""

    layers: Layers
    memory: Memory | None
    """The first tier, where it is this process's memory."""
    semantic: Semantic | None
    breaker: Guard | None
    """Of the semantic tier: its encoder, index and verifier may be an application's own, and fail no request either."""
    clock: Clock
    settings: CacheSettings
    router: Router | None
    rng: random.Random

    def at_hand(self, question: Question) -> Answer | None:
        """Return what can be served without a second thought and without waiting for a disk or a socket."""
        if self.memory is None or self.layers.due:
            return None
        entry = self.memory.get(question.key)
        if entry is None or entry.tags or entry.kind == "error":
            return None
        now = self.clock.now()
        if not entry.fresh(now) or (self.semantic is not None and not self.semantic.confirm(question)):
            return None
        return Answer(entry, "memory", max(now - entry.made, 0.0))

    def look(self, ask: Ask) -> Answer | None:
        """Return what may be served, or None where the model should be asked.

        Raises CachedFailure where a refusal is held.
        """
        now = self.clock.now()
        found = self.layers.find(ask.question.key, now)
        if found is not None:
            self.confirm(ask.question, found.entry)
            return self._if_worth(ask, self.answer(found.entry, found.tier, now))
        ask.vector = self.embed(ask.question)
        answer = self.similar(ask.question, ask.vector, now)
        if answer is not None:
            answer = self._if_worth(ask, answer)
        if self.semantic is not None and ask.purpose != "warm":
            self.semantic.looked(answer is not None)
        if answer is not None and self.semantic is not None and self.rng.random() < self.semantic.canary_share:
            ask.canary, answer = answer, None
        return answer

    def filled(self, ask: Ask) -> Answer | None:
        """Return an exact answer that another caller has fetched meanwhile; raises CachedFailure on a refusal."""
        now = self.clock.now()
        found = self.layers.find(ask.question.key, now)
        if found is None or not found.entry.fresh(now):
            return None
        if ask.newer_than is not None and found.entry.made <= ask.newer_than:
            return None
        return self.answer(found.entry, found.tier, now)

    def hold(self, question: Question, entry: Entry, vector: Vector | None = None) -> None:
        """Hold a new answer in every tier; `vector` is the question's, where it is known."""
        self.layers.store(entry)
        if self.semantic is not None:
            self._meaning(self.semantic.add, question, entry, vector)

    def refuse(self, refusal: Entry) -> None:
        """Hold a refusal, unless there is an answer that may still be served."""
        if self.layers.find(refusal.key, self.clock.now()) is None:
            self.layers.store(refusal)

    def answer(self, entry: Entry, tier: str, now: float, score: float | None = None) -> Answer:
        """Return an entry as an answer; raises CachedFailure where it is a refusal."""
        age = max(now - entry.made, 0.0)
        if entry.kind == "error":
            kind, message = entry.value
            raise CachedFailure(kind, message, tier, age)
        return Answer(entry, tier, age, not entry.fresh(now), score)

    def similar(self, question: Question, vector: Vector | None, now: float) -> Answer | None:
        """Return the answer to a question of the same meaning, or None; `vector` is the question's."""
        if self.semantic is None or vector is None:
            return None
        match: Match | None = self._meaning(self.semantic.match, question, vector, now)
        if match is None:
            return None
        found = self.layers.find(match.key, now)
        if found is None or found.entry.kind == "error" or found.entry.partition != question.partition.digest:
            # It died or was evicted meanwhile.
            self.forget(match.key)
            return None
        return self.answer(found.entry, "semantic", now, match.score)

    def embed(self, question: Question) -> Vector | None:
        """Return the vector of a question, where there is one in its partition to compare it with."""
        if self.semantic is None or not self.semantic.holds(question.partition):
            return None
        vector: Vector | None = self._meaning(self.semantic.embed, question.text)
        return vector

    def confirm(self, question: Question, entry: Entry) -> None:
        """Tell the semantic tier of an exact hit; it may not have heard of what another process stored."""
        if self.semantic is not None and not self.semantic.confirm(question):
            self._meaning(self.semantic.add, question, entry)

    def forget(self, key: bytes) -> None:
        """Tell the semantic tier that an answer is gone."""
        if self.semantic is not None:
            self._meaning(self.semantic.remove, key)

    def _meaning(self, act: Callable[..., Any], *arguments: Any) -> Any:
        """Return what the semantic tier returns, None while it is down."""
        return None if self.breaker is None else self.breaker.call(act, *arguments, otherwise=None)

    def _if_worth(self, ask: Ask, answer: Answer) -> Answer | None:
        """Return the answer, or None where a candidate promises more than an answer that may no longer be true."""
        valid = still_valid(answer.age_seconds, self.settings.half_life_seconds, answer.score)
        if self.router is None or valid >= 1.0:
            return answer
        try:
            ask.decision = self.router.route(ask.request, remember=False)
        except RoutingError:
            return answer
        objective = self.router.bundle.objective
        eligible = ask.decision.probabilities
        ask.worth = worth(ask.decision.predictions, objective, valid=valid, maker=answer.model, eligible=eligible)
        if ask.worth.serve:
            return answer
        self.router.remember(ask.decision)
        ask.newer_than = answer.entry.made if answer.entry is not None else self.clock.now()
        return None
