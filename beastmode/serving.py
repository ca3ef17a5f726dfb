"""A bundle made ready to serve: who may take a request, and what is expected of each."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray

from beastmode.bundle import Bundle, Expectation
from beastmode.errors import RoutingError
from beastmode.records import Endpoint, Plan, Prediction, Request


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is expected for one request, and who may take it."""

    expected: Expectation
    eligible: NDArray[np.bool_]
    """(1, m)"""
    excluded: dict[str, str]
    """Why a candidate may not."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A bundle with what would otherwise be worked out at every request; a router replaces it as one object."""

    bundle: Bundle
    names: tuple[str, ...]
    plans: tuple[Plan, ...]
    endpoints: tuple[Endpoint, ...]
    context_tokens: float
    """Up to it a request without special needs is one that every candidate may serve."""
    policy: str
    everyone: NDArray[np.bool_]
    """(1, m) All true."""

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """Make a bundle ready."""
        names = tuple(candidate.name for candidate in bundle.candidates)
        limits = [c.context_tokens for c in bundle.candidates if c.context_tokens is not None]
        policy = f"{bundle.name}/{type(bundle.policy).__name__}"
        endpoints = tuple(candidate.endpoint for candidate in bundle.candidates)
        plans = tuple(map(Plan.single, names))
        everyone = np.ones((1, len(names)), dtype=bool)
        everyone.flags.writeable = False
        return cls(bundle, names, plans, endpoints, min(limits, default=np.inf), policy, everyone)

    def column(self, candidate: str) -> int:
        """Return the column of a candidate; raises RoutingError on an unknown name."""
        if candidate not in self.names:
            raise RoutingError(f"unknown candidate {candidate!r}; the bundle has {', '.join(self.names)}")
        return self.names.index(candidate)

    def outlook(self, request: Request, allow: Collection[str] | None) -> Outlook:
        """Return what is expected of every candidate; raises RoutingError where none may take the request."""
        input_tokens = request.chars / 4
        excluded = self._excluded(request, input_tokens, allow)
        if len(excluded) == len(self.names):
            raise RoutingError(
                f"request {request.request_id}: no candidate may serve it ("
                + "; ".join(f"{name}: {why}" for name, why in excluded.items())
                + "); relax its needs or the allow list, or add a candidate"
            )
        eligible = self.everyone
        if excluded:
            eligible = np.array([[name not in excluded for name in self.names]])
        expected = self.bundle.expect((request.text,), np.array([input_tokens]))
        floor = self.bundle.objective.quality_floor
        if floor is not None:
            reaching = self.bundle.objective.reaching(expected.quality, eligible)
            for column in np.flatnonzero(eligible[0] & ~reaching[0]).tolist():
                quality = expected.quality[0, column]
                excluded[self.names[column]] = f"predicted quality {quality:.3f} is under the floor of {floor:g}"
            eligible = reaching
        return Outlook(expected, eligible, excluded)

    def predictions(self, expected: Expectation) -> "Predictions":
        """Return the expectation of one request, a candidate at a time."""
        return Predictions(self.names, expected)

    def _excluded(self, request: Request, input_tokens: float, allow: Collection[str] | None) -> dict[str, str]:
        """Return why each candidate that may not serve the request may not."""
        needs = request.needs
        plain = not (needs.tools or needs.json or needs.vision)
        if plain and allow is None and input_tokens + (needs.output_tokens or 0) <= self.context_tokens:
            return {}
        unknown = set(allow or ()) - set(self.names)
        if unknown:
            there = ", ".join(self.names)
            raise RoutingError(f"allow: unknown candidate {sorted(unknown)[0]!r}; the bundle has {there}")
        excluded = {}
        for candidate in self.bundle.candidates:
            if allow is not None and candidate.name not in allow:
                excluded[candidate.name] = "not on the allow list"
            elif why := candidate.refusal(request, input_tokens):
                excluded[candidate.name] = why
        return excluded


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
