"""Where bundles live, and the pointer file that alone says which of them serves."""

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from beastmode.arms import Dealing
from beastmode.bundle import Bundle
from beastmode.errors import BundleError, StaleError, StoreError
from beastmode.experiment import EXPERIMENT, Experiment, State, read_experiment
from beastmode.folder import MANIFEST, POINTER, read_manifest, replace_file, sha256_of
from beastmode.pointer import NAME, Baseline, Kept, Pointer, Registered
from beastmode.signing import PublicKey

__all__ = ["POINTER", "Baseline", "Kept", "Pointer", "Registered", "State", "Store"]

_STALE_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Store:
    """A folder with `bundles/<name>/`, which are never rewritten, and the pointer, which is replaced in one step."""

    path: Path

    def __init__(self, path: str | Path) -> None:
        object.__setattr__(self, "path", Path(path))

    def folder(self, name: str) -> Path:
        """Return the folder of a bundle; raises StoreError on a name that could lead elsewhere."""
        if not NAME.fullmatch(name):
            raise StoreError(f"bundle name {name!r}: use letters, digits, dot, dash and underscore, at most 100")
        return self.path / "bundles" / name

    def names(self) -> tuple[str, ...]:
        """Return the names of the bundles that are there, sorted."""
        folders = (self.path / "bundles").glob(f"*/{MANIFEST}")
        return tuple(sorted(folder.parent.name for folder in folders if NAME.fullmatch(folder.parent.name)))

    def add(self, bundle: Bundle) -> Bundle:
        """Write a bundle under its name, and return it with its hash; adding the same bundle again changes nothing.

        Raises StoreError where another bundle has that name, BundleError where it cannot be written.
        """
        folder = self.folder(bundle.name)
        if not folder.exists():
            try:
                return bundle.write(folder)
            except (BundleError, OSError):
                # Another process may have been quicker.
                if not folder.exists():
                    raise
        digest = sha256_of(bundle.files()[MANIFEST])
        if read_manifest(folder)[1] != digest:
            raise StoreError(f"{folder}: another bundle has this name; give the new one a name of its own")
        return replace(bundle, sha256=digest, verified=True)

    def read(self, name: str, sha256: str | None = None, public_key: PublicKey | None = None) -> Bundle:
        """Read a bundle of the store by name; raises BundleError where it does not verify."""
        return Bundle.read(self.folder(name), sha256, public_key)

    def champion(self) -> Pointer | None:
        """Return the pointer, or None where nothing was ever promoted; raises StoreError where it is damaged."""
        file = self.path / POINTER
        try:
            return Pointer.from_json(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            raise StoreError(f"{file}: {error}; restore it, or remove it and promote a bundle again") from error

    def load_champion(self, public_key: PublicKey | None = None) -> Bundle:
        """Read the bundle that serves, verified by the pointer's hash; raises StoreError where there is none."""
        pointer = self.champion()
        if pointer is None:
            raise StoreError(f"{self.path}: no champion yet; promote a bundle first")
        return self.read(pointer.bundle, pointer.manifest_sha256, public_key)

    def experiment(self) -> Experiment | None:
        """Return the experiment, or None where none runs; raises StoreError where its file is damaged."""
        known = read_experiment(self.path)
        return None if known is None or known.ended is not None else known

    def state(self) -> State:
        """Return what serves and what is tried, both of one moment, for a decision that is to be written on it."""
        with self._alone():
            return State(self.champion(), read_experiment(self.path))

    def try_out(self, name: str, dealing: Dealing, *, at: str, reason: str, seen: State | None = None) -> Experiment:
        """Start an experiment against the champion, or change the ramp of the one that runs; in one step.

        Raises StoreError where there is no champion, where the challenger is the champion, and where the same
        challenger runs under another salt or unit, which would deal its units anew; StaleError where the store no
        longer holds what was `seen`, so that what was stopped meanwhile stays so.
        """
        with self._alone():
            self._unmoved(seen)
            champion, before = self.champion(), self.experiment()
            digest = self._digest(name)
            if champion is None or champion.manifest_sha256 == digest:
                raise StoreError(f"{self.path}: {name!r} needs another bundle as champion; promote one first")
            start = at
            if before is not None and before.champion_sha256 == champion.manifest_sha256:
                if before.manifest_sha256 != digest:
                    raise StoreError(f"{self.path}: {before.challenger!r} is on trial; stop that experiment first")
                if (before.dealing.salt, before.dealing.unit) != (dealing.salt, dealing.unit):
                    raise StoreError(f"{self.path}: another salt or unit deals anew; stop the experiment first")
                start = before.start
            experiment = Experiment(
                challenger=name, manifest_sha256=digest, champion_sha256=champion.manifest_sha256,
                dealing=dealing, start=start, reason=reason,
            )  # fmt: skip
            replace_file(self.path / EXPERIMENT, experiment.to_json().encode())
            return experiment

    def stop_experiment(self, reason: str = "stopped by hand", *, challenger: str | None = None) -> bool:
        """End the experiment: every unit is the champion's again; returns whether there was one.

        With `challenger`, the manifest of one, no other's is ended. A file that is damaged is removed.
        """
        with self._alone():
            try:
                known = self.experiment()
            except StoreError:
                (self.path / EXPERIMENT).unlink(missing_ok=True)
                return True
            if known is None or challenger not in (None, known.manifest_sha256):
                return False
            self._end(known, reason)
            return True

    def prune(self, keep: int) -> tuple[str, ...]:
        """Delete all but the `keep` newest bundles, never champion, previous or challenger; returns the names gone.

        What processes that were killed left behind, a day ago or more, goes too.
        """
        if keep < 1:
            raise StoreError(f"prune: keep = {keep} must be at least 1")
        with self._alone():
            now, trial = self.champion(), self.experiment()
            used = {now.bundle} if now is not None else set()
            used |= {now.previous.bundle} if now is not None and now.previous is not None else set()
            used |= {trial.challenger} if trial is not None else set()
            age = {name: (self.folder(name) / MANIFEST).stat().st_mtime_ns for name in self.names()}
            newest = sorted(age, key=lambda name: (age[name], name), reverse=True)
            gone = tuple(name for name in newest[keep:] if name not in used)
            for name in gone:
                # Renamed first: a reader sees a whole bundle, or none.
                doomed = self.folder(name).with_name(f".{name}.{secrets.token_hex(4)}.draft")
                self.folder(name).rename(doomed)
                shutil.rmtree(doomed)
            for draft in (*self.path.glob(".*.draft"), *(self.path / "bundles").glob(".*.draft")):
                with suppress(FileNotFoundError):  # Its writer was done meanwhile.
                    if time.time() - draft.stat().st_mtime > _STALE_SECONDS:
                        shutil.rmtree(draft) if draft.is_dir() else draft.unlink()
            return gone

    def point(self, pointer: Pointer, *, seen: State | None = None) -> Pointer:
        """Replace the pointer in one step, durably; raises StoreError where it names no bundle that is there.

        Raises StaleError where the store no longer holds what was `seen`.
        """
        with self._alone():
            self._unmoved(seen)
            return self._point(pointer)

    def promote(
        self,
        name: str,
        *,
        at: str,
        reason: str,
        registry: Registered | None = None,
        reconciled: bool = False,
        baseline: Baseline | None = None,
        seen: State | None = None,
    ) -> Pointer:
        """Point to a bundle of the store, and keep the present champion as the one to roll back to.

        Promoting the champion again keeps its previous, so that a run repeated after a crash loses nothing. Raises
        StaleError where the store no longer holds what was `seen`.
        """
        with self._alone():
            self._unmoved(seen)
            now = self.champion()
            digest = self._digest(name)
            if now is not None and (now.bundle, now.manifest_sha256) == (name, digest):
                registry = registry or now.registry
                baseline = baseline or now.baseline
                return self._point(
                    replace(now, at=at, reason=reason, registry=registry, reconciled=reconciled, baseline=baseline)
                )
            previous = None if now is None else Kept(now.bundle, now.manifest_sha256, now.registry, now.baseline)
            pointer = Pointer(
                bundle=name, manifest_sha256=digest, at=at, reason=reason,
                previous=previous, registry=registry, reconciled=reconciled, baseline=baseline,
            )  # fmt: skip
            return self._point(pointer)

    def rollback(
        self, at: str, reason: str, *, breach_of: str | None = None, verify: Callable[[Path, str], object] = Bundle.read
    ) -> Pointer:
        """Point to the previous bundle, after `verify` has read it whole; a second rollback by hand comes back.

        `verify` takes the folder and the manifest's hash, and raises BundleError: a store of others than routers names
        its own.

        A guard passes the manifest that it found in breach as `breach_of`: that bundle is marked, so that no guard
        returns to it, and nothing happens where another serves by now.

        Raises StoreError where there is none, BundleError where it does not verify: what serves then stays.
        """
        with self._alone():
            now = self.champion()
            if now is None or now.previous is None:
                raise StoreError(
                    f"{self.path}: there is no previous bundle to roll back to; train and promote another one"
                )
            kept = now.previous
            if breach_of is not None and breach_of != now.manifest_sha256:
                raise StoreError(f"{self.path}: {now.bundle!r} serves by now, not what was in breach; look again")
            if breach_of is not None and kept.breach is not None:
                raise StoreError(
                    f"{self.path}: {kept.bundle!r} was rolled back itself ({kept.breach}); promote another by hand"
                )
            verify(self.folder(kept.bundle), kept.manifest_sha256)
            pointer = Pointer(
                bundle=kept.bundle, manifest_sha256=kept.manifest_sha256, at=at, reason=reason,
                previous=Kept(
                    now.bundle, now.manifest_sha256, now.registry, now.baseline, None if breach_of is None else reason
                ),
                registry=kept.registry, baseline=kept.baseline,
            )  # fmt: skip
            return self._point(pointer)

    def mark_reconciled(self, pointer: Pointer, registry: Registered | None = None) -> bool:
        """Mark that the registry's alias agrees, unless the pointer has moved on; returns whether it was marked."""
        with self._alone():
            now = self.champion()
            if now is None or (now.bundle, now.manifest_sha256) != (pointer.bundle, pointer.manifest_sha256):
                return False
            marked = replace(now, registry=registry or now.registry, reconciled=True)
            if marked != now:
                self._point(marked)
            return True

    def _unmoved(self, seen: State | None) -> None:
        if seen is not None and not seen.same(State(self.champion(), read_experiment(self.path))):
            raise StaleError(f"{self.path}: the pointer or the experiment has changed since it was judged; look again")

    def _end(self, experiment: Experiment, reason: str) -> None:
        replace_file(self.path / EXPERIMENT, replace(experiment, ended=reason).to_json().encode())

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
        # One against an earlier champion is over, and must not come to life when that one serves again; the one
        # against the present champion ends with it, and after it, so that a crash in between takes nobody off trial.
        with suppress(StoreError):  # A damaged pointer names no champion, and this one takes its place.
            self._end_others(self.champion())
        replace_file(self.path / POINTER, pointer.to_json().encode())
        self._end_others(pointer)
        return pointer

    def _end_others(self, champion: Pointer | None) -> None:
        """End an experiment against another than a champion; a damaged file is none."""
        with suppress(StoreError):
            known = self.experiment()
            if known is not None and champion is not None and known.champion_sha256 != champion.manifest_sha256:
                self._end(known, f"{champion.bundle} serves in the champion's place")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one writer at a time move the pointer; the system frees the lock when its holder dies."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("a") as lock:
            if os.name == "posix":
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                if os.name == "posix":
                    fcntl.flock(lock, fcntl.LOCK_UN)  # A child forked meanwhile holds the file open, and so the lock.
