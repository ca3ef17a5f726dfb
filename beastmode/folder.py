"""A folder whose every byte is vouched for: written whole or not at all, read only when all hashes agree."""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from beastmode.errors import BundleError

MANIFEST = "manifest.json"
POINTER = "champion.json"
"""In a store: which of its bundles serves."""
CHECKSUM = "manifest.sha256"
"""Finds damage to the manifest in a folder that travels without a known hash, in the format of sha256sum. It is no
proof against an attacker, who would rewrite it: only a hash from the pointer or the registry is."""
SIGNATURE = "manifest.sig"
"""An Ed25519 signature over the manifest, in hex (`beastmode.signing`); it may be missing."""
FORMAT = "beastmode-bundle"
FORMAT_VERSION = 2
MANIFEST_LIMIT = 2_000_000
FILES_LIMIT = 256

Vouch = Callable[[bytes, bytes | None], None]
"""Raises BundleError unless a signature, None where there is none, is that of a manifest."""

_FILE = re.compile(r"[a-z][a-z0-9_]{0,60}\.(npz|txt|onnx)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def sha256_of(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def seal(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return all files of a folder, the manifest with their hashes and the manifest's own checksum among them."""
    for name in files:
        if not _FILE.fullmatch(name):
            raise BundleError(
                f"file name {name!r}: expected lower-case letters, digits and _, then .npz, .txt or .onnx"
            )
    known = {name: {"sha256": sha256_of(data), "bytes": len(data)} for name, data in sorted(files.items())}
    whole = {"format": FORMAT, "format_version": FORMAT_VERSION, **manifest, "files": known}
    text = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    return {**files, MANIFEST: text, CHECKSUM: f"{sha256_of(text)}  {MANIFEST}\n".encode()}


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder in one step: another process sees all of it, or nothing; a crash leaves nothing that counts."""
    if path.exists():
        raise BundleError(f"{path}: it exists already; bundles are never rewritten, choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}.draft")
    draft.mkdir()
    try:
        for name, data in files.items():
            with (draft / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        sync(draft)
        draft.rename(path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync(path.parent)


def replace_file(path: Path, data: bytes, drafts: Path | None = None) -> None:
    """Replace a file in one step, durably: a reader sees the old bytes or the new ones, also after a crash.

    The draft lies beside the file, or in `drafts` where the file's own folder may hold nothing else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = (drafts or path.parent) / f".{path.name}.{os.urandom(4).hex()}.draft"
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Make a folder's entries durable, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_folder(
    path: Path, sha256: str | None, limit: int, vouch: Vouch | None = None
) -> tuple[dict[str, Any], dict[str, bytes], str]:
    """Return the manifest, the files it names, and the manifest's hash; raises BundleError where one byte is off.

    Each file is read once, and what was hashed is what is used. `limit` caps the bytes of all files.
    """
    found = _listing(path)
    manifest, digest = read_manifest(path, sha256, vouch)
    entries = file_entries(manifest, str(path), limit)
    for name in sorted(found - set(entries) - {MANIFEST, CHECKSUM, SIGNATURE}):
        raise BundleError(f"{path}: {name!r} is not in the manifest; remove it, or fetch the bundle again")
    files = {}
    for name, entry in entries.items():
        if name not in found:
            raise BundleError(f"{path}: {name} is missing; fetch the bundle again")
        data = read_bytes(path / name, entry["bytes"])
        if len(data) != entry["bytes"] or sha256_of(data) != entry["sha256"]:
            raise BundleError(f"{path}: {name} does not match its hash in the manifest; fetch the bundle again")
        files[name] = data
    return manifest, files, digest


def _listing(path: Path) -> set[str]:
    if not path.is_dir():
        raise BundleError(f"{path}: there is no such folder; name the folder that holds {MANIFEST}")
    found = set()
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_symlink() or not entry.is_file():
                raise BundleError(f"{path}: {entry.name!r} is not a plain file; a bundle holds nothing else")
            found.add(entry.name)
            if len(found) > FILES_LIMIT:
                raise BundleError(f"{path}: it holds more than {FILES_LIMIT} files; this is no bundle")
    if MANIFEST not in found:
        raise BundleError(f"{path}: {MANIFEST} is missing; name the folder that holds it")
    return found


def read_manifest(path: Path, sha256: str | None = None, vouch: Vouch | None = None) -> tuple[dict[str, Any], str]:
    """Return the manifest of a folder and its hash; raises BundleError where it is damaged or not the expected one."""
    data = read_bytes(path / MANIFEST, MANIFEST_LIMIT)
    if vouch is not None:
        # Before anything is parsed: what nobody signed reaches no parser.
        file = path / SIGNATURE
        vouch(data, read_bytes(file, 1000) if file.exists() else None)
    digest = sha256_of(data)
    if sha256 is not None and digest != sha256:
        raise BundleError(
            f"{path}: {MANIFEST} has the hash {digest[:12]}…, expected {sha256[:12]}…; "
            "fetch the bundle again, or correct the pointer"
        )
    try:
        checksum = read_bytes(path / CHECKSUM, 200)
    except FileNotFoundError:
        checksum = b""
    if checksum != f"{digest}  {MANIFEST}\n".encode():
        raise BundleError(
            f"{path}: {MANIFEST} does not match {CHECKSUM}; one of them is damaged, fetch the bundle again"
        )
    return parse_manifest(data, str(path)), digest


def parse_manifest(data: bytes, where: str) -> dict[str, Any]:
    """Return a manifest's mapping; raises BundleError when it is no JSON, or of another format or version."""
    try:
        manifest = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where}: {MANIFEST} is no JSON ({error}); fetch the bundle again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(f"{where}: {MANIFEST} is not that of a {FORMAT}; name a bundle's folder")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise BundleError(
            f"{where}: format version {manifest.get('format_version')!r}, and this code reads {FORMAT_VERSION}; "
            "install the beastmode that wrote it, or train again"
        )
    return manifest


def file_entries(manifest: Mapping[str, Any], where: str, limit: int) -> dict[str, dict[str, Any]]:
    """Return the manifest's file names with hash and size; raises BundleError on odd names and too many bytes."""
    entries = manifest.get("files")
    if not isinstance(entries, dict) or len(entries) > FILES_LIMIT:
        raise BundleError(f"{where}: {MANIFEST} lists no files, or too many; fetch the bundle again")
    total = 0
    for name, entry in entries.items():
        if not _FILE.fullmatch(name):
            raise BundleError(f"{where}: the manifest lists {name!r}, which is no file that a bundle may hold")
        size, digest = (entry.get("bytes"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
        if type(size) is not int or size < 0 or not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise BundleError(f"{where}: the manifest's entry for {name} has no proper bytes and sha256")
        total += size
    if total > limit:
        raise BundleError(f"{where}: its files take {total:,} bytes, over the cap of {limit:,}; train a smaller one")
    return entries


def read_bytes(path: Path, limit: int) -> bytes:
    """Return the bytes of a file; raises BundleError where it holds more than `limit`."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise BundleError(f"{path}: more than the {limit:,} bytes that it may have; fetch the bundle again")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    known = dict(pairs)
    if len(known) != len(pairs):
        raise ValueError("a key occurs twice")
    return known


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number")
    return value
