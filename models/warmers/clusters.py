"""Clusters of questions that the semantic tier answers alike: one key of demand, asked ahead by one wording."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from beastmode.cache import Question, Semantic
from beastmode.cache.entry import Entry
from beastmode.cache.semantic import FLOOR
from beastmode.cache.verifiers import Verifier, scores
from beastmode.encoding import Encoder
from features.demand import Demand
from models.verifiers import embedding

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_ASKED = 4
"""Wordings of a cluster of which one is asked ahead: the one whose answer serves most of its requests."""
CHUNK = 4096
"""Questions that are embedded, and pairs that are judged, in one go."""


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """`c` clusters of `k` questions, numbered in the order of their first questions."""

    of: Ints
    """(k,) The cluster of each question."""
    ahead: Ints
    """(c,) The question that is asked for a cluster."""
    served: Floats
    """(c,) The share of the cluster's requests that this answer serves, its own wording's included."""

    def __len__(self) -> int:
        return len(self.ahead)

    def demand(self, known: Demand) -> Demand:
        """Return demand for the clusters of demand for their questions; a miss costs what it does on average."""
        asked = np.bincount(known.key, minlength=known.keys).astype(np.float64)
        return Demand(self.of[known.key], known.at, known.tenant[self.ahead], self.mean(known.miss_usd, asked))

    def mean(self, value: Floats, asked: Floats) -> Floats:
        """Return the mean of what each question has, (k,), over the requests of each cluster, (c,)."""
        weight = np.maximum(asked, 1e-9)
        return np.bincount(self.of, weight * value, len(self)) / np.bincount(self.of, weight, len(self))


def clusters(questions: Sequence[Question | None], demand: Demand, encoder: Encoder, verifier: Verifier) -> Clusters:
    """Join the questions that a semantic tier would answer alike; they come in the order of their first requests.

    Each question is shown to the tier that serves, `beastmode.cache.Semantic`: it joins the cluster of the answer that
    it would have been given, and where there is none its own answer is held from then on, and leads a cluster. So what
    is served decides, nothing crosses a partition, and what comes later changes no cluster. A question of which
    nothing is known, None, is a cluster of its own.
    """
    tier = Semantic(encoder, verifier, most=len(questions) + 1, confirmations=0)
    vectors = _embedded(questions, encoder)
    of = np.empty(len(questions), dtype=np.int64)
    leads: dict[bytes, int] = {}
    count = 0
    for number, (question, vector) in enumerate(zip(questions, vectors, strict=True)):
        match = None if question is None or not vector.any() else tier.match(question, vector, 0.0)
        if match is not None:
            of[number] = leads[match.key]
            continue
        of[number] = count
        if question is not None and vector.any():
            leads[question.key] = count
            held = Entry(question.key, question.partition.digest, "text", b"", 0.0, math.inf, math.inf)
            tier.add(question, held, vector)
        count += 1
    return _with_wordings(of, questions, vectors, demand, verifier)


def _embedded(questions: Sequence[Question | None], encoder: Encoder) -> NDArray[np.float32]:
    """Return unit vectors, (k, width), zero where there is nothing to compare."""
    embed = embedding(encoder)
    texts = ["" if question is None else question.text for question in questions]
    parts = [embed(texts[start : start + CHUNK]) for start in range(0, len(texts), CHUNK)]
    return np.concatenate(parts) if parts else np.zeros((0, 1), dtype=np.float32)


def _with_wordings(
    of: Ints, questions: Sequence[Question | None], vectors: NDArray[np.float32], demand: Demand, verifier: Verifier
) -> Clusters:
    """Choose what each cluster asks ahead: of its most asked wordings the one whose answer serves most requests.

    Of equals the one that is asked more, then the one that was asked last.
    """
    count = int(of.max(initial=-1)) + 1
    asked = np.bincount(demand.key, minlength=len(of)).astype(np.float64)
    last = np.zeros(len(of), dtype=np.int64)
    last[demand.key] = np.arange(len(demand))
    # Cluster by cluster, in each the most asked first.
    order = np.lexsort((-last, -asked, of))
    begin = np.searchsorted(of[order], np.arange(count + 1))
    # Requests for each question that the first, second... of its cluster's candidates serves.
    serves = np.zeros((len(of), MOST_ASKED))
    pairs: list[tuple[int, int, int]] = []
    for start, end in zip(begin[:-1].tolist(), begin[1:].tolist(), strict=True):
        members = order[start:end].tolist()
        for place, stored in enumerate(members[:MOST_ASKED]):
            serves[stored, place] = asked[stored]
            pairs += [(one, stored, place) for one in members if one != stored]
    for start in range(0, len(pairs), CHUNK):
        part = pairs[start : start + CHUNK]
        one, stored, place = np.array(part, dtype=np.int64).T
        cosine = np.einsum("ij,ij->i", vectors[one], vectors[stored])
        told = np.array(scores(verifier, [
            (_text(questions[a]), _text(questions[b]), float(c))
            for a, b, c in zip(one.tolist(), stored.tolist(), cosine, strict=True)
        ]))  # fmt: skip
        serves[one, place] = np.where((told >= verifier.threshold) & (cosine >= FLOOR), asked[one], 0.0)
    total = np.stack([np.bincount(of, serves[:, place], count) for place in range(MOST_ASKED)], axis=1)
    best = total.argmax(axis=1)
    whole = np.maximum(np.bincount(of, asked, count), 1e-9)
    return Clusters(of, order[begin[:-1] + best], total[np.arange(count), best] / whole)


def _text(question: Question | None) -> str:
    return "" if question is None else question.text
