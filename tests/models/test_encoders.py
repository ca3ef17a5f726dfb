"""The fitted encoder names no rare word, is the same for the same seed, and learns from its teacher."""

import inspect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from beastmode.encoding import Encoder
from beastmode.lexical import NAMES
from beastmode.wordpiece import WordPiece
from models.distillation import counted, distil, idf
from models.encoders import EncoderSettings, fit

CANARY = "xylocarp"
FILLER = [f"please explain item {i} of the list to my friend" for i in range(60)]


def docstrings() -> list[str]:
    """Texts that every machine has: the first paragraphs of numpy's docstrings."""
    found = [inspect.getdoc(member) for _, member in inspect.getmembers(np)]
    found += [inspect.getdoc(member) for _, member in inspect.getmembers(np.ndarray)]
    paragraphs = [text.split("\n\n") for text in found if text]
    return sorted({" ".join(parts[:3])[:300] for parts in paragraphs if len(" ".join(parts)) > 40})


def held(encoder: Encoder) -> bytes:
    """Everything that a bundle would hold of an encoder."""
    known, arrays = encoder.parts()
    return repr(known).encode() + b"".join(array.tobytes() for array in arrays.values())


def fitted(texts: Sequence[str], sessions: Sequence[str] | None = None, seed: int = 0, **known: int) -> Encoder:
    return fit(texts, sessions or [str(i) for i in range(len(texts))], EncoderSettings(**known), seed)


@pytest.mark.parametrize(
    ("requests", "sessions", "enters"), [(20, 5, True), (19, 19, False), (60, 4, False), (60, 60, True)]
)
@pytest.mark.parametrize("secret", [CANARY, "friend friend"])
def test_a_term_enters_only_with_enough_requests_and_sessions(
    secret: str, requests: int, sessions: int, enters: bool
) -> None:
    texts = [*FILLER, *(f"tell {secret} now" for _ in range(requests))]
    dealt = [*(f"f{i}" for i in range(len(FILLER))), *(f"s{i % sessions}" for i in range(requests))]
    encoder = fit(texts, dealt, EncoderSettings(), 0)
    assert encoder.terms is not None
    assert (secret in encoder.terms.index) == enters
    assert (secret.encode() in held(encoder)) == enters
    assert "list to" in encoder.terms.index


def test_a_term_repeated_in_one_request_counts_once() -> None:
    encoder = fitted([*FILLER, *([f"{CANARY} " * 30] * 10)])
    assert CANARY.encode() not in held(encoder)


def test_the_vocabulary_is_capped_to_the_most_frequent() -> None:
    encoder = fitted([*FILLER, *["please"] * 5], max_terms=1)
    assert encoder.terms is not None
    assert list(encoder.terms.index) == ["please"]


@pytest.mark.parametrize(("known", "value"), [("min_requests", 19), ("min_sessions", 4), ("token_columns", 65)])
def test_settings_carry_their_bounds(known: str, value: int) -> None:
    pydantic = pytest.importorskip("pydantic")
    read = pydantic.TypeAdapter(EncoderSettings)
    assert read.validate_python({}) == EncoderSettings()
    with pytest.raises(pydantic.ValidationError, match=known):
        read.validate_python({known: value})


def test_the_same_seed_fits_the_same_encoder_and_the_seed_reaches_the_draw() -> None:
    texts = docstrings()
    few = {"term_texts": 200}
    assert held(fitted(texts, seed=1, **few)) == held(fitted(texts, seed=1, **few))
    assert held(fitted(texts, seed=1, **few)) != held(fitted(texts, seed=2, **few))


def test_lexical_columns_are_standardised_over_the_texts_there_are() -> None:
    texts = docstrings()
    encoder = fitted([*texts, *[""] * 50])
    rows = encoder.encode(texts)[:, : len(NAMES)]
    moving = rows.std(axis=0) > 0
    assert np.abs(rows[:, moving].mean(axis=0)).max() < 0.1
    deviation = rows[:, moving].std(axis=0)
    assert np.median(deviation) == pytest.approx(1, abs=0.01)
    assert deviation.max() < 1.01  # a rare sign is cut off, and so has less


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["one"], ["one", "one two"], ["?!"] * 30])
def test_too_little_text_still_gives_an_encoder(texts: list[str]) -> None:
    encoder = fitted(texts)
    rows = encoder.encode(["what is one?", ""])
    assert rows.shape == (2, len(encoder.names))
    assert np.isfinite(rows).all()


