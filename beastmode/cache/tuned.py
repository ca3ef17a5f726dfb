"""The cache's settings as a store's warmer bundle has them: chosen by replay, versioned, verified by the pointer."""

from collections.abc import Mapping
from pathlib import Path

from beastmode.cache.settings import CacheSettings
from beastmode.errors import BundleError, StoreError
from beastmode.folder import read_manifest
from beastmode.store import Store


def tuned(store: str | Path) -> tuple[CacheSettings, Mapping[str, int]]:
    """Return the settings, and the bytes of the tier that was chosen, by its name (`memory` or `sqlite`).

    `store` is the folder that the router is loaded from. Raises StoreError where no warmer is in service, BundleError
    where it does not verify.
    """
    warmers = Store(Path(store) / "warmers")
    pointer = warmers.champion()
    if pointer is None:
        raise StoreError(f"{warmers.path}: no warmer yet; run `python -m pipelines train-warmer`")
    folder = warmers.folder(pointer.bundle)
    manifest, _ = read_manifest(folder, pointer.manifest_sha256)
    try:
        sizes = {str(name): int(size) for name, size in manifest["sizes"].items()}
        return CacheSettings(**manifest["cache"]), sizes
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{folder}: its cache section cannot be read ({error}); train another warmer") from error
