"""Named arrays as one npz file: the same bytes for the same arrays, and nothing but numbers accepted back."""

import io
import math
import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS = "biuf"
"""What may travel: booleans, integers and floats. Objects would be pickles."""

_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays as an npz file, deflated and without dates, so that equal arrays give equal bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name])
            if not _NAME.fullmatch(name) or array.dtype.kind not in KINDS:
                raise ValueError(f"array {name!r} holds {array.dtype}, and only numbers may travel")
            data = io.BytesIO()
            # Little-endian whatever the machine: the bytes are part of the bundle's hash.
            plain = array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(np.shape(arrays[name]))
            np.lib.format.write_array(data, plain, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data.getvalue(), compresslevel=6)
    return out.getvalue()


def unpack(data: bytes, limit: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz file; raises ValueError on pickles, on odd headers and on more than `limit` bytes.

    The sizes that the archive states are checked before anything is inflated, and a header's shape against the
    bytes that are there, so that a small file cannot claim a large memory.
    """
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > limit:
            raise ValueError(f"it would inflate to more than {limit:,} bytes")
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name in arrays or not _NAME.fullmatch(name) or entry.filename == name:
                raise ValueError(f"it holds {entry.filename!r}, which is no array that a bundle writes")
            arrays[name] = _array(archive.read(entry), name, limit)
    return arrays


def _array(data: bytes, name: str, limit: int) -> NDArray[Any]:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"array {name!r} has npy version {version}; only 1.0 is known")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.kind not in KINDS:
        raise ValueError(f"array {name!r} holds {dtype}: a pickle, text or a structure, and bundles are numbers")
    if any(length < 0 for length in shape) or len(shape) > 4:
        raise ValueError(f"array {name!r} has the shape {shape}")
    rest = data[stream.tell() :]
    if math.prod(shape) * dtype.itemsize != len(rest):
        raise ValueError(f"array {name!r} claims the shape {shape} of {dtype}, and has {len(rest):,} bytes")
    if math.prod(length or 1 for length in shape) * dtype.itemsize > limit:
        # Nothing in it takes no bytes, and yet a loop over its length would never end.
        raise ValueError(f"array {name!r} has the shape {shape}, of more than {limit:,} bytes but for a zero")
    if dtype.itemsize == 0:
        return np.zeros(shape, dtype)
    # A copy: views of `bytes` are read-only, and hold the whole file in memory.
    flat = np.frombuffer(rest, dtype).astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order="F" if fortran else "C")
