"""Which encoder a router serves with: the cheapest rung that nothing on the training rows shows to be worse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.values import Gain

Floats = NDArray[np.float64]

ONE_SIDED = 1.645
"""Standard errors from a mean to its one-sided 95% bound."""


@dataclass(frozen=True, slots=True)
class Rung:
    """A trained encoder and selector: what it earns and what it takes."""

    name: str
    earned: Floats
    """(rows,) The utility of its cross-validated policy on each judged row; the rows are those of every rung."""
    milliseconds: float
    """The median time of a decision with its exported bundle."""
    size_bytes: int
    """Of that bundle."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A rung beside the best one; differences are paired, `_se` are standard errors, NaN where too little is known."""

    name: str
    value: float
    """Mean utility, less the price of the rung's own time."""
    value_se: float
    behind: float
    """The best rung's value less this one's."""
    behind_se: float
    behind_low: float
    """Its lower bound: above zero, the rung is worse."""
    milliseconds: float
    size_bytes: int
    chosen: bool

    @property
    def worse(self) -> bool:
        """Whether the best rung is shown to earn more."""
        return self.behind_low > 0

    def figures(self) -> dict[str, float]:
        """Return the numbers by name."""
        names = ("value", "value_se", "behind", "behind_se", "behind_low", "milliseconds", "size_bytes")
        return {name: float(getattr(self, name)) for name in names}

    def to_json(self) -> Mapping[str, Any]:
        """Return the standing as plain data."""
        return {"rung": self.name, **self.figures(), "worse": self.worse, "chosen": self.chosen}


def stand(rungs: Sequence[Rung], per_second: float = 0.0, errors: float = ONE_SIDED) -> tuple[Standing, ...]:
    """Return where each rung stands, in the order given; exactly one is chosen.

    A rung is worse where the paired difference to the rung of the highest value, less `errors` standard errors, is
    above zero. Of those that are not worse, the one of the least milliseconds is chosen: a dearer encoder has to prove
    that it is worth its time. `per_second` is the objective's price of time. With two rungs that earn the same, the
    dearer one is taken in 5% of the cases at most.

    Raises ValueError without a rung, or where rungs were judged on different rows.
    """
    if not rungs:
        raise ValueError("ladder: no rung to choose from; name at least one")
    rows = {len(rung.earned) for rung in rungs}
    if len(rows) > 1:
        raise ValueError(
            f"ladder: rungs were judged on {sorted(rows)} rows; train them on one table, folds and objective"
        )
    worth = [rung.earned - per_second * rung.milliseconds / 1000 for rung in rungs]
    values = [Gain.of(each) for each in worth]
    top = max(range(len(rungs)), key=lambda i: np.nan_to_num(values[i].mean, nan=-np.inf))
    behind = [Gain.of(worth[top] - each) for each in worth]
    fit = [i for i, gap in enumerate(behind) if not gap.lower(errors) > 0]
    chosen = min(fit, key=lambda i: rungs[i].milliseconds)
    return tuple(
        Standing(
            rung.name, value.mean, value.se, gap.mean, gap.se, gap.lower(errors), rung.milliseconds, rung.size_bytes,
            i == chosen,
        )
        for i, (rung, value, gap) in enumerate(zip(rungs, values, behind, strict=True))
    )  # fmt: skip


def sentence(standings: Sequence[Standing]) -> str:
    """Return the choice in a sentence."""
    taken = next(each for each in standings if each.chosen)
    said = [
        f"{each.name} earns {each.value:.4f} ± {each.value_se:.4f} in {each.milliseconds:.2g} ms and "
        f"{each.size_bytes / 1e6:.1f} MB"
        for each in standings
    ]
    gaps = [
        f"{each.name} is {each.behind:+.4f} ± {each.behind_se:.4f} behind the best" for each in standings if each.behind
    ]
    return f"{taken.name}: the cheapest that is not shown to be worse ({'; '.join([*said, *gaps])})"
