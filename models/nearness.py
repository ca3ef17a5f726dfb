"""Fit the neighbours of a blend: near by likeness and by promise, and told what the raw requests say together."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from beastmode.blend import Taste
from beastmode.neighbours import Kernel, Prototypes
from models.examples import Examples
from models.prototypes import Condensed, Labels, Memory, as_stored
from models.rivalry import apart, directions, explained

Floats = NDArray[np.float64]

REACHES = (0.0, 0.5)
"""Root mean square distances of a request's place from the middle that are tried; none leaves likeness alone."""
TOLD = 4
"""Directions in which a request has a place."""
TAUGHT = 2048
"""Requests on which prototypes learn what the raw requests say."""
HELD = 1.0
"""How firmly a prototype is held to its members' mean, as a share of the evidence about it."""
BLOCK = 256


@dataclass(frozen=True, slots=True)
class NearFit:
    """Prototypes with a kernel over them, and what those of the other folds say of each request."""

    prototypes: Prototypes
    kernel: Kernel
    taste: Taste | None
    reach: float
    out_of_fold: Floats
    """(n, m)"""


def fit_nearness(memory: Memory, kernel: Kernel, ridge: Floats, seed: int) -> NearFit:
    """Fit the neighbours; `ridge` (n, m) is the ridge's out-of-fold excess, by which requests have a place.

    A mean over members blurs what happened among them. So each prototype's value is moved until the kernel over
    prototypes says of a request what the same kernel over the raw requests says, the request itself left out: that is
    a smooth function without an outcome's noise, and least squares find it with little loss.
    """
    known = memory.known
    tried = []
    for reach in REACHES:
        turned = _turned(known, ridge, reach)
        place = ridge @ turned
        said = np.empty_like(ridge)
        for fold, others in enumerate(memory.others):
            inside = np.flatnonzero(known.fold == fold)
            taste = _taste(others, turned, place)
            said[inside] = _smooth(kernel, others.prototypes, taste, known.encoding[inside], ridge[inside])
        tried.append((explained(known, said[known.judged]), reach, turned))
    _, reach, turned = max(tried, key=lambda one: one[0])
    place = ridge @ turned
    for fold, others in enumerate(memory.others):
        inside = np.flatnonzero(known.fold == fold)
        taste = _taste(others, turned, place)
        taught = _taught(known, others, kernel, taste, ridge, place, seed)
        said[inside] = _smooth(kernel, taught, taste, known.encoding[inside], ridge[inside])
    taste = _taste(memory.every, turned, place)
    whole = _taught(known, memory.every, kernel, taste, ridge, place, seed)
    return NearFit(whole, kernel, taste if reach else None, reach, said)


def _turned(known: Examples, ridge: Floats, reach: float) -> Floats:
    """Return what turns the ridge's excess into a place, (m, r), of the root mean square `reach`."""
    turned = directions(known, ridge[known.judged])[:, :TOLD]
    size = np.sqrt(((apart(known, ridge[known.judged]) @ turned) ** 2).sum(axis=1).mean())
    return as_stored(turned * (reach / max(float(size), 1e-9)))


def _taste(condensed: Condensed, turned: Floats, place: Floats) -> Taste:
    """Return where a memory's prototypes lie; `place` is (n, r)."""
    inside = condensed.label >= 0
    label, count = condensed.label[inside], condensed.prototypes.weight
    squares = (place[inside] ** 2).sum(axis=1)
    total = np.stack([np.bincount(label, weights=column, minlength=len(count)) for column in place[inside].T], axis=1)
    breadth = np.bincount(label, weights=squares, minlength=len(count)) / count / 2
    return Taste(turned, as_stored(total / count[:, None]), as_stored(breadth))


def _smooth(
    kernel: Kernel, prototypes: Prototypes, taste: Taste, encoding: NDArray[np.float32], ridge: Floats
) -> Floats:
    return kernel.smooth(prototypes, taste.nearer(prototypes.similarity(encoding), ridge))


def _taught(
    known: Examples,
    condensed: Condensed,
    kernel: Kernel,
    taste: Taste,
    ridge: Floats,
    place: Floats,
    seed: int,
) -> Prototypes:
    """Return prototypes whose values make the kernel say what it says over their raw members."""
    prototypes = condensed.prototypes
    members = np.flatnonzero(condensed.label >= 0)
    pupils = np.random.default_rng(seed).permutation(len(members))[:TAUGHT]
    share = kernel.nearest / len(prototypes.weight)
    told = _raw(known, members, pupils, place, replace(kernel, nearest=max(1, round(share * len(members)))))
    rows = members[pupils]
    weight = kernel.weigh(taste.nearer(prototypes.similarity(known.encoding[rows]), ridge[rows])) * prototypes.weight
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    value = prototypes.excess / prototypes.weight[:, None]
    gram = weight.T @ weight
    held = gram + np.diag(HELD * np.diag(gram) + 1e-9)
    value = value + np.linalg.solve(held, weight.T @ (told - weight @ value))
    return replace(prototypes, excess=as_stored(value * prototypes.weight[:, None]))


def _raw(known: Examples, members: Labels, pupils: Labels, place: Floats, kernel: Kernel) -> Floats:
    """Return what the kernel over the members says of some of them, each without itself, (pupils, m)."""
    unit, spot = known.unit[members], place[members].astype(np.float32)
    half = (spot**2).sum(axis=1) / 2
    excess = known.excess[members]
    found = []
    for start in range(0, len(pupils), BLOCK):
        some = pupils[start : start + BLOCK]
        nearness = unit[some] @ unit.T + spot[some] @ spot.T - half
        nearness[np.arange(len(some)), some] = -np.inf
        weight = kernel.weigh(nearness)
        found.append(weight @ excess / np.maximum(weight.sum(axis=1, keepdims=True), 1e-9))
    return np.concatenate(found)
