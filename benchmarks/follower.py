"""A follower under swaps and bad bundles, while threads route: `python -m benchmarks follower --swaps 1000 --json OUT`.

A store gets bundle after bundle; some are damaged after they were added, as a disk or an attacker would. Threads route
without a pause. Every decision must come from a bundle that was good, no call may fail, and after each good promotion
the router must come to serve it.
"""

import argparse
import json
import logging
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from beastmode.bundle import Bundle
from beastmode.router import Router
from beastmode.store import Store
from benchmarks.small import plain

PATIENCE_SECONDS = 20.0


def main(arguments: Sequence[str]) -> int:
    """Run it; returns 1 where a bad bundle served, a call failed or a swap was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks follower", description=__doc__)
    parser.add_argument("--swaps", type=int, default=1000, help="promotions of good bundles")
    parser.add_argument("--bad", type=int, default=50, help="promotions of damaged bundles among them")
    parser.add_argument("--threads", type=int, default=2, help="threads that route")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", nargs="?", const="", help="file to write; JSON is printed in any case")
    options = parser.parse_args(arguments)
    found = follow(options.swaps, options.bad, options.threads, options.seed)
    text = json.dumps(found, indent=1)
    if options.json:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0 if not (found["bad_served"] or found["failed_calls"] or found["missed_swaps"]) else 1


class Callers:
    """Threads that route until they are told to stop."""

    def __init__(self, router: Router, threads: int) -> None:
        self.served: set[str | None] = set()
        self.failures: list[str] = []
        self.calls = 0
        self._router = router
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                digest, failure = self._router.route("What is 2+2?").bundle_sha256, None
            except Exception as error:
                digest, failure = None, repr(error)
            with self._lock:
                self.calls += 1
                if failure is None:
                    self.served.add(digest)
                else:
                    self.failures.append(failure)
            time.sleep(0.001)

    def stop(self) -> None:
        """Let every thread end its call."""
        self._stop.set()
        for thread in self._threads:
            thread.join()


def follow(swaps: int, bad: int, threads: int, seed: int) -> dict[str, Any]:
    """Return what was served during so many promotions of good and of damaged bundles."""
    rng = random.Random(seed)
    kinds = [True] * swaps + [False] * bad
    rng.shuffle(kinds)
    log = logging.getLogger("beastmode")
    level = log.level
    log.setLevel(logging.CRITICAL)  # each bad bundle is told of, fifty times
    started = time.perf_counter()
    good: set[str | None] = set()
    missed = 0
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(scratch)
        good.add(_promote(store, "first").sha256)
        router = Router.follow(store, every_seconds=0.002, seed=seed)
        callers = Callers(router, threads)
        try:
            for number, fine in enumerate(kinds):
                bundle = _promote(store, f"b{number}", None if fine else rng)
                if fine:
                    good.add(bundle.sha256)
                    missed += not _comes(router, bundle)
                else:
                    time.sleep(0.02)
                if number % 20 == 19:
                    store.prune(5)
        finally:
            callers.stop()
            router.close()
            log.setLevel(level)
    return {
        "swaps": swaps, "bad": bad, "calls": callers.calls, "bundles_served": len(callers.served),
        "bad_served": len(callers.served - good), "failed_calls": len(callers.failures),
        "examples": callers.failures[:3], "missed_swaps": missed, "seconds": round(time.perf_counter() - started, 1),
    }  # fmt: skip


def _promote(store: Store, name: str, damage: random.Random | None = None) -> Bundle:
    """Add a bundle and point to it; with `damage` one of its files is spoilt in between."""
    bundle = store.add(replace(plain(name), training={"name": name}))
    if damage is not None:
        file = store.folder(name) / damage.choice(("scorer.npz", "encoder.npz", "golden.npz"))
        _spoil(file, damage)
    store.promote(name, at="2026-01-01T00:00:00+00:00", reason="for the benchmark")
    return bundle


def _spoil(file: Path, rng: random.Random) -> None:
    data = bytearray(file.read_bytes())
    drawn = rng.randrange(3)
    if drawn == 0:
        file.unlink()
        return
    if drawn == 1:
        del data[rng.randrange(len(data)) :]
    else:
        data[rng.randrange(len(data))] ^= 1 + rng.randrange(255)
    file.write_bytes(bytes(data))


def _comes(router: Router, bundle: Bundle) -> bool:
    """Wait until the router serves a bundle; returns whether it came to it."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        if router.bundle.sha256 == bundle.sha256:
            return True
        time.sleep(0.001)
    return False


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
