"""What an experiment saw: one row a decision, in time order, credited to the arm that its unit was dealt to."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from beastmode.interactions import Interaction
from beastmode.objective import Objective

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

CHAMPION, CHALLENGER = "champion", "challenger"
METRICS = ("utility", "quality", "cost_usd", "latency_ms")
LOWER_IS_BETTER = ("cost_usd", "latency_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Decisions of an experiment in time order; all arrays (n,)."""

    arm: NDArray[np.str_]
    """champion or challenger: what the unit was dealt to, whatever answered in the end (intention to treat)."""
    arm_probability: Floats
    """The probability of that arm at that moment: a ramp changes it."""
    unit: NDArray[np.str_]
    """What was dealt: rows of one unit are not independent."""
    quality: Floats
    """NaN where no feedback came."""
    cost_usd: Floats
    """Of all attempts; NaN where unpriced."""
    latency_ms: Floats
    """Until the answer that was served, fallbacks included."""
    error: Flags
    refused: Flags
    logged: Flags
    """Whether an outcome of the decision reached the log at all."""
    expected: Mapping[str, Floats] = field(default_factory=dict)
    """By metric, what was predicted of the request before any arm answered it: the same function in both arms."""

    def __post_init__(self) -> None:
        n = len(self.arm)
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "expected"}
        for name, values in (*arrays.items(), *((f"expected {k}", v) for k, v in self.expected.items())):
            if values.shape != (n,):
                raise ValueError(f"experiment rows: {name} has shape {values.shape}, expected {(n,)}")
        unknown = sorted(set(self.expected) - set(METRICS))
        if unknown:
            raise ValueError(f"experiment rows: predictions of {unknown[0]!r}; known metrics: {', '.join(METRICS)}")
        strange = sorted(set(np.unique(self.arm).tolist()) - {CHAMPION, CHALLENGER})
        if strange:
            raise ValueError(f"experiment rows: arm {strange[0]!r} is neither {CHAMPION} nor {CHALLENGER}")
        if not ((self.arm_probability > 0) & (self.arm_probability < 1)).all():
            raise ValueError("experiment rows: every arm_probability must lie between 0 and 1; rows that no draw dealt "
                             "(before the experiment, or sticky to an earlier choice) are not part of it")  # fmt: skip

    def __len__(self) -> int:
        return len(self.arm)

    def outcome(self, metric: str, objective: Objective) -> Floats:
        """Return a metric's outcomes, (n,), NaN where unknown; utility by the objective's prices."""
        if metric == "utility":
            return np.where(self.logged, objective.utility(self.quality, self.cost_usd, self.latency_ms), np.nan)
        values: Floats = getattr(self, metric)
        return np.where(self.logged, values, np.nan)

    def expectation(self, metric: str, objective: Objective) -> Floats | None:
        """Return what was predicted of a metric, (n,), or None where nothing was."""
        if metric == "utility" and "quality" in self.expected:
            known = self.expected
            return objective.utility(known["quality"], known.get("cost_usd"), known.get("latency_ms"))
        return self.expected.get(metric)

    @classmethod
    def of(
        cls,
        interactions: Iterable[Interaction],
        quality: Mapping[str, float],
        expected: Mapping[str, Mapping[str, float]] | None = None,
    ) -> Self:
        """Return the rows of interactions that an experiment dealt, in time order, by intention to treat.

        `quality` is by request id, and `expected` by metric and request id. A decision whose arm is sure (probability
        1, no draw) is left out. A failure of which no feedback speaks answered nothing: its quality is 0.
        """
        dealt = [i for i in interactions if i.arm is not None and 0 < (i.arm_probability or 0.0) < 1]
        dealt.sort(key=lambda i: (i.at, i.request_id))

        def column(values: Iterable[Any], kind: type) -> NDArray[Any]:
            return np.array(list(values), dtype=kind)

        return cls(
            arm=column((i.arm for i in dealt), str),
            arm_probability=column((i.arm_probability for i in dealt), float),
            unit=column((i.unit or i.session_id or i.request_id for i in dealt), str),
            quality=column((quality.get(i.request_id, _unspoken(i)) for i in dealt), float),
            cost_usd=column((_total(i, "cost_usd") for i in dealt), float),
            latency_ms=column((_total(i, "latency_ms") for i in dealt), float),
            error=column((i.status == "failure" for i in dealt), bool),
            refused=column(((i.error_type or "").startswith("policy_") for i in dealt), bool),
            logged=column((i.status != "unknown" for i in dealt), bool),
            expected={
                metric: column((known.get(i.request_id, math.nan) for i in dealt), float)
                for metric, known in (expected or {}).items()
            },
        )


def _unspoken(interaction: Interaction) -> float:
    return 0.0 if interaction.status == "failure" else math.nan


def _total(interaction: Interaction, name: str) -> float:
    """Return the interaction's own total, else the sum over its attempts; NaN where one of them is unknown."""
    own = getattr(interaction, name)
    if own is not None:
        return float(own)
    parts = [getattr(attempt, name) for attempt in interaction.attempts]
    return math.nan if not parts or None in parts else float(sum(parts))
