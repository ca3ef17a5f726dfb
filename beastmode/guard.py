"""Watch what came of a champion's decisions, and take it back where it breaks what it was promoted under."""

import json
import logging
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.errors import StoreError
from beastmode.pointer import Baseline, Pointer
from beastmode.store import Store

_LONGEST_LINE = 64 * 2**20
MOST_BEGUN = 100_000
"""Calls under way that are remembered; whose process died never end."""
METRICS = ("errors", "slow answers", "refusals")
SLOW = 0.05
"""The share of answers beyond the 95th percentile."""
Floats = NDArray[np.float64]
_LOG = logging.getLogger("beastmode")
_STEPS: Floats = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
"""From the odds of what is usual to those that are bet on, in logarithms."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A call that ended, as the journal has it."""

    at: datetime
    bundle_sha256: str
    status: str
    error_type: str
    latency_ms: float | None


class Alarm:
    """Sequential test of "a share is at most `usual`": wealth that bets on more, valid at every look and for ever.

    By Ville's inequality the wealth reaches 1 / alpha with a probability of at most alpha while each outcome's chance,
    given what came before, is at most `usual`. A bet of size b multiplies it by 1 + b (x - usual); bets are those of
    the likelihood ratios of shares from `usual` to 1, mixed (Waudby-Smith and Ramdas 2024, section 4). Part 1 / (k (k
    + 1)) of the wealth enters with outcome k, so that a bundle which breaks after a good month is found as well.

    No share is more than 1: where `usual` is, nothing is bet and the alarm is silent. Where it is 0, the first one is
    proof.
    """

    def __init__(self, usual: float, alpha: float) -> None:
        """Raise ValueError unless 0 <= usual and 0 < alpha < 1."""
        if not (usual >= 0 and 0 < alpha < 1):
            raise ValueError(f"alarm: usual = {usual!r} must be 0 or more, and alpha = {alpha!r} between 0 and 1")
        self.usual = usual
        self.alpha = alpha
        self.n = self.hits = 0
        self._hit, self._miss = _bets(usual)
        self._wealth = np.full(len(_STEPS), -np.inf)
        """Logarithms, a bet each, of what has entered."""

    def add(self, hit: bool) -> bool:
        """Count one outcome; returns whether the share is proven above `usual`."""
        self.n += 1
        self.hits += hit
        entering = -np.log(self.n * (self.n + 1.0))
        self._wealth = np.logaddexp(self._wealth, entering) + (self._hit if hit else self._miss)
        return self.log_wealth >= -math.log(self.alpha)

    @property
    def log_wealth(self) -> float:
        """The logarithm of the wealth, what has not entered yet included."""
        waiting = -np.log(self.n + 1.0)
        return float(np.logaddexp(np.logaddexp.reduce(self._wealth) - np.log(len(self._wealth)), waiting))


