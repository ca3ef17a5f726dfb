# %% [markdown]
# # 3. Proof before traffic
#
# Is the new router better? Three ways to ask the same log, and why two of them lie.

# %%
import numpy as np

from beastmode.objective import Objective
from features.worlds.replay import WorldSettings
from features.worlds.synthetic import SyntheticSettings, synthetic
from models.comparison import Contestant, Settings, judge
from models.estimators import EvaluationRefused, contrast

world = synthetic(SyntheticSettings(prompts=3000), WorldSettings(probe_share=1.0), 5)
truth = world.truth
n, m = truth.quality.shape
rng = np.random.default_rng(1)

# %% [markdown]
# The log below was written by a policy that sends long prompts to candidate 1 and short ones to candidate 0, and
# explores a little. What would it be worth to send *everything* to candidate 1? The world knows; the log knows one
# answer a request.

# %%
short = np.array([len(text) for text in truth.texts]) < np.median([len(text) for text in truth.texts])
logging = np.full((n, m), 0.4 / m)
logging[np.arange(n), np.where(short, 0, 1)] += 0.6
served = np.array([rng.choice(m, p=row) for row in logging])
propensity = logging[np.arange(n), served]
target = np.zeros((n, m))
target[:, 1] = 1.0
value = float((target * truth.quality).sum(axis=1).mean())


def as_logged(propensities):
    """The table that a log would give: only the served candidate's quality is known."""
    quality = np.where(np.arange(m) == served[:, None], truth.quality, np.nan)
    known = {name: getattr(truth, name) for name in truth.__slots__}
    return type(truth)(**{**known, "quality": quality, "served": served, "propensity": propensities})


logged = as_logged(propensity)
matched = truth.quality[served == 1, 1]
print(f"truth                          {value:.4f}")
print(f"mean of matching rows          {matched.mean():.4f}   biased: long prompts match more often")
expected = np.tile(np.nanmean(logged.quality, axis=0), (n, 1))
for estimator in ("ips", "snips", "dr"):
    e = contrast(logged, logged.quality, target, expected=expected, estimator=estimator)
    print(f"{estimator:6} from the log            {e.value:.4f}   [{e.low:.4f}, {e.high:.4f}]")

# %% [markdown]
# ## Without propensities there is no number
#
# The same log as every gateway writes it. An estimate could be printed; it would be a guess with an interval around
# it.

# %%
try:
    contrast(as_logged(np.full(n, np.nan)), logged.quality, target)
except EvaluationRefused as refusal:
    print(refusal)

# %% [markdown]
# ## Paired probes are the sharpest instrument
#
# Ask 500 requests of every candidate, and the difference between two policies is seen on the same requests.

# %%
probed = truth.take(np.arange(500))
champion = np.zeros((500, m))
champion[:, 0] = 1.0
pair = contrast(probed, probed.quality, target[:500], champion)
logs = contrast(logged, logged.quality, target, np.tile(champion[:1], (n, 1)))
print(f"500 paired probes: {pair.value:+.4f}, half-width {pair.high - pair.value:.4f}")
print(f"{n} logged requests: {logs.value:+.4f}, half-width {logs.high - logs.value:.4f}")

# %% [markdown]
# ## The gate
#
# *Promote* needs two proofs at once: utility better by a lower bound above zero, and quality not worse by the margin.

# %%
flat = np.full((n, m), np.nan)
contestants = {
    "challenger": Contestant(target, flat, flat, flat),
    "champion": Contestant(np.tile(champion[:1], (n, 1)), flat, flat, flat),
}
judged = judge(contestants, truth, Objective(per_dollar=5.0), Settings())
print(f"{judged.verdict}: {judged.reason}")

# %% [markdown]
# **What to remember:** log propensities, probe a few hundred requests, and let an interval decide.
