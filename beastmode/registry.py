"""Fetch a registered bundle over MLflow's REST interface, and move its aliases, with the standard library alone."""

import logging
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from beastmode.bundle import LIMITS, Bundle
from beastmode.errors import BundleError, RegistryError
from beastmode.folder import (
    CHECKSUM,
    MANIFEST,
    MANIFEST_LIMIT,
    SIGNATURE,
    file_entries,
    parse_manifest,
    replace_file,
    sha256_of,
    write_folder,
)
from beastmode.rest import Tracking, Unreachable
from beastmode.signing import PublicKey

_LOG = logging.getLogger("beastmode")

TAG = "manifest_sha256"
"""The tag of a model version that vouches for its bundle."""

_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a registered model, and the hash that vouches for its bundle."""

    model: str
    version: str
    sha256: str


def fetch(uri: str, cache: str | Path | None = None, public_key: PublicKey | None = None) -> Bundle:
    """Return the bundle of `models:/NAME@ALIAS` or `models:/NAME/VERSION`, verified.

    What was fetched is kept under `cache` (default: `beastmode` in the user's cache folder) by its hash, and used again
    when the registry cannot be reached. Only the files that the manifest names are asked for, so no listing of the
    server's is trusted. With `public_key`, the bundle must be signed by the private half of it. Raises RegistryError
    or BundleError with the remedy.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise RegistryError(f"{uri!r}: write models:/NAME@ALIAS or models:/NAME/VERSION")
    folder = Path(cache) if cache is not None else default_cache()
    tracking = Tracking.from_environment()
    known = folder / f"{sha256_of(f'{tracking.uri} {uri}'.encode())}.sha256"
    try:
        version = resolve(tracking, match["name"], match["alias"], match["version"])
    except Unreachable as error:
        return _remembered(uri, folder, known, error, public_key)
    bundle = _cached(folder, version.sha256, public_key) or _download(tracking, version, folder, public_key)
    replace_file(known, version.sha256.encode())
    return bundle


def default_cache() -> Path:
    """Return the folder for fetched bundles: under XDG_CACHE_HOME, or under ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "beastmode"


def resolve(tracking: Tracking, name: str, alias: str | None, version: str | None = None) -> Version:
    """Return the version behind an alias or a number; raises RegistryError where it is missing or not vouched for."""
    if alias is not None:
        path, query = "registered-models/alias", {"name": name, "alias": alias}
    else:
        path, query = "model-versions/get", {"name": name, "version": version or ""}
    known = tracking.get_json(path, query).get("model_version")
    if not isinstance(known, dict):
        raise RegistryError(f"{tracking.uri}: no model version in the answer to {path}; is this an MLflow server?")
    tags = {tag.get("key"): tag.get("value") for tag in known.get("tags") or [] if isinstance(tag, dict)}
    digest = tags.get(TAG)
    number = str(known.get("version"))
    if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise RegistryError(
            f"{tracking.uri}: version {number} of {name!r} has no tag {TAG!r}, so nothing vouches for its bundle; "
            "register it with `python -m pipelines promote`"
        )
    return Version(name, number, digest)


def set_alias(model: str, alias: str, version: str) -> None:
    """Move an alias of a registered model; raises RegistryError where the server does not do it."""
    body = {"name": model, "alias": alias, "version": version}
    Tracking.from_environment().post_json("registered-models/alias", body)


def _download(tracking: Tracking, version: Version, folder: Path, public_key: PublicKey | None) -> Bundle:
    where = f"{tracking.uri}: version {version.version} of {version.model!r}"
    text = tracking.artifact(version.model, version.version, MANIFEST, MANIFEST_LIMIT)
    if sha256_of(text) != version.sha256:
        raise BundleError(f"{where}: its {MANIFEST} does not have the hash of its tag {TAG!r}; register it again")
    entries = file_entries(parse_manifest(text, where), where, max(LIMITS.values()))
    files = {MANIFEST: text, CHECKSUM: f"{version.sha256}  {MANIFEST}\n".encode()}
    for name, entry in entries.items():
        files[name] = tracking.artifact(version.model, version.version, name, entry["bytes"])
    if public_key is not None:
        files[SIGNATURE] = tracking.artifact(version.model, version.version, SIGNATURE, 1000)
    draft = folder / f".{version.sha256}.{secrets.token_hex(4)}"
    try:
        # The whole bundle proves itself before its folder gets the name under which it is found again.
        write_folder(draft, files)
        bundle = Bundle.read(draft, version.sha256, public_key)
        final = folder / version.sha256
        if _cached(folder, version.sha256, public_key) is None:
            shutil.rmtree(final, ignore_errors=True)
            try:
                draft.rename(final)
            except OSError:
                # Another process was quicker, and what it put there has proved itself too.
                if not final.is_dir():
                    raise
    except OSError as error:
        raise RegistryError(f"{folder}: {error}; pass a cache folder that this process may write") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return bundle


def _cached(folder: Path, sha256: str, public_key: PublicKey | None) -> Bundle | None:
    if not (folder / sha256).is_dir():
        return None
    try:
        return Bundle.read(folder / sha256, sha256, public_key)
    except BundleError as error:
        _LOG.warning("%s; fetching it again", error)
        return None


def _remembered(uri: str, folder: Path, known: Path, error: Unreachable, public_key: PublicKey | None) -> Bundle:
    """Return the bundle that this address led to last time; raises `error` where there is none."""
    try:
        bundle = _cached(folder, known.read_text(encoding="ascii"), public_key)
    except (OSError, ValueError):
        bundle = None
    if bundle is None:
        raise error
    _LOG.warning("%s; serving %s from the cache, as fetched before", error, uri)
    return bundle
