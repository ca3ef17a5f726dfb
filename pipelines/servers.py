"""MLflow's and Prefect's servers on this machine's loopback: started, waited for, and stopped together."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.workspace import Workspace

WAIT_SECONDS = 120.0


class ServerError(RuntimeError):
    """A server that did not come up; the message names its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server to be started."""

    name: str
    address: str
    health: str
    arguments: tuple[str, ...]
    """Of Python's -m."""
    environment: Mapping[str, str] = field(default_factory=dict)


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def mlflow_server(workspace: Workspace, port: int | None = None) -> Server:
    """Return the tracking server over the workspace's database."""
    port = port or free_port()
    address = f"http://127.0.0.1:{port}"
    database = f"sqlite:///{workspace.root / 'mlflow.db'}"
    return Server("MLflow", address, f"{address}/health", (
        "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", database, "--artifacts-destination", workspace.artifacts.as_uri(),
    ))  # fmt: skip


def prefect_server(workspace: Workspace, port: int | None = None) -> Server:
    """Return Prefect's server over the workspace's database, its scheduler included."""
    port = port or free_port()
    address = f"http://127.0.0.1:{port}"
    arguments = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    # The dashboard asks port 4200 whatever port its server listens on, unless it is told.
    return Server("Prefect", address, f"{address}/api/health", arguments, {"PREFECT_UI_API_URL": f"{address}/api"})


@contextmanager
def running(workspace: Workspace, *servers: Server) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Run servers inside the block; raises ServerError when one of them does not answer in time."""
    workspace.root.mkdir(parents=True, exist_ok=True)
    processes: list[subprocess.Popen[bytes]] = []
    before = signal.getsignal(signal.SIGTERM)
    # Ended from outside, the block still ends its servers. Only the main thread may say so.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        for server in servers:
            environment = {**workspace.environment(), **os.environ, "PREFECT_SERVER_LOGGING_LEVEL": "WARNING"}
            environment |= server.environment
            for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
                environment.pop(name, None)
            command = [sys.executable, "-m", *server.arguments]
            with _log(workspace, server).open("wb") as log:
                # A session of its own, so that the workers it starts end with it.
                processes.append(
                    subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
                )
        for server, process in zip(servers, processes, strict=True):
            _wait(server, process, _log(workspace, server))
        yield processes
    finally:
        for process in processes:
            _stop(process)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _log(workspace: Workspace, server: Server) -> Path:
    return workspace.root / f"{server.name.lower()}-server.log"


def _wait(server: Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"{server.name} ended with code {process.returncode}: read {log}")
        try:
            with urllib.request.urlopen(server.health, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise ServerError(f"{server.name} did not answer at {server.health} within {WAIT_SECONDS:g} s: read {log}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
