"""Does the loop promote what is better, and nothing else? Twenty worlds, each from a log to a verdict.

    python -m benchmarks improve --arm full --seeds 20 --json OUT

Arms: `full`, every request asked of every candidate; `shuffled`, its twin whose scores are permuted over the prompts,
so that nothing can be learned; `logs`, an exploring log (epsilon .2) with 500 probes, whose stated value is held
against the world's truth; `stripped`, that log without its decisions, so that propensities are estimated: what is
stated is held against the truth all the same, and nothing may be promoted. Each seed runs in a process of its own,
through the same functions as the flow, and is kept in OUT as soon as it is done: run the command again to go on.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

AT = datetime(2026, 1, 1, tzinfo=UTC)
"""As of when the worlds are learned from: long after the last feedback came."""

ARMS: dict[str, tuple[str, ...]] = {
    "full": ("replay.world.probe_share=1.0",),
    "shuffled": ("replay.world.probe_share=1.0", "replay.world.shuffled=true"),
    "logs": ("replay.world.epsilon=0.2", "replay.world.probe_share=0.0", "replay.world.probes=500"),
    "stripped": (
        "replay.world.epsilon=0.2",
        "replay.world.probe_share=0.0",
        "replay.world.probes=500",
        "replay.world.strip_decisions=true",
    ),
}
REFERENCES = ("champion", "best single", "tuned kNN")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds that OUT does not hold yet, and print the summary."""
    options = _parser().parse_args(arguments)
    if options.one is not None:
        with tempfile.TemporaryDirectory(dir=options.scratch) as root:
            print(json.dumps(one(options.arm, options.one, options.config, Path(root), options.set)))
        return 0
    out = Path(options.json)
    known = json.loads(out.read_text()) if out.is_file() else {}
    done: dict[str, Any] = dict(known.get("seeds", {}))
    told = {"arm": options.arm, "config": options.config, "overrides": list(options.set)}
    if done and {key: known.get(key) for key in told} != told:
        print(f"{out} holds other runs than {told}; name another file", file=sys.stderr)
        return 2
    wanted = [seed for seed in range(options.seeds) if str(seed) not in done]
    with ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(_process, seed, options): seed for seed in wanted}
        for future in as_completed(running):
            done[str(running[future])] = future.result()
            ordered = {key: done[key] for key in sorted(done, key=int)}
            _write(out, {**told, "summary": summary(ordered), "seeds": ordered})
            print(f"seed {running[future]}: {_line(future.result())}", file=sys.stderr, flush=True)
    print(json.dumps(json.loads(out.read_text())["summary"], indent=1))
    return 0


