# %% [markdown]
# # 4. The cache that knows what will be asked
#
# A cached answer dies: by its time to live, by a flush, by a restart. A warmer fetches answers before they are asked
# for again. What can it win, what does it cost, and when is a learned one better than a rule of thumb?

# %%
import numpy as np

from beastmode.eviction import LeastRecent
from features.worlds.demand import DemandSettings, demand, evenly
from features.worlds.wordings import worded
from models.evictors.choice import CHOSEN, compare
from models.evictors.replay import belady, replay
from models.evictors.settings import EvictorSettings, Past
from models.warmers import WARMERS, keys, tournament
from models.warmers.clusters import Clusters
from models.warmers.contest import Contestant
from models.warmers.playing import Oracle, ceiling, middle, play
from models.warmers.settings import WarmerSettings
from pipelines.plots_cache import eviction, warming

settings = WarmerSettings(ttl_seconds=6 * 3600.0, budgets=(0.1, 0.2, 0.4))
world = demand(DemandSettings(days=14), seed=1)
print(f"{len(world):,} requests for {world.keys} keys: jobs at their hour, popular keys that drift, bursts")

# %% [markdown]
# ## The limits come first
#
# No warmer foresees a key that nobody ever asked for, so an infinite cache whose answers never die is the ceiling.
# Without warming, answers that live for six hours give much less. What lies between is all that can be won.

# %%
now = middle(world, 0.4)  # the last two fifths of the time are the future
past = world.until(now)
top = ceiling(world, now, settings.window_seconds)
print(f"no warming {play(world, now, settings, {'none': Contestant()})['none'].hit_rate:.3f}, ceiling {top:.3f}")

# %% [markdown]
# ## A tournament on the past
#
# Heuristics rank keys by the last window, by counts that fade, or by all counts. The learned warmer begins at the best
# heuristic's word and corrects it where recency, gaps, hours and bursts say so. It is used **only where it is proven
# better on the past**: by the lower bound of a paired difference, over blocks of windows.

# %%
held, chosen = tournament.train(past, settings, seed=0)
for budget, one in held.chosen.items():
    print(f"budget {budget}: {one.name}; over {one.heuristic} by {one.difference:+.4f}, at least {one.low:+.4f}")
assert {one.name for one in held.chosen.values()} == {"lightgbm"}

# %% [markdown]
# ## Judged on the future

# %%
trained = {name: train(past, settings, 0) for name, train in WARMERS.items()} | {"oracle": Oracle(world, settings)}
rows = {"none": Contestant()}
for budget in settings.budgets:
    rows |= {f"{name}@{budget:g}": Contestant(warmer, budget) for name, warmer in trained.items()}
played = play(world, now, settings, rows)
none = played["none"].hit_rate
for budget in settings.budgets:
    for name in trained:
        row = played[f"{name}@{budget:g}"]
        gap = (row.hit_rate - none) / (top - none)
        print(
            f"{budget:g} {name:12} hit rate {row.hit_rate:.3f}, of the gap {gap:.2f}, "
            f"prefills a request {row.spent:.3f}, useful {row.useful_share:.2f}"
        )
assert played["lightgbm@0.1"].hit_rate > played["ewma@0.1"].hit_rate

# %%
warming(played, settings.budgets, top, "ewma")

# %% [markdown]
# ## Where there is nothing to learn
#
# Keys that come at random, each at a rate of its own, leave a learner nothing: counting is all there is. It must not
# lose then, and does not: the tournament keeps the heuristic.

# %%
flat = evenly(200, 500, 14, seed=2)
calm, _ = tournament.train(flat.until(middle(flat, 0.4)), settings, seed=0)
for budget, one in calm.chosen.items():
    print(f"budget {budget}: {one.name}; the learner's lead is {one.difference:+.4f}, at least {one.low:+.4f}")

# %% [markdown]
# ## One question in many wordings
#
# People ask one question in many ways, each of which is rare. Where a semantic tier serves one wording's answer to the
# others, their cluster is a key as well: its demand is that of all wordings, and one of them is asked ahead. Here each
# question has six wordings by lot, then one: clusters win at equal budget, then both are the same.

# %%
for wordings in (6, 1):
    said, of = worded(evenly(120, 300, 12, seed=3), wordings, seed=3)
    found = Clusters(of, np.unique(of, return_index=True)[1], np.ones(of.max() + 1))
    tournaments = {
        "exact": tournament.hold(said, settings, 0),
        "clusters": tournament.hold(found.demand(said), settings, 0),
    }
    for budget, one in keys.compare(said, found, tournaments, settings, 0).items():
        print(
            f"{wordings} wordings, {budget:g} prefills a request: exact keys {one.exact.hit_rate:.3f}, clusters "
            f"{one.clusters.hit_rate:.3f}, at least {100 * one.low:+.1f} points more"
        )
    assert (one.low > 0) == (wordings > 1)

# %% [markdown]
# ## What a prefill costs
#
# At the price of a miss, a prefill that is used with chance p costs 1 and saves p. By money alone it never pays: it
# buys waiting time, unless prefills are cheaper (a batch interface, off-peak) or a hit is worth more than its price.

# %%
for share in (1.0, 0.5):
    row = played["lightgbm@0.1"]
    net = played["none"].misses_usd - row.misses_usd - share * row.prefills_usd
    print(f"prefills at {share:g} of a miss: {net:+.0f} misses' worth saved")

# %% [markdown]
# ## A cache that is full
#
# The other way to lose answers is to have no room. Evictors replay the past and are judged on the future, from the same
# contents. What serves is the vote of all the others, weighted by how little each has missed lately.

# %%
capacity = world.keys // 10
half = len(world) // 2
told = compare(Past(world.key, capacity), half, EvictorSettings(), seed=0)
warm = replay(world.key[:half], LeastRecent(), capacity).held
best = belady(world.key[half:], capacity, warm).hit_rate
eviction({name: row.hit_rate for name, row in told.items()}, best, CHOSEN)

# %% [markdown]
# **What to remember:** print the ceiling beside every hit rate, let a heuristic hold its place until it is proven
# beaten, and count what a prefill costs.
