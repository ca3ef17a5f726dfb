"""Say who made a bundle: an Ed25519 signature (RFC 8032) over its manifest, which vouches for every other file."""

from pathlib import Path
from typing import Any

from beastmode.errors import BundleError
from beastmode.folder import MANIFEST, MANIFEST_LIMIT, SIGNATURE, read_bytes, replace_file

PublicKey = str | Path | bytes
"""A PEM file, or its bytes."""
CONTEXT = b"beastmode bundle manifest, version 1\n"
"""Stands before what is signed, so that a signature made for anything else is none of a bundle."""
_PEM_LIMIT = 10_000


def keygen(private: str | Path, public: str | Path) -> None:
    """Write a new pair of keys as PEM files, the private one readable by its owner alone.

    Raises BundleError where one of the files exists.
    """
    from_key, serial = _library()
    key = from_key.Ed25519PrivateKey.generate()
    secret = key.private_bytes(serial.Encoding.PEM, serial.PrivateFormat.PKCS8, serial.NoEncryption())
    known = key.public_key().public_bytes(serial.Encoding.PEM, serial.PublicFormat.SubjectPublicKeyInfo)
    for path, data, mode in ((Path(private), secret, 0o600), (Path(public), known, 0o644)):
        try:
            path.touch(mode, exist_ok=False)
            path.write_bytes(data)
        except OSError as error:
            raise BundleError(f"{path}: {error}; keys are never overwritten, choose another name") from error


def sign(folder: str | Path, private: str | Path) -> Path:
    """Add the signature of a private key (a PEM file) to a bundle's folder, and return its file.

    The caller vouches for what is there: read the bundle first. Raises BundleError without the extra `signing`, and
    on a key that is none.
    """
    from_key, serial = _library()
    try:
        data = read_bytes(Path(folder) / MANIFEST, MANIFEST_LIMIT)
        key = serial.load_pem_private_key(read_bytes(Path(private), _PEM_LIMIT), None)
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(f"sign: {error}; name a bundle's folder and an unencrypted PEM file of keygen") from error
    if not isinstance(key, from_key.Ed25519PrivateKey):
        raise BundleError(f"{private}: it holds no Ed25519 key; make one with `python -m beastmode keygen`")
    file = Path(folder) / SIGNATURE
    # A draft within would be a file too many to whoever reads the bundle, for ever where this process is killed.
    replace_file(file, key.sign(CONTEXT + data).hex().encode() + b"\n", drafts=Path(folder).resolve().parent)
    return file


def verify(where: str, manifest: bytes, signature: bytes | None, public_key: PublicKey) -> None:
    """Raise BundleError unless the signature is that of the manifest by the private half of `public_key`."""
    from_key, serial = _library()
    try:
        pem = public_key if isinstance(public_key, bytes) else read_bytes(Path(public_key), _PEM_LIMIT)
        key = serial.load_pem_public_key(pem)
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(f"public key: {error}; name the PEM file that keygen wrote") from error
    except Exception as error:
        # The library has an exception of its own for keys it does not know.
        raise BundleError(f"public key: {error}; make one with `python -m beastmode keygen`") from error
    if not isinstance(key, from_key.Ed25519PublicKey):
        raise BundleError("public key: it is no Ed25519 key; make one with `python -m beastmode keygen`")
    if signature is None:
        raise BundleError(
            f"{where}: it is not signed; sign it with `python -m beastmode sign`, or load it without a key"
        )
    try:
        key.verify(bytes.fromhex(signature.decode("ascii").strip()), CONTEXT + manifest)
    except Exception as error:
        raise BundleError(f"{where}: its signature is not that of the public key; fetch it again") from error


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise BundleError("signatures need the extra signing: pip install 'beastmode[signing]'") from error
    return ed25519, serialization
