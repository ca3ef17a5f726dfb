"""What a world hands out: a log, its feedback, and the truth behind both."""

from dataclasses import dataclass

from beastmode.candidates import Candidate
from beastmode.interactions import Feedback, Interaction
from features.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A log and what it does not tell."""

    interactions: tuple[Interaction, ...]
    """In the order of their moments; probes follow the request that they repeat."""
    feedback: tuple[Feedback, ...]
    """In the order in which they are received."""
    truth: Table
    """Every request with every candidate's outcome, whether it was observed or not."""
    candidates: tuple[Candidate, ...]
