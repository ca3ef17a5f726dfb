"""Evict as the rules vote that have lately missed least: no one rule is best everywhere, nor always."""

import math
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from beastmode.eviction.rule import Eviction, Key, hand_over

RATES = np.array([0.0125, 0.05, 0.2])
"""What one miss more than another's takes from a rule's logarithmic weight. Hedge's is sqrt(8 ln n / T) over T requests
(Freund & Schapire 1997): for six rules, these are for some 100,000, 6,000 and 400 for which traffic stays as it is. How
long that is nobody knows, so that the vote is of all three, each by its weight (learning the learning rate: Koolen, van
Erven & Grünwald 2014)."""
RATE = 0.05
"""What one miss more than another rate's takes from a rate's logarithmic weight."""
SHARE = 1e-3
"""Of all weight, what is dealt out anew after each block, so that a rule that was bad can come back (fixed share,
Herbster & Warmuth 1998): at most ln(n / SHARE) / RATE misses lie between the worst and the best, at each rate."""
BLOCK = 64
"""Requests between two looks at the weights."""
WAITING = 256
"""Hits that wait to be told to the rules: most are told when a key has to go, after a miss, which took a model."""
SHADOW = 230
"""Bytes that a key takes in one rule's shadow, beside what the rule takes."""


class _Shadow(Generic[Key]):
    """What a cache of the same size would hold that followed one rule alone: keys, no answers."""

    def __init__(self, rule: Eviction[Key]) -> None:
        self.rule = rule
        self.held: dict[Key, int] = {}
        """Key to bytes."""
        self.bytes = 0
        self.misses = 0

    def let_go(self) -> Key:
        key = self.rule.evict()
        self.bytes -= self.held.pop(key)
        return key


