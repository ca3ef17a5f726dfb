"""Several candidate sets together: the mean of paired differences, with a standard error that knows shared prompts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Differences:
    """What two routers earned differently on the prompts of one set."""

    source: str
    """The file that the prompts are from: sets of one file share prompts."""
    prompts: NDArray[np.str_]
    values: Floats
    """(prompts,)"""


def pooled(sets: Mapping[str, Differences]) -> dict[str, Any]:
    """Return the mean difference with every set alike, and with every prompt alike; `p` is one-sided, against zero.

    A prompt that stands in several sets is one observation: what it adds to all of them is summed before it is squared.
    """
    n = np.array([len(one.values) for one in sets.values()], dtype=np.float64)
    return {
        "sets": list(sets),
        "sets_alike": _mean(list(sets.values()), 1 / (len(sets) * n)),
        "prompts_alike": _mean(list(sets.values()), np.full(len(sets), 1 / n.sum())),
    }


def _mean(sets: Sequence[Differences], weight: Floats) -> dict[str, float]:
    """Return the mean with a weight for each prompt of a set (sets,), its standard error and p."""
    keys = [f"{one.source}\n{prompt}" for one in sets for prompt in one.prompts.tolist()]
    _, prompt = np.unique(keys, return_inverse=True)
    # About each set's own mean: that sets differ is no noise of the prompts.
    around = np.concatenate([w * (one.values - one.values.mean()) for w, one in zip(weight, sets, strict=True)])
    added = np.bincount(prompt, weights=around)
    mean = float(sum(w * one.values.sum() for w, one in zip(weight, sets, strict=True)))
    se = math.sqrt(float((added**2).sum()) * len(added) / max(len(added) - 1, 1))
    p = math.erfc(mean / se / math.sqrt(2)) / 2 if se > 0 else (0.5 if mean == 0 else float(mean < 0))
    return {"mean": mean, "se": se, "p": p}
