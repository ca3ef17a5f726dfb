"""Policies: a probability for each eligible plan. The draw, the propensity and the log follow from it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Policy(Protocol):
    """From predicted utilities to probabilities; one row a request, one column a candidate."""

    def probabilities(self, utility: Floats, eligible: NDArray[np.bool_]) -> Floats:
        """Return P(plan | request) of shape (requests, candidates).

        Each row sums to 1 over its eligible candidates and is zero elsewhere. A NaN utility (an unpriced
        candidate) loses to every number. A row without an eligible candidate raises ValueError.
        """


@dataclass(frozen=True, slots=True)
class Greedy:
    """Take the candidate of the highest utility, and leave the incumbent only for more than `margin`."""

    incumbent: int | None = None
    """Column of the candidate to stay with."""
    margin: float = 0.0

    def probabilities(self, utility: Floats, eligible: NDArray[np.bool_]) -> Floats:
        # What is unknown stands below every number, and who is not eligible below that.
        score = np.where(eligible, np.fmax(utility, -1e300), -np.inf)
        choice = score.argmax(axis=1)
        best = score.max(axis=1)
        if (best == -np.inf).any():
            raise ValueError("no eligible candidate: every candidate was excluded")
        if self.incumbent is not None:
            stays = eligible[:, self.incumbent] & (best <= score[:, self.incumbent] + self.margin)
            choice[stays] = self.incumbent
        chosen = np.zeros(utility.shape)
        chosen[np.arange(len(choice)), choice] = 1.0
        return chosen


@dataclass(frozen=True, slots=True)
class EpsilonGreedy:
    """Follow another policy, but draw uniformly over the eligible candidates with probability `epsilon`."""

    epsilon: float
    base: Greedy = Greedy()

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon <= 1:
            raise ValueError(f"epsilon = {self.epsilon!r} must lie in [0, 1]")

    def probabilities(self, utility: Floats, eligible: NDArray[np.bool_]) -> Floats:
        greedy = self.base.probabilities(utility, eligible)
        uniform = eligible / eligible.sum(axis=1, keepdims=True)
        return np.asarray(self.epsilon * uniform + (1 - self.epsilon) * greedy)


@dataclass(frozen=True, slots=True)
class Softmax:
    """Draw in proportion to exp(utility / temperature), mixed with a uniform floor."""

    temperature: float
    floor: float = 0.0
    """The share of draws that are uniform, so that no propensity vanishes."""

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"softmax: temperature = {self.temperature!r} must be positive")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"softmax: floor = {self.floor!r} must lie in [0, 1]")

    def probabilities(self, utility: Floats, eligible: NDArray[np.bool_]) -> Floats:
        if not eligible.any(axis=1).all():
            raise ValueError("no eligible candidate: every candidate was excluded")
        known = eligible & ~np.isnan(utility)
        # Where nothing eligible is priced, all that is eligible is equally unknown.
        known = np.where(known.any(axis=1, keepdims=True), known, eligible)
        score = np.where(known, np.nan_to_num(utility), -np.inf)
        with np.errstate(over="ignore"):  # What lies infinitely far behind weighs nothing.
            weight = np.exp((score - score.max(axis=1, keepdims=True)) / self.temperature)
        soft = weight / weight.sum(axis=1, keepdims=True)
        uniform = eligible / eligible.sum(axis=1, keepdims=True)
        return np.asarray(self.floor * uniform + (1 - self.floor) * soft)


POLICIES = {"greedy": Greedy, "epsilon_greedy": EpsilonGreedy, "softmax": Softmax}


def policy_to_json(policy: Policy) -> dict[str, Any]:
    """Return a policy as a mapping with its kind."""
    kind = next(kind for kind, cls in POLICIES.items() if type(policy) is cls)
    return {"kind": kind, **asdict(policy)}  # type: ignore[call-overload]


def policy_from_json(known: Mapping[str, Any]) -> Policy:
    """Return the policy that `policy_to_json` described; raises ValueError naming an unknown kind.

    >>> policy_from_json(policy_to_json(EpsilonGreedy(.1, Greedy(incumbent=2, margin=.01))))
    EpsilonGreedy(epsilon=0.1, base=Greedy(incumbent=2, margin=0.01))
    """
    values = dict(known)
    kind = values.pop("kind", None)
    if kind not in POLICIES:
        raise ValueError(f"unknown policy {kind!r}; known: {', '.join(POLICIES)}")
    if "base" in values:
        values["base"] = Greedy(**values["base"])
    policy: Policy = POLICIES[kind](**values)
    return policy
