"""Fit an encoder: standardise the lexical features, learn the terms, distil the teacher or take it along."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Protocol

import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from beastmode.encoding import CLIP, Encoder
from beastmode.lexical import NAMES, lexical, window, words
from beastmode.tfidf import Terms, terms
from beastmode.transformer import SentenceVectors, Transformer
from beastmode.vectors import Vectors
from beastmode.wordpiece import TokenVectors, WordPiece
from models.distillation import counted, distil, idf, unit_rows

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """What the encoder may hold, and what a logged word must have before a bundle may name it."""

    surface_columns: Annotated[int, Interval(ge=0, le=len(NAMES))] = 16
    """Main directions of the lexical features that count for nearness."""
    surface_weight: Annotated[float, Interval(ge=0, le=4)] = 0.5
    term_columns: Annotated[int, Interval(ge=1, le=128)] = 48
    max_terms: Annotated[int, Interval(ge=1, le=50_000)] = 20_000
    min_requests: Annotated[int, Ge(20)] = 20
    """Requests in which a term must stand to enter the vocabulary: a bundle holds no logged text."""
    min_sessions: Annotated[int, Ge(5)] = 5
    token_columns: Annotated[int, Interval(ge=1, le=64)] = 64
    term_weight: Annotated[float, Interval(ge=0, le=4)] = 0.5
    """Of the terms in the embedding where there is a teacher, whose word pieces have 1."""
    sentence_columns: Annotated[int, Interval(ge=1, le=1024)] = 64
    """Main directions of the transformer's vectors, on the rung `onnx`."""
    sentence_pieces: Annotated[int, Interval(ge=8, le=512)] = 256
    """Word pieces that the transformer reads, its two markers among them; its time grows with them."""
    ridge: Annotated[float, Interval(gt=0, le=1000)] = 0.3
    """What holds a word piece to the teacher's own vector of it."""
    term_texts: Annotated[int, Ge(1)] = 20_000
    """Requests from which the terms' vectors are learned, drawn at random where there are more."""
    teacher_texts: Annotated[int, Ge(1)] = 4_000
    """Texts that the teacher embeds, drawn by their hash where there are more: some 15 to 100 a second on a core."""


class Teacher(Protocol):
    """A sentence-transformer as distillation sees it."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape (texts, width)."""

    def vocabulary(self) -> list[str]:
        """Return the word pieces in the order of their ids."""

    def piece_vectors(self) -> NDArray[np.float32]:
        """Return the unit vector of each word piece alone, shape (pieces, width)."""


def fit(
    texts: Sequence[str],
    sessions: Sequence[str],
    settings: EncoderSettings,
    seed: int,
    teacher: Teacher | Transformer | None = None,
) -> Encoder:
    """Return the encoder fitted on the texts of requests; `sessions` says which session each belongs to.

    A transformer goes into the encoder as it is (the rung `onnx`), any other teacher is distilled into word pieces
    (`static`). Requests without a text (empty) teach nothing. Without a teacher, or without any text, the embedding
    is that of the surface and the terms.
    """
    if len(texts) != len(sessions):
        raise ValueError(f"encoder: {len(texts)} texts but {len(sessions)} sessions; give one a text")
    kept = [i for i, text in enumerate(texts) if text]
    found = [words(window(texts[i])) for i in kept]
    features = np.array([lexical(texts[i], w) for i, w in zip(kept, found, strict=True)]).reshape(-1, len(NAMES))
    mean, scale = _standard(features)
    standard = ((features - mean) / scale).clip(-CLIP, CLIP)
    surface = np.linalg.eigh(standard.T @ standard)[1][:, ::-1][:, : settings.surface_columns]
    shape = Encoder(mean, scale, surface=np.ascontiguousarray(surface), surface_weight=settings.surface_weight)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(kept))
    rows = np.sort(order[: settings.term_texts])
    vocabulary = _vocabulary(found, [sessions[i] for i in kept], settings)
    fitted = _terms([found[i] for i in rows], vocabulary, settings.term_columns, seed)
    # In the order of their hashes, so that a teacher with a memory meets the same texts at the next training.
    distinct = sorted({texts[i] for i in kept}, key=_hash)[: settings.teacher_texts]
    if teacher is None or not distinct:
        return replace(shape, terms=fitted)
    whole = replace(shape, terms=fitted, term_weight=settings.term_weight)
    if isinstance(teacher, Transformer):
        return replace(whole, sentences=_sentences(distinct, settings, teacher))
    return replace(whole, tokens=_tokens(distinct, settings, teacher))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _standard(features: Floats) -> tuple[Floats, Floats]:
    if not len(features):
        return np.zeros(len(NAMES)), np.ones(len(NAMES))
    deviation = features.std(axis=0)
    # A feature that never moved keeps its unit, so that the first text that moves it is not off every scale.
    return features.mean(axis=0), np.where(deviation > 1e-6, deviation, 1.0)


