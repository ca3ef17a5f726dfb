"""Which logged questions the serving verifier takes for one: what a replay of the semantic tier needs."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.cache import Question
from beastmode.cache.semantic import CANDIDATES, FLOOR
from beastmode.cache.tuned import VERIFIERS, verifier
from beastmode.cache.verifiers import Verifier, scores
from beastmode.store import Store
from models.cache_tuning import Alike
from models.verifiers import embedding
from pipelines.context import Context
from pipelines.warm_demand import Logged, question_of

MOST = 20_000
"""Questions that are compared, the most asked for: each is compared with all of its partition."""

Embed = Callable[[Sequence[str]], NDArray[Any]]


def alike(context: Context, known: Logged) -> Alike | None:
    """Return who is like whom by the champion's encoder and the verifier in service; None where there is no verifier.

    Raises StoreError where there is a verifier and no champion, BundleError where either does not verify.
    """
    if Store(context.store.path / VERIFIERS).champion() is None:
        return None
    settings = context.settings.warming
    questions = [None if request is None else question_of(request, settings) for request in known.requests]
    embed = embedding(context.store.load_champion().encoder)
    most = np.bincount(known.key, minlength=len(known.keys))
    return compared(questions, most, embed, verifier(context.store.path))


def compared(
    questions: Sequence[Question | None], demand: NDArray[np.int64], embed: Embed, judge: Verifier
) -> Alike | None:
    """Compare the questions of each partition; None where the verifier accepts nothing.

    `demand` says how often each is asked for, (k,).
    """
    if not np.isfinite(judge.threshold):
        return None
    key = np.full((len(questions), CANDIDATES), -1, dtype=np.int64)
    score = np.zeros((len(questions), CANDIDATES))
    partitions: dict[bytes, list[int]] = defaultdict(list)
    for number in np.argsort(-demand, kind="stable")[:MOST].tolist():
        question = questions[number]
        if question is not None:
            partitions[question.partition.digest].append(number)
    for numbers in partitions.values():
        texts = [question.text for number in numbers if (question := questions[number]) is not None]
        vectors = embed(texts)
        for row, number in enumerate(numbers):
            near = vectors @ vectors[row]
            near[row] = -1.0
            best = np.argsort(-near, kind="stable")[:CANDIDATES]
            best = best[near[best] >= FLOOR]
            if not len(best):
                continue
            told = np.array(scores(judge, [(texts[row], texts[other], float(near[other])) for other in best.tolist()]))
            order = np.argsort(-told, kind="stable")
            key[number, : len(best)] = np.array(numbers)[best[order]]
            score[number, : len(best)] = told[order]
    return Alike(key, score, float(judge.threshold))
