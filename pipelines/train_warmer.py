"""Train a warmer: a tournament on the past, judged on what came later, and the winner as a bundle in service."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from beastmode.store import Pointer
from features.demand import Demand, windows
from models.warmers import tournament
from models.warmers.keys import Compared, compare
from models.warmers.settings import WarmerSettings
from models.warmers.tournament import LEARNED, NONE, Chosen, Tournament
from pipelines.alike import alike
from pipelines.context import Context
from pipelines.plots_cache import warming
from pipelines.progress import Stages
from pipelines.settings import SettingsError
from pipelines.train import NotEnough
from pipelines.tune_cache import Tuned, tuned
from pipelines.warm_bundle import WarmerBundle, demand_of, warmers
from pipelines.warm_clusters import BEST, CLUSTERS, EXACT, Keyed, keyed
from pipelines.warm_demand import Logged, logged
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
    compared: Mapping[float, Compared] = field(default_factory=dict)
    """Clusters against exact keys at each budget; empty where there are no clusters."""
    note: str | None = None
    """What became of the clusters that were asked for."""

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
        if self.note is not None:
            yield f"keys: {self.bundle.training['keys']}; {self.note}"
        for budget, one in self.compared.items():
            yield (
                f"  at {budget:g} prefills a request: exact keys {one.exact.hit_rate:.3f} ({one.exact.spent:.3f} "
                f"spent), clusters {one.clusters.hit_rate:.3f} ({one.clusters.spent:.3f} spent), {_points(one)}"
            )
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
    window_seconds = _window_seconds(settings)
    count = _windows(demand_of(known), window_seconds)
    with context.tracker.run(f"warmer {at:%Y-%m-%d %H:%M}", KIND) as run:
        run.settings(context.settings)
        progress("tune", 0.1)
        tuning = tuned(known, settings, context.settings.objective, seed, alike(context, known))
        learning = _learning(settings, settings.ttl_seconds if tuning is None else tuning.kept.ttl_seconds)
        progress("tournament", 0.3)
        threshold = None if tuning is None else tuning.tiers["semantic_threshold"]
        played = _played(context, known, learning, threshold)
        held, demand, compared = played.held, played.demand, played.compared
        made = tournament.winners(held, demand, played.learning, seed)
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
            evaluation=_evaluation(held, chosen, reason, compared),
            training=_training(demand, count, at, settings) | {"keys": played.keys},
            cache={} if tuning is None else tuning.cache, sizes={} if tuning is None else tuning.sizes,
            tiers={} if tuning is None else tuning.tiers, evictor=None if tuning is None else tuning.evictor,
            mlflow_run_id=run.run_id,
        )  # fmt: skip
        store = warmers(context)
        bundle.write(store.folder(bundle.name))
        pointer = store.promote(bundle.name, at=at.isoformat(), reason=reason)
        bundle = replace(bundle, sha256=pointer.manifest_sha256)
        run.metrics(_metrics(held, chosen, tuning, compared))
        run.figures({"hit_rate": warming(held.played, settings.budgets, held.ceiling, chosen.heuristic, LEARNED)})
        run.folder(store.folder(bundle.name), "bundle")
        verdict = "learned" if chosen.name == LEARNED else "heuristic"
        run.tag({"verdict": verdict, "warmer": chosen.name, "keys": played.keys, "bundle": bundle.name,
                 "follows": str(made[decides].follower is not None).lower()})  # fmt: skip
        told = f" Keys: {played.keys}; {played.note}." if played.note else ""
        if made[decides].follower is not None:
            told += " It also fetches what follows the requests that come."
        run.describe(f"**{chosen.name}** warms. {reason}{told}")
        run.rename(f"warmer: {chosen.name}")
    return Trained(bundle, held, decides, tuning, pointer, run.run_id, reason, compared, played.note)


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys that are warmed, with the tournament over demand for them."""

    keys: str
    held: Tournament
    demand: Demand
    learning: WarmerSettings
    compared: Mapping[float, Compared] = field(default_factory=dict)
    note: str | None = None


