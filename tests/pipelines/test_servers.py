import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from pipelines.context import Context
from pipelines.servers import Server, ServerError, free_port, mlflow_server, running
from pipelines.ui import runs_page
from pipelines.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]


def plain(port: int) -> Server:
    address = f"http://127.0.0.1:{port}"
    return Server("plain", address, address, ("http.server", "--bind", "127.0.0.1", str(port)))


def test_a_server_answers_inside_the_block_and_is_gone_after_it(tmp_path: Path) -> None:
    server = plain(free_port())
    with running(Workspace.of(tmp_path), server), urllib.request.urlopen(server.address, timeout=5) as answer:
        assert answer.status == 200
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(server.address, timeout=5)


def test_a_server_that_ends_names_its_log(tmp_path: Path) -> None:
    broken = Server("broken", "http://127.0.0.1:9", "http://127.0.0.1:9", ("http.server", "--no-such-option"))
    with (
        pytest.raises(ServerError, match=r"ended with code 2: read .*broken-server.log"),
        running(Workspace.of(tmp_path), broken),
    ):
        pass
    assert "no-such-option" in (tmp_path / "broken-server.log").read_text()


@pytest.mark.slow
def test_ui_shows_both_pages_and_ends_them(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))}
    showing = subprocess.Popen(
        [sys.executable, "-m", "pipelines", "ui", "--config", "small", "--set", f"paths.root={tmp_path / 'w'}"],
        cwd=tmp_path, env={**environment, "PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "true"}, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        addresses = dict(showing.stdout.readline().split() for _ in range(2))  # type: ignore[union-attr]
        with urllib.request.urlopen(addresses["MLflow"], timeout=20) as page:
            assert b"MLflow" in page.read()
        with urllib.request.urlopen(f"{addresses['Prefect']}/ui-settings", timeout=20) as told:
            assert json.load(told)["api_url"] == f"{addresses['Prefect']}/api"
    finally:
        showing.send_signal(signal.SIGTERM)
        showing.wait(timeout=60)
        showing.stdout.close()  # type: ignore[union-attr]
    for address in addresses.values():
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(address, timeout=5)


def test_the_runs_page_is_the_front_page_where_nothing_was_tracked(tmp_path: Path) -> None:
    server = plain(free_port())
    with running(Workspace.of(tmp_path), server):
        assert runs_page(server.address, "none") == server.address


@pytest.mark.slow
def test_the_runs_page_opens_on_a_view_with_the_verdicts(context: Context) -> None:
    server = mlflow_server(context.workspace)
    name = context.settings.tracking.experiment
    context.tracker.ready()
    with running(context.workspace, server):
        page = runs_page(server.address, name)
        assert page.endswith("/runs?workflowType=machine_learning&viewStateShareKey=verdicts")
        query = f"{server.address}/api/2.0/mlflow/experiments/get-by-name?experiment_name={name}"
        with urllib.request.urlopen(query, timeout=20) as answer:
            tags = {tag["key"]: tag["value"] for tag in json.load(answer)["experiment"]["tags"]}
    shown = json.loads(tags["mlflow.sharedViewState.verdicts"])["selectedColumns"]
    assert {"tags.`verdict`", "tags.`reason`", "metrics.`utility_gain/over_champion`"} <= set(shown)