class Adaptive(Generic[Key]):
    """Runs several rules over the same requests, each with a shadow cache of its own, and evicts by weighted vote.

    Each shadow lets go of one first. What goes is what rules of the least total weight then hold, the longest unused of
    equals; where all hold everything, the heaviest rule says what. A rule's weight falls with its misses. So the cache
    turns into the best rule's, gradually, and turns again when traffic does (Blum & Burch 2000 follow experts in this
    way where changing one's mind costs). With a single rule it evicts as that rule does.
    """

    def __init__(self, rules: Mapping[str, Eviction[Key]]) -> None:
        """Join rules that know nothing yet, each by its name."""
        self.rules = dict(rules)
        self._shadows: list[_Shadow[Key]] = [_Shadow(rule) for rule in self.rules.values()]
        self._n = len(self._shadows)
        self.overhead = sum(SHADOW + rule.overhead for rule in self.rules.values())
        self._log_weights = np.full(self._n, -math.log(self._n))
        self._by_rate = np.full((len(RATES), self._n), 1 / self._n)
        """Weights of the rules, were the rate known."""
        self._rates = np.full(len(RATES), 1 / len(RATES))
        """Weights of the rates."""
        self._voters = (np.arange(1 << self._n)[:, None] >> np.arange(self._n)) & 1  # of each mask
        self._order: list[int] | None = None
        """Masks by rising weight; None where weights have changed since."""
        self._held: dict[Key, tuple[int, float, int]] = {}
        """Bytes, cost, and a mask: the bit of each rule whose shadow holds the key."""
        self._groups: dict[int, OrderedDict[Key, None]] = {}
        """Held keys by their mask, the longest unused first."""
        self._bytes = 0
        self._room = 0
        """The most bytes that were ever held: the shadows' size."""
        self._hits: list[Key] = []
        self._asked = 0

    @property
    def weights(self) -> dict[str, float]:
        """Each rule's share of the vote."""
        self._settle()
        return dict(zip(self.rules, np.exp(self._log_weights).tolist(), strict=True))

    def hit(self, key: Key) -> None:
        """Note a use; the rules are told later, many at once."""
        self._hits.append(key)
        if len(self._hits) >= WAITING:
            self._settle()

    def insert(self, key: Key, size: int, cost: float) -> None:
        """Hold a key."""
        self._settle()
        self._held[key] = (size, cost, 0)
        self._groups.setdefault(0, OrderedDict())[key] = None
        self._bytes += size
        self._room = max(self._room, self._bytes)
        for number, shadow in enumerate(self._shadows):
            self._ask(number, shadow, key)
        self._asked += 1
        self._weigh()

    def evict(self) -> Key:
        """Return what the vote lets go of."""
        self._settle()
        self._make_room()
        key = self._outvoted()
        self._forget(key)
        return key

    def remove(self, key: Key) -> None:
        """Forget a key, in every shadow too."""
        self._settle()
        if key in self._held:
            self._forget(key)
        for shadow in self._shadows:
            if key in shadow.held:
                shadow.bytes -= shadow.held.pop(key)
                shadow.rule.remove(key)

    def adopt(self, keys: Collection[Key]) -> None:
        """Hold these keys, of size and cost one, instead of whatever is held, in every shadow too.

        What rules remember of others stays, and so do the weights: rules can be compared from the same contents.
        """
        self._settle()
        everyone = (1 << self._n) - 1
        for shadow in self._shadows:
            hand_over(shadow.rule, shadow.held, keys)
            shadow.held, shadow.bytes = dict.fromkeys(keys, 1), len(keys)
        self._held = dict.fromkeys(keys, (1, 1.0, everyone))
        self._groups = {everyone: OrderedDict.fromkeys(keys)}
        self._bytes = len(keys)

    def _make_room(self) -> None:
        """Let each shadow that holds no less than the cache let go of one too, as it will for the entry to come.

        Else the newest key, which all hold, outlives those that fewer hold, though every rule would let it go next.
        """
        for number, shadow in enumerate(self._shadows):
            if shadow.held and shadow.bytes >= self._bytes:
                self._mark(shadow.let_go(), 1 << number, False)

    def _outvoted(self) -> Key:
        everyone = (1 << self._n) - 1
        if self._order is None:
            self._order = np.argsort(self._voters @ np.exp(self._log_weights), kind="stable").tolist()
        for mask in self._order:
            if mask != everyone and self._groups.get(mask):
                return next(iter(self._groups[mask]))
        heaviest = self._shadows[int(np.argmax(self._log_weights))]
        while heaviest.held:
            key = heaviest.let_go()
            if key in self._held:
                return key
        return next(iter(self._held))

    def _settle(self) -> None:
        """Tell the rules of the hits since the last time."""
        if not self._hits:
            return
        hits, self._hits = self._hits, []
        for number, shadow in enumerate(self._shadows):
            for key in hits:
                self._ask(number, shadow, key)
        for key in hits:
            self._groups[self._held[key][2]].move_to_end(key)
        self._asked += len(hits)
        self._weigh()

    def _ask(self, number: int, shadow: _Shadow[Key], key: Key) -> None:
        """Ask a shadow for a held key; one that lacks it misses, and takes it in."""
        if key in shadow.held:
            shadow.rule.hit(key)
            self._mark(key, 1 << number, True)
            return
        shadow.misses += 1
        size, cost, _ = self._held[key]
        while shadow.held and shadow.bytes + size > self._room:
            self._mark(shadow.let_go(), 1 << number, False)
        shadow.held[key] = size
        shadow.bytes += size
        shadow.rule.insert(key, size, cost)
        self._mark(key, 1 << number, True)

    def _mark(self, key: Key, bit: int, there: bool) -> None:
        known = self._held.get(key)
        if known is None or bool(known[2] & bit) is there:
            return
        mask = known[2] ^ bit
        self._held[key] = (known[0], known[1], mask)
        del self._groups[known[2]][key]
        self._groups.setdefault(mask, OrderedDict())[key] = None

    def _weigh(self) -> None:
        """Update the weights once in a block."""
        if self._asked < BLOCK:
            return
        self._asked = 0
        misses = np.array([shadow.misses for shadow in self._shadows])
        for shadow in self._shadows:
            shadow.misses = 0
        more = misses - misses.min()
        self._rates = _shared(self._rates * np.exp(-RATE * (self._by_rate @ more)))
        self._by_rate = _shared(self._by_rate * np.exp(-np.outer(RATES, more)))
        self._log_weights = np.log(self._rates @ self._by_rate)
        self._order = None

    def _forget(self, key: Key) -> None:
        size, _, mask = self._held.pop(key)
        del self._groups[mask][key]
        self._bytes -= size


def _shared(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights that sum to one along the last axis, a share of them dealt out anew."""
    dealt = (1 - SHARE) * weights / weights.sum(axis=-1, keepdims=True) + SHARE / weights.shape[-1]
    return np.asarray(dealt, dtype=np.float64)
