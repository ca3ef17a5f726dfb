"""What tests of live traffic share: bundles whose choice is known, and an application that serves and journals."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from beastmode import Journal, Router
from beastmode.bundle import Bundle
from beastmode.candidates import Candidate, Price
from beastmode.experiment import Challenge
from beastmode.objective import Objective
from beastmode.policies import EpsilonGreedy, Greedy
from beastmode.recording import Recording
from beastmode.scorers import Constant
from models import encoders
from pipelines import logs
from pipelines.context import Context
from pipelines.promote import promote
from pipelines.settings import Settings, parse
from pipelines.tracking import Run

AT = datetime(2026, 3, 1, tzinfo=UTC)
WORDS = ("what is two and two", "name a river of the north", "write a verse on rain", "sort this list of numbers")


def settings(root: Any, **known: Any) -> Settings:
    """Small stages over a journal below `root`."""
    canary = {"planned": 500, "min_units": 30, "promote_after": 100, "quality_margin": 0.1, "p95_ratio": 1000.0}
    stages = {
        "shadow_requests": 40, "ramp": [{"share": 0.4, "hours": 0.0}, {"share": 0.5, "hours": 0.0}],
        "decision_ms": 5000.0, "look_every": 50, "canary": canary,
    }  # fmt: skip
    source = {"path": "{root}/journal/*.jsonl", "format": "journal", "deployment": "application"}
    return parse(
        {"paths": {"root": str(root)}, "ingest": {"sources": [source]}, "stages": {**stages, **known.pop("stages", {})},
         **known}
    )  # fmt: skip


def bundle(name: str, qualities: tuple[float, float] = (0.5, 0.8), *, epsilon: float = 0.0, **known: Any) -> Bundle:
    """A bundle that expects `qualities` of "small" and "large", and takes the better one."""
    encoder = encoders.fit(list(WORDS), list("abcd"), encoders.EncoderSettings(), 0)
    scorer = Constant(np.array(qualities), np.array([100.0, 100.0]), np.array([500.0, 700.0]))
    return Bundle(
        name=name,
        candidates=tuple(
            replace(candidate, **known)
            for candidate in (Candidate("small", price=Price(0.1, 0.2)), Candidate("large", price=Price(0.1, 0.2)))
        ),
        encoder=encoder,
        scorer=scorer,
        policy=EpsilonGreedy(epsilon) if epsilon else Greedy(),
        objective=Objective(),
        created=AT.isoformat(),
        code_version="test",
    )


def champion(context: Context, made: Bundle) -> Bundle:
    """Put a bundle into service."""
    promote(made, context.store, context.tracker, context.model, at=datetime.now(UTC), reason="It serves first.")
    return context.store.load_champion()


def nominate(context: Context, made: Bundle, verdict: str = "promote") -> Run:
    """Track a bundle as a trained challenger that was judged against the champion."""
    pointer = context.store.champion()
    assert pointer is not None
    kept = made.write(context.workspace.root / "made" / made.name)
    with context.tracker.run(f"{verdict}: {made.name}", "train-selector") as run:
        run.folder(context.workspace.root / "made" / made.name, "bundle")
        run.tag({"bundle": made.name, "bundle_sha256": kept.sha256, "verdict": verdict, "reason": "On the log.",
                 "compared_with_sha256": pointer.manifest_sha256, "best_single": "small"})  # fmt: skip
    return run


class Timed(Journal):
    """A journal whose latencies are drawn, so that a busy machine is no drift."""

    def __init__(self, path: Path, rng: np.random.Generator) -> None:
        super().__init__(path)
        self.rng = rng

    def end(self, recording: Recording, outcome: dict[str, Any]) -> None:
        took = float(self.rng.lognormal(0.0, 0.3))
        calls = [{**call, "latency_ms": took} for call in outcome["attempts"]]
        super().end(recording, {**outcome, "latency_ms": took, "attempts": calls})


class Traffic:
    """An application: it serves what the store says, journals, and hears how good each answer was."""

    def __init__(self, context: Context, seed: int = 0, quality: Mapping[str, float] | None = None) -> None:
        self.context = context
        self.rng = np.random.default_rng(seed)
        self.quality = {"small": 0.3, "large": 0.9} if quality is None else dict(quality)
        self.fails: dict[str, float] = {}
        self.words = WORDS
        self.units = 0

    def router(self) -> Router:
        """What a follower of the store would serve by now."""
        store, router = self.context.store, Router(self.context.store.load_champion(), seed=len(WORDS) + self.units)
        trial = store.experiment()
        if trial is not None:
            router.swap(router.bundle, Challenge(store.read(trial.challenger, trial.manifest_sha256), trial.dealing))
        return router

    def serve(self, requests: int) -> None:
        """Serve so many requests and ingest the journal."""
        router = self.router()
        with Timed(self.context.workspace.root / "journal", self.rng) as journal:
            for _ in range(requests):
                self.units += 1
                text = self.words[int(self.rng.integers(len(self.words)))]
                decision = router.route(
                    f"{text} {int(self.rng.integers(100, 1000))}", session_id=f"session-{self.units}"
                )
                try:
                    with journal.attempt(decision) as attempt:
                        # Seconds that are drawn, beside which this machine's own do not count.
                        attempt.began_before(float(self.rng.lognormal(-3.0, 0.3)))
                        if self.rng.random() < self.fails.get(decision.candidate, 0.0):
                            raise ConnectionRefusedError("nobody there")
                        attempt.tokens(input=30, output=60)
                        attempt.cost(0.001)
                except ConnectionRefusedError:
                    continue
                right = float(self.rng.random() < self.quality[decision.candidate])
                journal.feedback(decision.request.request_id, "score", right)
        logs.ingest(self.context, datetime.now(UTC))
