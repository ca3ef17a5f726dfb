"""A sentence-transformer that travels in a bundle, in int8, and is run by onnxruntime on one thread."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from beastmode.errors import BundleError
from beastmode.wordpiece import WordPiece

Vectors = NDArray[np.float32]

MODEL = "encoder.onnx"
"""The file of a bundle that holds the graph."""
MARKERS = ("[CLS]", "[SEP]")
"""The pieces before and after a text."""
POSITIONS = 512
"""The most that a BERT model has."""


@dataclass(frozen=True, slots=True, eq=False)
class Transformer:
    """A graph from word pieces to one unit vector a text: transformer, mean over the pieces, length one.

    Its inputs are `input_ids` and `attention_mask`, int64 of shape (texts, pieces); its output is (texts, width).
    """

    pieces: WordPiece
    model: bytes
    limit: int
    """Pieces that are read, the two markers among them: what comes later in a text is not seen."""
    memory: Callable[[Sequence[str]], Vectors] | None = None
    """Asked in place of the model, in training, where it remembers what the model said; a bundle carries none."""
    _session: list[Any] = field(default_factory=list, init=False, repr=False)

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors, shape (texts, width).

        Raises BundleError naming the extra where onnxruntime is not installed, and ValueError where the graph has
        other inputs or another output.
        """
        return self.embed(texts) if self.memory is None else self.memory(texts)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return what the model itself says, shape (texts, width), one text at a time.

        The activations are quantised by the range of a whole batch, so that in one a text's vector would depend on
        its neighbours, and training would see other vectors than serving. On one thread a batch saves no time.
        """
        run = self._run()
        rows = [run(np.array([self._ids(text)], dtype=np.int64)) for text in texts]
        return np.concatenate(rows) if rows else run(np.array([self._ids("")], dtype=np.int64))[:0]

    def _ids(self, text: str) -> list[int]:
        first, last = (self.pieces.index[marker] for marker in MARKERS)
        return [first, *self.pieces.ids(text, self.limit - len(MARKERS)), last]

    def _run(self) -> Callable[[NDArray[np.int64]], Vectors]:
        if not self._session:
            # At the first text, so that whoever looks vectors up in a memory needs no onnxruntime.
            self._session.append(_session(self.model))
        session = self._session[0]

        def run(ids: NDArray[np.int64]) -> Vectors:
            (found,) = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
            if found.ndim != 2 or len(found) != len(ids) or found.dtype != np.float32:
                raise ValueError(f"{MODEL}: it gives {found.dtype} of shape {found.shape}, not a float32 vector a text")
            return np.asarray(found)

        return run


@dataclass(frozen=True, slots=True, eq=False)
class SentenceVectors:
    """A transformer's vectors, seen in their main directions."""

    transformer: Transformer
    directions: NDArray[np.float32]
    """(width, columns)"""

    @property
    def columns(self) -> int:
        """The width of a vector."""
        return int(self.directions.shape[1])

    def embed(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the vectors of texts, not normalised, shape (texts, columns)."""
        if not texts:
            return np.zeros((0, self.columns))
        return np.asarray(self.transformer.vectors(texts).astype(np.float64) @ self.directions.astype(np.float64))

    @classmethod
    def from_parts(
        cls, index: Mapping[str, int], directions: NDArray[Any] | None, model: bytes | None, limit: Any
    ) -> Self:
        """Return what a bundle described; raises ValueError where the parts do not fit together."""
        if model is None:
            raise ValueError(f"encoder: {MODEL} is missing; fetch the bundle again")
        if directions is None or directions.ndim != 2 or directions.dtype != np.float32:
            raise ValueError("encoder: sentence_directions is no float32 matrix; the arrays are damaged")
        if type(limit) is not int or not len(MARKERS) < limit <= POSITIONS:
            raise ValueError(f"encoder: sentence_limit = {limit!r} must be a count of pieces from 3 to {POSITIONS}")
        missing = [marker for marker in MARKERS if marker not in index]
        if missing:
            raise ValueError(f"encoder: the marker {missing[0]!r} is not among its word pieces")
        return cls(Transformer(WordPiece.of(index), model, limit), directions)


def _session(model: bytes) -> Any:
    try:
        onnxruntime = import_module("onnxruntime")
    except ImportError as error:
        raise BundleError(
            "this bundle's encoder is a transformer, and onnxruntime is not installed: pip install 'beastmode[onnx]', "
            'or train with ladder.rungs = ["static"]'
        ) from error
    options = onnxruntime.SessionOptions()
    # One thread: a router shares its machine with an application, and spinning threads would fight over its cores.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    inputs = sorted(known.name for known in session.get_inputs())
    if inputs != ["attention_mask", "input_ids"] or len(session.get_outputs()) != 1:
        raise ValueError(f"{MODEL}: its inputs are {', '.join(inputs)}; expected attention_mask and input_ids")
    return session
