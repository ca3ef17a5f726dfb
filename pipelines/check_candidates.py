"""Call every candidate of the catalogue once, and report its health, its latency, and what to do where it fails."""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from beastmode.candidates import Candidate
from beastmode.errors import ERROR_TYPES, ErrorType, classify, tip
from beastmode.explanation import aligned
from pipelines import catalogue
from pipelines.probe_calls import host_of, send
from pipelines.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Health:
    """What came of one call."""

    candidate: str
    status: str
    """healthy, failing, or skipped."""
    latency_ms: float | None = None
    http_status: int | None = None
    model_served: str | None = None
    error_type: str | None = None
    message: str = ""
    """What the provider said, and what to do."""


def check(
    candidates: Sequence[Candidate],
    environment: Mapping[str, str],
    *,
    timeout_seconds: float = 20.0,
    free: bool = False,
) -> list[Health]:
    """Call each candidate, at most eight at a time, for an answer of one token; `free` only lists its models.

    `environment` holds the keys under the names that the catalogue gives.
    """
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda one: check_one(one, environment, timeout_seconds, free), candidates))


def check_one(
    candidate: Candidate, environment: Mapping[str, str], timeout_seconds: float, free: bool = False
) -> Health:
    """Call one candidate; whatever goes wrong is in what it returns, never raised."""
    if candidate.base_url is None:
        return Health(candidate.name, "skipped", message="it has no base_url; add one to its block to have it called")
    key = None if candidate.api_key_env is None else environment.get(candidate.api_key_env)
    if candidate.api_key_env is not None and not key:
        message = (
            f"the variable {candidate.api_key_env} is not set; export the key of {candidate.provider or 'its host'}"
        )
        return Health(candidate.name, "failing", error_type="provider_authentication", message=message)
    start = time.perf_counter()
    try:
        status, body = _call(candidate, key, timeout_seconds, free)
        if status == 400 and b"max_completion_tokens" in body and not free:
            # Newer models refuse the older name of the limit, and say so.
            status, body = _call(candidate, key, timeout_seconds, free, "max_completion_tokens")
        elapsed = (time.perf_counter() - start) * 1000
        if status >= 400:
            said = body.decode(errors="replace")[:300].strip()
            return _failing(candidate, classify(status=status, message=said), elapsed, status, said)
    except Exception as error:
        elapsed = (time.perf_counter() - start) * 1000
        return _failing(candidate, classify(error), elapsed, None, f"{type(error).__name__}: {error}")
    return _answered(candidate, body, elapsed, status, free)


def _call(
    candidate: Candidate, key: str | None, timeout: float, free: bool, limit: str = "max_tokens"
) -> tuple[int, bytes]:
    body = {
        "model": candidate.endpoint.model,
        "messages": [{"role": "user", "content": "Say yes."}],
        limit: 1,
    }
    path = "models" if free else "chat/completions"
    status, _, said = send(candidate, key, path, None if free else body, timeout)
    return status, said


def _answered(candidate: Candidate, body: bytes, elapsed: float, status: int, free: bool) -> Health:
    """Return the health of a candidate that answered: healthy where the answer is an OpenAI-compatible one."""
    model = candidate.endpoint.model
    try:
        known = json.loads(body)
        listed = [entry["id"] for entry in known["data"]] if free else None
        served = model if free else (known["choices"][0] and known.get("model"))
    except (ValueError, LookupError, TypeError, AttributeError):
        said = body[:200].decode(errors="replace")
        return _failing(candidate, ERROR_TYPES["provider_bad_response"], elapsed, status, said)
    if listed is not None and model not in listed:
        said = f"{model!r} is not among the {len(listed)} models it lists"
        return _failing(candidate, ERROR_TYPES["provider_not_found"], elapsed, status, said)
    return Health(candidate.name, "healthy", elapsed, status, served)


def _failing(candidate: Candidate, kind: ErrorType, elapsed: float, status: int | None, said: str) -> Health:
    known = {
        "candidate": candidate.name,
        "host": host_of(candidate),
        "key": candidate.api_key_env,
        "elapsed_ms": elapsed,
    }
    return Health(candidate.name, "failing", elapsed, status, None, kind.name, f"{tip(kind, known)} [{said}]")


def lines(found: Sequence[Health]) -> list[str]:
    """Return a table that a person wants to read, and below it what to do about each failure."""
    table: list[tuple[str, ...]] = [("candidate", "health", "ms", "http", "error")]
    for health in found:
        latency = "-" if health.latency_ms is None else f"{health.latency_ms:.0f}"
        table.append(
            (health.candidate, health.status, latency, str(health.http_status or "-"), health.error_type or "-")
        )
    notes = [f"{health.candidate}: {health.message}" for health in found if health.message]
    return [*aligned(table), *([""] if notes else []), *notes]


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a catalogue and print what came of it; returns 1 where a candidate fails, 2 where there is none."""
    parser = argparse.ArgumentParser(prog="python -m pipelines check-candidates", description=__doc__)
    parser.add_argument("catalogue", nargs="?", default="configs/candidates.toml", type=Path)
    parser.add_argument("--free", action="store_true", help="list the models instead of asking for one token")
    parser.add_argument("--timeout-seconds", type=float, default=20.0)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    options = parser.parse_args(arguments)
    try:
        candidates = catalogue.read(options.catalogue)
    except SettingsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    found = check(candidates, os.environ, timeout_seconds=options.timeout_seconds, free=options.free)
    known: list[dict[str, Any]] = [asdict(health) for health in found]
    sys.stdout.write((json.dumps(known, indent=1) if options.json else "\n".join(lines(found))) + "\n")
    return 1 if any(health.status == "failing" for health in found) else 0


if __name__ == "__main__":
    sys.exit(main())