def _played(context: Context, known: Logged, learning: WarmerSettings, threshold: float | None) -> _Keys:
    """Hold the tournament over exact keys or clusters, whichever serve: over both, where clusters are asked for."""
    settings, seed = context.settings.warming, context.settings.seed
    exact = demand_of(known)
    found: Keyed | str | None = None if settings.keys == EXACT else keyed(context, known, threshold)
    held = {EXACT: tournament.hold(exact, learning, seed)}
    if found is None or isinstance(found, str):
        return _Keys(EXACT, held[EXACT], exact, learning, note=found)
    demand = demand_of(found.logged)
    alone = replace(learning, follow=False)  # `warm` follows exact keys alone
    held[CLUSTERS] = tournament.hold(demand, alone, seed)
    compared = compare(exact, found.clusters, held, alone, seed)
    first = compared[settings.budgets[0]]
    note = f"{found}; at {settings.budgets[0]:g} prefills a request {_points(first)}"
    if settings.keys == BEST and not first.low > 0:
        return _Keys(EXACT, held[EXACT], exact, learning, compared, f"{note}, not proven better")
    return _Keys(CLUSTERS, held[CLUSTERS], demand, alone, compared, note)


def _points(one: Compared) -> str:
    return (
        f"clusters less exact keys: {100 * one.difference:+.2f} points of hit rate "
        f"[{100 * one.low:+.2f}, {100 * one.high:+.2f}]"
    )


def _window_seconds(settings: WarmSettings) -> float:
    """Return how long a window is; raises SettingsError where the cache is not flushed at the end of one."""
    seconds = settings.window_hours * 3600
    if settings.flush_seconds is not None and settings.flush_seconds % seconds:
        raise SettingsError(
            f"warming.window_hours = {settings.window_hours:g} does not divide warming.flush = {settings.flush!r}: "
            "a flush is the beginning of a window, so choose a part of it"
        )
    return seconds


def _learning(settings: WarmSettings, ttl_seconds: float) -> WarmerSettings:
    """Return what warmers are trained for: how long answers live, and windows that none dies within."""
    flush = settings.flush_seconds
    lives = ttl_seconds if flush is None else min(ttl_seconds, float(flush))
    window = min(_window_seconds(settings), lives)
    if flush is not None and flush % window:
        # Answers live for less than a window: the longest whole part of a flush that they live for.
        window = next(float(part) for part in range(int(window), 0, -1) if flush % part == 0)
    return WarmerSettings(
        window_seconds=window, ttl_seconds=lives, flush_seconds=None if flush is None else float(flush),
        budgets=settings.budgets, alpha=settings.alpha, later_share=settings.test_share, follow=settings.follow,
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


def _evaluation(
    held: Tournament, chosen: Chosen, reason: str, compared: Mapping[float, Compared]
) -> dict[str, Any]:  # fmt: skip
    rates = {name: {"hit_rate": each.hit_rate, "spent": each.spent} for name, each in held.played.items()}
    told: dict[str, Any] = {"ceiling": held.ceiling, "heuristic": chosen.heuristic, "hit_rates": rates}
    if compared:
        told["keys"] = {
            f"{budget:g}": {
                "exact": one.exact.hit_rate, "clusters": one.clusters.hit_rate, "low": one.low, "high": one.high
            }
            for budget, one in compared.items()
        }  # fmt: skip
    return {"reason": reason, **told}


def _training(demand: Demand, count: int, at: datetime, settings: WarmSettings) -> dict[str, Any]:
    since = at - timedelta(days=settings.history_days)
    return {"since": since.isoformat(), "until": at.isoformat(), "requests": len(demand), "keys": demand.keys,
            "windows": count}  # fmt: skip


def _metrics(
    held: Tournament, chosen: Chosen, tuning: Tuned | None, compared: Mapping[float, Compared]
) -> dict[str, float]:  # fmt: skip
    metrics = {"ceiling": held.ceiling, "lead": chosen.difference, "lead_low": chosen.low, "lead_high": chosen.high}
    for name, each in held.played.items():
        place = name.replace("@", "/at_")
        metrics[f"hit_rate/{place}"] = each.hit_rate
        metrics[f"useful_prefills/{place}"] = each.useful_share
    for budget, one in compared.items():
        metrics[f"keys/exact/at_{budget:g}"] = one.exact.hit_rate
        metrics[f"keys/clusters/at_{budget:g}"] = one.clusters.hit_rate
        metrics[f"keys/lead/at_{budget:g}"] = one.difference
        metrics[f"keys/lead_low/at_{budget:g}"] = one.low
    return metrics | ({} if tuning is None else tuning.metrics())
