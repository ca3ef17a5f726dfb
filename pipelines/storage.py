"""A folder that files appear in whole or not at all, on local disk or in any store that fsspec speaks to."""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem

LEASE_SECONDS = 120.0
"""A lease that its holder did not renew for so long is that of a dead process."""


class BusyError(RuntimeError):
    """Another process writes, and did not finish in the time given."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Files below one root; names are relative to it, with forward slashes."""

    fs: Any
    """An fsspec file system."""
    root: str

    @classmethod
    def of(cls, url: str | Path) -> "Storage":
        """Return the storage below a path or a URL such as s3://bucket/lake; raises ValueError for another scheme."""
        try:
            fs, root = fsspec.core.url_to_fs(str(url))
        except (ValueError, ImportError) as error:
            raise ValueError(f"{url}: {error}; install the fsspec package of that scheme, or name a folder") from error
        return cls(fs, root.rstrip("/"))

    @property
    def local(self) -> bool:
        """Whether it lies on a disk of this machine."""
        return isinstance(self.fs, LocalFileSystem)

    @property
    def url(self) -> str:
        """The root as a URL."""
        return str(self.fs.unstrip_protocol(self.root))

    def path(self, name: str) -> str:
        """Return a name as the file system spells it."""
        return f"{self.root}/{name}"

    def names(self, folder: str) -> tuple[str, ...]:
        """Return what lies directly in a folder, sorted; nothing where there is none."""
        try:
            # Another writer's files may be there since the last look.
            self.fs.invalidate_cache(self.path(folder))
            listed = self.fs.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return ()
        return tuple(sorted(str(path).rstrip("/").rpartition("/")[2] for path in listed))

    def open(self, name: str) -> BinaryIO:
        """Open a file to be read; it can be searched in."""
        stream: BinaryIO = self.fs.open(self.path(name), "rb")
        return stream

    def get(self, name: str) -> bytes | None:
        """Return a file's content, or None where there is none."""
        try:
            return bytes(self.fs.cat_file(self.path(name)))
        except FileNotFoundError:
            return None

    def put(self, name: str, content: bytes | memoryview) -> None:
        """Write a file whole, whatever happens, in the place of one of that name."""
        if not self.local:
            # An object appears when its upload is complete.
            self.fs.pipe_file(self.path(name), bytes(content))
            return
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(self.root) / ".staging" / uuid4().hex
        staged.parent.mkdir(parents=True, exist_ok=True)
        with staged.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(staged, target)
        # The rename is only durable once the folder is.
        handle = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def remove(self, folder: str) -> None:
        """Remove a folder with all that it holds; what is not there is no error."""
        if self.local:
            shutil.rmtree(self.path(folder), ignore_errors=True)
        else:
            with contextlib.suppress(FileNotFoundError):
                self.fs.rm(self.path(folder), recursive=True)

    @contextlib.contextmanager
    def writing(self, wait_seconds: float) -> Iterator[None]:
        """Be the only writer; raises BusyError after `wait_seconds`. What a killed writer left half done is removed.

        On a disk the kernel releases the lock when its process ends, however it ends. Elsewhere a lease is held that
        expires when it is no longer renewed.
        """
        with self._locked(wait_seconds) if self.local else self._leased(wait_seconds):
            self.remove(".staging")
            yield
            self.remove(".staging")

    @contextlib.contextmanager
    def _locked(self, wait_seconds: float) -> Iterator[None]:
        Path(self.root).mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
        until = time.monotonic() + wait_seconds
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    holder = f"process {os.pread(handle, 32, 0).decode() or 'unknown'}"
                    self._wait(until, holder, wait_seconds)
            os.truncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _leased(self, wait_seconds: float) -> Iterator[None]:
        token, until = uuid4().hex, time.monotonic() + wait_seconds
        seen: tuple[bytes | None, float] = (None, time.monotonic())
        while True:
            held = self.get(".lease")
            if held != seen[0]:
                seen = (held, time.monotonic())
            if held is not None and time.monotonic() - seen[1] > LEASE_SECONDS:
                # Its holder is dead: it would have renewed the lease by now.
                with contextlib.suppress(FileNotFoundError):
                    self.fs.rm_file(self.path(".lease"))
                held = None
            if held is None and self._take(token):
                break
            self._wait(until, f"the holder of lease {held!r}", wait_seconds)
        ended = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(token, ended), daemon=True)
        renewal.start()
        try:
            yield
        finally:
            ended.set()
            renewal.join()
            with contextlib.suppress(OSError):
                if self._holds(token):
                    self.fs.rm_file(self.path(".lease"))

    def _take(self, token: str) -> bool:
        """Take the lease if nobody holds it; of two that took an expired one, whose is read back holds it."""
        try:
            self.fs.pipe_file(self.path(".lease"), self._lease(token), mode="create")
        except OSError:
            if self.get(".lease") is None:
                raise
            return False
        return self._holds(token)

    def _holds(self, token: str) -> bool:
        held = self.get(".lease")
        return held is not None and token.encode() in held

    def _renew(self, token: str, ended: threading.Event) -> None:
        while not ended.wait(LEASE_SECONDS / 6):
            # A store that does not answer now may do so the next time, before the lease expires.
            with contextlib.suppress(OSError):
                if self._holds(token):
                    self.fs.pipe_file(self.path(".lease"), self._lease(token))

    @staticmethod
    def _lease(token: str) -> bytes:
        known = {"token": token, "host": socket.gethostname(), "pid": os.getpid(), "renewed": time.time()}
        return json.dumps(known).encode()

    def _wait(self, until: float, holder: str, wait_seconds: float) -> None:
        if time.monotonic() >= until:
            raise BusyError(
                f"{self.root}: {holder} still writes after {wait_seconds:g} s; wait for it to end, or give a longer "
                "wait_seconds"
            )
        time.sleep(0.05)
