"""Fuzz the loader of bundles: `python -m benchmarks loader --mutants 10000 --json OUT`.

Three kinds of mutants of trained bundles: damaged against a known manifest hash; re-hashed by an attacker (manifest
and checksum agree with the files again) against a public key; and re-hashed against nothing at all. Of the first two
none may load. Of the third, what loads must route. Nothing may be raised but BundleError, also not within it: a
MemoryError, an OverflowError or a RecursionError that the loader had to catch is counted as a defect.
"""

import argparse
import io
import json
import random
import resource
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from beastmode.arrays import pack, unpack
from beastmode.bundle import Bundle
from beastmode.errors import BundleError, RoutingError
from beastmode.folder import CHECKSUM, MANIFEST, SIGNATURE, sha256_of
from beastmode.router import Router
from beastmode.signing import keygen, sign
from benchmarks.small import bundles

Files = dict[str, bytes]
CRUDE = (MemoryError, OverflowError, RecursionError, AssertionError)
"""What a loader should have refused before a parser ran into it; the manifest's depth is JSON's own parser's to cap."""
KINDS = ("hash", "key", "neither")
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, -0.0, 1e308, 1e-320, "", "x", "../../x", "\0", "😀" * 9, [], {},
    [[]], {"kind": "blend"}, [0] * 100, "9" * 5000, [1e308] * 3,
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run the fuzz; returns 1 where a mutant got through or something else than BundleError came out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks loader", description=__doc__)
    parser.add_argument("--mutants", type=int, default=10_000, help="of each kind")
    parser.add_argument("--kinds", default=",".join(KINDS), help="which of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", nargs="?", const="", help="file to write; JSON is printed in any case")
    options = parser.parse_args(arguments)
    found = fuzz(options.mutants, options.seed, options.kinds.split(","))
    text = json.dumps(found, indent=1)
    if options.json:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0 if found["defects"] == 0 else 1


def fuzz(mutants: int, seed: int, kinds: Sequence[str] = KINDS) -> dict[str, Any]:
    """Return what became of so many mutants of each kind."""
    found: dict[str, Any] = {}
    defects: list[str] = []
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        private, public = folder / "private.pem", folder / "public.pem"
        keygen(private, public)
        sources = _sources(folder, private)
        for kind in kinds:
            rng = random.Random(f"{seed} {kind}")
            counts: Counter[str] = Counter()
            slowest = 0.0
            for number in range(mutants):
                files, digest = sources[number % len(sources)]
                if kind == "hash":
                    # A signature is nothing that a hash vouches for.
                    files = {name: data for name, data in files.items() if name != SIGNATURE}
                made = mutant(files, rng, rehash=kind != "hash")
                _write(folder / "mutant", made)
                ways: dict[str, dict[str, Any]] = {"hash": {"sha256": digest}, "key": {"public_key": public}}
                known = ways.get(kind, {})
                begun = time.perf_counter()
                came = _load(folder / "mutant", known)
                slowest = max(slowest, time.perf_counter() - begun)
                counts[came] += 1
                allowed = ("refused", "loaded and routes") if kind == "neither" else ("refused",)
                if came not in allowed:
                    defects.append(f"{kind} {number}: {came}")
            found[kind] = {**counts, "slowest_seconds": round(slowest, 3)}
    found["defects"], found["examples"] = len(defects), defects[:20]
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    found["seconds"] = round(time.perf_counter() - started, 1)
    return found


def _sources(folder: Path, private: Path) -> list[tuple[Files, str]]:
    known = []
    for bundle in bundles():
        path = folder / bundle.name
        digest = bundle.write(path).sha256 or ""
        sign(path, private)
        known.append(({file.name: file.read_bytes() for file in path.iterdir()}, digest))
    return known


def _write(path: Path, files: Files) -> None:
    path.mkdir(exist_ok=True)
    for old in path.iterdir():
        if old.name not in files:
            old.unlink()
    for name, data in files.items():
        (path / name).write_bytes(data)


def _load(path: Path, known: Mapping[str, Any]) -> str:
    try:
        bundle = Bundle.read(path, **known)
        router = Router(bundle, seed=0)
    except BundleError as error:
        cause = error.__cause__
        crude = isinstance(cause, CRUDE) and "is no JSON" not in str(error)
        return f"a caught {cause!r:.100}" if crude else "refused"
    except BaseException as error:
        return f"raised {error!r:.200}"
    try:
        for prompt in ("", "What is 2+2?", "word " * 500):
            decision = router.route(prompt)
            if not abs(sum(decision.probabilities.values()) - 1) < 1e-6:
                return "loaded, and its probabilities do not sum to one"
    except RoutingError:
        pass
    except Exception as error:
        return f"loaded, and route raised {error!r:.200}"
    return "loaded and routes"


def mutant(files: Files, rng: random.Random, *, rehash: bool) -> Files:
    """Return a copy of a bundle's files with one to three mutations; `rehash` makes its hashes agree again.

    Mutations that leave every byte as it was are drawn again.
    """
    made = dict(files)
    while made == files:
        for _ in range(rng.randint(1, 3)):
            rng.choice(MUTATIONS)(made, rng)
    if rehash and MANIFEST in made:
        _rehash(made)
    return made


