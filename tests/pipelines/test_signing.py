"""The flows sign with the key that is configured, and without one they sign nothing."""

from pathlib import Path

import pytest

from beastmode.bundle import Bundle
from beastmode.errors import BundleError
from beastmode.signing import keygen
from benchmarks.small import plain
from pipelines.signing import VARIABLE, signed


def test_a_configured_key_signs_once_and_no_key_signs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain().write(tmp_path / "b")
    monkeypatch.delenv(VARIABLE, raising=False)
    assert not signed(tmp_path / "b")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "missing.pem"))
    with pytest.raises(BundleError, match="missing"):
        signed(tmp_path / "b")
    keygen(tmp_path / "private.pem", tmp_path / "public.pem")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "private.pem"))
    assert signed(tmp_path / "b")
    assert not signed(tmp_path / "b")
    assert Bundle.read(tmp_path / "b", public_key=tmp_path / "public.pem").signed
