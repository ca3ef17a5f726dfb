"""The third tier: an answer that was given to another question of the same meaning, in the same partition."""

import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from beastmode.cache.entry import Entry
from beastmode.cache.partition import Partition, Question
from beastmode.cache.roles import require
from beastmode.cache.vectors import Flat, Index, Vector
from beastmode.cache.verifiers import Verifier, scores
from beastmode.errors import CacheError
from beastmode.forks import renew_after_fork

_LOG = logging.getLogger("beastmode")
CANDIDATES, FLOOR = 4, 0.5
"""By default so many nearest questions are shown to the verifier, from this cosine on."""
LONGEST = 4096
"""Characters of the longest question that is held by default: encoder and verifier read no more than its beginning."""


class TextEncoder(Protocol):
    """Turns texts into vectors; the encoder of a bundle is one."""

    @property
    def embedding(self) -> slice:
        """The columns in which nearness is measured."""

    def encode(self, texts: Sequence[str]) -> Any:
        """Return an array of shape (texts, columns)."""


class Match(NamedTuple):
    """A stored question that the verifier accepted."""

    key: bytes
    cosine: float
    score: float


@dataclass(slots=True)
class _Known:
    """A question that is held."""

    partition: bytes
    text: str
    since: float
    askers: set[str | None]
    confirmations: int = 0


@dataclass(slots=True)
class Canary:
    """What became of the hits for which the model was asked all the same."""

    asked: int = 0
    agreed: int = 0


class Looks(NamedTuple):
    """Requests that no exact tier answered, and how many of them the semantic tier had an answer for."""

    requests: int = 0
    hits: int = 0


