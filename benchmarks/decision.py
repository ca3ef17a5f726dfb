"""What a decision costs: `python -m benchmarks decision --bundle B [B ...] --json OUT`.

Latency of `Router.route` on one thread for prompts of twenty and of some two hundred word pieces, what its parts take,
decisions per second one at a time and in batches, the bytes of the bundle, and what importing (the package alone, and
with the journal), loading and a first decision add to a process that has numpy. `route_*` is time on the wall, in which
a busy machine interrupts a decision; `cpu_*` is the processor's own time of the calling thread, in which it cannot.
Several bundles (one a rung, say) are measured one after the other. With `--rows 5000 100000` it also trains on so many
synthetic requests and says how large the bundles are. Times on a shared machine drift, so everything is also
given as a ratio to a 512 × 512 float32 matrix product, taken between the other measurements of the same run.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

# One thread, whatever the linear algebra would like: read when numpy is first imported, here or in a child.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

UNDISTURBED = 0.1
"""The quantile of the matrix product's times to compare with: it is long enough to be interrupted half of the time on a
busy machine, which says nothing about the machine's speed."""

SHORT = (
    "What is the capital of Australia, and since when?",
    "Fix this sentence: he go to school yesterday by the bus.",
    "Which of these is a noble gas? A. oxygen B. neon C. chlorine D. iron",
)
TWENTY = (
    "What is the capital of Australia, since when, and which city was it before that?",
    "Please fix this one sentence for me now: he go to school yesterday by the bus.",
    "Which of these is a noble gas at room temperature? A. oxygen B. neon?",
)
"""Of 20 word pieces, the two markers of a transformer among them."""
LONG = tuple(
    f"Case {number}. A company of {number * 7} people leases machines at ${number * 113}.50 a month and must decide by "
    "the end of the quarter whether to buy them instead. "
    * 6
    + "Consider depreciation, taxes and the cost of capital; list every assumption; then answer with one of: "
    "(A) lease (B) buy (C) wait. Explain the steps that lead to the answer, and what would change it."
    for number in (3, 5, 8)
)
"""About 1,100 characters each: 205 to 280 word pieces."""

