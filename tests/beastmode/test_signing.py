"""Signatures: what was not signed by the key does not load, wherever it is loaded from."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from beastmode.__main__ import main
from beastmode.bundle import Bundle
from beastmode.errors import BundleError
from beastmode.folder import CHECKSUM, MANIFEST, SIGNATURE, sha256_of
from beastmode.router import Router
from beastmode.signing import keygen, sign
from beastmode.store import Store


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    keygen(private, public)
    return private, public


@pytest.fixture
def folder(make_bundle: Any, tmp_path: Path) -> Path:
    make_bundle().write(tmp_path / "b")
    return tmp_path / "b"


def test_a_signed_bundle_loads_with_the_key_and_without(folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    digest = Bundle.read(folder).sha256
    sign(folder, private)
    signed = Bundle.read(folder, public_key=public)
    assert (signed.signed, signed.verified, signed.trust) == (True, True, "signed manifest")
    assert signed.sha256 == digest == Bundle.read(folder).sha256, "a signature changes no hash"
    assert Router.load(folder, public_key=public.read_bytes()).route("x").bundle_sha256 == digest
    assert private.stat().st_mode & 0o077 == 0


def test_what_is_unsigned_altered_or_of_another_key_is_refused(
    folder: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = keys
    with pytest.raises(BundleError, match="not signed"):
        Bundle.read(folder, public_key=public)
    keygen(tmp_path / "p2.pem", tmp_path / "q2.pem")
    sign(folder, private)
    with pytest.raises(BundleError, match="not that of the public key"):
        Bundle.read(folder, public_key=tmp_path / "q2.pem")
    text = (folder / MANIFEST).read_bytes().replace(b'"epsilon": 0.2', b'"epsilon": 0.9')
    (folder / MANIFEST).write_bytes(text)
    (folder / CHECKSUM).write_text(f"{sha256_of(text)}  {MANIFEST}\n")
    assert Bundle.read(folder).trust == "unverified manifest", "whoever asks for no key takes what comes"
    with pytest.raises(BundleError, match="not that of the public key"):
        Bundle.read(folder, public_key=public)
    (folder / SIGNATURE).write_bytes(b"\xff")
    with pytest.raises(BundleError, match="not that of the public key"):
        Bundle.read(folder, public_key=public)


def test_a_follower_with_a_key_serves_nothing_unsigned(
    make_bundle: Any, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = keys
    store = Store(tmp_path / "store")
    for name in ("first", "second", "third"):
        store.add(make_bundle(name))
    for name in ("first", "third"):
        sign(store.folder(name), private)
    store.promote("first", at="2026-01-01", reason="signed")
    with Router.follow(store, every_seconds=60, public_key=public) as router:
        assert router._follower is not None
        store.promote("second", at="2026-01-02", reason="unsigned")
        assert not router._follower.look(router.swap)
        assert router.bundle.name == "first"
        store.promote("third", at="2026-01-03", reason="signed again")
        assert router._follower.look(router.swap)
        assert router.bundle.name == "third"
    with pytest.raises(BundleError, match="not signed"):
        Router.load(store.folder("second"), public_key=public)


def test_a_process_that_is_killed_while_it_signs_leaves_a_bundle_that_reads(
    folder: Path, keys: tuple[Path, Path]
) -> None:
    private, public = keys
    code = "import os,sys; os.replace = lambda *_: os.kill(os.getpid(), 9)\nfrom beastmode.signing import sign\n"
    command = [sys.executable, "-c", f"{code}sign(sys.argv[1], sys.argv[2])", str(folder), str(private)]
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run(command, check=False, cwd=root, timeout=60).returncode == -signal.SIGKILL
    assert Bundle.read(folder).name == "first"
    sign(folder, private)
    assert Bundle.read(folder, public_key=public).name == "first"


def test_keys_that_are_none_say_what_is_expected(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    with pytest.raises(BundleError, match="never overwritten"):
        keygen(private, tmp_path / "other.pem")
    with pytest.raises(BundleError, match="PEM file"):
        Bundle.read(folder, public_key=tmp_path / "nowhere.pem")
    with pytest.raises(BundleError, match="PEM file"):
        sign(folder, public)
    with pytest.raises(BundleError, match="public key"):
        Bundle.read(folder, public_key=b"no key")


def test_without_the_library_the_error_names_the_extra(
    folder: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cryptography.hazmat.primitives", "cryptography.hazmat.primitives.asymmetric"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BundleError, match=r"beastmode\[signing\]"):
        Bundle.read(folder, public_key=keys[1])
    assert Bundle.read(folder).name == "first"


def test_signing_from_the_command_line(folder: Path, tmp_path: Path, capsys: Any) -> None:
    private, public = str(tmp_path / "a.pem"), str(tmp_path / "b.pem")
    assert main(["keygen", private, public]) == 0
    assert main(["inspect", str(folder), "--public-key", public]) == 1
    assert "not signed" in capsys.readouterr().err
    assert main(["sign", str(folder), "--key", private]) == 0
    assert main(["inspect", str(folder), "--public-key", public]) == 0
    assert "signed manifest" in capsys.readouterr().out
