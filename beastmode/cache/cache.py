"""Answers that were given before: tiers with one policy, and a hard partition key before any lookup."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from beastmode.cache.answer import Answer
from beastmode.cache.clock import Clock
from beastmode.cache.filling import Fill, Filler
from beastmode.cache.flights import Flights
from beastmode.cache.guard import Guard, Health
from beastmode.cache.layers import Layers
from beastmode.cache.looking import Ask, Looker
from beastmode.cache.making import answer_entry
from beastmode.cache.memory import Memory
from beastmode.cache.partition import Question
from beastmode.cache.semantic import Semantic
from beastmode.cache.settings import CacheSettings
from beastmode.cache.steps import arun, run
from beastmode.cache.streams import AsyncStream, Stream
from beastmode.cache.tiers import required, shared
from beastmode.cache.tuned import opened, tuned
from beastmode.errors import CacheError
from beastmode.journal import Journal
from beastmode.records import Request
from beastmode.router import Prompt, Router

Asked = Prompt | Question


class Cache:
    """Serves an answer again where everything that shapes it is equal. Safe for threads, processes and forks.

    `tiers` go from the fastest to the slowest, a semantic one last. Every call takes a prompt, chat messages or a
    Request, and `scope`: tenant and other fields of a request, and `model`, `parameters`, `tools`, `epochs`, as
    `Question.of` has them. With a router the model may be left out: what answers takes its place (the
    bundle, its operating point, the arm of an experiment), so that a promotion begins an empty cache; name a model to
    keep answers across promotions.
    """

    def __init__(
        self,
        tiers: Sequence[Any],
        settings: CacheSettings | None = None,
        *,
        router: Router | None = None,
        journal: Journal | None = None,
        normalise: Callable[[str], str] | None = None,
        seed: int | None = None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Join tiers; `normalise` makes texts equal that should share an answer (the default is the exact text).

        Raises CacheError where the tiers stand in another order, one of them keeps neither `Tier` nor `Shared`,
        or more than one is shared.
        """
        exact = [tier for tier in tiers if not isinstance(tier, Semantic)]
        meaning = [tier for tier in tiers if isinstance(tier, Semantic)]
        if not exact or len(meaning) > 1 or (meaning and tiers[-1] is not meaning[0]):
            names = ", ".join(str(getattr(tier, "name", tier)) for tier in tiers) or "none"
            raise CacheError(
                f"Cache: tiers {names}; give at least one exact tier, and at most one Semantic as the last"
            )
        for tier in exact:
            required(tier)
        several = [str(tier.name) for tier in exact if shared(tier)]
        if len(several) > 1:
            raise CacheError(
                f"Cache: tiers {', '.join(several)} are shared, and processes hear of removals and invalidations from "
                "one alone; keep the one that all of them see"
            )
        self.settings = settings or CacheSettings()
        longest = self.settings.ttl_seconds + self.settings.stale_seconds
        clock = Clock(wall, monotonic, max(2 * longest, 86_400.0))
        self._clock = clock
        memory = exact[0] if isinstance(exact[0], Memory) else None
        self._layers = Layers(exact, clock, self.settings.tag_lag_seconds)
        self._semantic = meaning[0] if meaning else None
        breaker = None if self._semantic is None else Guard(self._semantic, clock.monotonic)
        self._guards = [*self._layers.guards, *([] if breaker is None else [breaker])]
        self._normalise = normalise
        rng = random.Random(seed)
        self.looker = Looker(self._layers, memory, self._semantic, breaker, clock, self.settings, router, rng)
        self._filler = Filler(self.looker, Flights(), journal)

    @classmethod
    def from_bundle(
        cls, store: str | Path, where: str | Path | None = None, *, router: Router | None = None, **known: Any
    ) -> Self:
        """Open the cache as the flows tuned it: times to live, sizes, eviction, and the semantic tier's threshold.

        `store` is the folder that the router is loaded from, `where` what processes share: a file or a `redis://` URL.
        With a router, and a verifier in service, answers to other questions are served too. `known` goes to the cache.
        Raises StoreError where nothing was tuned yet, BundleError where a byte is off.
        """
        found = tuned(store)
        encoder = None if router is None else router.bundle.encoder
        return cls(opened(found, store, where, encoder), found.settings, router=router, **known)

    def question(self, asked: Asked, **scope: Any) -> Question:
        """Return what a request is looked up by; raises CacheError where the model is missing or the key is no data."""
        return self._ask(asked, scope).question

    def get(self, asked: Asked, **scope: Any) -> Answer | None:
        """Return the held answer, or None; nothing is asked, nothing is journalled."""
        question = asked if isinstance(asked, Question) and not scope else self.question(asked, **scope)
        answer = self.looker.at_hand(question)
        if answer is not None:
            return answer
        now = self._clock.now()
        found = self._layers.find(question.key, now)
        if found is not None:
            self.looker.confirm(question, found.entry)
            return None if found.entry.kind == "error" else self.looker.answer(found.entry, found.tier, now)
        return self.looker.similar(question, self.looker.embed(question), now)

    def put(
        self,
        asked: Asked,
        value: Any,
        *,
        answered_by: str | None = None,
        cost_usd: float | None = None,
        tags: Sequence[str] = (),
        ttl_seconds: float | None = None,
        **scope: Any,
    ) -> None:
        """Hold an answer from elsewhere; raises CacheError on what cannot be held.

        `value` is text, bytes or plain JSON data. Tags are as of now: an invalidation from here on forbids it.
        """
        question = self.question(asked, **scope)
        known: dict[str, Any] = {"model": answered_by, "cost_usd": cost_usd, "tags": tags, "ttl_seconds": ttl_seconds}
        self.looker.hold(question, answer_entry(self.looker, question, value, self._layers.snapshot(), **known))

    def fetch(self, asked: Asked, fill: Fill, *, refresh: bool = False, purpose: str = "serve", **scope: Any) -> Answer:
        """Return the held answer, or what `fill(miss)` returns, which is then held.

        However many ask at once, in however many processes that share a tier, one fill is made for a key. What the
        fill raises is raised here; a provider's refusal is held for `error_seconds` and raised as CachedFailure
        meanwhile. `refresh` asks in any case; `purpose` is for the journal (`warm` for prefills).
        """
        return run(self._filler.fetching(self._ask(asked, scope, refresh, purpose), fill))

    async def afetch(
        self, asked: Asked, fill: Fill, *, refresh: bool = False, purpose: str = "serve", **scope: Any
    ) -> Answer:
        """Do the same in an event loop; `fill` may be a coroutine function, and tiers are read in other threads."""
        return await arun(self._filler.fetching(self._ask(asked, scope, refresh, purpose), fill))

    def stream(
        self, asked: Asked, fill: Fill, *, refresh: bool = False, purpose: str = "serve", **scope: Any
    ) -> Stream:
        """Return a stream, to be entered by `with`: held chunks, or those of the iterable that `fill(miss)` returns."""
        return Stream(self._filler, self._ask(asked, scope, refresh, purpose), fill)

    def astream(
        self, asked: Asked, fill: Fill, *, refresh: bool = False, purpose: str = "serve", **scope: Any
    ) -> AsyncStream:
        """Do the same in an event loop: `async with`, and `fill(miss)` is an async generator."""
        return AsyncStream(self._filler, self._ask(asked, scope, refresh, purpose), fill)

    def invalidate(self, *, tag: str) -> None:
        """Forbid every answer that names a tag and was asked for before now, in every tier and process.

        Other processes notice within `tag_lag_seconds`. Raises CacheError where the shared tier cannot be told.
        """
        self._layers.invalidate(tag)

    def remove(self, asked: Asked, **scope: Any) -> None:
        """Forget one answer, in every tier and process; where the policy is the key, in both arms of an experiment.

        Other processes forget theirs within `tag_lag_seconds` while the shared tier is up, later while it is down. One
        whose fill is under way is held all the same: invalidate a tag where that matters. Raises CacheError where the
        shared tier cannot be told.
        """
        router, names = self.looker.router, [scope.pop("model", None)]
        if names[0] is None and router is not None and not isinstance(asked, Question):
            names = list(router.answering)
        for name in names:
            key = self.question(asked, **scope, **({} if name is None else {"model": name})).key
            self._layers.remove(key)
            self.looker.forget(key)

    def health(self) -> tuple[Health, ...]:
        """Return how each tier does."""
        return tuple(guard.health for guard in self._guards)

    def close(self) -> None:
        """Close files and connections."""
        self._layers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, asked: Asked, scope: dict[str, Any], refresh: bool = False, purpose: str = "serve") -> Ask:
        router, newer_than = self.looker.router, self._clock.now() if refresh else None
        if isinstance(asked, Question):
            if scope:
                raise CacheError(f"cache: a Question has its scope; leave out {', '.join(sorted(scope))}")
            request, model = Request(asked.messages, asked.partition.tenant), asked.partition.model
            answers = model if router is not None and model in router.answering else None
            return Ask(asked, request, purpose, not refresh, newer_than, answers=answers)
        key = {name: scope.pop(name) for name in ("model", "parameters", "tools", "epochs") if name in scope}
        request = replace(asked, **scope) if isinstance(asked, Request) else Request.of(asked, **scope)
        answers = None
        if key.get("model") is None:
            if router is None:
                raise CacheError("cache: model is missing; name the model or the policy that answers, or give a router")
            answers = key["model"] = router.answers_as(request)
        question = Question.of(request, **key, normalise=self._normalise)
        return Ask(question, request, purpose, not refresh, newer_than, answers=answers)
