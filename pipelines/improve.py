"""The loop: ingest, train, compare, and promote what is proven better. Each step is a plain function of its own."""

import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from beastmode.bundle import Bundle
from beastmode.experiment import State
from models.comparison import Judgement
from models.recipes import Progress
from pipelines import history
from pipelines.compare import Compared, compare
from pipelines.context import Context, Step, at_once
from pipelines.promote import Promotion, PromotionError, promote, reconcile
from pipelines.tracking import BUNDLE, Run, moment
from pipelines.train import Training, train_selector
from pipelines.tuning import study
from pipelines.usual import usual


@dataclass(frozen=True, slots=True)
class Improvement:
    """What one turn of the loop did."""

    mended: tuple[str, ...]
    training: Training
    compared: Compared
    promotion: Promotion | None
    """None where the verdict was hold or reject, and where challengers are tried on traffic first."""
    first: Promotion | None = None
    """The best single candidate's bundle, where nothing was in service before."""

    @property
    def judgement(self) -> Judgement:
        """The verdict and its reason."""
        return self.compared.judgement


def learn(context: Context, as_of: datetime, progress: Progress | None = None) -> Training:
    """Train a challenger from the lake as of a moment."""
    table = history.table(context, as_of)
    candidates = history.candidates(context, table)
    return train_selector(
        context, table, candidates, as_of,
        teachers=history.teachers(context), study=study(context, as_of), progress=progress,
    )  # fmt: skip


def champion_or_first(context: Context, training: Training, at: datetime) -> tuple[Bundle, Promotion | None]:
    """Return the bundle in service; where there is none, the best single candidate's is put there first.

    So the first challenger too is compared with something, and can be rolled back.
    """
    if context.store.champion() is not None:
        return context.store.load_champion(), None
    reason = f"Nothing was in service: every request goes to {training.best_single}, the best single candidate."
    promotion = promote(
        training.first, context.store, context.tracker, context.model, at=at, reason=reason, baseline=usual(context, at)
    )
    return training.first, promotion


def decide(context: Context, compared: Compared, at: datetime) -> Promotion | None:
    """Promote a judged challenger where the verdict says so; else leave what serves as it is.

    With [stages] it is left too: the challenger is a candidate then, whom `advance` tries on traffic.
    """
    if context.settings.stages is not None or compared.judgement.verdict != "promote":
        return None
    run = context.tracker.of(compared.run_id)
    promotion = promote(
        compared.bundle, context.store, context.tracker, context.model, at=at, reason=compared.judgement.reason,
        baseline=usual(context, at), seen=_still(context, run),
    )  # fmt: skip
    version = promotion.pointer.registry.version if promotion.pointer.registry else "none"
    run.tag({"model_version": version})
    run.rename(f"promoted: {compared.bundle.name}")
    since = f"*In service since {moment(at)}, as version {version} of {context.model}.*"
    run.describe(f"{compared.report.markdown}\n\n{since}")
    return promotion


def improve(
    context: Context, as_of: datetime, *, step: Step = at_once, progress: Progress | None = None
) -> Improvement:
    """Run one turn of the loop on what the lake holds; ingest comes before it, as a flow of its own.

    `step` runs each step: a flow passes one that makes a task of it.
    """
    mended = step("reconcile", lambda: reconcile(context.store, context.tracker, context.model))
    training = step("train", lambda: learn(context, as_of, progress))
    champion, first = step("champion", lambda: champion_or_first(context, training, as_of))
    compared = step("compare", lambda: compare(context, training, champion, as_of))
    promotion = step("promote", lambda: decide(context, compared, as_of))
    return Improvement(mended, training, compared, promotion, first)


def promote_run(context: Context, run_id: str | None, at: datetime, *, force: bool = False) -> Promotion:
    """Promote the bundle of a tracked run on the verdict it was given.

    Raises PromotionError where the verdict is not promote, or was given against another champion than the present, or
    a guard took the bundle out of service; `force` promotes all the same, and says so in the pointer.
    """
    run = context.tracker.of(run_id or context.tracker.latest("train-selector"))
    tags, seen = run.tags, None
    verdict, reason = tags.get("verdict", "none yet"), tags.get("reason", "")
    if not force:
        if verdict != "promote":
            told = f"{verdict!r}: {reason.rstrip('.')}" if reason else repr(verdict)
            raise PromotionError(
                f"run {run.run_id}: its verdict is {told}; only a proven bundle is promoted (`compare` judges it, "
                "--force overrules)"
            )
        seen = _still(context, run)
    with tempfile.TemporaryDirectory() as folder:
        bundle = Bundle.read(run.download(BUNDLE, Path(folder)), tags["bundle_sha256"])
    why = f"Forced, against the verdict {verdict!r}. {reason}" if force and verdict != "promote" else reason
    return promote(
        bundle, context.store, context.tracker, context.model, at=at, reason=why, baseline=usual(context, at), seen=seen
    )


def _still(context: Context, run: Run) -> State:
    """Return what the store holds, for which a run's verdict must still be true; raises PromotionError otherwise."""
    state, tags = context.store.state(), run.tags
    now, own = state.champion, tags.get("bundle_sha256")
    if now is not None and now.manifest_sha256 not in (tags.get("compared_with_sha256"), own):
        raise PromotionError(
            f"run {run.run_id} was judged against {tags.get('compared_with')}, and another bundle serves now: run "
            "`python -m pipelines compare` again"
        )
    kept = None if now is None else now.previous
    if kept is not None and kept.manifest_sha256 == own and kept.breach is not None:
        raise PromotionError(
            f"run {run.run_id}: its bundle {kept.bundle} was taken out of service ({kept.breach}), and what is logged "
            "of it may not be judged yet: train again, or overrule with --force"
        )
    return state
