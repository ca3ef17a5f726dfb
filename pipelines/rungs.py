"""The ladder of encoders: train every rung, weigh what it earns against what it takes, keep one."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from beastmode.bundle import Bundle
from beastmode.candidates import Candidate
from beastmode.objective import Objective
from beastmode.router import Router
from beastmode.transformer import Transformer
from features.table import Table
from models import exporting, recipes
from models.encoders import Teacher
from models.ladder import Rung, Standing, stand
from models.recipes import Progress, Trained

Teachers = Mapping[str, Teacher | Transformer | None]
"""For each rung by name, whom its encoder learns from or takes along."""
TIMED = 200
"""Decisions whose median time is a rung's."""


def climb(
    table: Table,
    settings: recipes.Settings,
    seed: int,
    teachers: Teachers,
    *,
    candidates: Sequence[Candidate],
    objective: Objective,
    errors: float,
    study: Any = None,
    progress: Progress | None = None,
) -> tuple[Trained, tuple[Standing, ...]]:
    """Train a router on each rung, and return the one to serve with where every rung stands.

    A single rung is taken as it is, unmeasured, and no standing is returned. `study` is the first rung's; the others
    are tuned in memory.
    """
    say = progress or (lambda stage, share: None)
    trained: dict[str, Trained] = {}
    for i, (name, teacher) in enumerate(teachers.items()):
        trained[name] = recipes.train(
            table, settings, seed, candidates=candidates, objective=objective, teacher=teacher,
            study=None if i else study, progress=_part(say, name, i, len(teachers)),
        )  # fmt: skip
    if len(trained) == 1:
        return next(iter(trained.values())), ()
    standings = stand(
        [_rung(name, one, table.texts[:TIMED]) for name, one in trained.items()], objective.per_second, errors
    )
    chosen = next(standing.name for standing in standings if standing.chosen)
    return trained[chosen], standings


def _part(say: Progress, name: str, i: int, rungs: int) -> Progress:
    """Return the progress of one rung as a part of the whole ladder's."""
    if rungs == 1:
        return say
    return lambda stage, share: say(stage if stage == "done" else f"{name}: {stage}", (i + share) / rungs)


def _rung(name: str, trained: Trained, texts: Sequence[str]) -> Rung:
    """Export a router, load it as an application does, and time its decisions."""
    made = exporting.bundle(trained, name=name, created="", training={}, evaluation={})
    with tempfile.TemporaryDirectory() as folder:
        digest = made.write(Path(folder) / name).sha256
        size = sum(path.stat().st_size for path in (Path(folder) / name).iterdir())
        bundle = Bundle.read(Path(folder) / name, digest)
    return Rung(name, trained.earned, route_ms(bundle, texts), size)


def route_ms(bundle: Bundle, texts: Sequence[str]) -> float:
    """Return the median milliseconds of a decision, each text once."""
    router, taken = Router(bundle, seed=0), []
    for text in texts:
        start = time.perf_counter()
        router.route(text)
        taken.append(1000 * (time.perf_counter() - start))
    return median(taken)
