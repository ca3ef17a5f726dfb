# %% [markdown]
# # 1. What a log must hold
#
# A router learns from what your application already writes down. This lesson writes such a log from a *world* whose
# truth is known, damages it, reads it back, and looks at the one number that gateways leave out: the propensity.

# %%
import os
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from features.costs import prices
from features.worlds.replay import WorldSettings
from features.worlds.synthetic import SyntheticSettings
from pipelines.ingest import IngestSettings, SourceSettings, ingest
from pipelines.lake import Lake
from pipelines.replay import ReplaySettings, replay

folder = Path(tempfile.mkdtemp(dir=os.environ.get("BEASTMODE_WORKSPACE")))
settings = ReplaySettings(
    format="litellm",
    world=WorldSettings(epsilon=0.2, probe_share=0.1),
    synthetic=SyntheticSettings(prompts=600),
)
world = replay(settings, seed=1, out_dir=folder / "logs")
print("\n".join(world.lines()))

# %% [markdown]
# ## A log as it comes in real life
#
# One line is torn, one is not JSON at all, one has a negative number of tokens, and one stands there twice.

# %%
lines = world.log.read_text().splitlines()
lines[10] = "this is no JSON"
lines[20] = re.sub(r'"prompt_tokens": ?', '"prompt_tokens": -', lines[20])
lines.append(lines[0])
lines.append(lines[1][:200])
world.log.write_text("\n".join(lines))

sources = (
    SourceSettings(path=str(world.log), deployment="lesson"),
    SourceSettings(path=str(world.feedback), deployment="lesson"),
)
now = datetime(2025, 4, 1, tzinfo=UTC)
report = ingest(IngestSettings(sources=sources), folder / "lake", now, prices=prices(world.world.candidates))
print("\n".join(report.lines()))
assert report.adds_up

# %% [markdown]
# Nothing was dropped in silence: what could not be true lies in quarantine with its reason.

# %%
lake = Lake(folder / "lake")
print(lake.quarantine()[["line", "reason"]].to_string())

# %% [markdown]
# Reading goes on where it ended, so that a second reading finds nothing new. Even reading everything once more changes
# nothing: an event's identity is a hash of its format, its deployment and its own id, never of a path, so a rotated
# or copied file doubles nothing.

# %%
again = ingest(IngestSettings(sources=sources), folder / "lake", now)
anew = ingest(IngestSettings(sources=sources, reread=True), folder / "lake", now)
print(f"again: {again.read} records read; anew: {anew.read} read, {anew.written} written, {anew.duplicate} duplicate")
assert (again.written, anew.written) == (0, 0)

# %% [markdown]
# ## The number that gateways leave out
#
# Each decision stands in the log with the probability with which it was drawn. Gateways write down *what* they chose;
# without *how likely that was*, no other policy can be evaluated on the log.

# %%
rows = lake.interactions()
served = rows[rows["purpose"] == "serve"]
print(served.groupby("plan")["propensity"].agg(["count", "min", "max"]).round(3))
print(f"propensity known: {served['propensity'].notna().mean():.0%}, source: {set(served['propensity_source'])}")

# %% [markdown]
# **What to remember:** a log needs prompts, what was chosen, how likely that was, what it cost, and, later, how good
# the answer was. The loss report says which of these yours lacks.
