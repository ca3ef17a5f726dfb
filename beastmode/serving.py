"""A bundle made ready to serve: who may take a request, and what is expected of each."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray

from beastmode.bundle import Bundle, Expectation
from beastmode.constraints import Constraints, Excluded
from beastmode.errors import RoutingError
from beastmode.records import Endpoint, Plan, Prediction, Request
from beastmode.sessions import Warm


@dataclass(frozen=True, slots=True)
class Discount:
    """The candidate that has the conversation so far in its provider's cache, and what that is worth."""

    column: int
    decision_id: str
    """The decision that drew it."""
    saving_usd: float


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """What is expected for one request, and who may take it."""

    expected: Expectation
    eligible: NDArray[np.bool_]
    """(1, m)"""
    excluded: dict[str, str]
    """Why a candidate may not."""
    discount: Discount | None = None
    """Counted in what is expected already."""

    def stays(self, chances: Sequence[float]) -> Discount | None:
        """Return where the turn stays, or None where it is to be drawn from `chances`.

        It stays where its session is warm and the policy, for which the saving counts as any other money, prefers it.
        """
        known = self.discount
        return known if known is not None and 0 < chances[known.column] >= max(chances) else None


@dataclass(frozen=True, slots=True, eq=False)
class Serving:
    """A bundle with what would otherwise be worked out at every request; a router replaces it as one object."""

    bundle: Bundle
    names: tuple[str, ...]
    plans: tuple[Plan, ...]
    endpoints: tuple[Endpoint, ...]
    constraints: Constraints
    policy: str
    identity: str
    """What answers: the bundle, and the policy and objective of its operating point."""
    everyone: NDArray[np.bool_]
    """(1, m) All true."""

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """Make a bundle ready."""
        names = tuple(candidate.name for candidate in bundle.candidates)
        policy = f"{bundle.name}/{type(bundle.policy).__name__}"
        identity = f"policy {bundle.sha256 or bundle.name} {bundle.policy!r} {bundle.objective!r}"
        endpoints = tuple(candidate.endpoint for candidate in bundle.candidates)
        plans = tuple(map(Plan.single, names))
        everyone = np.ones((1, len(names)), dtype=bool)
        everyone.flags.writeable = False
        return cls(bundle, names, plans, endpoints, Constraints.of(bundle.candidates), policy, identity, everyone)

    def column(self, candidate: str) -> int:
        """Return the column of a candidate; raises RoutingError on an unknown name."""
        if candidate not in self.names:
            raise RoutingError(f"unknown candidate {candidate!r}; the bundle has {', '.join(self.names)}")
        return self.names.index(candidate)

    def outlook(
        self,
        request: Request,
        allow: Collection[str] | None = None,
        deny: Collection[str] | None = None,
        warm: Warm | None = None,
    ) -> Outlook:
        """Return what is expected of every candidate; raises RoutingError where none may take the request."""
        input_tokens = request.chars / 4
        excluded = self.constraints.standing(request, input_tokens, allow, deny)
        expected = self.bundle.expect((request.text,), np.array([input_tokens]))
        discount = None if warm is None else self._discount(warm, input_tokens)
        if discount is not None:
            expected = self._discounted(expected, discount)
        if request.needs.budget_usd is not None or request.needs.deadline_ms is not None:
            self.constraints.limit(excluded, request, input_tokens, expected)
        eligible = self.everyone
        if excluded.why:
            eligible = np.array([[name not in excluded.why for name in self.names]])
        if self.bundle.objective.quality_floor is not None:
            eligible = self._reaching(expected, eligible, excluded)
        return Outlook(expected, eligible, excluded.why, discount)

    def _reaching(self, expected: Expectation, eligible: NDArray[np.bool_], excluded: Excluded) -> NDArray[np.bool_]:
        """Return who is eligible under the quality floor, and add the others to `excluded`."""
        reaching = self.bundle.objective.reaching(expected.quality, eligible)
        for column in np.flatnonzero(eligible[0] & ~reaching[0]).tolist():
            quality, floor = expected.quality[0, column], self.bundle.objective.quality_floor
            excluded.why[self.names[column]] = f"predicted quality {quality:.3f} is under the floor of {floor:g}"
        return reaching

    def _discount(self, warm: Warm, input_tokens: float) -> Discount | None:
        """Return what the session's last candidate would save, or None where that is nothing."""
        if warm.candidate not in self.names:
            return None
        column = self.names.index(warm.candidate)
        saving = warm.saving_usd(self.bundle.candidates[column], input_tokens)
        return Discount(column, warm.decision_id, saving) if saving > 0 else None

    def _discounted(self, expected: Expectation, discount: Discount) -> Expectation:
        """Return the expectation of one request with the cost of one candidate less what its cache saves."""
        off = np.zeros(len(self.names))
        off[discount.column] = discount.saving_usd
        cost = expected.cost_usd - off
        utility = self.bundle.objective.utility(expected.quality, cost, expected.latency_ms)
        quantiles = expected.cost_usd_quantiles - off
        return replace(expected, cost_usd=cost, cost_usd_quantiles=quantiles, utility=utility)

    def predictions(self, expected: Expectation) -> "Predictions":
        """Return the expectation of one request, a candidate at a time."""
        return Predictions(self.names, expected)


class Predictions(Sequence[Prediction]):
    """The expectation of one request, a candidate at a time: written out when somebody looks, and no call waits."""

    __slots__ = ("_expected", "_names", "_written")

    def __init__(self, names: tuple[str, ...], expected: Expectation) -> None:
        self._names = names
        self._expected = expected
        self._written: tuple[Prediction, ...] | None = None

    def _all(self) -> tuple[Prediction, ...]:
        if self._written is None:
            known = self._expected
            # What nobody knows is None; quality and utility stay numbers.
            told = (
                known.quality[0].tolist(),
                _known(known.cost_usd[0]),
                _known(known.latency_ms[0]),
                known.utility[0].tolist(),
                _known(known.output_tokens[0]),
                *(_known(each[0]) for each in known.output_tokens_quantiles),
                # The median stays out: it is that of the tokens, priced.
                *(_known(each[0]) for each in known.cost_usd_quantiles[::2]),
                *(_known(each[0]) for each in known.latency_ms_quantiles),
            )
            self._written = tuple(map(Prediction, self._names, *told))
        return self._written

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Prediction]: ...
    def __getitem__(self, index: int | slice) -> Prediction | Sequence[Prediction]:
        return self._all()[index]

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        return self._all() == (other._all() if isinstance(other, Predictions) else other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._all())


def _known(values: NDArray[np.float64]) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]
