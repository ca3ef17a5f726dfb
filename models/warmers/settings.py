"""What a warmer is trained for: how long answers live, how often prefills are planned, how much may be spent."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmerSettings:
    """A cache without bound whose answers die, and how its warmers learn."""

    window_seconds: float = 3600.0
    """Prefills are planned at the beginning of each."""
    ttl_seconds: float = 6 * 3600.0
    """How long an answer lives, from when it was fetched; at least a window."""
    flush_seconds: float | None = None
    """The cache is emptied at multiples of this, itself a multiple of the window; never where it is None."""
    budgets: tuple[float, ...] = (0.1, 0.2, 0.4)
    """Prefills a request."""
    alpha: float = 0.05
    """The chance that the lower bound of the learned warmer's lead errs."""
    later_share: float = 0.4
    """The later part of the past, which judges what was trained on the earlier."""
    candidates: int = 2000
    """Keys that the learner ranks anew, the best of the heuristic that it corrects; the others keep its order. So many
    of a window teach."""
    moments: int = 60
    """The most windows that it learns from."""
    follow: bool = True
    """Whether who warms also fetches between plans, what follows the requests that come."""
    follow_after: float = 5.0
    """Seconds until an answer is there that is fetched for what was just asked."""
    follow_within: float = 60.0
    """What is asked within so many seconds of a request follows it."""
    rounds: int = 80
    leaves: int = 7
    rate: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.window_seconds <= self.ttl_seconds:
            raise ValueError(
                f"warmer: window_seconds = {self.window_seconds} must be above 0 and at most "
                f"ttl_seconds = {self.ttl_seconds}"
            )
        if self.flush_seconds is not None and self.flush_seconds % self.window_seconds:
            raise ValueError(
                f"warmer: flush_seconds = {self.flush_seconds} must be a multiple of "
                f"window_seconds = {self.window_seconds}"
            )
