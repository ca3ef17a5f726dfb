"""What the journal says of the semantic cache: hits for which the model was asked all the same, and how many agreed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beastmode.cache.canary import HITS, REQUESTS, SIGNAL
from beastmode.records import Request
from features.signals import moment

TIER = "semantic"


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
    """That it was asked about, because no exact tier had an answer: what the budget of wrong answers is a share of."""
    hits: int
    """That it served, or would have served but for the canary."""
    checked: int
    disagreed: int

    @property
    def known(self) -> bool:
        """Whether it says anything: a journal of before the counts does not."""
        return self.requests > 0 and self.checked > 0

    @property
    def hit_share(self) -> float:
        """Hits per request."""
        return self.hits / self.requests if self.requests else 0.0

    @property
    def hits_each(self) -> float:
        """The hits that one canary speaks for."""
        return max(self.hits / self.checked, 1.0)


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
    """Return what the rows of canaries counted, with what became of them.

    Each row tells of the time since the one before it of the same process, so that requests of applications without a
    semantic tier, and those that it was not asked about, do not thin the wrong answers out.
    """
    told = [json.loads(text) for text in interactions["context"][_graded(interactions)] if isinstance(text, str)]
    requests, hits = (sum(int(context.get(name, 0)) for context in told) for name in (REQUESTS, HITS))
    return Live(requests, hits, checked=len(known), disagreed=sum(not canary.agreed for canary in known))


def pairs(known: tuple[Canary, ...]) -> Iterator[dict[str, object]]:
    """Yield canaries as judged pairs, as `features.questions` reads them; those without their texts are left out."""
    for canary in known:
        if canary.asked and canary.stored and canary.asked != canary.stored:
            yield {"text_a": canary.asked, "text_b": canary.stored, "label": int(canary.agreed)}


def _graded(rows: pd.DataFrame) -> NDArray[np.bool_]:
    return np.asarray((rows["purpose"] == "judge") & (rows["cache_tier"] == TIER), dtype=bool)


def _text(messages: object) -> str | None:
    return Request(tuple(json.loads(messages)), request_id="").text if isinstance(messages, str) else None