_IMPORT = """
import re, resource, sys, time
start = time.process_time()
{code}
seconds = time.process_time() - start
try:
    # Since this program began; `ru_maxrss` may still hold what its parent had when it forked.
    kib = float(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
except (OSError, TypeError):
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
print(seconds, kib)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON where asked to; returns 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks decision", description=__doc__.partition("\n")[0])
    parser.add_argument("--bundle", nargs="+", required=True, help="folders, stores, or models:/NAME@ALIAS")
    parser.add_argument("--rows", type=int, nargs="+", default=[], help="train on so many requests, and weigh that")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--decisions", type=int, default=3000, help="decisions a measurement")
    parser.add_argument("--processes", type=int, default=5, help="fresh processes for each import; the fastest counts")
    options = parser.parse_args(arguments)
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):
        # numpy has its threads by now: measure in a process that never had them.
        command = [sys.executable, "-m", "benchmarks.decision", *(sys.argv[2:] if arguments is None else arguments)]
        return subprocess.run(command, check=False, env={**os.environ, **ONE_THREAD}).returncode
    each = [measure(source, options.decisions, options.processes) for source in options.bundle]
    found: dict[str, Any] = each[0] if len(each) == 1 else {"bundles": each}
    if options.rows:
        found["bytes_by_rows"] = {str(rows): _weight(rows) for rows in options.rows}
    text = json.dumps(found, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def measure(source: str, decisions: int, processes: int) -> dict[str, Any]:
    """Return the numbers for the bundle at `source`; times in milliseconds, memory in mebibytes."""
    from beastmode.loading import load_bundle
    from beastmode.router import Router

    bundle = load_bundle(source)
    router = Router(bundle, seed=0)
    product = matrix_product()
    found: dict[str, Any] = {
        "bundle": bundle.name,
        "bundle_sha256": bundle.sha256,
        "candidates": len(bundle.candidates),
        "encoder": bundle.encoder.kind,
        "columns": bundle.encoder.width,
        "bundle_bytes": sum(map(len, bundle.files().values())),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "decisions": decisions,
    }
    matmul = []
    for name, prompts in (("short", SHORT), ("twenty", TWENTY), ("long", LONG)):
        turn = count()
        decide = partial(_decide, router, prompts, turn)
        # Taken in turns, so that whatever else the machine does slows both alike.
        taken, own, products = alternating(decide, product, decisions)
        batch, batch_own = _batches(bundle, prompts)
        found[name] = {
            "chars": round(sum(map(len, prompts)) / len(prompts)),
            "route_p10_ms": round(quantile(taken, UNDISTURBED), 4),
            "route_p50_ms": round(quantile(taken, 0.5), 4),
            "route_p99_ms": round(quantile(taken, 0.99), 4),
            "cpu_p50_ms": round(quantile(own, 0.5), 4),
            "cpu_p99_ms": round(quantile(own, 0.99), 4),
            "parts_p50_ms": parts(router, prompts, decisions),
            "per_second": round(1000 * len(taken) / sum(taken)),
            "batch_per_second": batch,
            "batch_per_cpu_second": batch_own,
            "route_p50_per_matmul": round(quantile(taken, 0.5) / quantile(products, UNDISTURBED), 4),
            "route_p99_per_matmul": round(quantile(taken, 0.99) / quantile(products, UNDISTURBED), 4),
        }
        matmul += products
    found["matmul_512_ms"] = round(quantile(matmul, UNDISTURBED), 4)
    found["import"] = imports(source, processes, found["matmul_512_ms"])
    return found


def matrix_product() -> Callable[[], Any]:
    """Return a function that multiplies two 512 × 512 float32 matrices."""
    import numpy as np

    left, right = np.random.default_rng(0).random((2, 512, 512), dtype=np.float32)
    return lambda: left @ right


def timed(act: Callable[[], Any], times: int, clock: Callable[[], int] = time.perf_counter_ns) -> list[float]:
    """Return how long each of so many calls took, in milliseconds, sorted; the first tenth warms up uncounted.

    `clock` tells nanoseconds.
    """
    for _ in range(max(times // 10, 1)):
        act()
    taken = []
    for _ in range(times):
        start = clock()
        act()
        taken.append((clock() - start) / 1e6)
    return sorted(taken)


def alternating(
    act: Callable[[], Any], other: Callable[[], Any], times: int, block: int = 50
) -> tuple[list[float], list[float], list[float]]:
    """Return how long the calls of `act` took on the wall, then of the thread's own time, and those of `other` took.

    One of the latter comes after each two blocks of the former. Either block has one clock: to ask for a thread's time
    is a call of the system, after which the next decision is slower by a tenth.
    """
    taken, own, others = [], [], []
    for _ in range(max(times // block, 1)):
        taken += timed(act, block)
        own += timed(act, block, time.thread_time_ns)
        others += timed(other, 1)
    return taken, own, others


def quantile(taken: Sequence[float], q: float) -> float:
    """Return the value under which the share `q` of the values lies."""
    return sorted(taken)[min(int(len(taken) * q), len(taken) - 1)]


def _decide(router: Any, prompts: Sequence[str], turn: Iterator[int]) -> None:
    router.route(prompts[next(turn) % len(prompts)])


def parts(router: Any, prompts: Sequence[str], times: int) -> dict[str, float]:
    """Return the median milliseconds of a decision's parts; the rest is what whole decisions took beyond them.

    Whole ones and parts take turns, so that each finds the machine and its caches alike.
    """
    import numpy as np

    bundle, clock = router.bundle, time.perf_counter_ns
    found: dict[str, list[float]] = {"route": [], "encode": [], "score": [], "policy": []}
    everyone = np.ones((1, len(bundle.candidates)), dtype=bool)
    for turn in range(times):
        prompt = prompts[turn % len(prompts)]
        tokens = np.array([len(prompt) / 4])
        moments = [clock()]
        router.route(prompt)
        moments.append(clock())
        encoding = bundle.encoder.encode((prompt,))
        moments.append(clock())
        quality = bundle.scorer.predict(encoding, tokens).quality
        moments.append(clock())
        bundle.policy.probabilities(quality, everyone)
        moments.append(clock())
        for each, before, after in zip(found.values(), moments, moments[1:], strict=False):
            each.append((after - before) / 1e6)
    medians = {name: quantile(each, 0.5) for name, each in found.items()}
    medians["rest"] = 2 * medians["route"] - sum(medians.values())
    return {name: round(each, 4) for name, each in medians.items()}


def _batches(bundle: Any, prompts: Sequence[str]) -> tuple[int, int]:
    """Return decisions per second, and per second of the thread's own time, where requests come 256 at a time."""
    texts = [f"{prompts[i % len(prompts)]} {i}" for i in range(256)]
    # Twelve batches of numpy's take a second; of a transformer's one is enough.
    times = 12 if bundle.encoder.kind == "static" else 1
    clocks = (time.perf_counter_ns, time.thread_time_ns)
    wall, own = (quantile(timed(lambda: bundle.probabilities(texts), times, clock), 0.5) for clock in clocks)
    return round(256_000 / wall), round(256_000 / own)


