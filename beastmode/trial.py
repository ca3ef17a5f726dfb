"""Two bundles on the same traffic: what each arm would do with a request, and what the log must say of it."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from random import Random
from typing import Any, Self

from beastmode.arms import CHALLENGER, CHAMPION, Dealing
from beastmode.errors import RoutingError
from beastmode.explanation import reason
from beastmode.records import Decision, Request, new_id
from beastmode.serving import Discount, Outlook, Serving

Ask = Callable[[Serving], Outlook]
"""What one request is expected to bring, under a bundle."""
Draw = Callable[[Sequence[float]], int]


def _now() -> datetime:
    return datetime.now(UTC)


def pick(chances: Sequence[float], uniform: float) -> int:
    """Return the column that a number in [0, 1) draws."""
    ends = list(accumulate(chances))
    column = bisect_right(ends, uniform * ends[-1])
    # The product may round up to the very end of the last interval.
    return column if column < len(ends) else max(i for i, chance in enumerate(chances) if chance > 0)


@dataclass(frozen=True, slots=True)
class Side:
    """What one bundle makes of one request, before anything is drawn."""

    serving: Serving
    outlook: Outlook
    chances: list[float]
    stays: Discount | None

    @classmethod
    def of(cls, serving: Serving, outlook: Outlook) -> Self:
        """Work out the probabilities of an outlook."""
        utility = outlook.expected.utility
        chances = serving.bundle.policy.probabilities(utility, outlook.eligible)[0].tolist()
        return cls(serving, outlook, chances, outlook.stays(chances))

    @property
    def probabilities(self) -> dict[str, float]:
        """P(plan name), over the eligible."""
        may = self.outlook.eligible[0].tolist()
        return {name: p for name, p, yes in zip(self.serving.names, self.chances, may, strict=True) if yes}

    @property
    def acted(self) -> dict[str, float]:
        """P(plan name) of what is really done: a turn that stays is certain."""
        if self.stays is None:
            return self.probabilities
        kept = self.serving.names[self.stays.column]
        return {name: float(name == kept) for name in self.probabilities}

    def decide(self, request: Request, draw: Draw, **known: Any) -> Decision:
        """Draw, and return the decision."""
        serving, stays, chances = self.serving, self.stays, self.chances
        column = draw(chances) if stays is None else stays.column
        may, utility = self.outlook.eligible[0].tolist(), self.outlook.expected.utility[0]
        return Decision(
            request=request,
            plan=serving.plans[column],
            probabilities=self.probabilities,
            propensity=chances[column] if stays is None else None,
            policy=serving.policy,
            bundle_sha256=serving.bundle.sha256,
            predictions=serving.predictions(self.outlook.expected),
            reason=reason(serving.bundle, column, utility, may, chances, stays),
            excluded=self.outlook.excluded,
            sticky_from=None if stays is None else stays.decision_id,
            endpoint=serving.endpoints[column],
            **known,
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """An experiment made ready to serve; a router replaces it as one object, both bundles and the dealing together."""

    champion: Serving
    challenger: Serving
    dealing: Dealing
    now: Callable[[], datetime] = field(default=_now)

    def decide(self, request: Request, ask: Ask, draw: Draw) -> Decision:
        """Return the decision of the arm that the request's unit is dealt to.

        An arm whose bundle cannot take the request is served by the other's, and stays the arm (intention to treat).
        Raises RoutingError where neither can, and where the champion's cannot while the challenger is a shadow.
        """
        at, unit = self.now(), self.dealing.unit_of(request)
        if self.dealing.mode == "shadow":
            share = self.dealing.share(at)
            decision = Side.of(self.champion, ask(self.champion)).decide(request, draw, at=at, unit=unit)
            if self.dealing.place(unit) < share:
                return replace(decision, shadow=lambda: self._shadow(decision, ask))
            return decision
        arm, probability = self.dealing.arm(unit, at)
        sides, failure = self._sides(ask)
        acted = {name: side.acted for name, side in sides.items()}
        share = self.dealing.share(at)
        weights = {CHAMPION: 1.0 - share, CHALLENGER: share}
        decision = sides[arm].decide(
            request, draw, at=at, unit=unit, arm=arm, arm_probability=probability, arm_probabilities=acted
        )
        if failure:
            decision = replace(decision, reason=f"{decision.reason}; {failure}")
        if decision.sticky_from is not None:
            return decision
        plan = decision.plan.name
        marginal = sum(weights[name] * chances.get(plan, 0.0) for name, chances in acted.items())
        return replace(decision, marginal_propensity=min(marginal, 1.0))

    def _sides(self, ask: Ask) -> tuple[Mapping[str, Side], str]:
        """Return what each arm does, and what is to be said where one bundle stands in for the other."""
        sides: dict[str, Side] = {}
        failures: dict[str, Exception] = {}
        for name, serving in ((CHAMPION, self.champion), (CHALLENGER, self.challenger)):
            try:
                sides[name] = Side.of(serving, ask(serving))
            except Exception as error:
                # A challenger on trial must not take its users' requests down, whatever is wrong with it.
                if name == CHAMPION and not isinstance(error, RoutingError):
                    raise
                failures[name] = error
        if not sides:
            raise failures[CHAMPION]
        if not failures:
            return sides, ""
        ((failed, why),) = failures.items()
        other = next(iter(sides))
        return {CHAMPION: sides[other], CHALLENGER: sides[other]}, f"the {failed}'s bundle could not ({why})"

    def _shadow(self, served: Decision, ask: Ask) -> Decision:
        """Return what the challenger would have done; raises what it raises."""
        # A stream of its own: the champion draws the same numbers with a shadow as without.
        draw = partial(pick, uniform=Random(served.decision_id).random())
        request = replace(served.request, request_id=new_id())
        side = Side.of(self.challenger, ask(self.challenger))
        return side.decide(request, draw, at=served.at, unit=served.unit, arm=CHALLENGER)