def one(arm: str, seed: int, config: str, root: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Return what the loop says of one world, beside that world's truth."""
    from pipelines import logs
    from pipelines.context import Context
    from pipelines.improve import improve
    from pipelines.settings import load
    from pipelines.workspace import Workspace, apply

    settings = load(config, [f"paths.root={root}", f"seed={seed}", *ARMS[arm], *overrides])
    apply(Workspace.of(root).environment())
    context = Context.open(settings)
    replayed = logs.replayed(context)
    loss = logs.ingest(context, AT)
    turn = improve(context, AT)
    judgement, test = turn.judgement, turn.training.test
    found: dict[str, Any] = {
        "verdict": judgement.verdict,
        "reason": judgement.reason,
        "refused": judgement.refused,
        "propensities": "estimated" if judgement.estimated else "as logged",
        "withstands": judgement.estimated.withstands if judgement.estimated else None,
        "n_train": turn.training.train_rows,
        "n_test": len(test),
        "written": loss.written,
        "without_propensity": loss.without_propensity,
        "adds_up": loss.adds_up,
        "best_single": turn.training.best_single,
        "challenger": _stated(judgement.values.get("challenger", {})),
        "truth": None if judgement.refused else truth(turn.training.bundle, test, replayed.world.truth),
    }
    for c in judgement.comparisons:
        if c.reference in REFERENCES and c.metric in ("utility", "quality"):
            found[f"{c.metric} over {c.reference}"] = {
                "difference": c.difference, "low": c.low, "high": c.high, "se": c.se, "verdict": c.verdict,
            }  # fmt: skip
    return found


def truth(bundle: Any, test: Any, world: Any) -> dict[str, float]:
    """Return what the challenger would have earned on the held-out requests, as the world alone knows."""
    from pipelines.evaluation import contestant

    row = {name: i for i, name in enumerate(world.request_ids.tolist())}
    # A log without decisions does not say which requests were probes of others: those are known by their text.
    asked = {text: i for i, text in enumerate(world.texts)}
    known = zip(test.request_ids.tolist(), test.texts, strict=True)
    rows = [row[name] if name in row else asked[text] for name, text in known]
    columns = [world.candidates.index(name) for name in test.candidates]
    drawn = contestant(bundle, test).probabilities
    quality, cost, latency = (getattr(world, name)[rows][:, columns] for name in ("quality", "cost_usd", "latency_ms"))
    utility = bundle.objective.utility(quality, cost, latency)
    return {name: float((drawn * v).sum(axis=1).mean()) for name, v in (("utility", utility), ("quality", quality))}


def _stated(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        metric: {"value": e.value, "low": e.low, "high": e.high, "n": e.n, "effective": e.effective}
        for metric, e in values.items()
    }


def summary(seeds: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the counts over all seeds, and the mean paired differences."""
    rows = list(seeds.values())
    told: dict[str, Any] = {"n": len(rows)}
    for verdict in ("promote", "hold", "reject"):
        told[verdict] = sum(row["verdict"] == verdict for row in rows)
    told["refused"] = sum(row["refused"] is not None for row in rows)
    told["estimated"] = sum(row.get("propensities") == "estimated" for row in rows)
    told["adds_up"] = sum(row["adds_up"] for row in rows)
    valued = [row for row in rows if row["challenger"]]
    for metric in ("utility", "quality"):
        stated = [(row["challenger"][metric], row["truth"][metric]) for row in valued]
        told[f"{metric}_interval_covers_truth"] = sum(s["low"] <= true <= s["high"] for s, true in stated)
        for reference in REFERENCES:
            known = [row[f"{metric} over {reference}"] for row in rows if f"{metric} over {reference}" in row]
            if known:
                told[f"{metric} over {reference}"] = {
                    "mean_difference": sum(k["difference"] for k in known) / len(known),
                    "proven_better": sum(k["low"] > 0 for k in known),
                    "proven_worse": sum(k["high"] < 0 for k in known),
                }
    told["valued"] = len(valued)
    return told


def _line(row: Mapping[str, Any]) -> str:
    return f"{row['verdict']}: {row['reason']}"


def _process(seed: int, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.improve", "--arm", options.arm, "--config", options.config,
               "--one", str(seed), *[part for text in options.set for part in ("--set", text)]]  # fmt: skip
    if options.scratch:
        command += ["--scratch", options.scratch]
    if options.data:
        command += ["--set", f"paths.data={options.data}"]
    # One thread each: busy trees on shared cores only wait for each other.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"seed {seed} ended with code {done.returncode}:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _write(out: Path, known: Mapping[str, Any]) -> None:
    draft = out.with_suffix(".draft")
    draft.write_text(json.dumps(known, indent=1) + "\n")
    draft.replace(out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks improve", description=__doc__.splitlines()[0])
    parser.add_argument("--arm", choices=tuple(ARMS), required=True)
    parser.add_argument("--seeds", type=int, default=20, help="how many; 0, 1, 2, ...")
    parser.add_argument("--config", default="real")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--data", help="folder of outcome tables; BEASTMODE_DATA by default")
    parser.add_argument("--jobs", type=int, default=2, help="seeds at a time, each in a process of its own")
    parser.add_argument("--json", default="improve.json", help="where results are kept, and taken up again")
    parser.add_argument("--scratch", help="folder for the seeds' workspaces, removed when done")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
