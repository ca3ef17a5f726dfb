"""Choose a candidate for each request: the module that an application calls."""

import os
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from beastmode.bundle import Bundle
from beastmode.deciding import Side, pick
from beastmode.errors import BundleError, RoutingError
from beastmode.forks import renew_after_fork
from beastmode.loading import load_bundle
from beastmode.records import Decision, Endpoint, Message, Request
from beastmode.serving import Outlook, Serving
from beastmode.sessions import Sessions
from beastmode.signing import PublicKey

if TYPE_CHECKING:
    from beastmode.arms import Dealing
    from beastmode.experiment import Challenge
    from beastmode.explanation import Explanation
    from beastmode.follower import Follower
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
        `remember_sessions` the last so many sessions are known: what the candidate of the last turn has in its
        provider's prompt cache makes it cheaper for the next, and a turn stays with it where the policy prefers it so;
        such turns carry `sticky_from` and no propensity.
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
        challenger: str | Path | None = None,
        share: float = 0.0,
        dealing: "Dealing | None" = None,
        public_key: PublicKey | None = None,
    ) -> Self:
        """Load a router from a bundle's folder, a store, or a registry (`models:/NAME@ALIAS`, `models:/NAME/VERSION`).

        A registry is read over MLflow's REST interface, where MLFLOW_TRACKING_URI points; `cache` is the folder that
        keeps what was fetched and verified. `challenger` is put to trial on a `share` of the sessions, or as `dealing`
        says (units, ramp, shadow). With `public_key`, what its private key did not sign is refused. Raises BundleError,
        StoreError or RegistryError with the remedy.
        """
        challenge = None
        if challenger is not None:
            from beastmode.experiment import Challenge

            challenge = Challenge.of(load_bundle(challenger, None, cache, public_key), share, dealing)
        elif share or dealing is not None:
            raise BundleError("load: a share or a dealing needs a challenger; name the challenger's bundle")
        bundle = load_bundle(source, sha256, cache, public_key)
        router = cls(
            bundle, seed, quality_ratio=quality_ratio, guaranteed=guaranteed, remember_sessions=remember_sessions
        )
        router.swap(bundle, challenge)
        return router

    @classmethod
    def follow(
        cls,
        store: "str | Path | Store",
        every_seconds: float = 5.0,
        *,
        seed: int | None = None,
        quality_ratio: float | None = None,
        guaranteed: bool = False,
        remember_sessions: int = 0,
        public_key: PublicKey | None = None,
    ) -> Self:
        """Serve a store's champion, and the next one as soon as the pointer moves; the last good one stays otherwise.

        The experiment of the store is served too, from its start to its end. The store is read by a thread of its own.
        Close the router, or use it as a context manager, to end it. With `public_key`, what is unsigned is not served.
        Raises StoreError or BundleError when there is no good champion to begin with.
        """
        from beastmode.follower import Follower
        from beastmode.store import Store

        store = store if isinstance(store, Store) else Store(store)
        follower = Follower(store, every_seconds, public_key)
        first = follower.first()
        router = cls(
            first, seed, quality_ratio=quality_ratio, guaranteed=guaranteed, remember_sessions=remember_sessions
        )
        router._follower = follower
        follower.look(router.swap)
        follower.start(router.swap)
        return router

    @property
    def bundle(self) -> Bundle:
        """The bundle that serves now."""
        self._resume()
        return self._serving.bundle

    def answers_as(self, request: Request) -> str:
        """Return what a request is answered by: the bundle, the policy and the objective of its arm."""
        self._resume()
        trial = self._trial
        return (self._serving if trial is None else trial.serving(request)).identity

    @property
    def answering(self) -> tuple[str, ...]:
        """All that requests are answered by now: what serves, or each arm of an experiment."""
        self._resume()
        trial = self._trial
        return (self._serving.identity,) if trial is None else (trial.champion.identity, trial.challenger.identity)

    def endpoint(self, candidate: str) -> Endpoint:
        """Return where a candidate answers, for a fallback; raises RoutingError on an unknown name."""
        serving = self._serving
        return serving.endpoints[serving.column(candidate)]

    def swap(self, bundle: Bundle, challenge: "Challenge | None" = None) -> None:
        """Serve another bundle, and try a challenger, from the next request on; requests under way end as they began.

        Raises BundleError, and changes nothing, where one of them lacks the operating point that is served.
        """
        serving = Serving.of(self._at_point(bundle))
        trial = None
        if challenge is not None:
            from beastmode.trial import Trial

            trial = Trial(serving, Serving.of(self._at_point(challenge.bundle)), challenge.dealing)
        self._serving, self._trial = serving, trial

    def _at_point(self, bundle: Bundle) -> Bundle:
        if self._guaranteed:
            return bundle.guaranteed()
        return bundle if self._quality_ratio is None else bundle.at(self._quality_ratio)

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
            followed = self._follower
            return Router.follow(followed.store, followed.every_seconds, public_key=followed.public_key, **options)
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

    def route(
        self,
        prompt: Prompt,
        *,
        allow: Collection[str] | None = None,
        deny: Collection[str] | None = None,
        remember: bool = True,
        **known: Any,
    ) -> Decision:
        """Return the decision for a prompt, chat messages or a Request.

        `allow` names the candidates that may be taken, `deny` those that may not; `known` are further fields of the
        request (tenant, session_id, needs, ...). Who may not ask after all does not `remember` it yet. Raises
        RoutingError, saying why of each, where none is eligible.
        """
        self._resume()
        request = Request.of(prompt, **known)
        warm = self._sessions.warm(request)

        def ask(serving: Serving) -> Outlook:
            return serving.outlook(request, allow, deny, warm)

        trial = self._trial
        if trial is None:
            serving = self._serving
            decision = Side.of(serving, ask(serving)).decide(request, self._draw)
        else:
            decision = trial.decide(request, ask, self._draw)
        if remember:
            self.remember(decision)
        return decision

    def remember(self, decision: Decision) -> None:
        """Note that a decision's candidate is asked, which its session's next turn may stay with."""
        self._sessions.keep(decision)

    def forget(self, session_id: str) -> None:
        """Take a session for new: its last turn failed, or was answered elsewhere, and no prompt is cached there."""
        self._sessions.forget(session_id)

    def explain(
        self,
        prompt: Prompt | Decision,
        *,
        allow: Collection[str] | None = None,
        deny: Collection[str] | None = None,
        **known: Any,
    ) -> "Explanation":
        """Return what speaks for and against each candidate, and what would have to change; nothing is drawn.

        A prompt is explained as the champion sees it now; a decision, by the bundle of its arm and with what was known
        of its session when it was made. Raises BundleError where that bundle serves no more.
        """
        from beastmode.explanation import explain

        self._resume()
        serving, trial = self._serving, self._trial
        if isinstance(prompt, Decision):
            if allow is not None or deny is not None or known:
                raise RoutingError("explain: a decision has its lists and its request's fields; leave them out")
            made, sides = prompt, (serving,) if trial is None else (trial.champion, trial.challenger)
            by = next((s for s in sides if (s.bundle.sha256, s.policy) == (made.bundle_sha256, made.policy)), None)
            if by is None:
                raise BundleError(f"explain: {made.policy}, which made decision {made.decision_id}, serves no more")
            drawn = np.array([made.probabilities.get(name, 0.0) for name in by.names])
            return explain(by.bundle, made.request, made.predictions, drawn, made.excluded)
        request = Request.of(prompt, **known)
        outlook = serving.outlook(request, allow, deny, self._sessions.warm(request))
        chances = serving.bundle.policy.probabilities(outlook.expected.utility, outlook.eligible)[0]
        return explain(serving.bundle, request, serving.predictions(outlook.expected), chances, outlook.excluded)

    def _draw(self, chances: Sequence[float]) -> int:
        with self._lock:
            uniform = self._random.random()
        return pick(chances, uniform)

    def after_fork(self) -> None:
        """Draw from a stream of its own in a forked child: two that drew the same numbers would explore as one."""
        self._lock = threading.Lock()
        self._sessions.after_fork()
        self._random = Random(None if self._seed is None else f"{self._seed} {os.getpid()}")
        self._forked = True

    def _resume(self) -> None:
        """Follow the store in a forked child too, once it is used: threads do not survive a fork."""
        if not self._forked:
            return
        with self._lock:
            if self._forked and self._follower is not None:
                self._follower.start(self.swap)
            self._forked = False
