"""What people, judges and tests said of answers, on any scale, becomes one quality in [0, 1] for each interaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Annotated

import numpy as np
import pandas as pd
from annotated_types import Ge


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """How the values of one signal become a quality."""

    name: str
    """As the log spells it; `*` and `?` stand for any letters."""
    low: float = 0.0
    """The value that is worth nothing; it may lie above `high`, as with a distance or a grade."""
    high: float = 1.0
    """The value that is worth all."""
    labels: Mapping[str, Annotated[float, Ge(0)]] = field(default_factory=dict)
    """Word -> quality in [0, 1], for signals that are no numbers."""
    rank: int = 0
    """Of several signals on one interaction those of the highest rank speak: a test outranks a thumb."""
    use: bool = True
    """Whether it says anything about quality at all."""

    def __post_init__(self) -> None:
        if self.low == self.high:
            raise ValueError(f"signal {self.name!r}: low and high are both {self.low:g}; say what is worst and best")
        worst = next((word for word, worth in self.labels.items() if not 0 <= worth <= 1), None)
        if worst is not None:
            raise ValueError(f"signal {self.name!r}: labels.{worst} = {self.labels[worst]:g} must lie in [0, 1]")

    def quality(self, value: pd.Series, label: pd.Series) -> pd.Series:
        """Return the qualities of values and words; NaN where a value lies off the scale or a word is not known."""
        scaled = (value.astype("float64") - self.low) / (self.high - self.low)
        known = scaled.where((scaled >= 0) & (scaled <= 1))
        return known.where(known.notna(), label.astype(object).map(dict(self.labels)).astype("float64"))


PLAIN = Signal(name="*")
"""What holds for a signal that no configuration speaks of: numbers in [0, 1] are qualities, words say nothing."""


def qualities(feedback: pd.DataFrame, signals: Sequence[Signal] = ()) -> pd.DataFrame:
    """Return the feedback that says something about quality, with columns `quality` and `rank` added.

    The first of `signals` whose name fits speaks for a signal, `PLAIN` for the others.
    """
    known = feedback.assign(quality=np.nan, rank=0)
    names = known["signal"].unique()
    for name in names:
        rule = rule_of(name, signals)
        rows = known["signal"] == name
        if rule.use:
            known.loc[rows, "quality"] = rule.quality(known.loc[rows, "value"], known.loc[rows, "label"])
            known.loc[rows, "rank"] = rule.rank
    return known[known["quality"].notna()]


def rule_of(name: str, signals: Sequence[Signal]) -> Signal:
    """Return the rule that speaks for a signal."""
    return next((rule for rule in signals if fnmatchcase(name, rule.name)), PLAIN)


def unheard(feedback: pd.DataFrame, signals: Sequence[Signal] = ()) -> dict[str, int]:
    """Return how many words of each signal say nothing about quality although nothing tells them not to."""
    heard = qualities(feedback, signals).index
    silent = feedback.loc[~feedback.index.isin(heard), "signal"]
    silent = silent[[rule_of(name, signals).use for name in silent]] if len(silent) else silent
    return {str(name): int(count) for name, count in silent.value_counts().items()}


def latest(feedback: pd.DataFrame, as_of: datetime, signals: Sequence[Signal] = ()) -> tuple[pd.Series, pd.Series]:
    """Return the quality by request id and by trace id, of what was received by a moment.

    Of the words of the highest rank the latest counts, by its own moment. A word that names its request does not
    speak for the rest of the trace.
    """
    known = feedback[(feedback["received_at"] <= moment(as_of)).to_numpy(dtype=bool)]
    known = qualities(known, signals)
    order = ["rank", "at", "received_at", "feedback_id"] if "feedback_id" in known else ["rank", "at", "received_at"]
    known = known.sort_values(order, kind="stable")
    of_request = known[known["request_id"].notna()]
    of_trace = known[known["trace_id"].notna() & known["request_id"].isna()]
    return _last(of_request, "request_id"), _last(of_trace, "trace_id")


def _last(known: pd.DataFrame, by: str) -> pd.Series:
    return known.drop_duplicates(by, keep="last").set_index(by)["quality"].astype("float64")


def moment(as_of: datetime) -> pd.Timestamp:
    """Return a moment as tables hold them; raises ValueError where it names no time zone."""
    if as_of.tzinfo is None:
        raise ValueError(f"as_of = {as_of.isoformat()} has no time zone; give it in UTC")
    return pd.Timestamp(as_of.astimezone(UTC))