def test_the_surface_can_be_left_out_of_nearness() -> None:
    encoder = fitted(docstrings(), surface_columns=0)
    assert encoder.embedding.stop - encoder.embedding.start == EncoderSettings().term_columns


def test_texts_and_sessions_must_agree_in_number() -> None:
    with pytest.raises(ValueError, match="2 texts but 1 sessions"):
        fit(["a", "b"], ["s"], EncoderSettings(), 0)


def test_texts_on_one_subject_lie_nearer_than_texts_on_two() -> None:
    rng = np.random.default_rng(0)
    subjects = [["matrix", "vector", "product", "sum"], ["river", "lake", "rain", "cloud"]]
    texts = [" ".join(rng.choice(subjects[i % 2], size=3)) for i in range(200)]
    encoder = fitted(texts)
    rows = encoder.encode(texts)[:, encoder.embedding]
    near = rows @ rows.T
    same = np.add.outer(np.arange(200), np.arange(200)) % 2 == 0
    assert near[same].mean() > near[~same].mean() + 0.5


def test_distillation_finds_the_table_that_made_the_sentences() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, 6))
    documents = [Counter(rng.integers(0, 40, size=12).tolist()) for _ in range(600)]
    weight = idf(documents, 40)
    summed = counted(documents, 40) @ (weight[:, None] * truth)
    sentences = summed / np.linalg.norm(summed, axis=1, keepdims=True)
    start = truth + rng.normal(size=truth.shape)
    table = distil(documents, sentences, start, 6, ridge=1e-3)
    told = counted(documents, 40) @ table
    told /= np.linalg.norm(told, axis=1, keepdims=True)
    gram = np.abs(told @ told.T - sentences @ sentences.T)
    assert gram.mean() < 0.1
    mapped = counted(documents, 40) @ (weight[:, None] * start)
    mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
    assert gram.mean() < np.abs(mapped @ mapped.T - sentences @ sentences.T).mean() / 2


@dataclass(frozen=True)
class Part:
    """A real teacher over the pieces that some texts hold, so that a test need not embed all 30,522."""

    whole: object
    ids: tuple[int, ...]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.whole.embed(texts)  # type: ignore[attr-defined,no-any-return]

    def vocabulary(self) -> list[str]:
        known = self.whole.vocabulary()  # type: ignore[attr-defined]
        return [known[i] for i in self.ids]

    def piece_vectors(self) -> NDArray[np.float32]:
        return self.whole.vectors_of(self.ids)  # type: ignore[attr-defined,no-any-return]


def test_a_teacher_is_not_asked_where_no_request_has_a_text() -> None:
    encoder = fit(["", ""], ["a", "b"], EncoderSettings(), 0, Part(None, ()))
    assert encoder.tokens is None


@pytest.mark.slow
def test_distilled_pieces_are_nearer_to_the_teacher_than_tf_idf() -> None:
    pytest.importorskip("sentence_transformers", reason="install the extra 'embeddings'")
    from models.teachers import SentenceTransformerTeacher

    whole = SentenceTransformerTeacher.load()
    texts = [text[:160] for text in docstrings()]
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:260]]
    cut = WordPiece.of({piece: i for i, piece in enumerate(whole.vocabulary())})
    teacher = Part(whole, tuple(sorted({100, *(i for text in texts for i in cut.ids(text))})))
    learned, kept = texts[:180], texts[180:]
    sessions = [str(i) for i in range(len(learned))]
    taught = fit(learned, sessions, EncoderSettings(), 0, teacher)
    alone = fit(learned, sessions, EncoderSettings(), 0)
    truth = whole.embed(kept)

    def fidelity(encoder: Encoder) -> float:
        rows = encoder.encode(kept)[:, encoder.embedding]
        above = np.triu_indices(len(kept), 1)
        return float(spearmanr((rows @ rows.T)[above], (truth @ truth.T)[above]).statistic)

    assert fidelity(taught) > fidelity(alone) + 0.1
    assert fidelity(taught) > 0.5
    again = Encoder.from_parts(*taught.parts())
    assert (again.encode(kept) == taught.encode(kept)).all()
    assert len(taught.tokens.vectors.table) == len(teacher.ids)  # type: ignore[union-attr]
