"""The serving commands that keep a store in order: experiments, the guard, pruning and signatures."""

import argparse
import json
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from beastmode.arms import MODES, UNITS, Dealing, Step, steps
from beastmode.bundle import Bundle
from beastmode.errors import StoreError
from beastmode.guard import Guard, Limits
from beastmode.pointer import Baseline, Pointer
from beastmode.signing import keygen, sign
from beastmode.store import Store

Told = tuple[dict[str, Any], list[str]]
Reconcile = Callable[[Store, Pointer], str]


def add(commands: Any, reconcile: Reconcile) -> list[argparse.ArgumentParser]:
    """Add the commands to a parser's, and return them; `reconcile` lets a registry follow a pointer that moved."""
    trial = commands.add_parser("try", help="put a bundle of the store on trial, or change the trial's ramp")
    trial.add_argument("challenger", help="the bundle's name")
    ramp = trial.add_mutually_exclusive_group(required=True)
    ramp.add_argument("--share", type=float, help="its share of the units, from now on")
    ramp.add_argument("--ramp", type=json.loads, help='[["2026-12-01T00:00:00+00:00", 0.05], ...]')
    trial.add_argument("--mode", choices=MODES, default="canary", help="canary serves; shadow is only journalled")
    trial.add_argument("--unit", choices=UNITS, default="session", help="what is dealt to an arm")
    trial.add_argument("--salt", help="deals the units; random where it is left out, kept while the trial runs")
    trial.add_argument("--reason", default="started by hand", help="why, for the experiment's file")
    trial.set_defaults(run=_try)

    stop = commands.add_parser("stop", help="end the trial: every unit is the champion's again")
    stop.set_defaults(run=_stop)

    guard = commands.add_parser("guard", help="roll back a champion, and stop a challenger, that breaks its limits")
    guard.add_argument("--journal", required=True, help="the journal's folder")
    guard.add_argument("--error-rate", type=float, help="what is usual; the pointer's own where it is left out")
    guard.add_argument("--p95-ms", type=float, help="what is usual, in milliseconds")
    guard.add_argument("--refusal-rate", type=float, default=0.01, help="what is usual")
    guard.add_argument("--alpha", type=float, default=0.001, help="the chance of a false alarm, ever")
    guard.add_argument("--every", type=float, help="look again after so many seconds, until it is stopped")
    guard.set_defaults(run=lambda options: _guard(options, reconcile))

    prune = commands.add_parser("prune", help="delete old bundles, never one in use")
    prune.add_argument("--keep", type=int, required=True, help="how many of the newest stay")
    prune.set_defaults(run=_prune)
    for command in (trial, stop, guard, prune):
        command.add_argument("--store", required=True, help="the store's folder")

    keys = commands.add_parser("keygen", help="make a pair of keys to sign bundles with")
    keys.add_argument("private", help="the new file of the private key")
    keys.add_argument("public", help="the new file of the public key")
    keys.set_defaults(run=_keygen)

    seal = commands.add_parser("sign", help="verify a bundle, and sign it")
    seal.add_argument("bundle", help="the bundle's folder")
    seal.add_argument("--key", required=True, help="the file of the private key")
    seal.add_argument("--sha256", help="the hash that its manifest must have")
    seal.set_defaults(run=_sign)
    return [trial, stop, guard, prune, keys, seal]


def _try(options: argparse.Namespace) -> Told:
    store, now = Store(options.store), datetime.now(UTC)
    ramp = (Step(now, options.share),) if options.ramp is None else steps(options.ramp)
    running = store.experiment()
    salt = options.salt or (running.dealing.salt if running is not None else secrets.token_hex(8))
    dealing = Dealing(salt, ramp, options.unit, options.mode)
    known = store.try_out(options.challenger, dealing, at=now.isoformat(), reason=options.reason)
    return json.loads(known.to_json()), [f"{known.challenger} on trial ({dealing.mode}), {dealing.share(now):.0%} now"]


def _stop(options: argparse.Namespace) -> Told:
    stopped = Store(options.store).stop_experiment()
    return {"stopped": stopped}, ["the trial has ended" if stopped else "there was no trial"]


def _guard(options: argparse.Namespace, reconcile: Reconcile) -> Told:
    store, stated = Store(options.store), options.error_rate is not None and options.p95_ms is not None
    try:
        baseline = Baseline(options.error_rate, options.p95_ms, options.refusal_rate) if stated else None
        guard = Guard(store, options.journal, baseline, Limits(alpha=options.alpha))
    except ValueError as error:
        raise StoreError(f"guard: {error}") from error
    while True:
        done = guard.look(datetime.now(UTC).isoformat())
        pointer = store.champion()
        if done and pointer is not None and not pointer.reconciled:
            done.append(reconcile(store, pointer))
        if options.every is None or done:
            return {"breaches": done}, done or ["within its limits"]
        time.sleep(options.every)


def _prune(options: argparse.Namespace) -> Told:
    gone = Store(options.store).prune(options.keep)
    return {"deleted": gone}, [f"deleted {name}" for name in gone] or ["nothing to delete"]


def _keygen(options: argparse.Namespace) -> Told:
    keygen(options.private, options.public)
    lines = [f"private key  {options.private}  (keep it from everyone but the training flow)",
             f"public key   {options.public}  (give it to applications)"]  # fmt: skip
    return {"private": options.private, "public": options.public}, lines


def _sign(options: argparse.Namespace) -> Told:
    bundle = Bundle.read(Path(options.bundle), options.sha256)
    file = sign(options.bundle, options.key)
    return {"signature": str(file), "sha256": bundle.sha256}, [f"signed {bundle.name}, manifest {bundle.sha256}"]
