"""What the flows chose for the cache, versioned and verified by a pointer: its settings, and the verifier."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from beastmode.cache.learned import LearnedVerifier
from beastmode.cache.memory import Memory
from beastmode.cache.remote import Redis
from beastmode.cache.semantic import Semantic, TextEncoder
from beastmode.cache.settings import CacheSettings
from beastmode.cache.sqlite import Sqlite
from beastmode.errors import BundleError, CacheError, StoreError
from beastmode.eviction import DEFAULT, RULES, Adaptive, taught
from beastmode.folder import read_folder
from beastmode.store import Store

VERIFIERS = "verifiers"
"""The folder of a store where verifiers and the pointer to the one in service live, under names of their own."""

EVICTOR, LIMIT = "forest_evictor.txt", 10_000_000
"""The file of a warmer's bundle with the learned rule of eviction, and the most bytes that its files may take."""
MEMORY, DISK = 64 << 20, 1 << 30
"""Bytes of a tier whose size was not tuned."""


def verifier(store: str | Path) -> LearnedVerifier:
    """Return the verifier in service; `store` is the folder that the router is loaded from.

    Raises StoreError where none is in service, BundleError where it does not verify, or is of another version.
    """
    verifiers = Store(Path(store) / VERIFIERS)
    pointer = verifiers.champion()
    if pointer is None:
        raise StoreError(f"{verifiers.path}: no verifier yet; run `python -m pipelines train-verifier`")
    return LearnedVerifier.load(verifiers.folder(pointer.bundle), pointer.manifest_sha256)


class Tuned(NamedTuple):
    """How the flows would set the cache up."""

    settings: CacheSettings
    sizes: Mapping[str, int]
    """Bytes of the tier that was chosen, by its name (`memory` or `sqlite`)."""
    eviction: str
    """The rule of the memory tier, by its name in `beastmode.eviction.RULES`."""
    semantic_threshold: float | None
    """The least score from which another question's answer is served; None where the verifier's own holds."""
    taught: Callable[[], Adaptive[Any]] | None = None
    """Makes the rule of the memory tier where one was learned."""


def tuned(store: str | Path) -> Tuned:
    """Return how the cache was tuned; `store` is the folder that the router is loaded from.

    Raises StoreError where no warmer is in service, BundleError where it does not verify, or names what this version
    does not know.
    """
    warmers = Store(Path(store) / "warmers")
    pointer = warmers.champion()
    if pointer is None:
        raise StoreError(f"{warmers.path}: no warmer yet; run `python -m pipelines train-warmer`")
    folder = warmers.folder(pointer.bundle)
    manifest, files, _ = read_folder(folder, pointer.manifest_sha256, LIMIT)
    try:
        sizes = {str(name): int(size) for name, size in manifest["sizes"].items()}
        more = {"eviction": DEFAULT, "semantic_threshold": None, **manifest["tiers"]}
        if more["eviction"] not in RULES:
            raise ValueError(f"eviction {more['eviction']!r} is none of {', '.join(RULES)}")
        threshold = more["semantic_threshold"]
        rule = taught(files[EVICTOR].decode(), float(more["pace"])) if EVICTOR in files else None
        settings, least = CacheSettings(**manifest["cache"]), None if threshold is None else float(threshold)
        return Tuned(settings, sizes, more["eviction"], least, rule)
    except (KeyError, TypeError, ValueError, AttributeError, CacheError) as error:
        raise BundleError(f"{folder}: its cache section cannot be read ({error}); train another warmer") from error


def opened(
    known: Tuned, store: str | Path, where: str | Path | None, encoder: TextEncoder | None
) -> list[Memory | Sqlite | Redis | Semantic]:
    """Return the tiers as they were tuned: the memory, what processes share at `where`, and where one serves, meaning.

    `where` is a file, or a `redis://` URL. Answers to other questions are served where `encoder` is given and a
    verifier is in service, from the tuned score on, never under the verifier's own.
    """
    made: list[Memory | Sqlite | Redis | Semantic] = [
        Memory(known.sizes.get("memory", MEMORY), known.taught or known.eviction)
    ]
    if where is not None:
        remote = str(where).startswith(("redis://", "rediss://"))
        made.append(Redis(str(where)) if remote else Sqlite(where, known.sizes.get("sqlite", DISK)))
    if encoder is not None and Store(Path(store) / VERIFIERS).champion() is not None:
        judge = verifier(store)
        made.append(Semantic(encoder, replace(judge, threshold=max(judge.threshold, known.semantic_threshold or 0.0))))
    return made
