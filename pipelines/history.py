"""The lake as the table a learner takes, as of a moment, with the catalogue of its candidates and their teacher."""

from datetime import datetime

from beastmode.candidates import Candidate
from features import joins
from features.table import Table
from models.encoders import Teacher
from pipelines import logs
from pipelines.context import Context
from pipelines.teaching import sentence_transformer
from pipelines.train import NotEnough


def table(context: Context, as_of: datetime) -> Table:
    """Return the lake's interactions with the latest feedback, as both were known at a moment.

    Raises NotEnough where the lake holds no interaction up to then.
    """
    lake = context.lake
    interactions = lake.interactions(until=as_of.date())
    if not len(interactions):
        raise NotEnough(
            f"{lake.root} holds no interaction as of {as_of:%Y-%m-%d %H:%M}: name your logs under [[sources]] in the "
            "configuration and run `python -m pipelines ingest`, or write some with `python -m pipelines replay`"
        )
    names = tuple(candidate.name for candidate in logs.candidates(context)) or None
    return joins.table(interactions, lake.feedback(), as_of, names, context.settings.signals)


def teacher(context: Context) -> Teacher | None:
    """Return the configured teacher with its memory in the workspace, or None."""
    if context.settings.teacher == "none":
        return None
    return sentence_transformer(context.settings.paths.embeddings or context.workspace.embeddings)


def candidates(context: Context, known: Table) -> tuple[Candidate, ...]:
    """Return the catalogue's entries for a table's columns; a model that it lacks is taken along without a price."""
    by_name = {candidate.name: candidate for candidate in logs.candidates(context)}
    return tuple(by_name.get(name, Candidate(name)) for name in known.candidates)