def _weight(rows: int) -> dict[str, int]:
    """Return the bytes of the whole bundle that so many requests train, and those of its tables."""
    files = bundle_files(rows)
    parts = {name: len(files[f"{name}.npz"]) for name in ("encoder", "scorer")}
    return {"bundle_bytes": sum(map(len, files.values())), **parts}


def bundle_files(rows: int, **learning: int) -> dict[str, bytes]:
    """Return the files of the bundle that so many synthetic requests train, every candidate known for each.

    Nothing is tuned: what is tried weighs nothing. The encoder has no teacher; one adds the same table to any bundle.
    """
    from beastmode.objective import Objective
    from features.worlds.synthetic import CANDIDATES, SyntheticSettings, outcomes
    from models import exporting, recipes
    from models.fitted import Learning

    table, _ = outcomes(SyntheticSettings(prompts=rows), 0)
    settings = recipes.Settings(learning=Learning(trials=0, **learning))
    candidates = [candidate for candidate, _, _ in CANDIDATES]
    trained = recipes.train(table, settings, 0, candidates=candidates, objective=Objective())
    return exporting.bundle(trained, name="b", created="", training={}, evaluation={}).files()


def imports(source: str, processes: int, matmul_ms: float) -> dict[str, float]:
    """Return what importing costs in fresh processes: numpy alone, beastmode, and what an application adds to that.

    `journal` imports the journal as well; `loaded` loads the bundle in place of it, and `routed` decides once, too.
    Milliseconds are the processor's own, so that a busy machine does not count against any of the three.
    """
    load = f"import beastmode\nrouter = beastmode.Router.load({source!r})"
    codes = {
        "numpy": "import numpy", "beastmode": "import beastmode",
        "beastmode_journal": "from beastmode import Journal, Router", "beastmode_loaded": load,
        "beastmode_routed": f"{load}\nrouter.route('hi')",
    }  # fmt: skip
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as compiled:
        # Bytecode is there, as it is for what pip installed; the first run of each writes it, and is not counted.
        # In turns: a machine that slows down slows all of them.
        rounds = [{name: _process(code, compiled) for name, code in codes.items()} for _ in range(processes + 1)][1:]
        runs_of = {name: [each[name] for each in rounds] for name in codes}
    for name, runs in runs_of.items():
        found[f"{name}_ms"] = round(min(seconds for seconds, _ in runs) * 1000, 2)
        found[f"{name}_mib"] = round(min(kib for _, kib in runs) / 1024, 2)
    for name in list(codes)[1:]:
        found[f"{name}_time_ratio"] = round(found[f"{name}_ms"] / found["numpy_ms"], 3)
        found[f"{name}_memory_ratio"] = round(found[f"{name}_mib"] / found["numpy_mib"], 3)
        found[f"{name}_per_matmul"] = round(found[f"{name}_ms"] / matmul_ms, 2)
    return found


def _process(code: str, compiled: str) -> tuple[float, float]:
    """Return the processor seconds that some code takes in a fresh process, and the memory that it has had, in KiB."""
    environment = {**os.environ, **ONE_THREAD, "PYTHONPYCACHEPREFIX": compiled}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _IMPORT.format(code=code)],
        check=True, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    seconds, kib = map(float, done.stdout.split())
    return seconds, kib


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
