"""What is said in a prompt stays in the lake, and a secret does not even get there."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines import logs
from pipelines.context import Context
from pipelines.costs import costs
from pipelines.improve import improve
from pipelines.settings import load
from tests.pipelines.lakes import content

AT = datetime(2026, 3, 1, tzinfo=UTC)
SECRET = "sk-" + "proj-" + "Q7f3" * 12
WORD = "zanzibarcanary7731"
"""No secret by its looks: prompts may hold it, and so may the lake."""


def planted(log: Path) -> None:
    """Put the secret and the word into every tenth prompt of a LiteLLM log."""
    lines = log.read_bytes().splitlines()
    for number in range(0, len(lines), 10):
        record = json.loads(lines[number])
        for message in record["proxy_server_request"].get("messages") or ():
            message["content"] += f" {WORD} my key is {SECRET}"
        lines[number] = json.dumps(record).encode()
    log.write_bytes(b"\n".join(lines) + b"\n")


def holding(root: Path, canary: str, *but: Path) -> list[Path]:
    files = [path for path in root.rglob("*") if path.is_file() and not any(path.is_relative_to(b) for b in but)]
    return [path for path in files if canary.encode() in path.read_bytes()]


@pytest.mark.slow
def test_a_planted_canary_reaches_no_bundle_artifact_or_report(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "workspace"
    root.mkdir()
    shutil.copy(database, root / "mlflow.db")
    context = Context.open(load("small", [f"paths.root={root}"]))
    logs.replayed(context)
    planted(context.workspace.logs / "litellm.jsonl")
    report = logs.ingest(context, AT)
    assert report.redacted >= report.written // 20
    turn = improve(context, AT)
    spent = costs(context)
    assert turn.compared.path.is_file()
    assert spent.path.is_file()
    kept = json.dumps(content(context.workspace.lake), default=str)
    assert (WORD in kept, SECRET in kept) == (True, False)
    for canary in (SECRET, WORD):
        assert holding(root, canary, context.workspace.logs, context.workspace.lake) == []
