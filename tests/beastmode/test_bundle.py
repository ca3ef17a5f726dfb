import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beastmode import golden
from beastmode.arrays import pack, unpack
from beastmode.bundle import Bundle, OperatingPoint
from beastmode.errors import BundleError
from beastmode.folder import CHECKSUM, MANIFEST, seal, sha256_of, write_folder
from beastmode.objective import Objective
from beastmode.policies import EpsilonGreedy, Greedy, Softmax


@pytest.fixture
def written(make_bundle: Any, nearby: Any, tmp_path: Path) -> Bundle:
    return make_bundle(scorer=nearby).write(tmp_path / "bundle")


def reseal(path: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None]) -> Path:
    """Change a bundle the way an attacker would who recomputes every hash."""
    manifest = json.loads((path / MANIFEST).read_text())
    files = {file.name: file.read_bytes() for file in path.iterdir() if file.name not in (MANIFEST, CHECKSUM)}
    change(manifest, files)
    del manifest["files"]
    target = path.with_name("resealed")
    shutil.rmtree(target, ignore_errors=True)
    write_folder(target, seal(manifest, files))
    return target


def test_what_is_read_is_what_was_written(written: Bundle, tmp_path: Path) -> None:
    read = Bundle.read(tmp_path / "bundle", written.sha256)
    texts = ["2+2?", "Explain the theory of everything.", ""]
    before, after = written.expect(texts), read.expect(texts)
    for name in ("quality", "cost_usd", "latency_ms", "output_tokens", "utility"):
        # Tables may be stored in float32.
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-6)
    assert read.candidates == written.candidates
    assert read.policy == written.policy
    assert read.objective == written.objective
    assert read.operating_points == written.operating_points
    assert read.sha256 == written.sha256
    assert read.verified
    assert read.evaluation == {"gain": 0.02, "unknown": None}


def test_the_same_bundle_gives_the_same_bytes(written: Bundle, tmp_path: Path) -> None:
    again = Bundle.read(tmp_path / "bundle").write(tmp_path / "again")
    assert again.sha256 == written.sha256


def test_without_a_known_hash_the_manifest_is_called_unverified(written: Bundle, tmp_path: Path) -> None:
    read = Bundle.read(tmp_path / "bundle")
    assert not read.verified
    assert read.trust == "unverified manifest"
    assert written.trust == "verified manifest"


def test_the_checksum_is_one_that_sha256sum_reads(written: Bundle, tmp_path: Path) -> None:
    digest, name = (tmp_path / "bundle" / CHECKSUM).read_text().split()
    assert (digest, name) == (written.sha256, MANIFEST)


def test_a_bundle_is_never_written_over(written: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="never rewritten"):
        written.write(tmp_path / "bundle")


