"""What a router says of requests that no fit had seen, beside what came true of every candidate."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from beastmode.bundle import Bundle, Expectation
from features.table import Table

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Predictions for `n` requests that no fit had seen, beside what came true; all matrices (n, m)."""

    quality: Floats
    """NaN where a candidate of the training rows is hardly known."""
    cost_usd: Floats
    """As observed, else as predicted."""
    expected_quality: Floats
    expected_cost_usd: Floats
    expected_latency_ms: Floats

    def __len__(self) -> int:
        return len(self.quality)

    @property
    def reference(self) -> int:
        """The best single candidate by quality."""
        return int(np.argmax(np.nan_to_num(self.quality.mean(axis=0), nan=-1.0)))

    @classmethod
    def of(cls, expected: Expectation, quality: Floats, cost_usd: Floats) -> Self:
        """Return what a bundle expects of requests beside their outcomes."""
        cost = np.where(np.isfinite(cost_usd), cost_usd, expected.cost_usd)
        return cls(quality, cost, expected.quality, expected.cost_usd, expected.latency_ms)


def rehearse(bundle: Bundle, table: Table, seed: int) -> tuple[Table, Rehearsal]:
    """Return the requests of a table that can certify a bundle, and what it expects of them.

    Those are the requests of which every candidate's quality was observed, so that what a router chose to ask does not
    pick them, and one at random for each prompt (normalised text) and session, so that they are independent. Where the
    table lacks a candidate of the bundle there are none.
    """
    columns = [table.candidates.index(c.name) for c in bundle.candidates if c.name in table.candidates]
    complete = np.isfinite(table.quality[:, columns]).all(axis=1) & (len(columns) == len(bundle.candidates))
    kept = table.take(independent(table, np.flatnonzero(complete), seed))
    if not len(kept):
        return kept, Rehearsal(*(np.zeros((0, len(bundle.candidates))) for _ in range(5)))
    expected = bundle.expect(kept.texts, kept.expected_tokens)
    return kept, Rehearsal.of(expected, kept.quality[:, columns], kept.cost_usd[:, columns])


def independent(table: Table, rows: NDArray[np.intp], seed: int) -> NDArray[np.intp]:
    """Return some of the rows, in order, no two of which share a prompt or a session; the draw is random."""
    prompts, sessions = table.prompts, table.sessions
    seen: set[tuple[str, str]] = set()
    kept = []
    for row in np.random.default_rng(seed).permutation(rows).tolist():
        names = {("session", str(sessions[row]))} | ({("prompt", str(prompts[row]))} if prompts[row] else set())
        if not names & seen:
            kept.append(row)
        seen |= names
    return np.sort(np.array(kept, dtype=np.intp))