def _rehash(made: Files) -> None:
    try:
        manifest = json.loads(made[MANIFEST])
        entries = manifest["files"]
        for name in sorted(set(made) - {MANIFEST, CHECKSUM, SIGNATURE}):
            entries[name] = {"sha256": sha256_of(made[name]), "bytes": len(made[name])}
        for name in set(entries) - set(made):
            del entries[name]
        made[MANIFEST] = json.dumps(manifest).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    made[CHECKSUM] = f"{sha256_of(made[MANIFEST])}  {MANIFEST}\n".encode()


def _bytes(made: Files, rng: random.Random) -> None:
    name = rng.choice(sorted(made))
    data = bytearray(made[name])
    for _ in range(rng.randint(1, 8)):
        if data:
            data[rng.randrange(len(data))] = rng.randrange(256)
    made[name] = bytes(data)


def _cut(made: Files, rng: random.Random) -> None:
    name = rng.choice(sorted(made))
    made[name] = made[name][: rng.randrange(len(made[name]) + 1)]


def _file(made: Files, rng: random.Random) -> None:
    name = rng.choice(sorted(made))
    drawn = rng.random()
    if drawn < 0.3:
        del made[name]
    elif drawn < 0.6:
        made[f"{rng.choice('abc')}.{rng.choice(('npz', 'txt', 'onnx', 'py'))}"] = made[name]
    else:
        made[name] = made[rng.choice(sorted(made))]


def _manifest(made: Files, rng: random.Random) -> None:
    try:
        manifest = json.loads(made[MANIFEST])
        places = [*_places(manifest)] if isinstance(manifest, dict) else []
    except (KeyError, ValueError, RecursionError):
        return
    place, key = rng.choice(places or [({}, "")])
    drawn = rng.random()
    if drawn < 0.75:
        place[key] = rng.choice(VALUES)
    elif isinstance(place, dict):
        place.pop(key, None)
    else:
        place.append(place[key])
    made[MANIFEST] = json.dumps(manifest).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def _nested(made: Files, rng: random.Random) -> None:
    depth = rng.choice((500, 5_000, 200_000))
    made[MANIFEST] = b'{"format":"beastmode-bundle","files":' + b"[" * depth + b"]" * depth + b"}"


def _array(made: Files, rng: random.Random) -> None:
    name = rng.choice(("encoder.npz", "scorer.npz", "golden.npz"))
    try:
        arrays = unpack(made[name], 10**8)
    except Exception:
        return
    if not arrays:
        return
    key = rng.choice(sorted(arrays))
    array = arrays[key].copy()
    drawn = rng.randrange(7)
    if drawn == 0:
        array = array[: rng.randrange(len(array) + 1)] if array.ndim else array
    elif drawn == 1:
        array = array.reshape(-1)
    elif drawn == 2:
        with np.errstate(all="ignore"):
            array = array.astype(rng.choice(("f4", "f8", "i8", "u1", "?")))
    elif drawn == 3 and array.size:
        extremes = (0, 1, -1, 127) if array.dtype.kind in "iub" else (0.0, -1.0, 1e300, 1e-300, np.nan, np.inf)
        with np.errstate(all="ignore"):
            array.reshape(-1)[rng.randrange(array.size)] = np.array(rng.choice(extremes)).astype(array.dtype)
    elif drawn == 4:
        array = np.zeros(rng.choice(((0,), (0, 0), (1,), (3000, 300), (2**40, 0), ())))
    elif drawn == 5:
        array = np.concatenate([array, array]) if array.ndim else array
    else:
        del arrays[key]
    if drawn != 6:
        arrays[key] = array
    made[name] = pack(arrays)


def _bomb(made: Files, rng: random.Random) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        head = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (9000000,), }".ljust(118)
        archive.writestr("mean.npy", head + bytes(rng.choice((1_000, 9_000_000 * 8))))
    data = out.getvalue()
    if rng.random() < 0.5:
        # An archive that lies: the directory says that there is little in it.
        at = data.rfind(b"PK\x01\x02")
        data = data[: at + 24] + (100).to_bytes(4, "little") + data[at + 28 :]
    made[rng.choice(("encoder.npz", "scorer.npz", "golden.npz"))] = data


def _forest(made: Files, rng: random.Random) -> None:
    names = [name for name in sorted(made) if name.endswith(".txt")]
    if not names:
        return
    name = rng.choice(names)
    lines = made[name].decode("utf-8", "replace").split("\n")
    at = rng.randrange(len(lines))
    key, equals, _ = lines[at].partition("=")
    drawn = rng.random()
    if drawn < 0.6 and equals:
        words = ("-1", "0", "9" * 30, "1e400", "nan", "inf", "", "0 " * 3000, "x", "2147483648", "-5 7 9")
        lines[at] = f"{key}={rng.choice(words)}"
    elif drawn < 0.8:
        lines[at:at] = lines[: rng.randrange(len(lines))]
    else:
        del lines[at : at + rng.randint(1, 20)]
    made[name] = "\n".join(lines).encode()


def _rare(made: Files, rng: random.Random) -> None:
    drawn = rng.random()
    (_nested if drawn < 0.03 else _bomb if drawn < 0.1 else _bytes)(made, rng)


MUTATIONS: tuple[Callable[[Files, random.Random], None], ...] = (
    _bytes, _cut, _file, _manifest, _manifest, _manifest, _array, _array, _array, _forest, _forest,
    _rare,
)  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
