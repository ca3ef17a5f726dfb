"""Differences between candidates that might take each other's place: by these, parts are chosen and weighed."""

import numpy as np
from numpy.typing import NDArray

from models.examples import Examples

Floats = NDArray[np.float64]

REACH = 0.08
"""The gap in mean quality at which a rival of the incumbent counts for 1 / e in weighing differences."""


def rivalry(known: Examples, excess: Floats) -> Floats:
    """Return differences from the incumbent, (n, m), weighed by how near a rival comes to it in the mean."""
    gap = np.maximum(known.mean[known.incumbent] - known.mean, 0.0)
    weight = np.where(known.active, np.exp(-gap / REACH), 0.0)
    return np.asarray((excess - excess[:, [known.incumbent]]) * np.sqrt(weight))


def explained(known: Examples, said: Floats) -> float:
    """Return the squares of the judged rows' rival differences that an excess (judged rows, m) explains, best scaled.

    By squares and not by policy value, which on few rows prefers whatever was lucky.
    """
    word, truth = rivalry(known, said), rivalry(known, known.excess[known.judged])
    return float(max(float((word * truth).sum()), 0.0) ** 2 / max(float((word**2).sum()), 1e-12))


def apart(known: Examples, excess: Floats) -> Floats:
    """Return an excess (n, m) less its mean over the active candidates; zero for the others."""
    active = known.active
    return np.where(active, excess - excess[:, active].mean(axis=1, keepdims=True), 0.0)


def directions(known: Examples, said: Floats) -> Floats:
    """Return the directions in which an excess (n, m) tells candidates apart, the largest first, (m, active - 1).

    They are the right singular vectors of a prediction, never of the raw scores: a raw outcome is mostly noise, and
    its largest directions are those of the noisiest candidates.
    """
    _, _, right = np.linalg.svd(apart(known, said), full_matrices=False)
    return np.asarray(right[: max(int(known.active.sum()) - 1, 0)].T)
