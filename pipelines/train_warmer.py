"""Train a warmer: a tournament on the past, judged on what came later, and the winner as a bundle in service."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from beastmode.store import Pointer
from models import warm_tournament as tournament
from models.returning import HEURISTICS, Requests, Warmer, train
from models.warm_tournament import Lead, Played
from pipelines.context import Context
from pipelines.plots_warmer import hit_rates
from pipelines.progress import Stages
from pipelines.settings import SettingsError
from pipelines.train import NotEnough
from pipelines.tune_cache import Tuned, tuned
from pipelines.warm_bundle import WarmerBundle, requests_of, warmers
from pipelines.warm_demand import logged
from pipelines.warm_settings import WarmSettings

KIND = "train-warmer"
MINIMUM = 12
"""Windows of history under which there is no tournament."""


@dataclass(frozen=True, slots=True)
class Tournament:
    """What every warmer did on the later part, at each budget."""

    played: Mapping[float, Mapping[str, Played]]
    """Budget -> warmer, `none` and `oracle` among them."""
    heuristic: str
    """The best heuristic, chosen on the past."""
    lead: Lead
    """Of the learned one over it, at the budget that decides."""
    decides: float
    ceiling: float


@dataclass(frozen=True, slots=True)
class Trained:
    """A warmer in service, and why it is that one."""

    bundle: WarmerBundle
    tournament: Tournament
    tuned: Tuned | None
    pointer: Pointer
    run_id: str
    reason: str

    def lines(self) -> Iterator[str]:
        """Yield what a person wants to read."""
        yield self.reason
        yield f"hit rate: none {self._rate('none'):.3f}, ceiling {self.tournament.ceiling:.3f}; on later windows:"
        for budget, played in self.tournament.played.items():
            told = ", ".join(f"{name} {each.hit_rate:.3f} ({each.spent:.3f} spent)" for name, each in played.items()
                             if name != tournament.NONE)  # fmt: skip
            yield f"  at {budget:g} prefills a request: {told}"
        if self.tuned is not None:
            yield from self.tuned.lines()
        yield f"in service: {self.pointer.bundle}; MLflow run {self.run_id}"

    def _rate(self, name: str) -> float:
        return self.tournament.played[self.tournament.decides][name].hit_rate


def train_warmer(context: Context, at: datetime, progress: Stages) -> Trained:
    """Play the tournament on the lake's demand until `at`, put the winner into service, and track it all.

    The learned warmer replaces the heuristic only where the lower bound of its lead is above zero. Raises NotEnough
    where the lake has too little demand, SettingsError where a heuristic is unknown.
    """
    settings = context.settings.warming
    unknown = sorted(set(settings.heuristics) - set(HEURISTICS))
    if unknown:
        raise SettingsError(f"warming.heuristics: unknown {unknown[0]!r}; known: {', '.join(HEURISTICS)}")
    known = logged(context, at)
    requests, window = requests_of(known), settings.window_hours * 3600
    windows = tournament.windows_of(requests, window)
    if len(windows) < MINIMUM:
        raise NotEnough(
            f"the lake's demand spans {len(windows)} windows of {settings.window_hours:g} h, and a tournament takes "
            f"{MINIMUM}: wait, or lower warming.window_hours"
        )
    cut = len(windows) - max(round(len(windows) * settings.test_share), 2)
    with context.tracker.run(f"warmer {at:%Y-%m-%d %H:%M}", KIND) as run:
        run.settings(context.settings)
        progress("learn", 0.1)
        learned = train(settings.learned, requests.until(windows[cut]), windows[:cut], window, context.settings.seed)
        progress("play", 0.4)
        found, rivals = _play(requests, windows, cut, learned, settings, context.settings.seed)
        wins = found.lead.low > 0
        winner = learned if wins else rivals[found.heuristic]
        progress("tune", 0.8)
        tuning = tuned(known, settings, context.settings.objective, context.settings.seed)
        # What is served learns from all of demand; the judged one saw the earlier part alone.
        final = train(winner.name, requests, windows, window, context.settings.seed)
        reason = _reason(found, settings, wins)
        bundle = WarmerBundle(
            name=f"warmer-{winner.name.replace('_', '-')}-{at:%Y%m%d-%H%M%S}", created=at.isoformat(), warmer=final,
            evaluation=_evaluation(found, reason), training=_training(requests, windows, at, settings),
            cache={} if tuning is None else tuning.cache, sizes={} if tuning is None else tuning.sizes,
            mlflow_run_id=run.run_id,
        )  # fmt: skip
        store = warmers(context)
        bundle.write(store.folder(bundle.name))
        pointer = store.promote(bundle.name, at=at.isoformat(), reason=reason)
        bundle = replace(bundle, sha256=pointer.manifest_sha256)
        run.metrics(_metrics(found, tuning))
        run.figures({"hit_rate": hit_rates(found.played, found.ceiling, settings.learned, found.heuristic)})
        run.folder(store.folder(bundle.name), "bundle")
        run.tag({"verdict": "learned" if wins else "heuristic", "warmer": winner.name, "bundle": bundle.name})
        run.describe(f"**{winner.name}** warms. {reason}")
        run.rename(f"warmer: {winner.name}")
    return Trained(bundle, found, tuning, pointer, run.run_id, reason)


def _play(
    requests: Requests, windows: list[float], cut: int, learned: Warmer, settings: WarmSettings, seed: int
) -> tuple[Tournament, dict[str, Warmer]]:
    """Choose the heuristic on the past windows, and play it against the learned one on the later ones."""
    window, ttl = settings.window_hours * 3600, settings.ttl_seconds
    past, later = windows[:cut], windows[cut:]
    half = past[len(past) // 2 :]
    blank = np.zeros(1)
    rivals = {name: Warmer(name, window, blank, blank) for name in settings.heuristics}
    before, after = requests.until(later[0]), requests
    trial = {name: tournament.scored(each, before, half) for name, each in rivals.items()}
    final = {name: tournament.scored(each, after, later) for name, each in rivals.items()}
    final[settings.learned] = tournament.scored(learned, after, later)
    final[tournament.ORACLE] = tournament.oracle(after, later, window)
    chosen = {
        budget: tournament.best(
            {name: tournament.play(before, half, window, scores, budget, ttl) for name, scores in trial.items()}
        )
        for budget in settings.budgets
    }
    none = tournament.play(after, later, window, None, 0.0, ttl)
    played = {
        budget: {
            tournament.NONE: none,
            **{name: tournament.play(after, later, window, scores, budget, ttl) for name, scores in final.items()},
        }
        for budget in settings.budgets
    }
    decides = settings.budgets[0]
    heuristic = chosen[decides]
    found = played[decides]
    ahead = tournament.lead(found[settings.learned], found[heuristic], settings.alpha, seed)
    return Tournament(played, heuristic, ahead, decides, tournament.ceiling(after, later, window)), rivals


def _reason(found: Tournament, settings: WarmSettings, wins: bool) -> str:
    lead = found.lead
    span = f"{100 * lead.difference:+.2f} points of hit rate [{100 * lead.low:+.2f}, {100 * lead.high:+.2f}]"
    told = f"{settings.learned} less {found.heuristic} at {found.decides:g} prefills a request: {span}"
    verdict = "proven better, so it warms" if wins else f"not proven better, so {found.heuristic} warms"
    return f"{told} over {lead.windows} later windows; {verdict}."


def _evaluation(found: Tournament, reason: str) -> dict[str, Any]:
    rates = {
        f"{budget:g}": {name: {"hit_rate": each.hit_rate, "spent": each.spent} for name, each in played.items()}
        for budget, played in found.played.items()
    }
    return {"reason": reason, "ceiling": found.ceiling, "heuristic": found.heuristic, "hit_rates": rates}


def _training(requests: Requests, windows: list[float], at: datetime, settings: WarmSettings) -> dict[str, Any]:
    since = at - timedelta(days=settings.history_days)
    return {"since": since.isoformat(), "until": at.isoformat(), "requests": len(requests.at), "keys": requests.k,
            "windows": len(windows)}  # fmt: skip


def _metrics(found: Tournament, tuning: Tuned | None) -> dict[str, float]:
    metrics = {"ceiling": found.ceiling, "lead": found.lead.difference, "lead_low": found.lead.low,
               "lead_high": found.lead.high}  # fmt: skip
    for budget, played in found.played.items():
        for name, each in played.items():
            metrics[f"hit_rate/{name}/at_{budget:g}"] = each.hit_rate
            metrics[f"useful_prefills/{name}/at_{budget:g}"] = each.useful / max(int(each.prefills.sum()), 1)
    return metrics | ({} if tuning is None else tuning.metrics())
