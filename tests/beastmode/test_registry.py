"""Against a real MLflow server, and against servers that mean harm."""

import base64
import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from beastmode.__main__ import main
from beastmode.errors import BeastmodeError, BundleError, RegistryError
from beastmode.folder import MANIFEST
from beastmode.registry import TAG, fetch, set_alias
from beastmode.router import Router
from beastmode.store import Registered, Store
from tests.loopback import Handler, serving

MODEL = "beastmode-router"
CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start MLflow on a free port of the loopback, and wait until it answers."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if process.poll() is not None:
                pytest.fail(f"mlflow server ended: {(folder / 'server.log').read_text()[-2000:]}")
            try:
                with urllib.request.urlopen(f"{uri}/health", timeout=1):
                    break
            except OSError:
                time.sleep(0.2)
        else:
            pytest.fail("mlflow server never answered")
        yield uri
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=30)


@pytest.fixture
def tracking(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    return server


@pytest.fixture
def register(tracking: str, tmp_path: Path) -> Any:
    """Return a function that registers a bundle the way `promote` does."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking)

    def register(bundle: Any, alias: str | None = "champion", tag: str | None = None) -> str:
        written = bundle if bundle.sha256 else bundle.write(tmp_path / "registered" / bundle.name)
        run = client.create_run("0")
        client.log_artifacts(run.info.run_id, str(tmp_path / "registered" / bundle.name), "bundle")
        client.set_terminated(run.info.run_id)
        if not [model for model in client.search_registered_models() if model.name == MODEL]:
            client.create_registered_model(MODEL)
        tags = {TAG: tag or written.sha256} if tag != "" else {}
        version = client.create_model_version(
            MODEL, f"{run.info.artifact_uri}/bundle", run.info.run_id, tags=tags
        ).version
        if alias:
            client.set_registered_model_alias(MODEL, alias, version)
        return str(version)

    return register


@pytest.mark.slow
def test_the_champion_is_fetched_verified_and_kept(register: Any, make_bundle: Any, tmp_path: Path) -> None:
    version = register(make_bundle("registered-one"))
    cache = tmp_path / "cache"
    router = Router.load(f"models:/{MODEL}@champion", cache=cache)
    assert router.bundle.verified
    assert router.route("hi").bundle_sha256 == router.bundle.sha256
    assert (cache / str(router.bundle.sha256) / MANIFEST).exists()
    assert fetch(f"models:/{MODEL}/{version}", cache).name == "registered-one"
    other = register(make_bundle("registered-two"))
    assert fetch(f"models:/{MODEL}@champion", cache).name == "registered-two", "an alias that moved is followed"
    set_alias(MODEL, "champion", version)
    assert fetch(f"models:/{MODEL}@champion", cache).name == "registered-one"
    assert other != version
    assert not list(cache.glob(".*")), "no drafts stay behind"


@pytest.mark.slow
def test_what_the_tag_does_not_vouch_for_is_refused(register: Any, make_bundle: Any, tmp_path: Path) -> None:
    wrong = register(make_bundle("wrong-tag"), alias=None, tag="0" * 64)
    with pytest.raises(BundleError, match="register it again"):
        fetch(f"models:/{MODEL}/{wrong}", tmp_path / "cache")
    bare = register(make_bundle("no-tag"), alias=None, tag="")
    with pytest.raises(RegistryError, match="no tag 'manifest_sha256'"):
        fetch(f"models:/{MODEL}/{bare}", tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*")), "nothing unverified is kept"


@pytest.mark.slow
@pytest.mark.parametrize("uri", [f"models:/{MODEL}@nobody", "models:/no-such-model@champion", f"models:/{MODEL}/99999"])
def test_what_is_not_registered_is_an_error_with_its_remedy(
    register: Any, make_bundle: Any, tmp_path: Path, uri: str
) -> None:
    register(make_bundle("something"))
    with pytest.raises(RegistryError, match=r"HTTP status 404.*|HTTP status 400.*") as caught:
        fetch(uri, tmp_path / "cache")
    assert "alias" in str(caught.value) or "log" in str(caught.value)


@pytest.mark.slow
def test_rollback_moves_the_alias_too(
    register: Any, make_bundle: Any, tmp_path: Path, capsys: Any, tracking: str
) -> None:
    from mlflow import MlflowClient

    store = Store(tmp_path / "store")
    for name in ("roll-one", "roll-two"):
        version = register(make_bundle(name))
        store.add(make_bundle(name))
        store.promote(name, at="1", reason="a", registry=Registered(MODEL, version), reconciled=True)
    assert main(["rollback", "--store", str(store.path)]) == 0
    pointer = store.champion()
    assert pointer is not None
    assert pointer.registry is not None
    assert pointer.reconciled
    client = MlflowClient(tracking)
    assert str(client.get_model_version_by_alias(MODEL, "champion").version) == pointer.registry.version
    assert str(client.get_model_version_by_alias(MODEL, "previous").version) == version
    assert f"champion is version {pointer.registry.version}" in capsys.readouterr().out


class Hostile(Handler):
    """An MLflow server as an attacker, a proxy or a mistake would have it; `answers` maps paths to what is said."""

    def do_GET(self) -> None:
        path = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(path.query))
        server: Any = self.server
        server.seen.append((self.headers.get("Authorization"), path.path, query))
        key = query.get("path") or path.path.rpartition("/")[2]
        status, headers, body = server.answers.get(key, (404, {}, b"{}"))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    with serving(Hostile, answers={}, seen=[]) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        yield server


def serve(server: Any, folder: Path, sha256: str | None = None) -> None:
    for file in folder.iterdir():
        server.answers[file.name] = (200, {}, file.read_bytes())
    digest = sha256 or hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    version = {"name": "m", "version": "3", "tags": [{"key": TAG, "value": digest}]}
    server.answers["alias"] = (200, {}, json.dumps({"model_version": version}).encode())


def test_an_unreachable_registry_serves_what_was_fetched_before(
    hostile: Any, make_bundle: Any, tmp_path: Path, caplog: Any
) -> None:
    make_bundle().write(tmp_path / "bundle")
    serve(hostile, tmp_path / "bundle")
    first = fetch("models:/m@champion", tmp_path / "cache")
    hostile.answers["alias"] = (503, {}, b"upstream down")
    assert fetch("models:/m@champion", tmp_path / "cache").sha256 == first.sha256
    assert "as fetched before" in caplog.text
    with pytest.raises(RegistryError, match="503"):
        fetch("models:/m@other", tmp_path / "cache")
    hostile.answers["alias"] = (404, {}, b"{}")
    with pytest.raises(RegistryError, match="404"):
        fetch("models:/m@champion", tmp_path / "cache")


def test_a_damaged_cache_is_fetched_again(hostile: Any, make_bundle: Any, tmp_path: Path) -> None:
    make_bundle().write(tmp_path / "bundle")
    serve(hostile, tmp_path / "bundle")
    first = fetch("models:/m@champion", tmp_path / "cache")
    file = tmp_path / "cache" / str(first.sha256) / "scorer.npz"
    file.write_bytes(b"damaged")
    assert fetch("models:/m@champion", tmp_path / "cache").sha256 == first.sha256
    assert file.read_bytes() != b"damaged"


def test_workers_that_start_at_once_on_an_empty_cache_all_serve(hostile: Any, make_bundle: Any, tmp_path: Path) -> None:
    first = make_bundle().write(tmp_path / "bundle")
    serve(hostile, tmp_path / "bundle")
    for start in range(4):
        with ThreadPoolExecutor(8) as pool:
            caches = [tmp_path / f"cache-{start}"] * 8
            assert {found.sha256 for found in pool.map(fetch, ["models:/m@champion"] * 8, caches)} == {first.sha256}
        assert [path.name for path in caches[0].iterdir() if path.is_dir()] == [first.sha256]


@pytest.mark.parametrize("name", ["../../escape.npz", "/etc/cron.d/x.npz", "a/../b.npz", "..", "model.pkl"])
def test_listings_that_lead_elsewhere_are_refused(hostile: Any, make_bundle: Any, tmp_path: Path, name: str) -> None:
    make_bundle().write(tmp_path / "bundle")
    manifest = json.loads((tmp_path / "bundle" / MANIFEST).read_text())
    manifest["files"][name] = {"sha256": "0" * 64, "bytes": 3}
    (tmp_path / "bundle" / MANIFEST).write_text(json.dumps(manifest))
    serve(hostile, tmp_path / "bundle")
    with pytest.raises(BundleError, match="no file that a bundle may hold"):
        fetch("models:/m@champion", tmp_path / "cache")
    assert not any(query.get("path") == name for _, _, query in hostile.seen), "it was never asked for"


def test_bytes_are_capped(hostile: Any, make_bundle: Any, tmp_path: Path) -> None:
    make_bundle().write(tmp_path / "bundle")
    serve(hostile, tmp_path / "bundle")
    hostile.answers["scorer.npz"] = (200, {}, b"x" * 5_000_000)
    with pytest.raises(RegistryError, match="more than the"):
        fetch("models:/m@champion", tmp_path / "cache")
    hostile.answers["alias"] = (200, {}, b"[" * 3_000_000)
    with pytest.raises(RegistryError, match="more than the"):
        fetch("models:/m@champion", tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").glob("*") if path.is_dir()]


def test_a_changed_file_is_refused_and_the_cache_stays(hostile: Any, make_bundle: Any, tmp_path: Path) -> None:
    make_bundle().write(tmp_path / "bundle")
    serve(hostile, tmp_path / "bundle")
    good = fetch("models:/m@champion", tmp_path / "cache")
    make_bundle("second").write(tmp_path / "second")
    serve(hostile, tmp_path / "second")
    data = hostile.answers["golden.npz"][2]
    hostile.answers["golden.npz"] = (200, {}, data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"golden\.npz does not match"):
        fetch("models:/m@champion", tmp_path / "cache")
    assert sorted(path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()) == [good.sha256]


def test_a_redirect_carries_no_credentials_away(
    hostile: Any, make_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    port = hostile.server_address[1]
    hostile.answers["alias"] = (302, {"Location": f"http://127.0.0.1:{port}/elsewhere"}, b"")
    with pytest.raises(RegistryError, match=r"redirects to .*elsewhere"):
        fetch("models:/m@champion", tmp_path / "cache")
    assert len(hostile.seen) == 1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"MLFLOW_TRACKING_TOKEN": "abc"}, "Bearer abc"),
        (
            {"MLFLOW_TRACKING_USERNAME": "u", "MLFLOW_TRACKING_PASSWORD": "p", "MLFLOW_TRACKING_TOKEN": "abc"},
            "Basic " + base64.b64encode(b"u:p").decode(),
        ),
    ],
)
def test_credentials_come_from_mlflows_own_variables(
    hostile: Any, make_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: Any, expected: Any
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    make_bundle().write(tmp_path / "bundle")
    serve(hostile, tmp_path / "bundle")
    fetch("models:/m@champion", tmp_path / "cache")
    assert {seen for seen, _, _ in hostile.seen} == {expected}


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "MLFLOW_TRACKING_USERNAME"), (403, "allowed-hosts"), (404, "alias"), (500, "log")]
)
def test_refusals_name_the_remedy_and_never_the_secret(
    hostile: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, remedy: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "u")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hush-hush")
    hostile.answers["alias"] = (status, {}, b"no")
    with pytest.raises(RegistryError, match=remedy) as caught:
        fetch("models:/m@champion", tmp_path / "cache")
    assert "hush-hush" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"model_version": 3}', b"{}", b'{"model_version": {}}'])
def test_an_answer_that_is_no_mlflow_s(hostile: Any, tmp_path: Path, body: bytes) -> None:
    hostile.answers["alias"] = (200, {}, body)
    with pytest.raises(RegistryError):
        fetch("models:/m@champion", tmp_path / "cache")


@pytest.mark.parametrize("uri", ["", "sqlite:///mlflow.db", "file:///tmp/mlruns", "mlruns", "databricks"])
def test_a_tracking_uri_that_is_not_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(RegistryError, match=r"is no http address.*mlflow server.*or load from a store"):
        fetch("models:/m@champion", tmp_path / "cache")


@pytest.mark.parametrize(
    "uri", ["models:/", "models:/m", "models:/m@", "models:/m/x", "models:/m@a/b", "models:/a/b@c"]
)
def test_an_address_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(RegistryError, match="models:/NAME@ALIAS"):
        fetch(uri, tmp_path / "cache")


def test_a_server_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with pytest.raises(RegistryError, match=f"nothing listens.*127.0.0.1:{port}"):
        fetch("models:/m@champion", tmp_path / "cache")


def test_a_cache_that_cannot_be_written(hostile: Any, make_bundle: Any, tmp_path: Path) -> None:
    make_bundle().write(tmp_path / "bundle")
    serve(hostile, tmp_path / "bundle")
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(BeastmodeError):
        fetch("models:/m@champion", tmp_path / "cache")
    shutil.rmtree(tmp_path / "bundle")
