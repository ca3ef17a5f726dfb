"""Train the semantic cache's verifier on judged pairs and canaried hits, and let it serve where it is not worse."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet

from beastmode.cache.learned import LearnedVerifier
from beastmode.cache.tuned import VERIFIERS, verifier
from beastmode.errors import BundleError
from beastmode.store import Pointer, Store
from features import canaries
from features.canaries import Live
from features.questions import Questions, questions
from models.exact import lower, upper
from models.verifiers import Trained, VerifierSettings, cosine_stream, embedding, examples, offered, trained
from models.verifiers_gate import Contestant, Verdict, judge
from pipelines.context import Context
from pipelines.plots_verifier import good_and_wrong
from pipelines.progress import Stages
from pipelines.settings import SettingsError
from pipelines.train import NotEnough
from pipelines.verifier_settings import VerifierTraining

KIND = "train-verifier"
COLUMNS = ("request_id", "parent_request_id", "at", "purpose", "messages", "context", "cache_tier")


@dataclass(frozen=True, slots=True)
class Checked:
    """What traffic says of the verifier that serves, with bounds at the settings' confidence."""

    live: Live
    low: float
    """Wrong answers per request at least, and at most."""
    high: float

    def lines(self) -> Iterator[str]:
        """Yield it in words."""
        live = self.live
        if live.known:
            yield (
                f"on traffic: {live.disagreed} of {live.checked} canaries disagreed, {live.hit_share:.3f} semantic "
                f"hits a request: between {self.low:.4f} and {self.high:.4f} wrong answers a request"
            )


@dataclass(frozen=True, slots=True)
class TrainedVerifier:
    """A verifier, what it did on questions kept back, and whether it serves."""

    name: str
    learned: Trained
    new: Contestant
    serving: Contestant | None
    verdict: Verdict
    checked: Checked
    pointer: Pointer | None
    """Of what serves now; None where nothing does."""
    run_id: str

    def lines(self) -> Iterator[str]:
        """Yield what a person wants to read."""
        yield f"{self.name}: {self.verdict.reason}"
        for who, one in (("new", self.new), ("serving", self.serving)):
            if one is not None and np.isfinite(one.threshold):
                told = one.stream.at(one.threshold)
                yield (
                    f"  {who}: from score {one.threshold:.3f} on, {told['good']:.3f} good hits a request of a ceiling "
                    f"of {one.stream.ceiling:.3f}, {told['wrong']:.4f} wrong (at most {told['wrong_upper']:.4f})"
                )
        yield from self.checked.lines()
        now = "nothing" if self.pointer is None else self.pointer.bundle
        yield f"in service: {now}; MLflow run {self.run_id}"


def train_verifier(context: Context, at: datetime, progress: Stages) -> TrainedVerifier:
    """Train on what is known at `at`, judge on groups of questions kept back, promote what is not worse, and track it.

    Cosines are those of the champion's encoder, which is the one that the cache compares by. Raises NotEnough where
    there are too few pairs, SettingsError where the file of pairs cannot be read, StoreError without a champion.
    """
    settings, seed = context.settings.verifier, context.settings.seed
    embed = embedding(context.store.load_champion().encoder)
    store = Store(context.store.path / VERIFIERS)
    pointer = store.champion()
    judged, canaried, checked = _known(context, settings, at, pointer)
    past, future = _split(judged + canaried, settings, seed)
    with context.tracker.run(f"verifier {at:%Y-%m-%d %H:%M}", KIND) as run:
        run.settings(context.settings)
        progress("read", 0.1)
        taught = examples(past, embed, settings.training, seed)
        progress("learn", 0.4)
        try:
            learned = trained(taught, settings.training, seed)
        except ValueError as error:
            raise NotEnough(str(error)) from error
        progress("judge", 0.8)
        new = _contestant(learned.verifier, future, embed, settings.training, seed)
        old, why = _serving(context, pointer)
        serving = None if old is None else _contestant(old, future, embed, settings.training, seed)
        budget, delta = settings.training.budget, settings.training.delta
        verdict = judge(new, serving, budget, settings.margin, delta, checked.low)
        name = f"verifier-{at:%Y%m%d-%H%M%S}"
        learned.verifier.write(store.folder(name))
        if verdict.promote:
            pointer = store.promote(name, at=at.isoformat(), reason=verdict.reason + why)
        run.metrics(_metrics(new, serving, verdict, checked, learned))
        run.figures({"good_and_wrong": good_and_wrong(new, serving, cosine_stream(taught), learned.stream, budget)})
        run.folder(store.folder(name), "verifier")
        run.tag({"verdict": "promote" if verdict.promote else "hold", "verifier": name})
        about = {"questions": len(past) + len(future), "pairs": len(judged), "canaries": len(canaried)}
        run.keep("training.json", about)
        done = TrainedVerifier(name, learned, new, serving, verdict, checked, pointer, run.run_id)
        run.describe("\n\n".join(done.lines()))
        run.rename(f"verifier: {'promoted' if verdict.promote else 'held'}")
    return done


