"""Two bundles on the same traffic: what each arm would do with a request, and what the log must say of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from random import Random

from beastmode.arms import CHALLENGER, CHAMPION, Dealing
from beastmode.deciding import Draw, Side, pick
from beastmode.errors import RoutingError
from beastmode.records import Decision, Request, new_id
from beastmode.serving import Outlook, Serving

Ask = Callable[[Serving], Outlook]
"""What one request is expected to bring, under a bundle."""


def _now() -> datetime:
    return datetime.now(UTC)


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
        if any(side.stays for side in sides.values()):
            # An arm's turn that stays is no row of the log's, so the rows that are left are one arm's, and so is their
            # chance: the arm's own propensity.
            return decision
        plan = decision.plan.name
        marginal = sum(weights[name] * chances.get(plan, 0.0) for name, chances in acted.items())
        return replace(decision, marginal_propensity=min(marginal, 1.0))

    def serving(self, request: Request) -> Serving:
        """Return the bundle of the arm that a request is dealt to; a shadow serves nobody."""
        arm, _ = self.dealing.arm(self.dealing.unit_of(request), self.now())
        return self.challenger if arm == CHALLENGER and self.dealing.mode == "canary" else self.champion

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
