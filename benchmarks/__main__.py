"""Run a benchmark by its name: `python -m benchmarks NAME ...`."""

import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = {
    "clusters": "benchmarks.clusters",
    "coldstart": "benchmarks.coldstart",
    "crash": "benchmarks.crash",
    "decision": "benchmarks.decision",
    "estimators": "benchmarks.estimators",
    "eviction": "benchmarks.eviction",
    "experiments": "benchmarks.experiments",
    "follower": "benchmarks.follower",
    "forecast": "benchmarks.forecast",
    "frontier": "benchmarks.frontier",
    "fuzz": "benchmarks.fuzz",
    "gate": "benchmarks.gate",
    "growth": "benchmarks.growth",
    "guarantee": "benchmarks.guarantee",
    "improve": "benchmarks.improve",
    "ingest": "benchmarks.ingest",
    "loader": "benchmarks.loader",
    "logs": "benchmarks.logs",
    "peers": "benchmarks.peers",
    "probes": "benchmarks.probes",
    "selector": "benchmarks.selector",
    "semantic": "benchmarks.semantic",
    "tiers": "benchmarks.tiers",
    "usage": "benchmarks.usage",
    "warmer": "benchmarks.warmer",
}
"""Each module has `main(arguments) -> exit status`; it is imported when it is called for."""


def main(arguments: Sequence[str]) -> int:
    """Hand the arguments to the benchmark that the first of them names."""
    if not arguments or arguments[0] not in COMMANDS:
        print(f"usage: python -m benchmarks NAME [options]; NAME is one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return int(import_module(COMMANDS[arguments[0]]).main(arguments[1:]))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
