"""Distil a sentence-transformer into one vector a word piece, so that a sum over a text comes near its answer."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]

_ROUNDS = 150
_TOLERANCE = 1e-3


def distil(
    documents: Sequence[Mapping[int, int]], sentences: Floats, pieces: Floats, columns: int, ridge: float
) -> Floats:
    """Return the table of piece vectors, shape (pieces, columns), whose weighted sum is nearest to the teacher's.

    `documents` count the pieces of each text, `sentences` (texts, width) and `pieces` (pieces, width) are the teacher's
    vectors of the texts and of each piece alone. The aim is the sentences' `columns` first singular directions. A text
    weighs its pieces by the root of their count times idf, as in `TokenVectors.embed`. The vectors begin at the
    teacher's own, linearly mapped, and a ridge regression moves them: a piece that no text holds stays where it began.
    """
    weight = idf(documents, len(pieces))
    matrix = unit_rows(counted(documents, len(pieces)) @ sparse.diags(weight))
    aim = sentences @ np.linalg.svd(sentences.T @ sentences)[0][:, :columns]
    added = matrix @ pieces
    table = pieces @ np.linalg.solve(added.T @ added + np.eye(added.shape[1]), added.T @ aim)
    table += matrix.T @ _solve(lambda x: matrix @ (matrix.T @ x) + ridge * x, aim - matrix @ table)
    return np.asarray(weight[:, None] * table)


def _solve(apply: Callable[[Floats], Floats], target: Floats) -> Floats:
    """Solve apply(x) = target by conjugate gradients, column by column; `apply` is symmetric, positive definite."""
    x = np.zeros_like(target)
    rest, step = target.copy(), target.copy()
    square = (rest * rest).sum(axis=0)
    enough = square * _TOLERANCE**2
    for _ in range(_ROUNDS):
        if (square <= enough).all():
            break
        moved = apply(step)
        length = square / np.maximum((step * moved).sum(axis=0), 1e-300)
        x += length * step
        rest -= length * moved
        last, square = square, (rest * rest).sum(axis=0)
        step = rest + square / np.maximum(last, 1e-300) * step
    return x


def idf(documents: Sequence[Mapping[int, int]], columns: int) -> Floats:
    """Return the weight of each column for its rareness: log((1 + texts) / (1 + texts that hold it)) + 1."""
    among: Counter[int] = Counter()
    for document in documents:
        among.update(document.keys())
    holding = np.zeros(columns)
    holding[list(among)] = list(among.values())
    return np.asarray(np.log((1 + len(documents)) / (1 + holding)) + 1)


def counted(documents: Sequence[Mapping[int, int]], columns: int) -> sparse.csr_matrix:
    """Return the roots of counts as a matrix, shape (texts, columns)."""
    start = np.cumsum([0, *map(len, documents)])
    at = np.array([column for document in documents for column in document], dtype=np.int64)
    counts = np.array([count for document in documents for count in document.values()], dtype=np.float64)
    return sparse.csr_matrix((np.sqrt(counts), at, start), shape=(len(documents), columns))


def unit_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return a matrix with its rows scaled to unit length; empty rows stay."""
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return (sparse.diags(1 / np.where(lengths > 0, lengths, 1)) @ matrix).tocsr()
