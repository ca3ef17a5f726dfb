"""Clusters as keys of warming: logged demand by what the serving verifier takes for one question."""

from dataclasses import dataclass, replace

import numpy as np

from beastmode.cache.tuned import VERIFIERS, verifier
from beastmode.store import Store
from models.warmers.clusters import Clusters, clusters
from pipelines.context import Context
from pipelines.warm_bundle import demand_of
from pipelines.warm_demand import Logged, question_of

EXACT, CLUSTERS, BEST = "exact", "clusters", "best"


@dataclass(frozen=True, slots=True, eq=False)
class Keyed:
    """Logged demand with a cluster as each key, which the question that is asked ahead stands for."""

    logged: Logged
    clusters: Clusters

    def __str__(self) -> str:
        """Say how many there are, and how much is asked for them."""
        sizes = np.bincount(self.clusters.of)
        several = float((sizes[self.logged.key] > 1).mean())
        return (
            f"{len(self.clusters.of)} questions are {len(sizes)} clusters, {int((sizes > 1).sum())} of several "
            f"wordings ({several:.0%} of the requests), the largest of {int(sizes.max(initial=0))}"
        )


def keyed(context: Context, known: Logged, threshold: float | None) -> Keyed | str:
    """Return demand by clusters, or where the cache serves no question for another, why and what to do about it.

    `threshold` is the tuned one, which never goes under the verifier's own. Raises StoreError where there is a verifier
    and no champion, BundleError where either does not verify.
    """
    goes_on = 'exact keys are warmed; {}, or set warming.keys = "exact"'
    if Store(context.store.path / VERIFIERS).champion() is None:
        remedy = goes_on.format("run `python -m pipelines train-verifier`")
        return f"no verifier is in service, so that no wording is served another's answer: {remedy}"
    judge = verifier(context.store.path)
    if not np.isfinite(judge.threshold):
        remedy = goes_on.format("train one on more pairs")
        return f"the verifier in service keeps its budget of wrong answers by serving nothing: {remedy}"
    settings = context.settings.warming
    questions = [None if request is None else question_of(request, settings) for request in known.requests]
    if not any(questions):
        remedy = goes_on.format("log the messages")
        return f"the log holds no prompts but hashes, and nothing can be compared: {remedy}"
    judge = replace(judge, threshold=max(judge.threshold, threshold or 0.0))
    found = clusters(questions, demand_of(known), context.store.load_champion().encoder, judge)
    return Keyed(_of(known, found), found)


def _of(known: Logged, found: Clusters) -> Logged:
    """Return demand with a cluster for each key; prices and times are means over its requests."""
    asked = np.bincount(known.key, minlength=len(known.keys)).astype(np.float64)
    ahead = found.ahead
    return replace(
        known, keys=tuple(known.keys[row] for row in ahead.tolist()), key=found.of[known.key],
        tenant=known.tenant[ahead], miss_usd=found.mean(known.miss_usd, asked),
        miss_ms=found.mean(known.miss_ms, asked), answer_bytes=known.answer_bytes[ahead],
        requests=tuple(known.requests[row] for row in ahead.tolist()),
    )  # fmt: skip
