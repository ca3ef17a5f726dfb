"""A warmer as data: LightGBM text, the calibration of its scores and the tuned cache, in a folder that verifies."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.arrays import pack, unpack
from beastmode.cache import CacheSettings
from beastmode.cache.tuned import EVICTOR, LIMIT
from beastmode.errors import BundleError, StoreError
from beastmode.folder import read_folder, seal, write_folder
from beastmode.store import Store
from features.demand import Demand
from features.demand_tally import HALF_LIVES
from models.prefills import useful
from models.warmers import WARMERS
from models.warmers.following import Follower
from models.warmers.warmer import HEURISTICS, Warmer, chances
from pipelines.context import Context
from pipelines.warm_demand import Logged

Floats = NDArray[np.float64]

KIND = "warmer"
MODEL, CALIBRATION = "forest_warmer.txt", "calibration.npz"
PLAIN = ("name", "heuristic", "half_life", "slope", "offset", "weight", "candidates")
"""Fields of a warmer that the manifest holds; its trees and its calibration are files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmerBundle:
    """A warmer, where it comes from, and the settings of the cache that it was judged with. No key, no prompt."""

    name: str
    created: str
    warmer: Warmer
    window_seconds: float
    """Between two plans."""
    ttl_seconds: float
    """The time to live that its chances are of."""
    evaluation: Mapping[str, Any]
    training: Mapping[str, Any]
    cache: Mapping[str, Any] = field(default_factory=dict)
    """Tuned fields of `CacheSettings`; empty where nothing was tuned."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Tuned bytes of each tier, by its name."""
    tiers: Mapping[str, Any] = field(default_factory=dict)
    """Tuned `eviction` of the memory and `semantic_threshold`; empty where nothing was tuned."""
    evictor: str | None = None
    """LightGBM's text of the learned rule of eviction, where there is one; its `pace` is among `tiers`."""
    mlflow_run_id: str | None = None
    sha256: str | None = None

    def chances(self, logged: Logged, at: datetime, ttl_seconds: float) -> Floats:
        """Return P(asked for within the time to live from `at`) of every key, (k,).

        A time to live that is longer than the trained one has the trained one's chances, which are lower.
        """
        p = chances(self.warmer, demand_of(logged), at.timestamp(), self.window_seconds)
        return useful(p, np.full(len(p), ttl_seconds / self.ttl_seconds))

    def files(self) -> dict[str, bytes]:
        """Return all files of its folder."""
        warmer = self.warmer
        manifest = {
            "kind": KIND, "name": self.name, "created": self.created,
            "warmer": {name: getattr(warmer, name) for name in PLAIN}, "window_seconds": self.window_seconds,
            "follower": None if warmer.follower is None else asdict(warmer.follower),
            "ttl_seconds": self.ttl_seconds, "cache": dict(self.cache), "sizes": dict(self.sizes),
            "tiers": dict(self.tiers),
            "training": dict(self.training), "evaluation": dict(self.evaluation), "mlflow_run_id": self.mlflow_run_id,
        }  # fmt: skip
        arrays = {"levels": np.array(warmer.levels), "chances": np.array(warmer.chances)}
        files = {CALIBRATION: pack(arrays)}
        if warmer.model is not None:
            files[MODEL] = warmer.model.encode()
        if self.evictor is not None:
            files[EVICTOR] = self.evictor.encode()
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
            warmer = Warmer(
                **{name: manifest["warmer"][name] for name in PLAIN},
                levels=tuple(arrays["levels"].tolist()), chances=tuple(arrays["chances"].tolist()),
                model=files[MODEL].decode() if MODEL in files else None, follower=_follower(manifest.get("follower")),
            )  # fmt: skip
            _require(warmer)
            CacheSettings(**manifest["cache"])
            plain = ("name", "created", "window_seconds", "ttl_seconds", "cache", "sizes", "tiers", "training",
                     "evaluation", "mlflow_run_id")  # fmt: skip
            evictor = files[EVICTOR].decode() if EVICTOR in files else None
            return cls(warmer=warmer, evictor=evictor, sha256=digest, **{name: manifest[name] for name in plain})
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(
                f"{path}: it is no warmer of this version ({error}); run `python -m pipelines train-warmer`"
            ) from error


def _require(warmer: Warmer) -> None:
    levels, chance = np.array(warmer.levels), np.array(warmer.chances)
    if (
        warmer.name not in WARMERS
        or warmer.heuristic not in HEURISTICS
        or warmer.half_life not in range(len(HALF_LIVES))
    ):
        raise ValueError(f"an unknown warmer {warmer.name!r}, heuristic {warmer.heuristic!r} or half-life")
    if levels.ndim != 1 or levels.shape != chance.shape or not len(levels) or (np.diff(levels) < 0).any():
        raise ValueError("the calibration's levels do not rise, or have other shapes than its chances")
    if not np.isfinite(levels).all() or not ((chance >= 0) & (chance <= 1)).all():
        raise ValueError("the calibration's chances are no probabilities, or its levels are not finite")


def _follower(known: Mapping[str, Any] | None) -> Follower | None:
    """Return the follower of a manifest; None where it has none, as older ones. Raises ValueError for a wrong one."""
    if known is None:
        return None
    levels, worths, line = (np.array(known[name], dtype=np.float64) for name in ("levels", "worths", "line"))
    worth, rate = np.array(known["expected"], dtype=np.float64).reshape(-1, 2).T
    after, within = float(known["after"]), float(known["within"])
    if not 0 <= after < within < np.inf:
        raise ValueError(f"the follower's after = {after} and within = {within} are no span of time")
    if levels.ndim != 1 or levels.shape != worths.shape or not len(levels) or not (np.diff(levels) >= 0).all():
        raise ValueError("the follower's levels do not rise, or have other shapes than its worths")
    if line.shape != (4,) or not all(np.isfinite(each).all() for each in (levels, line, rate)):
        raise ValueError("the follower's numbers are not finite, or its line has not four of them")
    if not all(((each >= 0) & (each <= 1)).all() for each in (worths, worth)):
        raise ValueError("the follower's worths are no shares")
    if not ((np.diff(worth) <= 0).all() and (rate >= 0).all()):
        raise ValueError("the follow-ups that the follower expects do not fall in worth, or are fewer than none")
    return Follower(
        after=after, within=within, levels=tuple(levels.tolist()), worths=tuple(worths.tolist()),
        line=tuple(line.tolist()), expected=tuple(zip(worth.tolist(), rate.tolist(), strict=True)),
    )  # fmt: skip


def demand_of(logged: Logged) -> Demand:
    """Return logged demand as warmers take it; a miss whose price nobody knows counts as free."""
    return Demand(logged.key, logged.at, logged.tenant, np.nan_to_num(logged.miss_usd))


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
