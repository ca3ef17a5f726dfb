"""Pairs of questions as distinct questions with classes: who asks the same as whom."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """Distinct questions, and the judged pairs among them."""

    texts: tuple[str, ...]
    classes: Integers
    """(n,) Equal where the same answer serves."""
    groups: Integers
    """(n,) Components that a split keeps together: nothing is known to join one to another."""
    pairs: Integers
    """(pairs, 2) Places of the two questions."""
    same: NDArray[np.bool_]
    """(pairs,)"""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, chosen: NDArray[np.bool_]) -> "Questions":
        """Return some of the questions, with the pairs that lie among them."""
        place = np.cumsum(chosen) - 1
        inside = chosen[self.pairs].all(axis=1)
        texts = tuple(text for text, kept in zip(self.texts, chosen, strict=True) if kept)
        pairs = place[self.pairs[inside]]
        return Questions(texts, self.classes[chosen], self.groups[chosen], pairs, self.same[inside])

    def limited(self, most: int, seed: int) -> "Questions":
        """Return whole groups, drawn at random, of about so many questions in all; everything where there are fewer."""
        if len(self) <= most:
            return self
        return self.take(np.isin(self.groups, self.drawn_groups(most / len(self), seed)))

    def drawn_groups(self, share: float, seed: int) -> Integers:
        """Return groups drawn at random that hold about a share of the questions."""
        groups, sizes = np.unique(self.groups, return_counts=True)
        order = np.random.default_rng(seed).permutation(len(groups))
        return groups[order[: int(np.searchsorted(np.cumsum(sizes[order]), share * len(self))) + 1]]

    def folds(self, count: int, seed: int) -> Integers:
        """Return the fold of each question; a group is never divided. Raises ValueError where there are too few."""
        groups, at = np.unique(self.groups, return_inverse=True)
        if len(groups) < count:
            raise ValueError(f"questions: {len(groups)} groups cannot make {count} folds; give more pairs")
        return np.asarray(np.random.default_rng(seed).permutation(len(groups))[at] % count)


def questions(rows: Iterable[Mapping[str, object]]) -> Questions:
    """Return the questions of pairs with `text_a`, `text_b` and `label` (1: the same).

    Classes are `answer_class_a` and `answer_class_b` where rows have them, else what pairs of label 1 join; groups are
    what pairs of any label join, and what has one class. Rows without a text are passed over. Raises ValueError
    where a column is missing, or a label is neither 0 nor 1.
    """
    place: dict[str, int] = {}
    told: dict[int, Hashable] = {}
    pairs, same = [], []
    for number, row in enumerate(rows):
        missing = [name for name in ("text_a", "text_b", "label") if name not in row]
        if missing:
            raise ValueError(
                f"questions: row {number} lacks {', '.join(missing)}; give pairs with text_a, text_b, label"
            )
        a, b, label = row["text_a"], row["text_b"], row["label"]
        if not a or not b:
            continue
        if label not in (0, 1):
            raise ValueError(f"questions: row {number} has label {label!r}; expected 0 or 1")
        spots = [place.setdefault(str(text), len(place)) for text in (a, b)]
        for spot, side in zip(spots, "ab", strict=True):
            if f"answer_class_{side}" in row:
                told.setdefault(spot, row[f"answer_class_{side}"])
        pairs.append(spots)
        same.append(bool(label))
    if not pairs:
        raise ValueError("questions: no pair with two texts; give at least one")
    joined, judged = np.array(pairs, dtype=np.intp), np.array(same)
    count = len(place)
    if len(told) == count:
        classes = np.unique([str(told[i]) for i in range(count)], return_inverse=True)[1]
    else:
        classes = components(count, joined[judged])
    first = {int(kind): i for i, kind in reversed(list(enumerate(classes)))}
    alike = np.array([(i, first[int(kind)]) for i, kind in enumerate(classes)], dtype=np.intp)
    return Questions(tuple(place), classes, components(count, np.concatenate([joined, alike])), joined, judged)


def components(count: int, edges: Sequence[Sequence[int]] | Integers) -> Integers:
    """Return the connected component of each of `count` places, (count,), numbered from zero.

    >>> components(4, [(0, 2), (2, 3)]).tolist()
    [1, 0, 1, 1]
    """
    root = list(range(count))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for a, b in edges:
        root[find(int(a))] = find(int(b))
    return np.asarray(np.unique([find(i) for i in range(count)], return_inverse=True)[1])
