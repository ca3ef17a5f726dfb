"""Whether a stored question means the same as the one asked: the role of a verifier, and the plainest of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from beastmode.errors import CacheError


class Verifier(Protocol):
    """Scores a pair of questions; from `threshold` on the stored answer is served.

    One that also has `scores(pairs)` is asked about all candidates of a lookup at once.
    """

    @property
    def threshold(self) -> float:
        """The least score that is accepted."""

    def accepts(self, question: str, stored_question: str, cosine: float) -> float:
        """Return a score for serving `question` what was answered to `stored_question`."""


def scores(verifier: Verifier, pairs: Sequence[tuple[str, str, float]]) -> list[float]:
    """Return the score of each pair (question, stored question, cosine), in one call where the verifier has one."""
    at_once = getattr(verifier, "scores", None)
    return [verifier.accepts(*pair) for pair in pairs] if at_once is None else [float(one) for one in at_once(pairs)]


@dataclass(frozen=True, slots=True)
class Cosine:
    """Takes the cosine for the score. No threshold keeps `enable 2FA` from `disable 2FA`: prefer a learned verifier."""

    threshold: float = 0.97

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise CacheError(f"Cosine: threshold = {self.threshold!r} must lie in (0, 1]")

    def accepts(self, question: str, stored_question: str, cosine: float) -> float:
        """Return the cosine."""
        return cosine
