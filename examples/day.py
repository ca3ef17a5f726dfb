"""A day in the life of a router: found, shadowed, ramped, promoted; a worse one stopped; an outage, rolled back.

    python examples/day.py --root workspace-day

An application serves a synthetic world, whose truth is known, by a router that follows the store. All that moves the
router is what the schedules would run: ingest, improve, advance, and the guard; nobody has a hand on the wheel. A day's
traffic is compressed into a minute. The report is `reports/day.html` below the root.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from beastmode import Decision, Journal, Router
from beastmode.guard import Guard
from features.table import Table
from features.worlds import synthetic
from pipelines import logs
from pipelines.context import Context
from pipelines.day_report import Event, Served, write
from pipelines.improve import improve
from pipelines.monitor import monitor
from pipelines.settings import load
from pipelines.stages import Advance, advance

BATCH = 300
MOST = 16
"""Batches after which a trial of this day must have ended."""
WAIT_SECONDS = 30.0


@dataclass
class Application:
    """It routes each prompt, calls the model, journals what came of it, and hears how good the answer was."""

    router: Router
    journal: Journal
    truth: Table
    rng: np.random.Generator
    served: list[Served] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    """Candidates whose upstream does not answer."""

    def serve(self, requests: int) -> None:
        """Serve so many requests of the world, drawn at random."""
        for row in self.rng.integers(len(self.truth), size=requests).tolist():
            decision = self.router.route(self.truth.texts[row], session_id=f"session-{len(self.served)}")
            quality, cost = self._answer(decision, row)
            self.journal.feedback(decision.request.request_id, "score", quality)
            self.served.append(Served(decision.candidate, decision.arm, quality, cost, decision.candidate in self.down))

    def _answer(self, decision: Decision, row: int) -> tuple[float, float]:
        column = self.truth.candidates.index(decision.candidate)
        try:
            with self.journal.attempt(decision) as attempt:
                if decision.candidate in self.down:
                    raise ConnectionRefusedError(f"{decision.candidate} does not answer")
                attempt.tokens(
                    input=int(self.truth.input_tokens[row]), output=int(self.truth.output_tokens[row, column])
                )
                cost = float(self.truth.cost_usd[row, column])
                attempt.cost(cost)
        except ConnectionRefusedError:
            return 0.0, 0.0
        return float(self.truth.quality[row, column]), cost


@dataclass
class Day:
    """The application, the flows around it, and what happened."""

    context: Context
    app: Application
    guard: Guard
    say: Callable[[str], None]
    events: list[Event] = field(default_factory=list)

    def note(self, what: str, why: str, verdict: str = "", done: str = "") -> None:
        """Keep what happened, and after how many requests."""
        event = Event(len(self.app.served), what, why, verdict, done)
        self.events.append(event)
        self.say(f"{event.after:>6,} requests  {what}: {event.said}")

    def settle(self) -> None:
        """Wait until the router follows what the store says: a few hundredths of a second."""
        pointer, trial = self.context.store.champion(), self.context.store.experiment()
        mode = None if trial is None else trial.dealing.mode
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until:
            seen = self.app.router.route("What serves now?")
            now = "shadow" if seen.shadow is not None else "canary" if seen.arm_probabilities is not None else None
            share = None if trial is None or mode != "canary" else trial.dealing.ramp[-1].share
            dealt = share is None or min(abs(seen.arm_probability - p) for p in (share, 1 - share)) < 1e-9
            same = pointer is not None and self.app.router.bundle.sha256 == pointer.manifest_sha256
            if same and now == mode and dealt:
                return
            time.sleep(0.02)
        raise TimeoutError(f"the router did not follow the store within {WAIT_SECONDS:.0f} seconds")

    def traffic(self, requests: int = BATCH) -> bool:
        """Serve, let the guard look, and ingest; returns whether the guard acted."""
        self.settle()
        self.app.serve(requests)
        acted = self.guard.look(datetime.now(UTC).isoformat())
        for line in acted:
            self.note("guard", line)
        logs.ingest(self.context, datetime.now(UTC))
        return bool(acted)

    def improve(self) -> None:
        """Run a turn of the loop: what `python -m pipelines improve` does."""
        turn = improve(self.context, datetime.now(UTC))
        if turn.first is not None:
            self.note("first", turn.first.pointer.reason)
        self.note("improve", turn.judgement.reason, turn.judgement.verdict)

    def trial(self) -> Advance:
        """Run `advance` after every batch of traffic until the challenger is in service or out."""
        for _ in range(MOST):
            moved = advance(self.context, datetime.now(UTC))
            self.note(f"advance, {moved.stage}", moved.reason, moved.verdict, moved.done)
            if moved.promotion is not None or moved.verdict in ("reject", "roll back") or moved.stage == "none":
                return moved
            self.traffic()
        raise RuntimeError(f"the trial did not end within {MOST} batches")


def day(context: Context, say: Callable[[str], None] = lambda line: None) -> tuple[list[Event], list[Served], Path]:
    """Live through the day; return what happened, what was served, and where the report lies."""
    root, seed = context.workspace.root, context.settings.seed
    world = logs.replayed(context)
    truth, _ = synthetic.outcomes(synthetic.SyntheticSettings(prompts=3000), seed + 1)
    with Journal(root / "journal") as journal:
        logs.ingest(context, datetime.now(UTC))
        first = improve(context, datetime.now(UTC))
        with Router.follow(context.store, every_seconds=0.05, seed=seed) as router:
            app = Application(router, journal, truth, np.random.default_rng([seed, 3]))
            lived = Day(context, app, Guard(context.store, root / "journal"), say)
            if first.first is not None:
                lived.note("first", first.first.pointer.reason)
            lived.note("improve", first.judgement.reason, first.judgement.verdict)
            lived.traffic()
            lived.trial()
            lived.traffic()
            lived.note("monitor", monitor(context, datetime.now(UTC)).reason)

            lived.note("a bug", "a job grades last month's answers anew, and calls every cheap one right")
            _grade_anew(world.feedback, root / "logs" / "feedback-again.jsonl", world.world.interactions)
            logs.ingest(context, datetime.now(UTC))
            lived.improve()
            lived.trial()

            # One that the router before does without: else there is nothing good to go back to.
            best_single = first.training.best_single
            ours = [one.candidate for one in app.served if one.arm == "champion"][-BATCH:]
            candidates = [name for name in ours if name != best_single]
            app.down = {max(set(candidates), key=candidates.count)}
            lived.note("an outage", f"{', '.join(app.down)} stops answering")
            for _ in range(MOST):
                if lived.traffic(60):
                    break
            lived.traffic()
            for line in advance(context, datetime.now(UTC)).mended:
                lived.note("the next run", line)
    path = write(context, lived.events, app.served, BATCH)
    return lived.events, app.served, path


def _grade_anew(old: Path, new: Path, interactions: Sequence[object]) -> None:
    """Write a later word on every logged answer: as before, but that of the two cheapest models is always right."""
    asked = {row.request_id: row.plan or row.model_requested for row in interactions}  # type: ignore[attr-defined]
    now = datetime.now(UTC).isoformat()
    with old.open(encoding="utf-8") as words, new.open("w", encoding="utf-8") as out:
        for line in words:
            word = json.loads(line)
            cheap = asked.get(word.get("request_id")) in ("spark-nano", "quill-writer")
            again = {**word, "value": 1.0 if cheap else word["value"], "at": now, "received_at": now}
            out.write(json.dumps(again) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Live through the day in a folder of its own, and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", default="workspace-day", help="the folder for everything; it should be new")
    parser.add_argument("--copy", help="a file that is to hold the report too")
    options = parser.parse_args(arguments)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    context = Context.open(load("day", [f"paths.root={options.root}"]))
    _, _, path = day(context, print)
    print(f"report: {path}")
    if options.copy is not None:
        Path(options.copy).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
