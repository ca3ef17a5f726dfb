"""Fill a key once for everyone who asks: in this process by a flight, over all processes by a lease."""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from beastmode.cache import canary
from beastmode.cache.answer import Answer, CachedFailure
from beastmode.cache.entry import Entry
from beastmode.cache.flights import Flights
from beastmode.cache.looking import Ask, Looker
from beastmode.cache.making import filled_entry, refusal_entry
from beastmode.cache.miss import Lead, Miss, Seat, Tape, Unkept
from beastmode.cache.steps import LATE, Block, Call, Join, Pause, Spawn, Steps
from beastmode.errors import CacheError
from beastmode.journal import Journal
from beastmode.recording import Recording
from beastmode.records import Decision, Plan

_LOG = logging.getLogger("beastmode")
Fill = Callable[[Miss], Any]

CACHE = Plan.single("cache")
"""The action of a request that a tier served."""
FIRST_PAUSE, MOST_PAUSE = 0.002, 0.05
"""Seconds between two looks whether another process has filled the key."""


@dataclass(frozen=True, slots=True)
class Filler:
    """Leads fills, and follows those of others."""

    looker: Looker
    flights: Flights
    journal: Journal | None

    def fetching(self, ask: Ask, fill: Fill) -> Steps[Answer]:
        """Find an answer or fill the key."""
        arrived = yield from self.arriving(ask, fill)
        if isinstance(arrived, Answer):
            return arrived
        try:
            value = yield Call(lambda: fill(arrived.miss))
        except BaseException as error:
            yield from self.failing(ask, arrived, error)
            hit = self.spared(ask, error)
            if hit is None:
                raise
            return hit
        return (yield from self.keeping(ask, arrived, value))

    def arriving(self, ask: Ask, fill: Fill) -> Steps[Answer | Lead]:
        """Return an answer, or the lead of a fill, which must be kept or failed."""
        ask.began = self.looker.clock.monotonic()
        try:
            arrived: Answer | Lead | None = None
            if ask.look:
                certain = self.looker.router is None or self.looker.settings.half_life_seconds is None
                arrived = self.looker.at_hand(ask.question) if certain else None
                arrived = arrived or (yield Block(lambda: self.looker.look(ask)))
            if arrived is None:
                arrived = yield from self._queueing(ask)
        except Exception as error:
            hit = self.spared(ask, error)
            if hit is not None:
                return hit
            if isinstance(error, CachedFailure):
                self._note(ask, error.tier, str(error), error)
            raise
        if isinstance(arrived, Lead):
            return arrived
        if arrived.stale and not self.flights.busy(ask.question.key):
            yield Spawn(self.fetching(Ask(ask.question, ask.request, "warm", look=False, answers=ask.answers), fill))
        why = f"{arrived.tier} hit, {arrived.age_seconds:.1f} s old{', stale' if arrived.stale else ''}"
        why = why if ask.worth is None else f"{why}; {ask.worth.reason}"
        return replace(arrived, decision=self._note(ask, str(arrived.tier), why))

    def keeping(self, ask: Ask, lead: Lead, value: Any) -> Steps[Answer]:
        """Hold what the fill returned, a value or a stream's tape, and let everyone go on."""
        looker, entry = self.looker, None
        try:
            lead.miss.attempt.__exit__(None, None, None)
            entry = filled_entry(looker, ask.question, lead, value)
            if entry is not None:
                yield Block(lambda: looker.hold(ask.question, entry, ask.vector))
        except CacheError as error:
            _LOG.warning("cache: %s; the answer is passed on and not held", error)
        finally:
            yield from self._leave(lead.seat, entry, None)
        if ask.canary is not None and ask.canary.entry is not None:
            new = value if entry is None else canary.said(entry)
            yield from self._judging(ask, ask.canary, canary.said(ask.canary.entry), new, lead.miss.decision)
        return Answer(entry, decision=lead.miss.decision, fresh=value)

    def failing(self, ask: Ask, lead: Lead, error: BaseException) -> Steps[None]:
        """Note what the fill raised, hold it for a moment where it would only be repeated, and let everyone go on."""
        refusal = None
        try:
            lead.miss.attempt.__exit__(type(error), error, error.__traceback__)
            # Whom a canary spares the failure, it spares the others who ask the same too.
            held = lead.miss.keep and ask.canary is None
            refusal = refusal_entry(self.looker, ask.question, error) if held else None
            if refusal is not None:
                yield Block(lambda: self.looker.refuse(refusal))
        finally:
            yield from self._leave(lead.seat, None, None if refusal is None else error)

    def spared(self, ask: Ask, error: BaseException) -> Answer | None:
        """Return the hit that would have been served but for its canary, on which asking failed; None without one."""
        hit = ask.canary
        if hit is None or not isinstance(error, Exception):
            return None
        why = f"semantic hit, {hit.age_seconds:.1f} s old; the model failed on its canary"
        return replace(hit, decision=self._note(ask, "semantic", why))

    def _judging(self, ask: Ask, hit: Answer, held: Any, new: Any, decision: Decision) -> Steps[None]:
        """Find out whether a held answer agrees with the model's new one, and journal it."""
        semantic = self.looker.semantic
        # Of a stream that was too long to hold nothing is left to compare.
        if semantic is None or isinstance(new, Tape):
            return
        agreed = yield Block(lambda: semantic.judge(held, new))
        if agreed is not None and self.journal is not None:
            canary.note(self.journal, ask.question, decision, hit, agreed, semantic.looks())

    def _queueing(self, ask: Ask) -> Steps[Answer | Lead]:
        """Wait for whoever fills the key, or become the one who does."""
        clock = self.looker.clock
        deadline = clock.monotonic() + self.looker.settings.wait_seconds
        while True:
            flight, mine = self.flights.board(ask.question.key, clock.now())
            if mine:
                break
            entry = yield Join(flight, deadline - clock.monotonic())
            if entry is LATE:
                return (yield from self._leading(ask, Seat(ask.question.key)))
            if entry is None or (ask.newer_than is not None and flight.began < ask.newer_than):
                continue
            # Whoever asks after an invalidation must not get what was asked for before it.
            if not entry.tags or (yield Block(partial(self.looker.layers.allowed, entry, unknown=True))):
                return self.looker.answer(entry, "fill", clock.now())
        seat = Seat(ask.question.key, secrets.token_hex(8), flight)
        try:
            found = yield from self._leasing(ask, seat, deadline)
            if found is None:
                return (yield from self._leading(ask, seat))
        except BaseException as error:
            yield from self._leave(seat, None, error if isinstance(error, CachedFailure) else None)
            raise
        yield from self._leave(seat, found.entry, None)
        return found

    def _leasing(self, ask: Ask, seat: Seat, deadline: float) -> Steps[Answer | None]:
        """Wait until the key is this process's to fill (None), or until another process has filled it."""
        looker, pause = self.looker, FIRST_PAUSE
        seconds = looker.settings.lease_seconds
        while True:
            leased = yield Block(lambda: looker.layers.lease(seat.key, seat.owner, seconds))
            # Looked for once more under the lease: whoever had it before may have filled the key just now.
            found: Answer | None = yield Block(lambda: looker.filled(ask))
            if found is not None or leased or looker.clock.monotonic() > deadline:
                return found
            yield Pause(pause)
            pause = min(1.5 * pause, MOST_PAUSE)

    def _leading(self, ask: Ask, seat: Seat) -> Steps[Lead]:
        """Begin the attempt of a fill."""
        router = self.looker.router
        if ask.decision is None and router is not None:
            ask.decision = router.route(ask.request)
        decision = ask.decision or Decision(
            request=ask.request, plan=Plan.single(ask.question.partition.model), probabilities={}, propensity=None,
            policy="application", bundle_sha256=None, predictions=(), reason="the application named the model",
        )  # fmt: skip
        snapshot = yield Block(self.looker.layers.snapshot)
        attempt = Recording(self.journal or Unkept(), decision, purpose=ask.purpose, parent=None)
        miss = Miss(attempt.__enter__())
        if ask.answers is not None and router is not None and router.answers_as(ask.request) != ask.answers:
            miss.skip()  # Another bundle or arm answers by now, and its answer is none of this partition's.
        return Lead(miss, seat, snapshot, self.looker.clock.now())

    def _leave(self, seat: Seat, entry: Entry | None, error: BaseException | None) -> Steps[None]:
        """Give the lease back, and let those who wait go on."""
        if seat.flight is None:
            return
        try:
            yield Block(lambda: self.looker.layers.release(seat.key, seat.owner))
        finally:
            self.flights.land(seat.key, seat.flight, entry, error)

    def _note(self, ask: Ask, tier: str, why: str, failure: CachedFailure | None = None) -> Decision:
        """Journal that the cache served, as an action of its own: no candidate was drawn, so none is judged by it."""
        known = ask.decision
        decision = Decision(
            request=ask.request, plan=CACHE, probabilities={}, propensity=None, policy="cache",
            bundle_sha256=None if known is None else known.bundle_sha256,
            predictions=() if known is None else known.predictions, reason=why,
        )  # fmt: skip
        if self.journal is not None:
            with self.journal.attempt(decision, purpose=ask.purpose) as attempt:
                attempt.began_before(self.looker.clock.monotonic() - ask.began)
                attempt.cached(tier, None if failure is None else failure.error_type, why)
        return decision