def _vocabulary(found: Sequence[list[str]], sessions: Sequence[str], settings: EncoderSettings) -> dict[str, int]:
    """Return the terms in enough requests and sessions, the most frequent first."""
    requests: Counter[str] = Counter()
    for document in found:
        requests.update(set(document))
    frequent = {word for word, count in requests.items() if count >= settings.min_requests}
    requests = Counter()
    seen: dict[str, set[str]] = {}
    for document, session in zip(found, sessions, strict=True):
        # A pair is no more frequent than its words, so that most pairs need no counting.
        known = {t for t in terms(document) if all(word in frequent for word in t.split(" "))}
        requests.update(known)
        for term in known:
            among = seen.setdefault(term, set())
            if len(among) < settings.min_sessions:
                among.add(session)
    shared = [
        term
        for term, count in requests.items()
        if count >= settings.min_requests and len(seen[term]) >= settings.min_sessions
    ]
    shared = sorted(shared, key=lambda term: (-requests[term], term))[: settings.max_terms]
    return {term: i for i, term in enumerate(shared)}


def _terms(found: Sequence[list[str]], index: Mapping[str, int], columns: int, seed: int) -> Terms:
    """Return the vectors of the terms: idf times the right singular vectors of the tf-idf matrix."""
    counts = [Counter(index[term] for term in terms(document) if term in index) for document in found]
    table = np.zeros((len(index), columns))
    rank = min(columns, len(index), len(found))
    if rank:
        weight = idf(counts, len(index))
        weighted = unit_rows(counted(counts, len(index)) @ sparse.diags(weight))
        _, _, right = randomized_svd(weighted, rank, n_iter=4, random_state=seed)
        table[:, :rank] = weight[:, None] * right.T
    return Terms(index, Vectors.rounded(table))


def _sentences(texts: Sequence[str], settings: EncoderSettings, transformer: Transformer) -> SentenceVectors:
    """Return the transformer's vectors in the main directions of some texts."""
    said = transformer.vectors([window(text) for text in texts]).astype(np.float64)
    right = np.linalg.svd(said.T @ said)[0][:, : settings.sentence_columns]
    # A direction's sign is the algebra's whim: its largest entry is made positive.
    right *= np.sign(right[np.abs(right).argmax(axis=0), np.arange(right.shape[1])])
    return SentenceVectors(transformer, right.astype(np.float32))


def _tokens(texts: Sequence[str], settings: EncoderSettings, teacher: Teacher) -> TokenVectors:
    pieces = WordPiece.of({piece: i for i, piece in enumerate(teacher.vocabulary())})
    documents = [Counter(pieces.ids(window(text))) for text in texts]
    sentences = teacher.embed(texts).astype(np.float64)
    alone = teacher.piece_vectors().astype(np.float64)
    table = distil(documents, sentences, alone, settings.token_columns, settings.ridge)
    return TokenVectors(pieces, Vectors.rounded(table))
