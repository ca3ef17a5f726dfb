"""MLflow's and Prefect's pages on this machine, until interrupted."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request

from pipelines.servers import ServerError, mlflow_server, prefect_server, running
from pipelines.tracking import VIEW, VIEW_TAG
from pipelines.workspace import Workspace


def show(
    workspace: Workspace, experiment: str, mlflow_port: int | None = None, prefect_port: int | None = None
) -> None:
    """Run both servers and write their addresses once they answer; raises ServerError when one of them ends."""
    mlflow, prefect = mlflow_server(workspace, mlflow_port), prefect_server(workspace, prefect_port)
    with running(workspace, mlflow, prefect) as processes:
        print(f"MLflow   {runs_page(mlflow.address, experiment)}")  # noqa: T201 - what it is for
        print(f"Prefect  {prefect.address}")  # noqa: T201
        print("Ctrl-C stops both.", flush=True)  # noqa: T201
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
    raise ServerError(f"a server ended by itself: read the logs {workspace.root}/*-server.log")


def runs_page(address: str, experiment: str) -> str:
    """Return the page of an experiment's runs, with their verdicts, since MLflow opens on another.

    Its front page where there is no such experiment.
    """
    query = urllib.parse.urlencode({"experiment_name": experiment})
    try:
        with urllib.request.urlopen(f"{address}/api/2.0/mlflow/experiments/get-by-name?{query}", timeout=20) as answer:
            found = json.load(answer)["experiment"]
    except urllib.error.HTTPError:
        return address
    shown = {"workflowType": "machine_learning"}
    if any(tag["key"] == VIEW_TAG for tag in found.get("tags", ())):
        shown["viewStateShareKey"] = VIEW
    return f"{address}/#/experiments/{found['experiment_id']}/runs?{urllib.parse.urlencode(shown)}"
