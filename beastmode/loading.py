"""Read a bundle from wherever an application says that it is."""

from pathlib import Path

from beastmode.bundle import Bundle
from beastmode.errors import BundleError, StoreError
from beastmode.folder import POINTER
from beastmode.signing import PublicKey


def load_bundle(
    source: str | Path,
    sha256: str | None = None,
    cache: str | Path | None = None,
    public_key: PublicKey | None = None,
) -> Bundle:
    """Read a bundle from a folder, from a store's pointer, or from a registry.

    Raises BundleError where `sha256` is given, and whatever the source leads to has another manifest.
    """
    bundle = _found(source, sha256, cache, public_key)
    if sha256 is not None and bundle.sha256 != sha256:
        raise BundleError(f"{source}: it leads to manifest {bundle.sha256}, not to {sha256}; correct one of them")
    return bundle


def _found(source: str | Path, sha256: str | None, cache: str | Path | None, public_key: PublicKey | None) -> Bundle:
    if str(source).startswith("models:/"):
        from beastmode.registry import fetch

        return fetch(str(source), cache, public_key)
    path = Path(source)
    if (path / POINTER).is_file():
        from beastmode.store import Store

        return Store(path).load_champion(public_key)
    if (path / "bundles").is_dir():
        raise StoreError(f"{path}: this store has no champion yet; promote a bundle first")
    bundle = Bundle.read(path, sha256, public_key)
    if not bundle.verified:
        import logging

        said = "%s: unverified manifest; pass sha256, or load from a store or a registry"
        logging.getLogger("beastmode").warning(said, path)
    return bundle