def _bets(usual: float) -> tuple[Floats, Floats]:
    """Return what each bet's logarithm of wealth gains by a hit, and by none, (bets,) each."""
    if usual >= 1:
        return np.zeros(len(_STEPS)), np.zeros(len(_STEPS))
    if usual == 0:
        return np.full(len(_STEPS), np.inf), np.zeros(len(_STEPS))
    # In odds throughout: 1 - share would be rounded off beside 1.
    odds = math.log(usual) - math.log1p(-usual)
    worse = odds + _STEPS
    return np.logaddexp(0, -odds) - np.logaddexp(0, -worse), np.logaddexp(0, odds) - np.logaddexp(0, worse)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much worse than the baseline is a breach: shares and milliseconds beyond which an alarm may go off."""

    error_margin: float = 0.02
    refusal_margin: float = 0.02
    p95_ratio: float = 1.5
    alpha: float = 0.001
    """The chance that a bundle within its limits is ever taken back; a third for each metric."""

    def __post_init__(self) -> None:
        if not (self.error_margin >= 0 and self.refusal_margin >= 0 and self.p95_ratio > 0 and 0 < self.alpha < 1):
            raise ValueError(f"{self}: margins are 0 or more, p95_ratio is positive, and alpha lies between 0 and 1")


_DEFAULT = Limits()


@dataclass(slots=True)
class Watch:
    """The alarms of one bundle."""

    baseline: Baseline
    limits: Limits
    alarms: tuple[Alarm, ...] = field(init=False)

    def __post_init__(self) -> None:
        known, limits = self.baseline, self.limits
        shares = (known.error_rate + limits.error_margin, SLOW, known.refusal_rate + limits.refusal_margin)
        self.alarms = tuple(Alarm(share, limits.alpha / len(METRICS)) for share in shares)

    @property
    def unguarded(self) -> tuple[str, ...]:
        """The metrics of which any share is allowed: what is usual lies within its margin of 1."""
        return tuple(name for name, alarm in zip(METRICS, self.alarms, strict=True) if alarm.usual >= 1)

    def add(self, outcome: Outcome) -> str | None:
        """Count an outcome; returns the breach in words, or None while there is none."""
        refused = outcome.error_type.startswith("policy_")
        failed = outcome.status in ("failure", "unknown") and outcome.error_type.startswith(("provider_", "router_"))
        seen: list[bool | None] = [failed, None, refused]
        limit = self.baseline.p95_ms * self.limits.p95_ratio
        if outcome.status == "success" and outcome.latency_ms is not None:
            seen[1] = outcome.latency_ms > limit
        for name, alarm, hit in zip(METRICS, self.alarms, seen, strict=True):
            if hit is not None and alarm.add(hit):
                beyond = f" beyond {limit:.0f} ms" if name == METRICS[1] else ""
                return (
                    f"{name}{beyond}: {alarm.hits} of {alarm.n} so far ({alarm.hits / alarm.n:.1%}), lately more than "
                    f"the {alarm.usual:.1%} allowed (always-valid, alpha {self.limits.alpha:g})"
                )
        return None


class Tail:
    """Reads a journal's folder as it grows; each ended call once."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._read: dict[str, int] = {}
        self._begun: dict[str, dict[str, Any]] = {}

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the calls that ended since the last time; raises StoreError where the folder is not there."""
        if not self.path.is_dir():
            raise StoreError(f"journal {self.path}: there is no such folder; name the one that Journal was given")
        for file in sorted(self.path.glob("*.jsonl")):
            with suppress(FileNotFoundError), file.open("rb") as stream:  # Retention may take it meanwhile.
                if os.fstat(stream.fileno()).st_size < self._read.get(file.name, 0):
                    self._read[file.name] = 0  # It was cut, as a rotation by copying does.
                stream.seek(self._read.get(file.name, 0))
                while line := stream.readline(_LONGEST_LINE):
                    if not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
                        break  # Its writer is not done.
                    self._read[file.name] = stream.tell()
                    outcome = self._outcome(line)
                    if outcome is not None:
                        yield outcome

    def _outcome(self, line: bytes) -> Outcome | None:
        try:
            known = json.loads(line)
            kind, native = known.get("kind"), str(known.get("decision_id"))
            if kind == "begin" and known.get("purpose") in ("serve", "canary") and known.get("bundle_sha256"):
                self._begun[native] = {name: known[name] for name in ("at", "bundle_sha256")}
                if len(self._begun) > MOST_BEGUN:
                    del self._begun[next(iter(self._begun))]  # The oldest, which nobody ended.
            begun = self._begun.pop(native, None) if kind == "end" else None
            if begun is None or known.get("cache_tier"):
                return None
            latency = known.get("latency_ms")
            return Outcome(
                _moment(begun["at"]), begun["bundle_sha256"], str(known.get("status")),
                str(known.get("error_type") or ""), None if latency is None else float(latency),
            )  # fmt: skip
        except (StoreError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
            # A torn or foreign line is ingest's to report; a guard goes on watching.
            return None


class Guard:
    """Holds a store's champion, and its challenger, to the baseline of the champion's promotion.

    A champion in breach is rolled back to the previous bundle, and marked, so that no guard returns to it; the pointer
    is left for the registry's alias to be reconciled with. A challenger in breach is stopped. Outcomes count from the
    promotion, or from the experiment's start. Of a metric whose baseline is so bad that none is worse by the margin
    (nearly all calls failed) no breach is possible: it is not guarded, a warning says so, and the others are.
    """

    def __init__(
        self, store: Store, journal: str | Path, baseline: Baseline | None = None, limits: Limits = _DEFAULT
    ) -> None:
        self.store = store
        self.baseline = baseline
        self.limits = limits
        self._tail = Tail(journal)
        self._watches: dict[tuple[str, datetime], Watch] = {}
        """By manifest and since when."""

    def look(self, at: str) -> list[str]:
        """Read what is new, act on a breach, and return what was done, in words; `at` is the moment for the pointer.

        Raises StoreError where there is no champion or baseline, and where a champion in breach has nothing good to
        go back to: it goes on serving, and a person must choose.
        """
        pointer = self._pointer()
        roles = {pointer.manifest_sha256: ("champion", _moment(pointer.at))}
        with suppress(StoreError):
            # An experiment whose file is damaged serves nobody; the champion is guarded all the same.
            trial = self.store.experiment()
            if trial is not None and trial.champion_sha256 == pointer.manifest_sha256:
                roles[trial.manifest_sha256] = ("challenger", _moment(trial.start))
        breaches: dict[str, str] = {}
        for outcome in self._tail.outcomes():
            digest = outcome.bundle_sha256
            if digest not in roles or digest in breaches or outcome.at < roles[digest][1]:
                continue
            breach = self._watch(pointer, digest, roles[digest][1]).add(outcome)
            if breach is not None:
                breaches[digest] = breach
        # The challenger first: a champion that has nothing to go back to raises.
        return [
            self._act(pointer, digest, role, breaches[digest], at)
            for digest, (role, _) in reversed(roles.items())
            if digest in breaches
        ]

    def _pointer(self) -> Pointer:
        pointer = self.store.champion()
        if pointer is None:
            raise StoreError(
                f"{self.store.path}: no champion yet, so there is nothing to guard; promote a bundle first"
            )
        return pointer

    def _watch(self, pointer: Pointer, digest: str, since: datetime) -> Watch:
        key = (digest, since)
        if key not in self._watches:
            baseline = self.baseline or pointer.baseline
            if baseline is None:
                raise StoreError(
                    f"{self.store.path}: the pointer has no baseline; promote with one, or state what is usual "
                    "(--error-rate, --p95-ms, --refusal-rate)"
                )
            watch = self._watches[key] = Watch(baseline, self.limits)
            if watch.unguarded:
                _LOG.warning(
                    "guard of %s: no share of %s is worse by the margin than its baseline (%s), so it is not guarded; "
                    "promote with one of good days, or state what is usual (--error-rate, --p95-ms, --refusal-rate)",
                    self.store.path, " or ".join(watch.unguarded), baseline,
                )  # fmt: skip
        return self._watches[key]

    def _act(self, pointer: Pointer, digest: str, role: str, breach: str, at: str) -> str:
        if role == "challenger":
            stopped = self.store.stop_experiment(f"guard: {breach}", challenger=digest)
            now = self.store.champion()
            if now is None or now.manifest_sha256 != digest:
                return f"experiment {'stopped' if stopped else 'was over already'}: {breach}"
            pointer = now  # It was promoted while its outcomes were read.
        back = self.store.rollback(at, f"guard: {breach}", breach_of=digest)
        return f"rolled back from {pointer.bundle} to {back.bundle}: {breach}"


def _moment(text: str) -> datetime:
    """Return a moment of the store's, UTC where it names no zone; raises StoreError on what is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise StoreError(f"{text!r} is no moment ({error}); promote, or start the experiment, again") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
