"""A warmer as data: LightGBM text, the calibration of its scores and the tuned cache, in a folder that verifies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.arrays import pack, unpack
from beastmode.cache import CacheSettings
from beastmode.errors import BundleError, StoreError
from beastmode.folder import read_folder, seal, write_folder
from beastmode.store import Store
from models.returning import HEURISTICS, Requests, Warmer
from pipelines.context import Context
from pipelines.warm_demand import Logged

Floats = NDArray[np.float64]

LIMIT = 10_000_000
"""The most bytes that its files may take."""
KIND = "warmer"
MODEL, CALIBRATION = "forest_warmer.txt", "calibration.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmerBundle:
    """A warmer, where it comes from, and the settings of the cache that it was judged with. No key, no prompt."""

    name: str
    created: str
    warmer: Warmer
    evaluation: Mapping[str, Any]
    training: Mapping[str, Any]
    cache: Mapping[str, Any] = field(default_factory=dict)
    """Tuned fields of `CacheSettings`; empty where nothing was tuned."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Tuned bytes of each tier, by its name."""
    mlflow_run_id: str | None = None
    sha256: str | None = None

    def chances(self, logged: Logged, at: datetime) -> Floats:
        """Return P(asked for in the window from `at`) of every key, (k,)."""
        now = at.timestamp()
        return self.warmer.chance(requests_of(logged).until(now), now)

    def files(self) -> dict[str, bytes]:
        """Return all files of its folder."""
        warmer = self.warmer
        manifest = {
            "kind": KIND, "name": self.name, "created": self.created, "warmer": warmer.name,
            "window_seconds": warmer.window, "cache": dict(self.cache), "sizes": dict(self.sizes),
            "training": dict(self.training), "evaluation": dict(self.evaluation), "mlflow_run_id": self.mlflow_run_id,
        }  # fmt: skip
        files = {CALIBRATION: pack({"levels": warmer.levels, "chances": warmer.chances})}
        if warmer.model is not None:
            files[MODEL] = warmer.model.encode()
        return seal(manifest, files)

    def write(self, path: Path) -> None:
        """Write the folder, whole or not at all; raises BundleError where it exists."""
        write_folder(path, self.files())

    @classmethod
    def read(cls, path: Path, sha256: str | None = None) -> "WarmerBundle":
        """Read a folder; raises BundleError where a byte is off, or where it is no warmer."""
        manifest, files, digest = read_folder(path, sha256, LIMIT)
        if manifest.get("kind") != KIND:
            raise BundleError(f"{path}: it is no warmer but a bundle of another kind; name a folder of the warmers")
        try:
            arrays = unpack(files[CALIBRATION], 4 * LIMIT)
            levels, chances = arrays["levels"], arrays["chances"]
            model = files[MODEL].decode() if MODEL in files else None
            warmer = Warmer(str(manifest["warmer"]), float(manifest["window_seconds"]), levels, chances, model)
            _require(warmer)
            CacheSettings(**manifest["cache"])
            known = {name: manifest[name] for name in ("name", "created", "cache", "sizes", "training", "evaluation")}
            return cls(warmer=warmer, mlflow_run_id=manifest["mlflow_run_id"], sha256=digest, **known)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{path}: {error}; fetch the warmer again, or train another") from error


def _require(warmer: Warmer) -> None:
    levels, chances = warmer.levels, warmer.chances
    if levels.ndim != 1 or levels.shape != chances.shape or not len(levels) or (np.diff(levels) < 0).any():
        raise ValueError("the calibration's levels do not rise, or have other shapes than its chances")
    if not np.isfinite(levels).all() or not ((chances >= 0) & (chances <= 1)).all():
        raise ValueError("the calibration's chances are no probabilities")
    if (warmer.model is None) != (warmer.name in HEURISTICS):
        raise ValueError(f"a warmer {warmer.name!r} {'lacks' if warmer.model is None else 'has no use for'} its model")


def requests_of(logged: Logged) -> Requests:
    """Return logged demand as warmers take it."""
    return Requests(logged.key, logged.at, logged.tenant)


def warmers(context: Context) -> Store:
    """Return where warmers and the pointer to the one in service live: beside the routers, under names of their own."""
    return Store(context.store.path / "warmers")


def load_warmer(context: Context) -> WarmerBundle:
    """Return the warmer in service, verified by the pointer's hash; raises StoreError where there is none."""
    store = warmers(context)
    pointer = store.champion()
    if pointer is None:
        raise StoreError(f"{store.path}: no warmer yet; run `python -m pipelines train-warmer`")
    return WarmerBundle.read(store.folder(pointer.bundle), pointer.manifest_sha256)
