"""The lake as the table a learner takes, as of a moment, with the catalogue of its candidates and their teacher."""

from datetime import UTC, datetime, timedelta

from beastmode.candidates import Candidate
from beastmode.transformer import Transformer
from features import joins
from features.repricing import at_prices_of
from features.table import Table
from models.encoders import Teacher
from pipelines import logs
from pipelines.context import Context
from pipelines.rungs import Teachers
from pipelines.teaching import exported, sentence_transformer
from pipelines.train import NotEnough


def table(context: Context, as_of: datetime) -> Table:
    """Return the lake's interactions with the latest feedback, as both were known at a moment.

    Costs are at the prices of that day: a router is to be good from now on, not when its log was written. Raises
    NotEnough where the lake holds no interaction up to then.
    """
    lake, today, window = context.lake, as_of.astimezone(UTC).date(), context.settings.split.window_days
    since = None if window is None else today - timedelta(days=window)
    interactions = lake.interactions(since, today)
    if not len(interactions):
        raise NotEnough(
            f"{lake.root} holds no interaction as of {as_of:%Y-%m-%d %H:%M}: name your logs under [[sources]] in the "
            "configuration and run `python -m pipelines ingest`, or write some with `python -m pipelines replay`"
        )
    names = tuple(candidate.name for candidate in logs.candidates(context)) or None
    interactions = interactions.assign(cost_usd=at_prices_of(today, interactions, logs.book(context)))
    return joins.table(interactions, lake.feedback(), as_of, names, context.settings.signals)


def teachers(context: Context) -> Teachers:
    """Return for each rung of the ladder whom its encoder learns from, with a memory in the workspace."""
    settings = context.settings
    folder = settings.paths.embeddings or context.workspace.embeddings
    known: dict[str, Teacher | Transformer | None] = {}
    for rung in settings.ladder.rungs:
        if rung == "onnx":
            known[rung] = exported(folder, settings.recipe.encoder.sentence_pieces)
        else:
            known[rung] = None if settings.teacher == "none" else sentence_transformer(folder)
    return known


def candidates(context: Context, known: Table) -> tuple[Candidate, ...]:
    """Return the catalogue's entries for a table's columns; a model that it lacks is taken along without a price."""
    by_name = {candidate.name: candidate for candidate in logs.candidates(context)}
    return tuple(by_name.get(name, Candidate(name)) for name in known.candidates)
