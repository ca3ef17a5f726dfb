"""From what is expected to a decision: the probabilities, the draw, and one line on why."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress
from typing import Any, Self

from beastmode.bundle import Bundle
from beastmode.policies import Greedy
from beastmode.records import Decision, Request
from beastmode.serving import Discount, Outlook, Serving

Draw = Callable[[Sequence[float]], int]


def pick(chances: Sequence[float], uniform: float) -> int:
    """Return the column that a number in [0, 1) draws."""
    ends = list(accumulate(chances))
    column = bisect_right(ends, uniform * ends[-1])
    # The product may round up to the very end of the last interval.
    return column if column < len(ends) else max(i for i, chance in enumerate(chances) if chance > 0)


@dataclass(frozen=True, slots=True, eq=False)
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
        return Decision(
            request=request,
            plan=serving.plans[column],
            probabilities=self.probabilities,
            propensity=chances[column] if stays is None else None,
            policy=serving.policy,
            bundle_sha256=serving.bundle.sha256,
            predictions=serving.predictions(self.outlook.expected),
            reason=self._reason(column),
            excluded=self.outlook.excluded,
            sticky_from=None if stays is None else stays.decision_id,
            endpoint=serving.endpoints[column],
            **known,
        )

    def _reason(self, column: int) -> str:
        """Return one line on why the candidate in `column` was taken."""
        names, stays, chances = self.serving.names, self.stays, self.chances
        name = names[column]
        if stays is not None:
            saved = f"its cached prompt saves ${stays.saving_usd:.6f}"
            return f"{name}: the session stays, {saved} and no switch is worth more"
        values = self.outlook.expected.utility[0].tolist()
        known = [value if value == value else -1e300 for value in values]
        eligible = compress(range(len(names)), self.outlook.eligible[0].tolist())
        # Of equals the policy takes the first.
        ranked = sorted(eligible, key=lambda c: (known[c], -c))
        if len(ranked) == 1:
            return f"{name}: the only eligible candidate"
        *_, second, best = ranked
        if values[best] != values[best]:
            return f"{name}: nothing eligible is priced; taken with probability {chances[column]:.3f}"
        if column == best:
            lead = values[best] - values[second]
            ahead = "the only priced one" if lead != lead else f"{lead:.3f} ahead of {names[second]}"
            return f"{name}: highest utility {values[best]:.3f}, {ahead}"
        greedy = greedy_of(self.serving.bundle)
        lead = values[best] - values[column]
        more = f"{names[best]} promises {lead:.3f} more" if lead == lead else f"{names[best]} is priced, and it is not"
        if greedy is not None and greedy.incumbent == column and chances[column] >= max(chances):
            return f"{name}: the incumbent stays, {more} and the margin is {greedy.margin:.3f}"
        return f"{name}: explored with probability {chances[column]:.3f}, {more}"


def greedy_of(bundle: Bundle) -> Greedy | None:
    """Return the greedy part of a bundle's policy, None where it has none."""
    policy = getattr(bundle.policy, "base", bundle.policy)
    return policy if isinstance(policy, Greedy) else None
