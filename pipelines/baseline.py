"""What a champion's service looked like when it was promoted, kept with its run: what `monitor` compares with."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from beastmode.bundle import Bundle
from models.watching import Level, Shape, calibration_error, firsts
from pipelines.context import Context
from pipelines.evaluation import contestant
from pipelines.seen import Seen
from pipelines.tracking import Run, TrackingError

Floats = NDArray[np.float64]
ARTIFACT = "baseline.json"
LEVELS = ("calibration", "quality", "log cost", "log latency")
"""`calibration` is observed less expected quality of what served."""


@dataclass(frozen=True, slots=True)
class Measures:
    """Levels of outcomes and the shape of prompts, over the requests that one bundle served."""

    until: datetime
    levels: dict[str, Level]
    ece: float
    failed: tuple[int, int]
    """Failures, and calls."""
    prompts: Shape | None
    """None where the log holds no prompts."""

    @classmethod
    def of(cls, seen: Seen, bundle: Bundle, until: datetime) -> Self:
        """Return what was measured of the requests that a bundle served."""
        table, frame = seen.table, seen.served
        failures = int((frame["status"] == "failure").sum()), len(frame)
        if table is None:
            return cls(until, {}, float("nan"), failures, None)
        at, column = np.arange(len(table)), np.maximum(table.served, 0)
        quality = table.quality[at, column]
        expected = contestant(bundle, table).quality[at, column]
        with np.errstate(divide="ignore", invalid="ignore"):
            values = {
                "calibration": quality - expected, "quality": quality,
                "log cost": np.log(table.cost_usd[at, column]), "log latency": np.log(table.latency_ms[at, column]),
            }  # fmt: skip
        levels = {name: Level.of(values[name], table.sessions) for name in LEVELS}
        known = {name: level for name, level in levels.items() if level is not None}
        encoded = prompts(seen, bundle)
        shape = None if len(encoded) < 2 else Shape.of(encoded)
        return cls(until, known, calibration_error(expected, quality), failures, shape)

    def keep(self, run: Run) -> None:
        """Keep them with a bundle's run."""
        levels = {name: asdict(level) for name, level in self.levels.items()}
        shape = None if self.prompts is None else self.prompts.to_json()
        known = {"until": self.until.isoformat(), "levels": levels, "ece": self.ece, "failed": list(self.failed)}
        run.keep(ARTIFACT, {**known, "prompts": shape})

    @classmethod
    def kept(cls, run: Run) -> Self | None:
        """Return what was kept with a run, or None."""
        try:
            known: dict[str, Any] = run.kept(ARTIFACT)
        except TrackingError:
            return None
        levels = {name: Level(**level) for name, level in known["levels"].items()}
        shape = None if known["prompts"] is None else Shape.from_json(known["prompts"])
        failed = int(known["failed"][0]), int(known["failed"][1])
        return cls(datetime.fromisoformat(known["until"]), levels, known["ece"], failed, shape)


def prompts(seen: Seen, bundle: Bundle) -> Floats:
    """Return the encoding of one prompt of each session that was served, (sessions, columns)."""
    table = seen.table
    rows = [] if table is None else [int(i) for i in firsts(table.sessions.tolist()) if table.texts[i]]
    if table is None or not rows:
        return np.zeros((0, 0))
    return np.asarray(bundle.encoder.encode([table.texts[i] for i in rows]), dtype=np.float64)


def run_of(context: Context, bundle: Bundle) -> Run:
    """Return the run of a bundle, which is made where another tracking server or a hand brought the bundle here."""
    tracker = context.tracker
    query = f"tags.bundle_sha256 = '{bundle.sha256}' and attributes.status = 'FINISHED'"
    found = tracker.client.search_runs([tracker.experiment_id], query, max_results=1)
    if found:
        return Run(tracker.client, found[0].info.run_id)
    with tracker.run(f"service of {bundle.name}", "service") as run:
        run.tag({"bundle": bundle.name, "bundle_sha256": bundle.sha256})
    return run
