"""A learned verifier: a forest over the features of a pair, read from a folder whose every byte is vouched for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from beastmode import arrays
from beastmode.cache.pairs import NAMES, features
from beastmode.cache.reading import Rarity, Reading, read
from beastmode.errors import BundleError
from beastmode.folder import read_folder, seal, write_folder
from beastmode.forest import Forest

KIND = "verifier"
LIMIT = 10_000_000
"""Bytes that a verifier may have."""
FOREST, RARITY = "forest_verifier.txt", "rarity.npz"
_KNOWN = ("threshold", "slope", "offset")


@dataclass(frozen=True, slots=True, eq=False)
class LearnedVerifier:
    """Scores a pair by P(the same answer serves both), as the stream that it was trained on has it."""

    text: str
    """LightGBM's text model, of which `forest` is made."""
    forest: Forest
    rarity: Rarity
    threshold: float
    """The least score that is accepted; infinite where no threshold kept the budget, and nothing is served."""
    slope: float = 1.0
    offset: float = 0.0
    """Of the logistic curve from the forest's raw score to the probability."""
    told: Mapping[str, Any] | None = None
    """What the training has to say: budget, bound, measured shares."""

    @classmethod
    def of(cls, text: str, rarity: NDArray[np.float32], threshold: float, **known: Any) -> Self:
        """Make it of LightGBM's text and a table of rarities; raises ValueError where they are not of this version."""
        forest = Forest.parse(text)
        if (forest.columns, forest.outputs) != (len(NAMES), 1):
            raise ValueError(
                f"verifier: a forest of {forest.columns} columns and {forest.outputs} outputs, expected {len(NAMES)} "
                "and 1; train it again"
            )
        return cls(text, forest, Rarity.of(rarity), threshold, **known)

    def accepts(self, question: str, stored_question: str, cosine: float) -> float:
        """Return P(the answer to the stored question is right for the question), one pair at a time."""
        return float(self.scores(((question, stored_question, cosine),))[0])

    def scores(self, pairs: Sequence[tuple[str, str, float]]) -> NDArray[np.float64]:
        """Return the probabilities of pairs (question, stored question, cosine), (pairs,).

        Zero where words do not say it all: where a question is longer than what is read of it, for two prompts that
        begin alike may end in two questions, and where the signs differ (`12 + 4`, `12 - 4`; 1.5, 15).
        """
        rows = np.array([features(*pair, self.rarity) for pair in pairs]).reshape(-1, len(NAMES))
        told = np.array([self._probability(raw) for raw in self.forest.predict(rows)[:, 0].tolist()])
        return np.where([_said(read(one), read(two)) for one, two, _ in pairs], told, 0.0)

    def _probability(self, raw: float) -> float:
        return 1 / (1 + math.exp(-min(max(self.slope * raw + self.offset, -700.0), 700.0)))

    def write(self, path: Path | str) -> str:
        """Write a folder in one step and return the hash of its manifest; raises BundleError where it exists."""
        curve = {"slope": self.slope, "offset": self.offset}
        # JSON knows no infinity: null says that nothing is served.
        threshold = self.threshold if math.isfinite(self.threshold) else None
        known = {"kind": KIND, "features": list(NAMES), "threshold": threshold, **curve, "told": dict(self.told or {})}
        data = {FOREST: self.text.encode(), RARITY: arrays.pack({"rarity": self.rarity.table})}
        write_folder(Path(path), seal(known, data))
        return read_folder(Path(path), None, LIMIT)[2]

    @classmethod
    def load(cls, path: Path | str, sha256: str | None = None) -> Self:
        """Read what `write` wrote; raises BundleError where a byte is off, or it is the work of another version."""
        manifest, files, _ = read_folder(Path(path), sha256, LIMIT)
        if manifest.get("kind") != KIND or set(files) != {FOREST, RARITY}:
            raise BundleError(f"{path}: this is no verifier; name the folder that LearnedVerifier.write wrote")
        if manifest.get("features") != list(NAMES):
            raise BundleError(f"{path}: its features are not those of this version; train the verifier again")
        numbers = {name: _number(manifest, name, path) for name in _KNOWN}
        told = manifest.get("told")
        try:
            table = arrays.unpack(files[RARITY], LIMIT)["rarity"]
            return cls.of(files[FOREST].decode(), table, told=told if isinstance(told, dict) else {}, **numbers)
        except (ValueError, KeyError) as error:
            raise BundleError(f"{path}: {error}") from error


def _said(one: Reading, two: Reading) -> bool:
    """Return whether the features of two questions speak of all that they say."""
    return not one.cut and not two.cut and one.signs == two.signs


def _number(manifest: Mapping[str, Any], name: str, path: Path | str) -> float:
    value = manifest.get(name)
    if value is None and name == "threshold" and name in manifest:
        return math.inf
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise BundleError(f"{path}: {name} = {value!r} is no number; train the verifier again")
    return float(value)