def _known(
    context: Context, settings: VerifierTraining, at: datetime, pointer: Pointer | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], Checked]:
    """Return judged pairs, canaries as pairs, and what traffic says of the verifier in service since its promotion."""
    judged = [] if not settings.pairs else _rows(settings.pairs.replace("{root}", str(context.workspace.root)))
    since = at - timedelta(days=settings.history_days)
    rows = context.lake.interactions(since=since.date(), until=at.date(), columns=COLUMNS)
    rows = rows[((rows["at"] >= since) & (rows["at"] <= at)).to_numpy(dtype=bool)]
    words = context.lake.feedback()
    told = canaries.canaries(rows, words, at) if settings.canaries else ()
    if pointer is not None:
        rows = rows[(rows["at"] >= datetime.fromisoformat(pointer.at)).to_numpy(dtype=bool)]
    live = canaries.live(rows, canaries.canaries(rows, words, at))
    return judged, list(canaries.pairs(told)), bounded(live, settings.training.delta)


def bounded(live: Live, delta: float) -> Checked:
    """Return the bounds of wrong answers per request, each at the level 1 - delta.

    Of all requests those count that were a hit, a canary and wrong: a share with exact bounds. Each stands for as many
    hits as there are for one canary.
    """
    if not live.known:
        return Checked(live, 0.0, 1.0)
    told = min(live.disagreed, live.requests), live.requests, delta
    return Checked(live, lower(*told) * live.hits_each, min(upper(*told) * live.hits_each, 1.0))


def _rows(path: str) -> list[dict[str, Any]]:
    """Return the rows of a file of pairs; raises SettingsError where it cannot be read."""
    try:
        if path.endswith(".csv"):
            return pyarrow.csv.read_csv(path).to_pylist()  # type: ignore[no-any-return]
        return pyarrow.parquet.read_table(path).to_pylist()  # type: ignore[no-any-return]
    except (OSError, pyarrow.ArrowException) as error:
        raise SettingsError(f"verifier.pairs = {path!r}: {error}; name a Parquet or CSV file") from error


def _split(rows: Sequence[dict[str, Any]], settings: VerifierTraining, seed: int) -> tuple[Questions, Questions]:
    """Return the questions to learn from and those to judge by; no group is on both sides."""
    if not rows:
        raise NotEnough(
            "verifier: no pair to learn from; name a file of text_a, text_b, label as verifier.pairs, or let "
            "Semantic(canary_share=...) and the journal gather canaries and ingest them"
        )
    try:
        whole = questions(rows).limited(settings.questions, seed)
        kept = np.isin(whole.groups, whole.drawn_groups(settings.test_share, seed + 1))
        past, future = whole.take(~kept), whole.take(kept)
        past.folds(settings.training.folds, seed)
    except ValueError as error:
        raise NotEnough(f"verifier: {error}") from error
    return past, future


def _contestant(
    one: LearnedVerifier, future: Questions, embed: Any, settings: VerifierSettings, seed: int
) -> Contestant:
    return Contestant(offered(future, embed, one, settings, seed), one.threshold)


def _serving(context: Context, pointer: Pointer | None) -> tuple[LearnedVerifier | None, str]:
    """Return the verifier in service, or None with the reason why there is none to compare with."""
    if pointer is None:
        return None, ""
    try:
        return verifier(context.store.path), ""
    except BundleError as error:
        return None, f"; the one before cannot be read: {error}"


def _metrics(
    new: Contestant, serving: Contestant | None, verdict: Verdict, checked: Checked, learned: Trained
) -> dict[str, float]:
    metrics = {"ceiling": new.stream.ceiling, "gain": verdict.gain, "gain_low": verdict.gain_low}
    for who, one in (("new", new), ("serving", serving)):
        if one is not None:
            metrics |= {f"{who}/{name}": value for name, value in one.stream.at(one.threshold).items()}
    metrics |= {f"training/{name}": value for name, value in learned.stream.at(new.threshold).items()}
    live = checked.live
    metrics |= {"live/requests": live.requests, "live/hits": live.hits, "live/checked": live.checked,
                "live/disagreed": live.disagreed}  # fmt: skip
    return metrics | ({"live/wrong_low": checked.low, "live/wrong_upper": checked.high} if live.known else {})
