"""Whom the semantic benchmark asks for vectors: encoders that can serve, and their teacher."""

from collections.abc import Sequence
from pathlib import Path

from beastmode.encoding import Encoder
from models.encoders import EncoderSettings, fit
from models.verifiers import Embed
from models.verifiers import embedding as unit_vectors
from pipelines.teaching import exported, sentence_transformer

KINDS = ("static", "onnx", "minilm")
STATIC = EncoderSettings(surface_columns=0)
"""Meaning and terms: the surface of a prompt says nothing about whether two questions are one."""
ONNX = EncoderSettings(surface_columns=0, sentence_columns=384, term_weight=0.0)
"""The transformer's vector, whole."""


def encoder(kind: str, texts: Sequence[str], folder: Path, seed: int) -> Encoder | None:
    """Return the encoder fitted on the questions of the training file; None for `minilm`, which cannot serve.

    `folder` remembers what the teacher said, so that a text is embedded once.
    """
    sessions = [str(number) for number in range(len(texts))]
    if kind == "static":
        return fit(texts, sessions, STATIC, seed, sentence_transformer(folder))
    if kind == "onnx":
        return fit(texts, sessions, ONNX, seed, exported(folder, ONNX.sentence_pieces))
    return None


def embedding(known: Encoder | None, folder: Path) -> Embed:
    """Return the function from texts to unit vectors that an encoder makes, or its teacher where there is none."""
    if known is None:
        return sentence_transformer(folder).embed
    return unit_vectors(known)
