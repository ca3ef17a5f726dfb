"""What the journal says of the semantic cache: hits for which the model was asked all the same, and how many agreed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beastmode.cache.canary import SIGNAL
from beastmode.records import Request
from features.joins import SERVING
from features.signals import moment

TIER, FILL = "semantic", "fill"
"""Of the journal: the semantic tier, and another caller's fill, which is waited for where no tier has an answer."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A held answer that was compared with what the model said anew."""

    asked: str | None
    """The question; None where the journal holds no prompts."""
    stored: str | None
    """The question that the held answer was given to."""
    agreed: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Live:
    """How the semantic tier did on traffic, in counts."""

    requests: int
    """That no exact tier answered: what the budget of wrong answers is a share of."""
    hits: int
    """That the semantic tier served, or would have served but for the canary."""
    checked: int
    disagreed: int

    @property
    def hit_share(self) -> float:
        """Hits per request."""
        return self.hits / self.requests if self.requests else 0.0


def canaries(interactions: pd.DataFrame, feedback: pd.DataFrame, as_of: datetime) -> tuple[Canary, ...]:
    """Return the canaries that were known at `as_of`, in time order; the latest word on each counts."""
    words = feedback[((feedback["signal"] == SIGNAL) & (feedback["received_at"] <= moment(as_of))).to_numpy(dtype=bool)]
    agreed = words.sort_values("received_at", kind="stable").groupby("request_id")["value"].last()
    rows = interactions[_graded(interactions) & interactions["request_id"].isin(agreed.index).to_numpy()]
    asked = interactions.drop_duplicates("request_id").set_index("request_id")["messages"]
    texts = zip(rows["parent_request_id"].map(asked), rows["messages"], strict=True)
    found = zip(texts, rows["request_id"].map(agreed), rows["at"], strict=True)
    told = (Canary(_text(a), _text(b), bool(word), at.to_pydatetime()) for (a, b), word, at in found)
    return tuple(sorted(told, key=lambda canary: canary.at))


def live(interactions: pd.DataFrame, known: tuple[Canary, ...]) -> Live:
    """Return the counts of the journal's rows, with what became of their canaries."""
    ours = interactions[(interactions["format"] == "journal").to_numpy(dtype=bool)]
    served = ours[ours["purpose"].isin(SERVING).to_numpy(dtype=bool)]
    tier = served["cache_tier"]
    hits = int((tier == TIER).sum()) + int(_graded(ours).sum())
    return Live(
        requests=int((tier.isna() | tier.isin([TIER, FILL])).sum()), hits=hits, checked=len(known),
        disagreed=sum(not canary.agreed for canary in known),
    )  # fmt: skip


def pairs(known: tuple[Canary, ...]) -> Iterator[dict[str, object]]:
    """Yield canaries as judged pairs, as `features.questions` reads them; those without their texts are left out."""
    for canary in known:
        if canary.asked and canary.stored and canary.asked != canary.stored:
            yield {"text_a": canary.asked, "text_b": canary.stored, "label": int(canary.agreed)}


def _graded(rows: pd.DataFrame) -> NDArray[np.bool_]:
    return np.asarray((rows["purpose"] == "judge") & (rows["cache_tier"] == TIER), dtype=bool)


def _text(messages: object) -> str | None:
    return Request(tuple(json.loads(messages)), request_id="").text if isinstance(messages, str) else None
