"""Where bundles live, and the pointer file that alone says which of them serves."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from beastmode.bundle import Bundle
from beastmode.errors import BundleError, StoreError
from beastmode.folder import MANIFEST, read_manifest, replace_file, sha256_of

POINTER = "champion.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Registered:
    """A version of a registered model."""

    model: str
    version: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A bundle that can be rolled back to."""

    bundle: str
    manifest_sha256: str
    registry: Registered | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """The one truth about what serves; a registry's alias is its projection."""

    bundle: str
    """The name of its folder under `bundles/`."""
    manifest_sha256: str
    at: str
    """ISO 8601: when it was pointed to."""
    reason: str
    previous: Kept | None = None
    registry: Registered | None = None
    reconciled: bool = False
    """Whether the registry's alias is known to agree."""

    def to_json(self) -> str:
        """Return the pointer as the text of its file."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Pointer":
        """Return the pointer that `to_json` wrote; raises ValueError on anything else."""
        try:
            known = json.loads(text)
            kept = known.get("previous")
            previous = None if kept is None else Kept(**{**kept, "registry": _registered(kept.get("registry"))})
            pointer = cls(**{**known, "previous": previous, "registry": _registered(known.get("registry"))})
        except (TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ValueError(f"it is no pointer ({error})") from error
        _require(pointer.bundle, pointer.manifest_sha256)
        if previous is not None:
            _require(previous.bundle, previous.manifest_sha256)
        return pointer


def _require(bundle: Any, sha256: Any) -> None:
    if not isinstance(bundle, str) or not _NAME.fullmatch(bundle):
        raise ValueError(f"bundle {bundle!r} is no name of a folder")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError(f"manifest_sha256 {sha256!r} is no SHA-256")


def _registered(known: Mapping[str, Any] | None) -> Registered | None:
    return None if known is None else Registered(**known)


@dataclass(frozen=True, slots=True)
class Store:
    """A folder with `bundles/<name>/`, which are never rewritten, and the pointer, which is replaced in one step."""

    path: Path

    def __init__(self, path: str | Path) -> None:
        object.__setattr__(self, "path", Path(path))

    def folder(self, name: str) -> Path:
        """Return the folder of a bundle; raises StoreError on a name that could lead elsewhere."""
        if not _NAME.fullmatch(name):
            raise StoreError(f"bundle name {name!r}: use letters, digits, dot, dash and underscore, at most 100")
        return self.path / "bundles" / name

    def names(self) -> tuple[str, ...]:
        """Return the names of the bundles that are there, sorted."""
        folders = (self.path / "bundles").glob(f"*/{MANIFEST}")
        return tuple(sorted(folder.parent.name for folder in folders if _NAME.fullmatch(folder.parent.name)))

    def add(self, bundle: Bundle) -> Bundle:
        """Write a bundle under its name, and return it with its hash; adding the same bundle again changes nothing.

        Raises StoreError where another bundle has that name, BundleError where it cannot be written.
        """
        folder = self.folder(bundle.name)
        if not folder.exists():
            return bundle.write(folder)
        digest = sha256_of(bundle.files()[MANIFEST])
        if read_manifest(folder)[1] != digest:
            raise StoreError(f"{folder}: another bundle has this name; give the new one a name of its own")
        return replace(bundle, sha256=digest, verified=True)

    def read(self, name: str, sha256: str | None = None) -> Bundle:
        """Read a bundle of the store by name; raises BundleError where it does not verify."""
        return Bundle.read(self.folder(name), sha256)

    def champion(self) -> Pointer | None:
        """Return the pointer, or None where nothing was ever promoted; raises StoreError where it is damaged."""
        file = self.path / POINTER
        try:
            return Pointer.from_json(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            raise StoreError(f"{file}: {error}; restore it, or promote a bundle again") from error

    def load_champion(self) -> Bundle:
        """Read the bundle that serves, verified by the pointer's hash; raises StoreError where there is none."""
        pointer = self.champion()
        if pointer is None:
            raise StoreError(f"{self.path}: no champion yet; promote a bundle first")
        return self.read(pointer.bundle, pointer.manifest_sha256)

    def point(self, pointer: Pointer) -> Pointer:
        """Replace the pointer in one step, durably; raises StoreError where it names no bundle that is there."""
        with self._alone():
            return self._point(pointer)

    def promote(
        self, name: str, *, at: str, reason: str, registry: Registered | None = None, reconciled: bool = False
    ) -> Pointer:
        """Point to a bundle of the store, and keep the present champion as the one to roll back to.

        Promoting the champion again keeps its previous, so that a run repeated after a crash loses nothing.
        """
        with self._alone():
            now = self.champion()
            digest = self._digest(name)
            if now is not None and (now.bundle, now.manifest_sha256) == (name, digest):
                registry = registry or now.registry
                return self._point(replace(now, at=at, reason=reason, registry=registry, reconciled=reconciled))
            previous = None if now is None else Kept(now.bundle, now.manifest_sha256, now.registry)
            pointer = Pointer(
                bundle=name, manifest_sha256=digest, at=at, reason=reason,
                previous=previous, registry=registry, reconciled=reconciled,
            )  # fmt: skip
            return self._point(pointer)

    def rollback(self, at: str, reason: str) -> Pointer:
        """Point to the previous bundle, after reading it whole; a second rollback comes back.

        Raises StoreError where there is none, BundleError where it does not verify: what serves then stays.
        """
        with self._alone():
            now = self.champion()
            if now is None or now.previous is None:
                raise StoreError(f"{self.path}: there is no previous bundle to roll back to; promote another one")
            kept = now.previous
            self.read(kept.bundle, kept.manifest_sha256)
            pointer = Pointer(
                bundle=kept.bundle, manifest_sha256=kept.manifest_sha256, at=at, reason=reason,
                previous=Kept(now.bundle, now.manifest_sha256, now.registry), registry=kept.registry,
            )  # fmt: skip
            return self._point(pointer)

    def mark_reconciled(self, pointer: Pointer) -> bool:
        """Mark that the registry's alias agrees, unless the pointer has moved on; returns whether it was marked."""
        with self._alone():
            now = self.champion()
            if now is None or (now.bundle, now.manifest_sha256) != (pointer.bundle, pointer.manifest_sha256):
                return False
            self._point(replace(now, reconciled=True))
            return True

    def _digest(self, name: str) -> str:
        try:
            return read_manifest(self.folder(name))[1]
        except OSError as error:
            there = ", ".join(self.names()) or "none"
            raise StoreError(f"{self.path}: no bundle {name!r}; it has {there}") from error

    def _point(self, pointer: Pointer) -> Pointer:
        pointer = Pointer.from_json(pointer.to_json())
        if self._digest(pointer.bundle) != pointer.manifest_sha256:
            raise BundleError(f"{self.folder(pointer.bundle)}: it does not have the hash that the pointer names")
        replace_file(self.path / POINTER, pointer.to_json().encode())
        return pointer

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one writer at a time move the pointer; the system frees the lock when its holder dies."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("a") as lock:
            if os.name == "posix":
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
