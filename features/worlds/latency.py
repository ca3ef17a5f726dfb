"""How long hosts take: time to first token and speed of a host, hourly load, and residuals as they were measured."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.worlds.traffic import load

Floats = NDArray[np.float64]
COLUMNS = ("model", "ttft_ms", "latency_ms", "output_tokens")


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts that candidates answer from; `h` hosts."""

    ttft_ms: Floats
    """(h,) Median time to first token."""
    tokens_per_second: Floats
    """(h,) Median speed after it."""
    residuals: Floats
    """Logarithms of measured over expected time; drawn for each call."""


def measured(frame: pd.DataFrame) -> Hosts:
    """Return hosts as a table of measured calls has them; raises ValueError naming a missing column.

    Expected time is the host's median time to first token plus output tokens over its median speed.
    """
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise ValueError(f"latency table: column {missing[0]!r} is missing; expected {', '.join(COLUMNS)}")
    known = frame[list(COLUMNS)].dropna()
    known = known[(known["ttft_ms"] > 0) & (known["latency_ms"] > known["ttft_ms"]) & (known["output_tokens"] > 1)]
    speed = known["output_tokens"] / (known["latency_ms"] - known["ttft_ms"]) * 1e3
    by_host = known.assign(speed=speed).groupby("model", sort=True)[["ttft_ms", "speed"]].median()
    first = known["model"].map(by_host["ttft_ms"])
    expected = first + known["output_tokens"] / known["model"].map(by_host["speed"]) * 1e3
    return Hosts(
        by_host["ttft_ms"].to_numpy(dtype=np.float64),
        by_host["speed"].to_numpy(dtype=np.float64),
        np.log(known["latency_ms"].to_numpy(dtype=np.float64) / expected.to_numpy(dtype=np.float64)),
    )


def assumed(hosts: int, rng: np.random.Generator) -> Hosts:
    """Return hosts of common speeds, for worlds without a table."""
    return Hosts(
        np.exp(rng.normal(np.log(400), 0.4, size=hosts)),
        np.exp(rng.normal(np.log(70), 0.4, size=hosts)),
        rng.normal(0, 0.25, size=2000),
    )


def draw(hosts: Hosts, output_tokens: Floats, hours: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return (latency_ms, ttft_ms), each (n, m), of n requests with m candidates.

    A candidate keeps one host. Latency is (ttft + output tokens / speed) x load of the hour x exp(residual).
    """
    n, m = output_tokens.shape
    known = len(hosts.ttft_ms)
    # One host each while they last.
    host = np.concatenate([rng.permutation(known) for _ in range(-(-m // known))])[:m]
    first = hosts.ttft_ms[host][None, :]
    factor = load(hours)[:, None] * np.exp(rng.choice(hosts.residuals, size=(n, m)))
    return (first + output_tokens / hosts.tokens_per_second[host] * 1e3) * factor, first * factor