class Semantic:
    """Candidates by vector inside the partition, then the verifier. Holds questions; answers stay in the exact tiers.

    The index lives in this process and knows what this process stored or was served. A new entry is in quarantine:
    it serves other questions after `confirmations` exact hits by different askers, or at the age of
    `quarantine_seconds`. For `canary_share` of the hits the model is asked all the same, and `agree(cached, new)` says
    whether the two answers are one.
    """

    name = "semantic"

    def __init__(
        self,
        encoder: TextEncoder,
        verifier: Verifier,
        *,
        index: Callable[[int], Index] = Flat,
        candidates: int = CANDIDATES,
        floor: float = FLOOR,
        most: int = 100_000,
        longest: int = LONGEST,
        confirmations: int = 1,
        quarantine_seconds: float = 600.0,
        canary_share: float = 0.01,
        agree: Callable[[Any, Any], bool] = lambda cached, new: bool(cached == new),
    ) -> None:
        """`floor` is the cosine under which no verifier is asked, `most` the questions that are held.

        Questions of more than `longest` characters are not held: together they have at most `most * longest`.
        One text is encoded and one empty index made, to see that they do what the cache needs; raises CacheError
        where encoder, verifier or index do not keep their Protocol.
        """
        if not 0 <= canary_share <= 1:
            raise CacheError(f"Semantic: canary_share = {canary_share!r} must lie in [0, 1]")
        for part, role in ((encoder, TextEncoder), (verifier, Verifier)):
            _require(part, role)
        _require(index(len(_columns(encoder, "What can I ask?"))), Index)
        self.canary_share = canary_share
        self.canary = Canary()
        self._looks = Looks()
        """Since a canary told of them."""
        self.agree = agree
        self._encoder = encoder
        self._verifier = verifier
        self._index = index
        self._candidates = candidates
        self._floor = floor
        self._most = most
        self._longest = longest
        self._confirmations = confirmations
        self._quarantine_seconds = quarantine_seconds
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._partitions: dict[bytes, Index] = {}
        self._lock = threading.Lock()
        renew_after_fork(self)

    def __len__(self) -> int:
        return len(self._known)

    def holds(self, partition: Partition) -> bool:
        """Return whether any question of a partition is held, and may be served to others."""
        return partition.digest in self._partitions and self._verifier.threshold < math.inf

    def embed(self, text: str) -> Vector | None:
        """Return the unit vector of a text, or None where there is nothing to compare."""
        vector = _columns(self._encoder, text)
        length = float(np.sqrt(vector @ vector))
        return vector / np.float32(length) if length > 0 else None

    def match(self, question: Question, vector: Vector, now: float) -> Match | None:
        """Return the stored question that the verifier likes best, or None where it accepts none."""
        partition = question.partition.digest
        with self._lock:
            index = self._partitions.get(partition)
            if index is None:
                return None
            near = index.nearest(vector, self._candidates, self._floor)
            held = [(key, cosine, self._known[key]) for key, cosine in near if key in self._known]
        # The digest is compared once more: nothing crosses a partition, whatever an index returns.
        held = [each for each in held if each[2].partition == partition and self._trusted(each[2], now)]
        held = [each for each in held if each[0] != question.key]
        if not held:
            return None
        told = scores(self._verifier, [(question.text, known.text, cosine) for _, cosine, known in held])
        best = max(range(len(held)), key=told.__getitem__)
        key, cosine, _ = held[best]
        return Match(key, cosine, told[best]) if told[best] >= self._verifier.threshold else None

    def add(self, question: Question, entry: Entry, vector: Vector | None = None) -> None:
        """Hold a question whose answer is held; the oldest goes where there are too many."""
        if entry.kind == "error" or len(question.text) > self._longest:
            return
        vector = self.embed(question.text) if vector is None else vector
        if vector is None:
            return
        with self._lock:
            partition = question.partition.digest
            if partition not in self._partitions:
                self._partitions[partition] = self._index(len(vector))
            # First, so that nothing is known of what an index refuses.
            self._partitions[partition].add(question.key, vector)
            known = self._known.get(question.key)
            if known is None:
                known = _Known(partition, question.text, entry.made, {question.asker})
                self._known[question.key] = known
            elif known.since < entry.made:
                # Another answer is another matter: it has not been confirmed.
                known.since, known.confirmations, known.askers = entry.made, 0, {question.asker}
            while len(self._known) > self._most:
                self._forget(next(iter(self._known)))

    def confirm(self, question: Question) -> bool:
        """Note an exact hit by somebody, and return whether the question is held, or too long to be."""
        known = self._known.get(question.key)
        if known is None:
            return len(question.text) > self._longest
        if known.confirmations < self._confirmations:
            with self._lock:
                if question.asker is None or question.asker not in known.askers:
                    known.askers.add(question.asker)
                    known.confirmations += 1
        return True

    def remove(self, key: bytes) -> None:
        """Forget a question."""
        with self._lock:
            self._forget(key)

    def looked(self, hit: bool) -> None:
        """Count a request that no exact tier answered: what the budget of wrong answers is a share of."""
        with self._lock:
            self._looks = Looks(self._looks.requests + 1, self._looks.hits + hit)

    def looks(self) -> Looks:
        """Return what was counted since the last call, which a canary's row in the journal tells."""
        with self._lock:
            told, self._looks = self._looks, Looks()
            return told

    def judge(self, cached: Any, new: Any) -> bool | None:
        """Count what a canary found, and return whether the answers agree; None where `agree` itself failed."""
        try:
            agreed = bool(self.agree(cached, new))
        except Exception as error:
            _LOG.warning("cache: agree() failed on a canary (%s: %s); it is not counted", type(error).__name__, error)
            return None
        with self._lock:
            self.canary.asked += 1
            self.canary.agreed += agreed
        return agreed

    def _trusted(self, known: _Known, now: float) -> bool:
        return known.confirmations >= self._confirmations or now - known.since >= self._quarantine_seconds

    def _forget(self, key: bytes) -> None:
        known = self._known.pop(key, None)
        if known is None:
            return
        index = self._partitions[known.partition]
        index.remove(key)
        if not len(index):
            del self._partitions[known.partition]

    def after_fork(self) -> None:
        """Replace a lock that another thread of the parent may have held; what the parent counted is its to tell."""
        self._lock = threading.Lock()
        self._looks = Looks()


def _columns(encoder: TextEncoder, text: str) -> Vector:
    """Return the columns of a text in which nearness is measured."""
    return np.asarray(encoder.encode((text,)), dtype=np.float32)[0, encoder.embedding]


def _require(part: object, role: type) -> None:
    who = f"Semantic: {role.__name__} {type(part).__name__}"
    require(part, role, who, f"give it what beastmode.cache.{role.__name__} has")
