"""What `train-verifier` may do: the pairs that it learns from, and what a verifier must show to serve."""

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge, Gt, Interval

from models.verifiers import VerifierSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierTraining:
    """The section [verifier] of a configuration."""

    pairs: str | None = None
    """A Parquet or CSV file of judged pairs, with text_a, text_b and label (1 where one answer serves both), as in
    `{root}/pairs.parquet`."""
    canaries: bool = True
    """Whether the journal's canaried hits are learned from as well."""
    history_days: Annotated[float, Gt(0)] = 90.0
    """How far back canaries are read."""
    questions: Annotated[int, Ge(100)] = 30_000
    """The most questions that are learned from and judged on, in whole groups drawn at random."""
    test_share: Annotated[float, Interval(gt=0, lt=1)] = 0.2
    """The share of questions, in whole groups, on which the new verifier is judged beside the one that serves."""
    margin: Annotated[float, Interval(ge=0, lt=1)] = 0.005
    """By how much right less wrong answers per request may be worse, at the lower bound, to count as not worse."""
    training: VerifierSettings = field(default_factory=VerifierSettings)
