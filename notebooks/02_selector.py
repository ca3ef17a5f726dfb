# %% [markdown]
# # 2. Why a router is hard to beat best single with
#
# A *selector* predicts how well each candidate would answer a request. The tempting way, one model a candidate and
# the highest prediction wins, is **worse than no routing**: the highest of ten noisy predictions is the luckiest one.
# This lesson shows that, and what the recipe does about it.

# %%
import numpy as np

from beastmode.objective import Objective
from features.splits import by_time
from features.worlds.replay import WorldSettings
from features.worlds.synthetic import SyntheticSettings, synthetic
from models import recipes
from models.exporting import bundle

world = synthetic(SyntheticSettings(prompts=1500), WorldSettings(probe_share=1.0), 3)
train, test = by_time(world.truth, 0.3)
objective = Objective(per_dollar=5.0)
utility = objective.utility(train.quality, train.cost_usd, None)
best = int(np.argmax(utility.mean(axis=0)))
print(f"{len(train)} requests to learn from, {len(test)} later ones to judge on")
print(f"best single candidate: {train.candidates[best]}")

# %% [markdown]
# ## The winner's curse
#
# Take the true mean of each candidate, add noise to every prediction, follow the highest. The expected quality of
# what is chosen rises with the noise, and its true quality falls.

# %%
rng = np.random.default_rng(0)
truth = test.quality
for noise in (0.0, 0.05, 0.1, 0.2):
    predicted = truth.mean(axis=0) + noise * rng.normal(size=truth.shape)
    choice = predicted.argmax(axis=1)
    rows = np.arange(len(truth))
    print(f"noise {noise:.2f}: expected {predicted[rows, choice].mean():.3f}, got {truth[rows, choice].mean():.3f}")

# %% [markdown]
# ## What the recipe does
#
# It predicts what candidates share, shrinks what sets them apart, and leaves the best single candidate only by a
# margin whose *lower* confidence bound pays in cross-validation. Where nothing pays, the margin is infinite and best
# single serves.

# %%
trained = recipes.train(train, recipes.Settings.small(), 0, candidates=world.candidates, objective=objective)
for name, value in sorted(trained.metrics.items()):
    print(f"{name:28} {value:.4f}")

# %%
router = bundle(trained, name="lesson", created="2025-04-01T00:00:00+00:00", training={}, evaluation={})
drawn = router.probabilities(test.texts, test.expected_tokens)
earned = objective.utility(test.quality, test.cost_usd, None)
gain = (drawn * earned).sum(axis=1) - earned[:, best]
print(f"held-out gain over best single: {gain.mean():+.4f} ± {gain.std(ddof=1) / np.sqrt(len(gain)):.4f} utility")
assert gain.mean() > -2 * gain.std(ddof=1) / np.sqrt(len(gain))

# %% [markdown]
# **What to remember:** better predictions do not by themselves give better routing. Judge a router by the value of
# its decisions, against best single and against tuned nearest neighbours, never against random choice.
