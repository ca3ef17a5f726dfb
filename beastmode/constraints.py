"""What removes candidates before the policy draws, why, and what to change where nobody is left."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from beastmode.bundle import Expectation
from beastmode.candidates import Candidate
from beastmode.errors import RoutingError
from beastmode.pricing import Rates
from beastmode.records import Needs, Request

Mask = NDArray[np.bool_]
NEEDS = ("tools", "json", "vision")
"""What a candidate either can do or cannot."""


@dataclass(slots=True)
class Excluded:
    """Who may not serve a request; filled rule by rule, the first rule that refuses a candidate gives the reason."""

    why: dict[str, str] = field(default_factory=dict)
    remedies: dict[str, None] = field(default_factory=dict)
    """What would let somebody in again, in the order of the rules."""

    def require_some(self, request: Request, names: tuple[str, ...]) -> None:
        """Raise RoutingError, with every reason and remedy, where no candidate is left."""
        if len(self.why) == len(names):
            reasons = "; ".join(f"{name}: {self.why[name]}" for name in names)
            raise RoutingError(
                f"request {request.request_id}: no candidate may serve it ({reasons}); "
                f"{', '.join(self.remedies)}, or add a candidate that meets it all"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Constraints:
    """What `m` candidates can do, as vectors: a request is held against all of them at once."""

    candidates: tuple[Candidate, ...]
    names: tuple[str, ...]
    rates: Rates
    """The dearest, for they bound what an answer may cost."""
    lacking: Mapping[str, Mask]
    """By need, (m,)"""
    inside: Mapping[str, Mask]
    """By region, (m,)"""
    context_tokens: NDArray[np.float64]
    """(m,) Infinite where there is no limit."""
    smallest_context: float
    """Up to it a request without special needs is one that every candidate may serve."""

    @classmethod
    def of(cls, candidates: tuple[Candidate, ...]) -> Self:
        """Return the constraints of a bundle's candidates."""
        lacking = {need: np.array([not getattr(c, need) for c in candidates]) for need in NEEDS}
        regions = {c.region for c in candidates if c.region is not None}
        inside = {region: np.array([c.region == region for c in candidates]) for region in regions}
        context = np.array([np.inf if c.context_tokens is None else c.context_tokens for c in candidates])
        names = tuple(candidate.name for candidate in candidates)
        rates = Rates.of([candidate.price.dearest for candidate in candidates])
        return cls(candidates, names, rates, lacking, inside, context, float(context.min()))

    def standing(
        self, request: Request, input_tokens: float, allow: Collection[str] | None, deny: Collection[str] | None
    ) -> Excluded:
        """Return whom lists, needs, context and region refuse: what is known before anything is predicted.

        Raises RoutingError on a list with an unknown name, and where nobody is left.
        """
        excluded, needs = Excluded(), request.needs
        plain = not (needs.tools or needs.json or needs.vision) and needs.regions is None
        if plain and allow is None and not deny and input_tokens + (needs.output_tokens or 0) <= self.smallest_context:
            return excluded
        self._lists(excluded, allow, deny)
        for refused, remedy in self._refused(needs, input_tokens):
            for column in np.flatnonzero(refused).tolist():
                candidate = self.candidates[column]
                excluded.why.setdefault(candidate.name, candidate.refusal(request, input_tokens) or remedy)
                excluded.remedies[remedy] = None
        excluded.require_some(request, self.names)
        return excluded

    def _lists(self, excluded: Excluded, allow: Collection[str] | None, deny: Collection[str] | None) -> None:
        lists: tuple[tuple[str, Any], ...] = (("allow", allow), ("deny", deny))
        for kind, names in lists:
            if isinstance(names, str):
                raise RoutingError(f"{kind} = {names!r} must be a list of candidates; write [{names!r}]")
            if names is not None and not isinstance(names, Collection):
                kept = type(names).__name__
                raise RoutingError(f"{kind} must be a list of candidates, and a {kept} can be read only once")
            unknown = sorted(set(names or ()) - set(self.names))
            if unknown:
                there = ", ".join(self.names)
                raise RoutingError(f"{kind}: unknown candidate {unknown[0]!r}; the bundle has {there}")
        for name in self.names:
            if allow is not None and name not in allow:
                excluded.why[name] = "not on the allow list"
                excluded.remedies["relax the allow list"] = None
            elif deny and name in deny:
                excluded.why[name] = "on the deny list"
                excluded.remedies["relax the deny list"] = None

    def _refused(self, needs: Needs, input_tokens: float) -> Iterator[tuple[Mask, str]]:
        """Yield for each rule whom it refuses, (m,), and the remedy; `Candidate.refusal` has the reasons."""
        for need in NEEDS:
            if getattr(needs, need):
                yield self.lacking[need], f"relax the need of {need}"
        over = input_tokens + (needs.output_tokens or 0) > self.context_tokens
        yield over, "shorten the conversation or allow fewer output tokens"
        if needs.regions is not None:
            inside = [self.inside[region] for region in needs.regions if region in self.inside]
            there = ", ".join(sorted(self.inside)) or "none, see region in the catalogue"
            outside = ~np.any(inside, axis=0) if inside else np.ones(len(self.names), dtype=bool)
            yield outside, f"allow another region (known are: {there})"

    def limit(self, excluded: Excluded, request: Request, input_tokens: float, expected: Expectation) -> None:
        """Add to `excluded` whom the request's budget and deadline refuse; raises RoutingError where nobody is left.

        Held against them is the 95% quantile: what nineteen answers in twenty stay under. What is not known is within
        no limit, as an unpriced candidate is never free.
        """
        needs = request.needs
        if needs.budget_usd is not None:
            cost = expected.cost_usd_quantiles[-1, 0]
            if needs.output_tokens is not None:
                # The cap on the answer bounds its cost, too, and is certain where the quantile is a guess.
                longest = np.full((1, len(self.names)), float(needs.output_tokens))
                cost = np.fmin(cost, self.rates.cost_usd(np.array([input_tokens]), longest)[0])
            self._over(excluded, "cost", cost, needs.budget_usd, "${:.6f}", "budget", "budget_usd")
        if needs.deadline_ms is not None:
            latency = expected.latency_ms_quantiles[-1, 0]
            self._over(excluded, "latency", latency, needs.deadline_ms, "{:.0f} ms", "deadline", "deadline_ms")
        excluded.require_some(request, self.names)

    def _over(
        self, excluded: Excluded, what: str, high: NDArray[np.float64], limit: float, form: str, kind: str, key: str
    ) -> None:
        standing = [column for column, name in enumerate(self.names) if name not in excluded.why]
        for column in np.flatnonzero(~(high <= limit)).tolist():
            value, name = float(high[column]), self.names[column]
            said = f"{what} may reach {form.format(value)}, over the {kind} of {form.format(limit)}"
            excluded.why.setdefault(name, said if value == value else f"{what} is not known, so within no {kind}")
        if refused := [column for column in standing if self.names[column] in excluded.why]:
            lowest = float(np.min(np.nan_to_num(high[refused], nan=np.inf)))
            told = f"{lowest:.6g}"
            # What is printed is enough: a hair up where the six digits round down.
            told = told if float(told) >= lowest else f"{lowest * 1.00001:.6g}"
            enough = f"raise {key} to {told} or more" if lowest < np.inf else f"leave {key} out"
            excluded.remedies[enough] = None