def test_one_flipped_byte_in_any_file_is_found(written: Bundle, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for file in sorted((tmp_path / "bundle").iterdir()):
        data = bytearray(file.read_bytes())
        for position in {0, len(data) - 1, *rng.integers(0, len(data), 20).tolist()}:
            damaged = bytearray(data)
            damaged[position] ^= 1 << int(rng.integers(8))
            file.write_bytes(damaged)
            for sha256 in (None, written.sha256):
                with pytest.raises(BundleError):
                    Bundle.read(tmp_path / "bundle", sha256)
        file.write_bytes(data)
    assert Bundle.read(tmp_path / "bundle", written.sha256).verified


def test_a_manifest_with_all_hashes_recomputed_is_found_by_the_known_hash(written: Bundle, tmp_path: Path) -> None:
    def cheaper(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
        manifest["candidates"][0]["price"]["output_per_mtok"] = 0.0

    target = reseal(tmp_path / "bundle", cheaper)
    assert Bundle.read(target).trust == "unverified manifest"
    with pytest.raises(BundleError, match="expected"):
        Bundle.read(target, written.sha256)


@pytest.mark.parametrize("name", ["encoder.npz", "scorer.npz", "golden.npz", CHECKSUM, MANIFEST])
def test_a_missing_file_is_named(written: Bundle, tmp_path: Path, name: str) -> None:
    (tmp_path / "bundle" / name).unlink()
    with pytest.raises(BundleError, match=name):
        Bundle.read(tmp_path / "bundle")


@pytest.mark.parametrize("name", ["model.pkl", "extra.npz", ".hidden", "manifest.json.bak"])
def test_a_file_that_the_manifest_does_not_name_is_refused(written: Bundle, tmp_path: Path, name: str) -> None:
    (tmp_path / "bundle" / name).write_bytes(b"\x80\x04N.")
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        Bundle.read(tmp_path / "bundle")


def test_folders_and_links_inside_are_refused(written: Bundle, tmp_path: Path) -> None:
    (tmp_path / "bundle" / "sub").mkdir()
    with pytest.raises(BundleError, match="plain file"):
        Bundle.read(tmp_path / "bundle")
    (tmp_path / "bundle" / "sub").rmdir()
    (tmp_path / "bundle" / "link.npz").symlink_to("/etc/passwd")
    with pytest.raises(BundleError, match="plain file"):
        Bundle.read(tmp_path / "bundle")


def test_a_folder_that_is_none_and_one_without_permission(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such folder"):
        Bundle.read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match=f"{MANIFEST} is missing"):
        Bundle.read(tmp_path / "empty")


class _Payload:
    def __reduce__(self) -> Any:
        return os.mkdir, ("pwned",)


def test_a_pickle_inside_an_npz_is_refused_and_never_run(
    written: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = io.BytesIO()
    np.savez(out, quality=np.array([_Payload()], dtype=object))

    def replace(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
        files["scorer.npz"] = out.getvalue()

    with pytest.raises(BundleError, match=r"scorer\.npz.*pickle"):
        Bundle.read(reseal(tmp_path / "bundle", replace))
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../secret.npz", "a/b.npz", "model.pkl", "Model.npz", "a b.npz", "", "x.npz\n"]
)
def test_odd_names_in_the_manifest_are_refused(written: Bundle, tmp_path: Path, name: str) -> None:
    path = tmp_path / "bundle"
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["files"][name] = manifest["files"]["encoder.npz"]
    text = json.dumps(manifest).encode()
    (path / MANIFEST).write_bytes(text)
    (path / CHECKSUM).write_text(f"{sha256_of(text)}  {MANIFEST}\n")
    with pytest.raises(BundleError, match="no file that a bundle may hold"):
        Bundle.read(path)


def drop(name: str) -> Any:
    return lambda manifest, files: manifest.pop(name)


def put(*path: Any) -> Any:
    *keys, last, value = path

    def change(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
        for key in keys:
            manifest = manifest[key]
        manifest[last] = value

    return change


def array(file: str, name: str, change: Callable[[Any], Any]) -> Any:
    def apply(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
        arrays = unpack(files[file], 1 << 30)
        arrays[name] = change(arrays[name])
        files[file] = pack(arrays)

    return apply


def fill(value: float) -> Any:
    def change(values: Any) -> Any:
        values = values.copy()
        values.flat[0] = value
        return values

    return change


def raised(column: int) -> Any:
    def change(values: Any) -> Any:
        return values + 0.01 * (np.arange(values.shape[-1]) == column)

    return change


HOSTILE = {
    "other format version": put("format_version", 99),
    "the format before intervals": put("format_version", 1),
    "unknown encoder": put("encoder", "kind", "torch"),
    "unknown scorer": put("scorer", "kind", "magic"),
    "unknown policy": put("policy", "kind", "whim"),
    "unknown policy field": put("policy", "colour", "red"),
    "unknown candidate field": put("candidates", 0, "colour", "red"),
    "candidate twice": put("candidates", 0, "name", "large"),
    "candidate without a name": put("candidates", 0, "name", 3),
    "no candidates": put("candidates", []),
    "negative price": put("candidates", 0, "price", "input_per_mtok", -1.0),
    "price is text": put("candidates", 0, "price", "input_per_mtok", "free"),
    "limit is text": put("candidates", 0, "context_tokens", "many"),
    "capability is text": put("candidates", 0, "tools", "no"),
    "incumbent out of range": put("policy", "base", "incumbent", 7),
    "incumbent negative": put("policy", "base", "incumbent", -1),
    "epsilon out of range": put("policy", "epsilon", 3.0),
    "operating point's incumbent": put("operating_points", 0, "incumbent", 9),
    "operating point is text": put("operating_points", 0, "per_dollar", "much"),
    "objective unknown": put("objective", "fame", 1.0),
    "objective negative": put("objective", "per_dollar", -1.0),
    "objective is text": put("objective", "per_dollar", "1"),
    "name is a number": put("name", 7),
    "training is a list": put("training", []),
    "forests that are not there": put("scorer", "forests", ["one"]),
    "forests are paths": put("scorer", "forests", ["../one"]),
    "no scorer": drop("scorer"),
    "no candidates key": drop("candidates"),
    "no policy": drop("policy"),
    "encoder NaN": array("encoder.npz", "mean", fill(np.nan)),
    "encoder shape": array("encoder.npz", "scale", lambda values: values[:-1]),
    "scorer NaN": array("scorer.npz", "mean", fill(np.nan)),
    "scorer infinity": array("scorer.npz", "usage_offset", fill(np.inf)),
    "scorer shape": array("scorer.npz", "mean", lambda values: values[:-1]),
    "prototypes shape": array("scorer.npz", "centre", lambda values: values[:, :-1]),
    "prediction changed": array("scorer.npz", "mean", lambda values: values + 1e-3),
    "longest lengths changed": array("scorer.npz", "usage_table", raised(3)),
    "longest latencies changed": array("scorer.npz", "usage_table", raised(6)),
    "knots shape": array("scorer.npz", "usage_knots", lambda values: values[:-1]),
    "golden quantiles changed": array("golden.npz", "output_tokens_quantiles", fill(1.0)),
    "golden quantiles shape": array("golden.npz", "latency_ms_quantiles", lambda values: values[:2]),
    "golden changed": array("golden.npz", "quality", fill(0.123)),
    "golden NaN": array("golden.npz", "encoding", fill(np.nan)),
    "golden shape": array("golden.npz", "encoding", lambda values: values[:-1]),
    "golden empty": lambda manifest, files: files.update({"golden.npz": pack({})}),
    "no golden": lambda manifest, files: files.pop("golden.npz"),
    "npz is text": lambda manifest, files: files.update({"scorer.npz": b"not a zip"}),
    "a stray forest": lambda manifest, files: files.update({"forest_a.txt": b"tree"}),
    "deep nesting": put("training", "x", [[[[[[]]]]]] ),
}  # fmt: skip
HARMLESS = {"deep nesting"}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_an_attacker_rehashed_is_refused_by_what_it_says(written: Bundle, tmp_path: Path, name: str) -> None:
    target = reseal(tmp_path / "bundle", lambda manifest, files: None)
    assert Bundle.read(target).name == "first", "resealing alone changes nothing"
    target = reseal(tmp_path / "bundle", HOSTILE[name])
    if name in HARMLESS:
        assert Bundle.read(target).name == "first"
        return
    with pytest.raises(BundleError) as caught:
        Bundle.read(target)
    assert str(target) in str(caught.value)
    assert ";" in str(caught.value), "an error names its remedy"


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": "beastmode-bundle"}',
     b'{"format": "beastmode-bundle", "format_version": 2}', b'{"format": NaN}', b'{"format": 1e999}',
     b'{"format": 1, "format": 2}', b'{"format": "beastmode-bundle", "format_version": 2, "files": {"a.npz": 3}}',
     b'{"format": "beastmode-bundle", "format_version": 2, "files": {"a.npz": {"bytes": -1, "sha256": "x"}}}'],
)  # fmt: skip
def test_a_manifest_that_is_none(written: Bundle, tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "bundle"
    (path / MANIFEST).write_bytes(text)
    (path / CHECKSUM).write_text(f"{sha256_of(text)}  {MANIFEST}\n")
    with pytest.raises(BundleError):
        Bundle.read(path, sha256_of(text))


def test_too_many_bytes_are_refused_on_both_ways(make_bundle: Any, written: Bundle, tmp_path: Path) -> None:
    def big(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
        files["forest_a.txt"] = b"x" * 11_000_000
        manifest["scorer"]["forests"] = ["a"]

    with pytest.raises(BundleError, match="over the cap"):
        Bundle.read(reseal(tmp_path / "bundle", big))

    def huge(manifest: dict[str, Any], files: dict[str, bytes]) -> None:
        files["forest_a.txt"] = b"x" * 41_000_000

    with pytest.raises(BundleError, match="over the cap"):
        Bundle.read(reseal(tmp_path / "bundle", huge))


def test_an_archive_that_inflates_beyond_its_limit_is_refused() -> None:
    data = pack({"zeros": np.zeros(1_000_000)})
    assert len(data) < 20_000
    with pytest.raises(ValueError, match="inflate"):
        unpack(data, 1_000_000)
    assert unpack(data, 10_000_000)["zeros"].shape == (1_000_000,)


def test_a_header_cannot_claim_more_than_is_there() -> None:
    out = io.BytesIO()
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.npy", header.getvalue() + b"\0" * 64)
    with pytest.raises(ValueError, match="claims"):
        unpack(out.getvalue(), 1 << 20)


@pytest.mark.parametrize(
    "value", [np.zeros((2, 3), np.int8), np.arange(6, dtype=">f4"), np.array([True]), np.zeros(0), np.array(1.5),
              np.asfortranarray(np.arange(6.0).reshape(2, 3))]
)  # fmt: skip
def test_arrays_survive(value: Any) -> None:
    back = unpack(pack({"a": value}), 1 << 20)["a"]
    np.testing.assert_array_equal(back, value)
    assert back.shape == value.shape
    assert back.dtype == value.dtype.newbyteorder("=")
    assert back.flags.writeable


def test_objects_and_text_cannot_be_packed() -> None:
    for value in (np.array([None]), np.array(["a"])):
        with pytest.raises(ValueError, match="only numbers"):
            pack({"a": value})


@pytest.mark.parametrize("known", [True, False])
def test_nothing_but_a_bundle_error_ever_escapes(make_bundle: Any, nearby: Any, tmp_path: Path, known: bool) -> None:
    """Mutate bytes, with the manifest's hash known, and as an attacker who recomputes all hashes."""
    written = make_bundle(scorer=nearby).write(tmp_path / "bundle")
    rng = np.random.default_rng(1)
    names = sorted(file.name for file in (tmp_path / "bundle").iterdir())
    original = {name: (tmp_path / "bundle" / name).read_bytes() for name in names}
    loaded = 0
    for _ in range(300):
        files = dict(original)
        name = str(rng.choice([name for name in names if known or name != CHECKSUM]))
        files[name] = mutated(files[name], rng)
        if files == original:
            continue
        if not known and name != MANIFEST:
            manifest = json.loads(files[MANIFEST])
            del manifest["files"]
            files = seal(manifest, {n: d for n, d in files.items() if n not in (MANIFEST, CHECKSUM)})
        elif not known:
            files[CHECKSUM] = f"{sha256_of(files[MANIFEST])}  {MANIFEST}\n".encode()
        shutil.rmtree(tmp_path / "fuzz", ignore_errors=True)
        (tmp_path / "fuzz").mkdir()
        for file, data in files.items():
            (tmp_path / "fuzz" / file).write_bytes(data)
        try:
            Bundle.read(tmp_path / "fuzz", written.sha256 if known else None)
            loaded += 1
        except BundleError:
            pass
    if known:
        assert loaded == 0


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    at = int(rng.integers(len(changed)))
    match int(rng.integers(5)):
        case 0:
            changed[at] ^= 1 << int(rng.integers(8))
        case 1:
            del changed[at:]
        case 2:
            changed[at:at] = rng.bytes(int(rng.integers(1, 30)))
        case 3:
            del changed[at : at + int(rng.integers(1, 30))]
        case _:
            digits = [i for i, byte in enumerate(changed) if 48 <= byte <= 57] or [at]
            changed[int(rng.choice(digits))] = int(rng.integers(48, 58))
    return bytes(changed)


def test_a_bundle_that_would_not_be_accepted_is_not_written(make_bundle: Any, tmp_path: Path) -> None:
    from beastmode.scorers import Constant

    nan = Constant(np.array([0.5, np.nan, 0.5]), np.ones(3), np.ones(3))
    with pytest.raises(BundleError, match=r"first.*quality"):
        make_bundle(scorer=nan).write(tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_crash_while_writing_leaves_no_folder(make_bundle: Any, tmp_path: Path) -> None:
    """End the process at each fsync in turn: the folder is there whole, or not at all."""
    make_bundle().write(tmp_path / "source")
    script = """
import os, sys
from pathlib import Path
from beastmode.bundle import Bundle
bundle = Bundle.read(sys.argv[1])
left, real = int(sys.argv[3]), os.fsync
def fsync(handle):
    global left
    left -= 1
    if left == 0:
        os._exit(9)
    real(handle)
os.fsync = fsync
bundle.write(sys.argv[2])
"""
    root = Path(__file__).resolve().parents[2]
    for step in range(1, 12):
        target = tmp_path / f"target{step}" / "bundle"
        command = [sys.executable, "-c", script, str(tmp_path / "source"), str(target), str(step)]
        code = subprocess.run(command, check=False, cwd=root, timeout=60).returncode
        if target.exists():
            Bundle.read(target)
        if code == 0:
            break
        assert code == 9
    assert code == 0
    assert step >= 5


def test_golden_prompts_are_distinct_and_cover_the_ends() -> None:
    assert len(set(golden.PROMPTS)) == len(golden.PROMPTS) >= 20
    assert "" in golden.PROMPTS
    assert max(map(len, golden.PROMPTS)) > 1500


def test_cost_is_price_times_tokens_and_unknown_stays_unknown(make_bundle: Any) -> None:
    from beastmode.candidates import Candidate

    bundle = make_bundle()
    expected = bundle.expect(["x" * 4000])
    np.testing.assert_allclose(expected.cost_usd[0], [1000e-6 * 0.1 + 100e-6 * 0.4, 1000e-6 * 2 + 300e-6 * 8, 0.002])
    np.testing.assert_allclose(expected.utility[0], expected.quality[0] - 10 * expected.cost_usd[0])
    unpriced = make_bundle(candidates=(*bundle.candidates[:2], Candidate("seer")))
    assert np.isnan(unpriced.expect(["x"]).cost_usd[0, 2])
    chances = unpriced.probabilities(["x"])
    assert chances[0, 2] == pytest.approx(0.2 / 3), "an unpriced candidate is only explored"


def test_probabilities_respect_what_is_eligible(make_bundle: Any) -> None:
    chances = make_bundle().probabilities(["a", "b"], eligible=np.array([[True, False, True], [True, True, True]]))
    np.testing.assert_allclose(chances, [[0.1, 0, 0.9], [0.2 / 3, 0.2 / 3 + 0.8, 0.2 / 3]])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (EpsilonGreedy(0.2, Greedy(0, 0.5)), EpsilonGreedy(0.2, Greedy(1, 0.02))),
        (Greedy(0, 0.5), Greedy(1, 0.02)),
        (Softmax(0.1), Softmax(0.1)),
    ],
)
def test_an_operating_point_changes_what_is_wanted_not_what_is_known(
    make_bundle: Any, policy: Any, expected: Any
) -> None:
    bundle = make_bundle(policy=policy)
    at = bundle.at(0.95)
    assert at.policy == expected
    assert at.objective == Objective(per_dollar=20.0)
    assert at.scorer is bundle.scorer
    assert bundle.at(OperatingPoint(0.5, 7.0, 0.0, None)).objective.per_dollar == 7.0
    with pytest.raises(BundleError, match=r"0\.9, 0\.99"):
        bundle.at(0.999)
