"""Choose a candidate for each request: the module that an application calls."""

import os
import threading
from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from beastmode.bundle import Bundle
from beastmode.errors import BundleError
from beastmode.explanation import Explanation, explain, reason
from beastmode.follower import Follower
from beastmode.forks import renew_after_fork
from beastmode.loading import load_bundle
from beastmode.records import Decision, Endpoint, Message, Request
from beastmode.serving import Serving
from beastmode.sessions import Kept, Sessions
from beastmode.store import Store

Prompt = str | Sequence[Message] | Request


class Router:
    """Draws a plan for each request, under the policy of one bundle, and says with what probability it did.

    Safe for threads and after a fork. `route` reads no disk, opens no connection and changes nothing but the state of
    the random generator and, with `remember_sessions`, the memory of who was sent where.
    """

    def __init__(
        self,
        bundle: Bundle,
        seed: int | None = None,
        *,
        quality_ratio: float | None = None,
        guaranteed: bool = False,
        remember_sessions: int = 0,
    ) -> None:
        """Serve a bundle.

        `seed` makes the draws repeatable. `quality_ratio` takes the bundle's operating point that keeps this share of
        the best single candidate's quality; `guaranteed` takes the one that was certified instead. With
        `remember_sessions` the last so many sessions stay with the candidate they were first given: such turns carry
        `sticky_from` and no propensity.
        """
        if guaranteed and quality_ratio is not None:
            raise BundleError(f"give either guaranteed or quality_ratio = {quality_ratio:g}: a bundle serves one point")
        self._quality_ratio = quality_ratio
        self._guaranteed = guaranteed
        self._sessions = Sessions(remember_sessions)
        self._seed = seed
        self._lock = threading.Lock()
        self._forked = False
        self._random = Random(seed)
        self._follower: Follower | None = None
        self.swap(bundle)
        renew_after_fork(self)

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        sha256: str | None = None,
        seed: int | None = None,
        quality_ratio: float | None = None,
        guaranteed: bool = False,
        remember_sessions: int = 0,
        cache: str | Path | None = None,
    ) -> Self:
        """Load a router from a bundle's folder, a store, or a registry (`models:/NAME@ALIAS`, `models:/NAME/VERSION`).

        A registry is read over MLflow's REST interface, where MLFLOW_TRACKING_URI points; `cache` is the folder that
        keeps what was fetched and verified. Raises BundleError, StoreError or RegistryError with the remedy.
        """
        bundle = load_bundle(source, sha256, cache)
        return cls(
            bundle, seed, quality_ratio=quality_ratio, guaranteed=guaranteed, remember_sessions=remember_sessions
        )

    @classmethod
    def follow(
        cls,
        store: str | Path | Store,
        every_seconds: float = 5.0,
        *,
        seed: int | None = None,
        quality_ratio: float | None = None,
        guaranteed: bool = False,
        remember_sessions: int = 0,
    ) -> Self:
        """Serve a store's champion, and the next one as soon as the pointer moves; the last good one stays otherwise.

        The pointer is read by a thread of its own. Close the router, or use it as a context manager, to end it.
        Raises StoreError or BundleError when there is no good champion to begin with.
        """
        store = store if isinstance(store, Store) else Store(store)
        follower = Follower(store, every_seconds)
        first = follower.first()
        router = cls(
            first, seed, quality_ratio=quality_ratio, guaranteed=guaranteed, remember_sessions=remember_sessions
        )
        router._follower = follower
        follower.start(router.swap)
        return router

    @property
    def bundle(self) -> Bundle:
        """The bundle that serves now."""
        return self._serving.bundle

    def endpoint(self, candidate: str) -> Endpoint:
        """Return where a candidate answers, for a fallback; raises RoutingError on an unknown name."""
        serving = self._serving
        return serving.endpoints[serving.column(candidate)]

    def swap(self, bundle: Bundle) -> None:
        """Serve another bundle from the next request on; requests under way keep the one they began with."""
        chosen = bundle if self._quality_ratio is None else bundle.at(self._quality_ratio)
        if self._guaranteed:
            chosen = bundle.guaranteed()
        self._serving = Serving.of(chosen)

    def at(self, quality_ratio: float | None = None, *, guaranteed: bool = False) -> "Router":
        """Return a router at an operating point: the cheapest that keeps this share of the best single's quality.

        `guaranteed` asks for the certified one instead. Raises BundleError naming the points that the bundle has, or
        why none is certified. It follows the store where this one does.
        """
        options: dict[str, Any] = {
            "seed": self._seed, "quality_ratio": quality_ratio, "guaranteed": guaranteed,
            "remember_sessions": self._sessions.most,
        }  # fmt: skip
        if self._follower is not None:
            return Router.follow(self._follower.store, self._follower.every_seconds, **options)
        return Router(self.bundle, **options)

    def close(self) -> None:
        """Stop following; the router goes on serving what it has."""
        if self._follower is not None:
            self._follower.close()
            self._follower = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def route(self, prompt: Prompt, *, allow: Collection[str] | None = None, **known: Any) -> Decision:
        """Return the decision for a prompt, chat messages or a Request.

        `allow` names the candidates that may be taken; `known` are further fields of the request (tenant, session_id,
        needs, ...). Raises RoutingError, saying why of each, where no candidate is eligible.
        """
        serving = self._serving
        request = Request.of(prompt, **known)
        outlook = serving.outlook(request, allow)
        policy = serving.bundle.policy
        chances = policy.probabilities(outlook.expected.utility, outlook.eligible)[0].tolist()
        kept = self._sessions.get(request.session_id)
        if kept is not None and (kept.candidate in outlook.excluded or kept.candidate not in serving.names):
            kept = None
        column = self._draw(chances) if kept is None else serving.column(kept.candidate)
        may = outlook.eligible[0].tolist()
        decision = Decision(
            request=request,
            plan=serving.plans[column],
            probabilities={name: p for name, p, yes in zip(serving.names, chances, may, strict=True) if yes},
            propensity=chances[column] if kept is None else None,
            policy=serving.policy,
            bundle_sha256=serving.bundle.sha256,
            predictions=serving.predictions(outlook.expected),
            reason=reason(serving.bundle, column, outlook.expected.utility[0], may, chances, kept is not None),
            excluded=outlook.excluded,
            sticky_from=None if kept is None else kept.decision_id,
            endpoint=serving.endpoints[column],
        )
        if kept is None:
            self._sessions.keep(request.session_id, Kept(decision.candidate, decision.decision_id))
        return decision

    def explain(self, prompt: Prompt, *, allow: Collection[str] | None = None, **known: Any) -> Explanation:
        """Return what speaks for and against each candidate, and what would have to change; nothing is drawn."""
        serving = self._serving
        request = Request.of(prompt, **known)
        outlook = serving.outlook(request, allow)
        chances = serving.bundle.policy.probabilities(outlook.expected.utility, outlook.eligible)[0]
        return explain(serving.bundle, request, serving.predictions(outlook.expected), chances, outlook.excluded)

    def _draw(self, chances: Sequence[float]) -> int:
        with self._lock:
            if self._forked:
                self._resume()
            uniform = self._random.random()
        ends = list(accumulate(chances))
        column = bisect_right(ends, uniform * ends[-1])
        # The product may round up to the very end of the last interval.
        return column if column < len(ends) else max(i for i, chance in enumerate(chances) if chance > 0)

    def after_fork(self) -> None:
        """Draw from a stream of its own in a forked child: two that drew the same numbers would explore as one."""
        self._lock = threading.Lock()
        self._sessions.after_fork()
        self._random = Random(None if self._seed is None else f"{self._seed} {os.getpid()}")
        self._forked = True

    def _resume(self) -> None:
        """Follow the store in a forked child too, once it routes: threads do not survive a fork."""
        self._forked = False
        if self._follower is not None:
            self._follower.start(self.swap)
