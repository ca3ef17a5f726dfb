"""Requests as the matrix that every selector sees: one definition for training and for serving."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from beastmode.lexical import NAMES, lexical, window, words
from beastmode.tfidf import Terms
from beastmode.transformer import MODEL, SentenceVectors
from beastmode.vectors import Vectors, in_order, packed, unpacked
from beastmode.wordpiece import TokenVectors, WordPiece

Floats = NDArray[np.float64]

GRID = 1024
"""Steps to the unit: a coarse grid, so that another processor's last bits do not reach a split of a tree."""
CLIP = 16.0
"""Standard deviations at which a lexical feature ends."""
SAME, NEAR = 1e-4, 0.05
"""How far a column may lie from itself on another processor: a sum in double precision, and a transformer's int8, where
a last bit moves an activation to the next of 255 steps (at most .014 was seen between two orders of summing)."""
KINDS = ("static", "onnx")
"""The rungs of the ladder of encoders, the cheapest first."""
NO_FILES: Mapping[str, bytes] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Encoder:
    """A fitted encoder: lexical features, then the embedding.

    The embedding joins three vectors, each of unit length times its weight: the surface (lexical features in their
    main directions), the terms (tf-idf through an SVD) and the meaning: word pieces distilled from a
    sentence-transformer (the kind `static`), or the sentence-transformer itself (`onnx`).
    A request without a prompt is average in every lexical column but `has_text`, and near to nothing.
    """

    mean: Floats
    """(lexical features,)"""
    scale: Floats
    terms: Terms | None = None
    tokens: TokenVectors | None = None
    term_weight: float = 1.0
    """Of the terms in the embedding, the meaning having 1."""
    surface: Floats | None = None
    """(lexical features, columns) The directions in which the surface is compared."""
    surface_weight: float = 0.5
    sentences: SentenceVectors | None = None
    """In place of `tokens`."""

    @property
    def kind(self) -> str:
        """The rung of the ladder that it stands on."""
        return "static" if self.sentences is None else "onnx"

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each column."""
        return (*NAMES, *(f"{name}_{i}" for name, columns in self._blocks().items() for i in range(columns)))

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(NAMES) + sum(self._blocks().values())

    def _blocks(self) -> dict[str, int]:
        """Return the columns of each part of the embedding, in their order."""
        return {
            "surface": 0 if self.surface is None else self.surface.shape[1],
            "term": 0 if self.terms is None else self.terms.vectors.columns,
            "token": 0 if self.tokens is None else self.tokens.vectors.columns,
            "sentence": 0 if self.sentences is None else self.sentences.columns,
        }

    @property
    def embedding(self) -> slice:
        """The columns in which nearness of requests is measured; rows are of unit length there, or zero."""
        return slice(len(NAMES), self.width)

    @property
    def tolerance(self) -> Floats:
        """How far each column may lie from itself on another processor, (columns,)."""
        blocks = self._blocks()
        known = [SAME] * (len(NAMES) + blocks["surface"] + blocks["term"] + blocks["token"])
        return np.array(known + [NEAR] * blocks["sentence"])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the encoding, shape (texts, columns), rounded to a grid of 1/1024.

        A text's row does not depend on the texts beside it.
        """
        rows = np.zeros((len(texts), self.width))
        if self.sentences is None:
            for row, text in zip(rows, texts, strict=True):
                self._fill(row, text, None)
        else:
            meanings = self.sentences.embed([window(text) for text in texts])
            for row, text, meaning in zip(rows, texts, meanings, strict=True):
                self._fill(row, text, meaning)
        return (np.rint(rows * GRID) / GRID).astype(np.float32)

    def _fill(self, row: Floats, text: str, meaning: Floats | None) -> None:
        if not text:
            row[0] = -self.mean[0] / self.scale[0]
            return
        seen = window(text)
        found = words(seen)
        tally = Counter(found)
        lexicon = (lexical(text, found, tally) - self.mean) / self.scale
        lexicon = np.minimum(np.maximum(lexicon, -CLIP), CLIP)
        row[: len(NAMES)] = lexicon
        blocks: list[tuple[Floats, float]] = []
        if self.surface is not None:
            blocks.append((lexicon.dot(self.surface), self.surface_weight))
        if self.terms is not None:
            blocks.append((self.terms.embed(found, tally), self.term_weight))
        if self.tokens is not None:
            blocks.append((self.tokens.embed(seen, tally), 1.0))
        if meaning is not None:
            blocks.append((meaning, 1.0))
        _join(row[len(NAMES) :], blocks)

    def parts(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return the encoder as plain data: what JSON holds, and what npz holds."""
        weights = {"term_weight": self.term_weight, "surface_weight": self.surface_weight}
        known: dict[str, Any] = {"kind": self.kind, "lexical": list(NAMES), **weights}
        arrays: dict[str, NDArray[Any]] = {"mean": self.mean, "scale": self.scale}
        if self.surface is not None:
            arrays["surface"] = self.surface
        if self.terms is not None:
            arrays |= {"terms": packed(in_order(self.terms.index)), **self.terms.vectors.arrays("term")}
        if self.tokens is not None:
            arrays |= {"pieces": packed(in_order(self.tokens.pieces.index)), **self.tokens.vectors.arrays("token")}
        if self.sentences is not None:
            transformer = self.sentences.transformer
            known["sentence_limit"] = transformer.limit
            arrays |= {"pieces": packed(in_order(transformer.pieces.index))}
            arrays |= {"sentence_directions": self.sentences.directions}
        return known, arrays

    @property
    def files(self) -> dict[str, bytes]:
        """What of the encoder is neither JSON nor an array: the transformer's graph, where it has one."""
        return {} if self.sentences is None else {MODEL: self.sentences.transformer.model}

    @classmethod
    def from_parts(
        cls, known: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], files: Mapping[str, bytes] = NO_FILES
    ) -> Self:
        """Return the encoder that `parts` and `files` described; raises ValueError where they do not fit together."""
        if known.get("kind") not in KINDS:
            raise ValueError(f"encoder: unknown kind {known.get('kind')!r}; this version reads {', '.join(KINDS)}")
        if known.get("lexical") != list(NAMES):
            raise ValueError("encoder: its lexical features are not those of this version; retrain the bundle")
        weights = {name: known.get(name) for name in ("term_weight", "surface_weight")}
        for name, weight in weights.items():
            if not isinstance(weight, int | float) or not 0 <= weight <= 1e6:
                raise ValueError(f"encoder: {name} = {weight!r} must be a number of at least 0")
        mean, scale = (_matrix(arrays, name, len(NAMES), dimensions=1) for name in ("mean", "scale"))
        if not (scale > 0).all():
            raise ValueError("encoder: a scale that is not positive; the arrays are damaged")
        surface = _matrix(arrays, "surface", len(NAMES), dimensions=2) if "surface" in arrays else None
        terms = tokens = sentences = None
        if "terms" in arrays:
            index = unpacked(arrays["terms"])
            terms = Terms(index, Vectors.from_arrays(arrays, "term", len(index)))
        if known["kind"] == "onnx":
            index, directions = unpacked(arrays["pieces"]), arrays.get("sentence_directions")
            sentences = SentenceVectors.from_parts(index, directions, files.get(MODEL), known.get("sentence_limit"))
        elif "pieces" in arrays:
            index = unpacked(arrays["pieces"])
            tokens = TokenVectors(WordPiece.of(index), Vectors.from_arrays(arrays, "token", len(index)))
        parts: dict[str, Any] = {name: float(weight) for name, weight in weights.items()}  # type: ignore[arg-type]
        return cls(mean, scale, terms, tokens, surface=surface, sentences=sentences, **parts)


def _join(row: Floats, blocks: Sequence[tuple[Floats, float]]) -> None:
    """Put vectors side by side, each of its weight in length, and the whole of unit length; zero stays zero."""
    lengths = [math.sqrt(vector.dot(vector)) for vector, _ in blocks]
    whole = math.sqrt(sum(weight**2 for (_, weight), length in zip(blocks, lengths, strict=True) if length > 0))
    start = 0
    for (vector, weight), length in zip(blocks, lengths, strict=True):
        if length > 0 and whole > 0:
            row[start : start + len(vector)] = vector * (weight / (length * whole))
        start += len(vector)


def _matrix(arrays: Mapping[str, NDArray[Any]], name: str, rows: int, dimensions: int) -> Floats:
    found = arrays.get(name)
    if found is None or found.ndim != dimensions or len(found) != rows or found.dtype != np.float64:
        raise ValueError(f"encoder: {name} is not float64 of {rows} rows; the arrays are damaged")
    if not np.isfinite(found).all():
        raise ValueError(f"encoder: {name} holds what is no number; the arrays are damaged")
    return found
