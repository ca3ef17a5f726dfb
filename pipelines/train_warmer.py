"""Train a warmer: a tournament on the past, judged on what came later, and the winner as a bundle in service."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from beastmode.store import Pointer
from features.demand import Demand, windows
from models.warmers import tournament
from models.warmers.settings import WarmerSettings
from models.warmers.tournament import LEARNED, NONE, Chosen, Tournament
from pipelines.alike import alike
from pipelines.context import Context
from pipelines.plots_cache import warming
from pipelines.progress import Stages
from pipelines.train import NotEnough
from pipelines.tune_cache import Tuned, tuned
from pipelines.warm_bundle import WarmerBundle, demand_of, warmers
from pipelines.warm_demand import logged
from pipelines.warm_settings import WarmSettings

KIND = "train-warmer"
MINIMUM = 12
"""Windows of history under which there is no tournament."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A warmer in service, and why it is that one."""

    bundle: WarmerBundle
    tournament: Tournament
    decides: float
    """The budget, in prefills a request, at which the warmer was chosen."""
    tuned: Tuned | None
    pointer: Pointer
    run_id: str
    reason: str

    @property
    def chosen(self) -> Chosen:
        """What the tournament says at the budget that decides."""
        return self.tournament.chosen[self.decides]

    def lines(self) -> Iterator[str]:
        """Yield what a person wants to read."""
        held = self.tournament
        yield self.reason
        yield f"hit rate: none {held.played[NONE].hit_rate:.3f}, ceiling {held.ceiling:.3f}; on later windows:"
        for budget in held.chosen:
            named = {name: each for name, each in held.played.items() if name.endswith(f"@{budget:g}")}
            told = ", ".join(
                f"{name.partition('@')[0]} {each.hit_rate:.3f} ({each.spent:.3f} spent)" for name, each in named.items()
            )
            yield f"  at {budget:g} prefills a request: {told}"
        if self.tuned is not None:
            yield from self.tuned.lines()
        yield f"in service: {self.pointer.bundle}; MLflow run {self.run_id}"


def train_warmer(context: Context, at: datetime, progress: Stages) -> Trained:
    """Tune the cache, play the tournament on the lake's demand until `at`, put the winner into service, track it all.

    The learned warmer replaces the heuristic only where the lower bound of its lead is above zero. Raises NotEnough
    where the lake has too little demand.
    """
    settings, seed = context.settings.warming, context.settings.seed
    known = logged(context, at)
    demand = demand_of(known)
    count = _windows(demand, settings.window_hours * 3600)
    with context.tracker.run(f"warmer {at:%Y-%m-%d %H:%M}", KIND) as run:
        run.settings(context.settings)
        progress("tune", 0.1)
        tuning = tuned(known, settings, context.settings.objective, seed, alike(context, known))
        learning = _learning(settings, settings.ttl_seconds if tuning is None else tuning.kept.ttl_seconds)
        progress("tournament", 0.3)
        held, made = tournament.train(demand, learning, seed)
        decides = settings.budgets[0]
        chosen = held.chosen[decides]
        if not max(made[decides].chances) > 0:
            raise NotEnough(
                f"no answer of the lake's demand died and was asked for again in {learning.ttl_seconds / 3600:g} h, "
                "its time to live: there is nothing to warm, or the history is shorter than two times to live"
            )
        reason = _reason(chosen, decides, len(held.played[NONE].hits))
        bundle = WarmerBundle(
            name=f"warmer-{chosen.name.replace('_', '-')}-{at:%Y%m%d-%H%M%S}", created=at.isoformat(),
            warmer=made[decides], window_seconds=learning.window_seconds, ttl_seconds=learning.ttl_seconds,
            evaluation=_evaluation(held, chosen, reason), training=_training(demand, count, at, settings),
            cache={} if tuning is None else tuning.cache, sizes={} if tuning is None else tuning.sizes,
            tiers={} if tuning is None else tuning.tiers, evictor=None if tuning is None else tuning.evictor,
            mlflow_run_id=run.run_id,
        )  # fmt: skip
        store = warmers(context)
        bundle.write(store.folder(bundle.name))
        pointer = store.promote(bundle.name, at=at.isoformat(), reason=reason)
        bundle = replace(bundle, sha256=pointer.manifest_sha256)
        run.metrics(_metrics(held, chosen, tuning))
        run.figures({"hit_rate": warming(held.played, settings.budgets, held.ceiling, chosen.heuristic, LEARNED)})
        run.folder(store.folder(bundle.name), "bundle")
        verdict = "learned" if chosen.name == LEARNED else "heuristic"
        run.tag({"verdict": verdict, "warmer": chosen.name, "bundle": bundle.name})
        run.describe(f"**{chosen.name}** warms. {reason}")
        run.rename(f"warmer: {chosen.name}")
    return Trained(bundle, held, decides, tuning, pointer, run.run_id, reason)


def _learning(settings: WarmSettings, ttl_seconds: float) -> WarmerSettings:
    """Return what warmers are trained for: the cache's time to live, and windows that no answer dies within."""
    return WarmerSettings(
        window_seconds=min(settings.window_hours * 3600, ttl_seconds), ttl_seconds=ttl_seconds,
        budgets=settings.budgets, alpha=settings.alpha, later_share=settings.test_share,
    )  # fmt: skip


def _windows(demand: Demand, seconds: float) -> int:
    count = sum(1 for _ in windows(demand, seconds))
    if count < MINIMUM:
        raise NotEnough(
            f"the lake's demand spans {count} windows of {seconds / 3600:g} h, and a tournament takes {MINIMUM}: wait, "
            "or lower warming.window_hours"
        )
    return count


def _reason(chosen: Chosen, budget: float, judged: int) -> str:
    span = f"{100 * chosen.difference:+.2f} points of hit rate [{100 * chosen.low:+.2f}, {100 * chosen.high:+.2f}]"
    told = f"{LEARNED} less {chosen.heuristic} at {budget:g} prefills a request: {span}"
    wins = chosen.name == LEARNED
    verdict = "proven better, so it warms" if wins else f"not proven better, so {chosen.heuristic} warms"
    return f"{told} over {judged} later windows; {verdict}."


def _evaluation(held: Tournament, chosen: Chosen, reason: str) -> dict[str, Any]:
    rates = {name: {"hit_rate": each.hit_rate, "spent": each.spent} for name, each in held.played.items()}
    return {"reason": reason, "ceiling": held.ceiling, "heuristic": chosen.heuristic, "hit_rates": rates}


def _training(demand: Demand, count: int, at: datetime, settings: WarmSettings) -> dict[str, Any]:
    since = at - timedelta(days=settings.history_days)
    return {"since": since.isoformat(), "until": at.isoformat(), "requests": len(demand), "keys": demand.keys,
            "windows": count}  # fmt: skip


def _metrics(held: Tournament, chosen: Chosen, tuning: Tuned | None) -> dict[str, float]:
    metrics = {"ceiling": held.ceiling, "lead": chosen.difference, "lead_low": chosen.low, "lead_high": chosen.high}
    for name, each in held.played.items():
        place = name.replace("@", "/at_")
        metrics[f"hit_rate/{place}"] = each.hit_rate
        metrics[f"useful_prefills/{place}"] = each.useful_share
    return metrics | ({} if tuning is None else tuning.metrics())
