import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from pipelines.serve import serve
from pipelines.settings import SettingsError, parse
from pipelines.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]


def test_nothing_scheduled_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"add a block \[\[schedules\]\]"):
        serve(parse({}))


def test_a_schedule_of_an_unknown_configuration_is_refused_at_the_start() -> None:
    with pytest.raises(SettingsError, match="did you mean 'small'"):
        serve(parse({"schedules": [{"flow": "ingest", "config": "smal", "interval_seconds": 5}]}))


def completed(address: str) -> list[dict]:
    body = json.dumps({"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}).encode()
    request = urllib.request.Request(
        f"{address}/api/flow_runs/filter", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def _address(serving: subprocess.Popen) -> str:
    """Where the server that it started listens: its first line says so."""
    first = serving.stdout.readline()  # type: ignore[union-attr]
    assert first.startswith("Prefect http://127.0.0.1:"), f"ended with {serving.poll()} after {first!r}"
    return first.split()[1]


@pytest.mark.slow
def test_a_schedule_of_seconds_completes_a_run(tmp_path: Path) -> None:
    # With wrong versions of Prefect's dependencies a schedule is accepted and never runs: only a run that completes
    # shows that it works.
    root = tmp_path / "workspace"
    config = tmp_path / "seconds.toml"
    config.write_text(
        f'[paths]\nroot = "{root}"\n\n[[schedules]]\nflow = "replay"\nconfig = "small"\ninterval_seconds = 5\n'
        f'overrides = ["paths.root={root}", "replay.synthetic.prompts=40"]\n'
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    log = (tmp_path / "stderr.log").open("w")
    # Schedules run wherever they were started from.
    serving = subprocess.Popen(
        [sys.executable, "-m", "pipelines", "serve", "--config", str(config)],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "true"},
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    try:
        address = _address(serving)
        found: list[dict] = []
        deadline = time.monotonic() + 180
        while not found and time.monotonic() < deadline and serving.poll() is None:
            time.sleep(1)
            found = completed(address)
        assert found, (tmp_path / "stderr.log").read_text()[-3000:]
        assert found[0]["auto_scheduled"]
        assert (root / "logs" / "litellm.jsonl").stat().st_size > 0
    finally:
        # What a service manager sends; a shell's background job ignores SIGINT from birth.
        serving.send_signal(signal.SIGTERM)
        serving.wait(timeout=60)
        serving.stdout.close()  # type: ignore[union-attr]
        log.close()
    # Its server ends with it.
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(address, timeout=5)


def test_the_lease_of_a_run_that_was_killed_outlives_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody gives its slot back, and the flow's next runs wait for it for ever."""
    from prefect.settings import PREFECT_HOME, PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE, temporary_settings

    place = Workspace.of(tmp_path).environment()[PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE.name]
    storage = importlib.import_module(place).ConcurrencyLeaseStorage
    with temporary_settings({PREFECT_HOME: tmp_path}):
        lease = asyncio.run(storage().create_lease([uuid4()], timedelta(seconds=-1)))
        assert asyncio.run(storage().read_expired_lease_ids()) == [lease.id]
