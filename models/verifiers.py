"""Train the semantic cache's verifier: a forest over pairs, and the threshold that keeps a budget of wrong answers."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import lightgbm
import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from beastmode.cache.learned import LearnedVerifier
from beastmode.cache.pairs import FALLING, NAMES, RISING, features
from beastmode.cache.reading import BUCKETS, Rarity, bucket, read
from beastmode.encoding import Encoder
from beastmode.forest import Forest
from features.edits import HARMFUL, HARMLESS, edits
from features.questions import Questions
from models.verifiers_stream import Candidates, Served, bounded_threshold, candidates, joined, point_threshold, served

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]
"""From texts to vectors of unit length (or zero), as the cache's encoder gives them."""


def embedding(encoder: Encoder) -> Embed:
    """Return the function from texts to unit vectors by which the semantic tier compares them."""

    def embed(texts: Sequence[str]) -> Vectors:
        vectors = encoder.encode(texts)[:, encoder.embedding]
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        return np.asarray(vectors / np.where(lengths > 0, lengths, 1)[:, None], dtype=np.float32)

    return embed


@dataclass(frozen=True, slots=True)
class VerifierSettings:
    """How a verifier is trained, and the budget that its threshold keeps."""

    budget: Annotated[float, Interval(gt=0, lt=1)] = 0.01
    """Wrong answers per request of the semantic tier."""
    delta: Annotated[float, Interval(gt=0, lt=1)] = 0.05
    """One less the confidence of the bound that must stay within the budget."""
    candidates: Annotated[int, Ge(1)] = 4
    """Nearest stored questions that the verifier is asked about, as the semantic tier asks."""
    floor: Annotated[float, Interval(ge=-1, le=1)] = 0.5
    """The cosine under which it is not asked."""
    folds: Annotated[int, Ge(2)] = 5
    trees: Annotated[int, Ge(1)] = 250
    leaves: Annotated[int, Interval(ge=2, le=32)] = 15
    learning_rate: Annotated[float, Interval(gt=0, le=1)] = 0.05
    edited: Annotated[int, Ge(0)] = 1500
    """Questions that are edited, each once to another meaning and once to the same."""
    min_questions: Annotated[int, Ge(1)] = 5
    """Questions in which a word must stand to count as seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Pairs to learn from: the candidates of the stream in each fold, the judged pairs, and the edits."""

    rows: Floats
    """(n, features)"""
    same: NDArray[np.bool_]
    fold: Integers
    """(n,)"""
    family: NDArray[np.str_]
    """(n,) Of the edit; empty for pairs that people wrote."""
    streams: tuple[tuple[Integers, Candidates], ...]
    """One a fold, whose candidates are the first rows, in order."""
    classes: Integers
    groups: Integers
    rarity: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A verifier with the stream, out of fold, that its threshold rests on."""

    verifier: LearnedVerifier
    stream: Served
    """Scores are those of models that saw no question of the same group."""


def train(known: Questions, embed: Embed, settings: VerifierSettings, seed: int) -> Trained:
    """Return a verifier; its threshold keeps the upper bound of wrong answers per request within the budget.

    The questions of each fold make a stream of their own, so that what is judged is what the cache would have done.
    Raises ValueError where there are fewer groups than folds, or where all pairs have one label.
    """
    return trained(examples(known, embed, settings, seed), settings, seed)


def trained(found: Examples, settings: VerifierSettings, seed: int) -> Trained:
    """Return the verifier of examples; raises ValueError where all pairs, or all near ones, have one label."""
    if found.same.all() or not found.same.any():
        raise ValueError("verifier: every pair has one label; give questions that are alike and others that are not")
    asked = sum(len(part) for _, part in found.streams)
    near = found.same[:asked]
    if near.all() or not near.any():  # true of none at all, too
        raise ValueError(
            f"verifier: of {asked} earlier questions that lie near to a later one {int(near.sum())} ask the same; "
            "scores are calibrated on both kinds: give more pairs"
        )
    raw = np.zeros(len(found.rows))
    for fold in range(settings.folds):
        outside = found.fold == fold
        forest = Forest.parse(_fit(found, ~outside, settings, seed))
        raw[outside] = forest.predict(found.rows[outside])[:, 0]
    curve = LogisticRegression(C=1e6).fit(raw[:asked, None], found.same[:asked])
    slope, offset = float(curve.coef_[0, 0]), float(curve.intercept_[0])
    scores = 1 / (1 + np.exp(-np.clip(slope * raw + offset, -700, 700)))
    stream = joined(_served(found, scores))
    bounded = within_budget(stream, settings.budget, settings.delta)
    told = {"budget": settings.budget, "delta": settings.delta, "requests": len(stream), "ceiling": stream.ceiling,
            **{name: value for name, value in stream.at(bounded).items() if name != "threshold"}}  # fmt: skip
    text = _fit(found, np.ones(len(raw), dtype=bool), settings, seed)
    verifier = LearnedVerifier.of(text, found.rarity, bounded, slope=slope, offset=offset, told=told)
    return Trained(verifier, stream)


def cosine_stream(found: Examples) -> Served:
    """Return the streams of the folds, scored by the cosine alone."""
    return joined([served(part, part.cosine, found.classes, order, found.groups) for order, part in found.streams])


def without(found: Examples, families: Collection[str], settings: VerifierSettings, seed: int) -> LearnedVerifier:
    """Return a verifier that never saw an edit of some families, to learn how it takes what is new to it.

    It has no threshold: nothing is served by it.
    """
    text = _fit(found, ~np.isin(found.family, list(families)), settings, seed)
    return LearnedVerifier.of(text, found.rarity, float("inf"))


def offered(known: Questions, embed: Embed, verifier: LearnedVerifier, settings: VerifierSettings, seed: int) -> Served:
    """Return what a stream of questions would be served by a verifier, were its threshold low enough."""
    order = np.random.default_rng(seed).permutation(len(known))
    near = candidates(embed(known.texts), order, settings.candidates, settings.floor)
    texts = known.texts
    pairs = [(texts[a], texts[b], float(c)) for a, b, c in zip(near.asked, near.stored, near.cosine, strict=True)]
    return served(near, verifier.scores(pairs), known.classes, order, known.groups)


def within_budget(stream: Served, budget: float, delta: float | None) -> float:
    """Return the threshold of a stream of probabilities that keeps a budget of wrong answers per request.

    `delta` is that of the bound; None trusts what was seen, without one. No budget buys an answer that is more likely
    wrong than right, however much of it is left.
    """
    low = point_threshold(stream, budget) if delta is None else bounded_threshold(stream, budget, delta)
    return max(low, 0.5)


def examples(known: Questions, embed: Embed, settings: VerifierSettings, seed: int) -> Examples:
    """Return what there is to learn from questions."""
    fold = known.folds(settings.folds, seed)
    vectors = embed(known.texts)
    table = rarity(known.texts, settings.min_questions)
    scale = Rarity.of(table)
    rng = np.random.default_rng(seed)
    rows: list[tuple[float, ...]] = []
    same: list[bool] = []
    folds: list[int] = []
    family: list[str] = []
    streams = []

    def add(asked: str, stored: str, cosine: float, alike: bool, at: int, kind: str = "") -> None:
        rows.append(features(asked, stored, cosine, scale))
        same.append(alike)
        folds.append(at)
        family.append(kind)

    for number in range(settings.folds):
        order = rng.permutation(np.flatnonzero(fold == number))
        part = candidates(vectors, order, settings.candidates, settings.floor)
        streams.append((order, part))
        for a, b, cosine in zip(part.asked, part.stored, part.cosine, strict=True):
            alike = bool(known.classes[a] == known.classes[b])
            add(known.texts[a], known.texts[b], float(cosine), alike, number)
    for (a, b), judged in zip(known.pairs, known.same, strict=True):
        add(known.texts[a], known.texts[b], float(vectors[a] @ vectors[b]), bool(judged), int(fold[a]))
    chosen = rng.permutation(len(known))[: settings.edited]
    texts = [known.texts[i] for i in chosen]
    made = [edit for kinds in (HARMFUL, HARMLESS) for edit in edits(texts, kinds, seed)]
    said = embed([edit.edited for edit in made]) if made else vectors[:0]
    for edit, vector in zip(made, said, strict=True):
        at = int(chosen[edit.place])
        add(edit.edited, edit.text, float(vector @ vectors[at]), edit.same, int(fold[at]), edit.family)
    whole = np.array(rows).reshape(-1, len(NAMES))
    return Examples(
        whole, np.array(same), np.array(folds), np.array(family, dtype=str), tuple(streams), known.classes,
        known.groups, table,
    )  # fmt: skip


def rarity(texts: Sequence[str], at_least: int) -> NDArray[np.float32]:
    """Return the table of rarities, (BUCKETS,); places met by fewer than `at_least` texts count as never met."""
    counts = np.zeros(BUCKETS)
    for text in texts:
        counts[list({bucket(word) for word in read(text).bag})] += 1
    counts[counts < at_least] = 0
    return np.log((1 + len(texts)) / (1 + counts)).astype(np.float32)


def _served(found: Examples, scores: Floats) -> list[Served]:
    told, start = [], 0
    for order, part in found.streams:
        told.append(served(part, scores[start : start + len(part)], found.classes, order, found.groups))
        start += len(part)
    return told


def _fit(found: Examples, used: NDArray[np.bool_], settings: VerifierSettings, seed: int) -> str:
    """Return LightGBM's text: more signs of another meaning never raise the score, more overlap never lowers it."""
    sign = [1 if name in RISING else -1 if name in FALLING else 0 for name in NAMES]
    parameters: dict[str, Any] = {
        "objective": "binary",
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": 40,
        "feature_fraction": 0.6,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "monotone_constraints": sign,
        "seed": seed,
        "deterministic": True,
        "num_threads": 1,
        "verbose": -1,
    }
    data = lightgbm.Dataset(found.rows[used], found.same[used].astype(np.float64))
    return str(lightgbm.train(parameters, data, settings.trees).model_to_string())
