"""Which arm of an experiment a request belongs to, and with what probability, exactly."""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from beastmode.errors import StoreError
from beastmode.records import Request

CHAMPION, CHALLENGER = "champion", "challenger"
UNITS = ("session", "user", "tenant")
MODES = ("shadow", "canary")


@dataclass(frozen=True, slots=True)
class Step:
    """From a moment on, a share of the units."""

    at: datetime
    share: float


@dataclass(frozen=True, slots=True)
class Dealing:
    """How units are dealt to arms: a salted hash of the unit, a number in [0, 1), against the share in force.

    The number of a unit is the same at every share, so a share that rises takes further units to the challenger and
    sends none back. Raises StoreError on shares outside of [0, 1], an unknown unit or mode, and steps out of order.
    """

    salt: str
    ramp: tuple[Step, ...]
    """By rising moment, and by a share that never falls; before the first step the share is zero."""
    unit: str = "session"
    mode: str = "canary"

    def __post_init__(self) -> None:
        if self.unit not in UNITS or self.mode not in MODES:
            raise StoreError(
                f"experiment: unit {self.unit!r} and mode {self.mode!r}; "
                f"units are {', '.join(UNITS)}, modes {', '.join(MODES)}"
            )
        if not self.ramp or any(step.at.tzinfo is None or not 0 <= step.share <= 1 for step in self.ramp):
            raise StoreError(f"experiment: ramp {self.ramp} needs steps with a time zone and a share in [0, 1]")
        for before, after in zip(self.ramp, self.ramp[1:], strict=False):
            if after.at <= before.at or after.share < before.share:
                raise StoreError(f"experiment: the ramp goes back at {after.at.isoformat()}; moments and shares rise")

    def share(self, at: datetime) -> float:
        """Return the challenger's share of the units at a moment."""
        past = bisect_right(self.ramp, at, key=lambda step: step.at)
        return self.ramp[past - 1].share if past else 0.0

    def unit_of(self, request: Request) -> str:
        """Return what is dealt: `request.unit` where it is named, else what the experiment deals by.

        That is the session, the user (`context["user"]`) or the tenant; a request without one is a unit of its own.
        """
        known = {"session": request.session_id, "user": request.context.get("user"), "tenant": request.tenant}
        return request.unit or known[self.unit] or request.request_id

    def place(self, unit: str) -> float:
        """Return a unit's place in [0, 1), uniform over units and independent between salts."""
        digest = hashlib.sha256(f"{self.salt}\0{unit}".encode("utf-8", "surrogatepass")).digest()
        return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)

    def arm(self, unit: str, at: datetime) -> tuple[str, float]:
        """Return the arm that serves a unit at a moment, and the probability of that arm there and then."""
        share = self.share(at)
        return (CHALLENGER, share) if self.place(unit) < share else (CHAMPION, 1.0 - share)


def steps(known: Sequence[tuple[str, float]]) -> tuple[Step, ...]:
    """Return a ramp from pairs of an ISO moment and a share; raises StoreError on what is none."""
    try:
        return tuple(Step(datetime.fromisoformat(at), float(share)) for at, share in known)
    except (TypeError, ValueError) as error:
        raise StoreError(f"experiment: ramp {known!r} is no list of [moment, share] ({error})") from error
