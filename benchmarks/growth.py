"""How training grows: `python -m benchmarks growth --json OUT`.

Processor seconds of `recipes.train` on synthetic tables, against prompts at a fixed number of candidates and against
candidates at a fixed number of prompts, with each stage's share and the bytes of the exported bundle. An exponent is
the least-squares slope of the logarithms over the upper half of the sizes, where fixed costs have faded. The encoder is
the one of terms alone: embedding by a teacher is linear, and is remembered between runs.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from beastmode.candidates import Candidate, Price
from beastmode.objective import Objective
from beastmode.validity import plain
from features.table import Table
from features.worlds.synthetic import SyntheticSettings, outcomes
from models import exporting, recipes


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write the JSON; returns 0."""
    options = _parser().parse_args(arguments)
    settings = recipes.Settings.small() if options.small else recipes.Settings()
    sizes = [(n, options.at_candidates) for n in options.prompts]
    sizes += [(options.at_prompts, m) for m in options.candidates]
    rows = []
    for prompts, candidates in dict.fromkeys(sizes):
        rows.append(measure(*table(prompts, candidates, options.seed), settings, options.seed))
        print(json.dumps(plain(rows[-1])), file=sys.stderr, flush=True)
    result = {
        "rows": rows,
        "exponent_prompts": exponent(
            [(r["prompts"], r["seconds"]) for r in rows if r["candidates"] == options.at_candidates]
        ),
        "exponent_candidates": exponent(
            [(r["candidates"], r["seconds"]) for r in rows if r["prompts"] == options.at_prompts]
        ),
    }
    text = json.dumps(plain(result), indent=1)
    if options.json:
        Path(options.json).write_text(text + "\n")
    print(text)
    return 0


def table(prompts: int, candidates: int, seed: int) -> tuple[Table, tuple[Candidate, ...]]:
    """Return a probed table of made-up prompts, and its candidates: each good at topics of its own."""
    known, topics = outcomes(SyntheticSettings(prompts=prompts), seed)
    rng = np.random.default_rng([seed, candidates])
    names, topic = np.unique(np.array(topics), return_inverse=True)
    strength = rng.normal(0.5, 0.7, size=candidates) + rng.normal(0, 0.8, size=(len(names), candidates))
    logits = strength[topic] - rng.normal(0, 1, size=(prompts, 1))
    tokens = np.maximum(np.round(np.exp(rng.normal(5, 0.5, size=logits.shape))), 1)
    catalogue = tuple(
        Candidate(f"model-{j:02d}", price=Price(0.1 * 1.2**j, 0.4 * 1.2**j), context_tokens=128_000)
        for j in range(candidates)
    )
    price = np.array([[c.price.input_per_mtok, c.price.output_per_mtok] for c in catalogue])
    cost = (known.input_tokens[:, None] * price[:, 0] + tokens * price[:, 1]) / 1e6
    made = replace(
        known,
        candidates=tuple(c.name for c in catalogue),
        quality=(rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float64),
        cost_usd=cost,
        latency_ms=np.full(logits.shape, np.nan),
        output_tokens=tokens,
    )
    return made, catalogue


def measure(made: Table, catalogue: Sequence[Candidate], settings: recipes.Settings, seed: int) -> dict[str, Any]:
    """Return the processor seconds of a training, by stage, and the bytes of its bundle."""
    stages: dict[str, float] = {}
    last: list[tuple[str, float]] = []

    def say(stage: str, share: float) -> None:
        now = time.process_time()
        if last:
            name, since = last.pop()
            stages[name] = stages.get(name, 0.0) + now - since
        last.append((stage, now))

    started = time.process_time()
    trained = recipes.train(made, settings, seed, candidates=catalogue, objective=Objective(), progress=say)
    seconds = time.process_time() - started
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "bundle"
        exporting.bundle(trained, name="growth", created="2026-01-01T00:00:00+00:00", training={}, evaluation={}).write(
            written
        )
        size = sum(path.stat().st_size for path in written.iterdir())
    prompts, candidates = made.quality.shape
    return {"prompts": prompts, "candidates": candidates, "seconds": seconds, "stages": stages, "bundle_bytes": size}


def exponent(points: Sequence[tuple[int, float]]) -> float | None:
    """Return the power with which seconds grow over the upper half of the sizes, or None of fewer than two.

    >>> exponent([(1, 5.0), (2, 5.0), (10, 20.0), (100, 2000.0)])
    2.0
    """
    ordered = sorted(points)[len(points) // 2 :] if len(points) > 2 else sorted(points)
    if len(ordered) < 2:
        return None
    size, seconds = np.log(np.array(ordered, dtype=np.float64)).T
    return round(float(np.polyfit(size, seconds, 1)[0]), 6)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks growth", description=__doc__.partition("\n")[0])
    parser.add_argument("--prompts", type=int, nargs="*", default=[1_000, 3_000, 10_000, 30_000, 100_000])
    parser.add_argument("--candidates", type=int, nargs="*", default=[2, 5, 10, 20, 50])
    parser.add_argument("--at-prompts", type=int, default=2_000, help="prompts while candidates grow")
    parser.add_argument("--at-candidates", type=int, default=6, help="candidates while prompts grow")
    parser.add_argument("--small", action="store_true", help="the settings of a demonstration")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", help="file to write")
    return parser
