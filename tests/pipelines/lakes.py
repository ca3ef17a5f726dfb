"""What tests of the lake share: a world's logs on disk, and all that a lake holds."""

import json
from pathlib import Path
from typing import Any

from features.formats import FORMATS, feedback
from features.worlds.world import World
from pipelines.columns import SCHEMAS
from pipelines.lake import Lake


def write(world: World, folder: Path, name: str = "litellm") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl"
    with path.open("wb") as stream:
        writer = FORMATS[name].write
        assert writer is not None
        writer(stream, world.interactions)
    with (folder / "feedback.jsonl").open("wb") as stream:
        feedback.write(stream, world.feedback)
    return path


def content(root: Path | str) -> list[dict[str, Any]]:
    """Everything that a lake holds, in an order of its own."""
    lake = Lake(root)
    told = [row for table in SCHEMAS for row in lake.read(table, lake.days(table)).to_pylist()]
    return sorted(told, key=lambda row: json.dumps(row, sort_keys=True, default=str))


def secretive(world: World, folder: Path) -> tuple[Path, str]:
    """A log with the same secret in a prompt, an error, a word of feedback and a line that is no log."""
    path = write(world, folder)
    canary = "sk-" + "proj-" + "Q7f3" * 12
    lines = path.read_bytes().splitlines(keepends=True)
    record = json.loads(lines[0])
    record["proxy_server_request"]["messages"] = [{"role": "user", "content": f"my key is {canary} hide it"}]
    failed = {**json.loads(lines[1]), "status": "failure"}
    failed["metadata"] = {"error_information": {"error_class": "AuthenticationError", "error_message": f"bad {canary}"}}
    lines[:2] = [json.dumps(record).encode() + b"\n", json.dumps(failed).encode() + b"\n"]
    path.write_bytes(b"".join(lines) + b"not json " + canary.encode() + b"\n")
    with (folder / "feedback.jsonl").open("ab") as stream:
        word = {"request_id": "r1", "signal": "comment", "value": f"it printed {canary}", "at": "2025-02-01T00:00:00Z"}
        stream.write(json.dumps(word).encode() + b"\n")
    return path, canary
