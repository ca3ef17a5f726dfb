"""The serving command line: `python -m beastmode route | inspect | rollback | ...`."""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from beastmode.bundle import Bundle
from beastmode.commands import add
from beastmode.errors import BeastmodeError, RegistryError, RoutingError
from beastmode.explanation import aligned
from beastmode.loading import load_bundle
from beastmode.policies import policy_to_json
from beastmode.records import Needs
from beastmode.registry import set_alias
from beastmode.router import Router
from beastmode.store import Pointer, Store


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or 1 after an error that was printed with its remedy."""
    options = _parser().parse_args(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    try:
        known, lines = options.run(options)
    except BeastmodeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(known, indent=1, ensure_ascii=False, default=str) if options.json else "\n".join(lines))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m beastmode", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    route = commands.add_parser("route", help="say where a prompt would be sent, and why")
    route.add_argument("prompt", help="the prompt, or - to read it from standard input")
    route.add_argument("--bundle", required=True, help="a bundle's folder, a store, or models:/NAME@ALIAS")
    route.add_argument("--quality-ratio", type=float, help="take the operating point that keeps this share")
    route.add_argument("--allow", action="append", help="a candidate that may serve; give it once for each")
    route.add_argument("--deny", action="append", help="a candidate that may not; give it once for each")
    route.add_argument("--region", action="append", help="a region that may process it; give it once for each")
    route.add_argument("--budget-usd", type=float, help="what the request may cost")
    route.add_argument("--deadline-ms", type=float, help="how long the answer may take")
    for need in ("tools", "json", "vision"):
        route.add_argument(f"--needs-{need}", action="store_true", help=f"only candidates with {need}")
    route.add_argument("--seed", type=int, help="make the draw repeatable")
    route.set_defaults(run=_route)

    inspect = commands.add_parser("inspect", help="verify a bundle, and say what is in it")
    inspect.add_argument("bundle", help="a bundle's folder, a store, or models:/NAME@ALIAS")
    inspect.add_argument("--sha256", help="the hash that its manifest must have")
    inspect.add_argument("--public-key", help="the PEM file of the key that it must be signed by")
    inspect.set_defaults(run=_inspect)

    rollback = commands.add_parser("rollback", help="put the previous bundle back into service")
    rollback.add_argument("--store", required=True, help="the store's folder")
    rollback.add_argument("--reason", default="rolled back by hand", help="why, for the pointer file")
    rollback.set_defaults(run=_rollback)

    for command in (route, inspect, rollback, *add(commands, _reconcile)):
        command.add_argument("--json", action="store_true", help="print JSON for programs")
    return parser


def _route(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    prompt = sys.stdin.read() if options.prompt == "-" else options.prompt
    router = Router.load(options.bundle, seed=options.seed, quality_ratio=options.quality_ratio)
    try:
        needs = Needs(
            options.needs_tools, options.needs_json, options.needs_vision, regions=options.region,
            budget_usd=options.budget_usd, deadline_ms=options.deadline_ms,
        )  # fmt: skip
    except ValueError as error:
        raise RoutingError(str(error)) from error
    lists = {"allow": options.allow, "deny": options.deny}
    decision = router.route(prompt, **lists, needs=needs)
    explanation = router.explain(decision.request, **lists)
    known = {
        "candidate": decision.candidate,
        "reason": decision.reason,
        **decision.metadata(),
        "excluded": dict(decision.excluded),
        "explanation": explanation.to_json(),
    }
    chance = "no propensity" if decision.propensity is None else f"probability {decision.propensity:.3f}"
    lines = [f"{decision.candidate}  ({chance})", f"because {decision.reason}", "", *explanation.lines()]
    return known, lines


def _inspect(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    bundle = load_bundle(options.bundle, options.sha256, public_key=options.public_key)
    known = {
        "name": bundle.name,
        "trust": bundle.trust,
        "sha256": bundle.sha256,
        "created": bundle.created,
        "code_version": bundle.code_version,
        "encoder": {"columns": len(bundle.encoder.names)},
        "scorer": bundle.scorer.parts().known,
        "policy": policy_to_json(bundle.policy),
        "objective": {name: getattr(bundle.objective, name) for name in bundle.objective.__slots__},
        "candidates": [candidate.to_json() for candidate in bundle.candidates],
        "operating_points": [
            {name: getattr(point, name) for name in point.__slots__} for point in bundle.operating_points
        ],
        "guarantee": bundle.guarantee and {**bundle.guarantee.to_json(), "sentence": bundle.guarantee.sentence},
        "training": bundle.training,
        "evaluation": bundle.evaluation,
        "mlflow_run_id": bundle.mlflow_run_id,
    }
    return known, _inspected(bundle, known)


def _inspected(bundle: Bundle, known: dict[str, Any]) -> list[str]:
    lines = [
        f"{bundle.name}  ({bundle.trust}, golden requests reproduced)",
        f"sha256     {bundle.sha256}",
        f"created    {bundle.created} by beastmode {bundle.code_version}",
        f"selector   {known['scorer'].get('kind')} on {known['encoder']['columns']} columns",
        f"policy     {_policy(bundle, known['policy'])}",
        f"objective  one dollar is worth {bundle.objective.per_dollar:g} of quality, "
        f"one second {bundle.objective.per_second:g}",
    ]
    if bundle.mlflow_run_id:
        lines.append(f"MLflow run {bundle.mlflow_run_id}")
    for title, facts in (("trained on", bundle.training), ("evaluation", bundle.evaluation)):
        lines += ["", title, *(f"  {name}: {_fact(value)}" for name, value in facts.items())] if facts else []
    lines += ["", *_candidate_table(bundle)]
    if bundle.operating_points:
        head = ("keeps of best single", "one dollar is worth", "margin")
        points = [(f"{p.quality_ratio:g}", f"{p.per_dollar:g}", f"{p.margin:.4f}") for p in bundle.operating_points]
        lines += ["", *aligned([head, *points])]
    if bundle.guarantee is not None:
        lines += ["", f"guarantee: {bundle.guarantee.sentence}"]
    return lines


def _policy(bundle: Bundle, known: dict[str, Any]) -> str:
    flat = {**known, **known.get("base", {})}
    if flat.get("incumbent") is not None:
        flat["incumbent"] = bundle.candidates[flat["incumbent"]].name
    facts = [f"{name} {value}" for name, value in flat.items() if name not in ("kind", "base") and value is not None]
    return f"{known['kind']} ({', '.join(facts)})"


def _candidate_table(bundle: Bundle) -> list[str]:
    table: list[tuple[str, ...]] = [("candidate", "$/M in", "$/M out", "$/request", "context", "at")]
    for candidate in bundle.candidates:
        price = candidate.price
        amounts = [price.input_per_mtok, price.output_per_mtok, price.per_request]
        table.append(
            (
                candidate.name,
                *("-" if amount is None else f"{amount:g}" for amount in amounts),
                "-" if candidate.context_tokens is None else f"{candidate.context_tokens:,}",
                candidate.base_url or candidate.provider or "-",
            )
        )
    return aligned(table)


def _fact(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else text[:97] + "..."


def _rollback(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    store = Store(options.store)
    pointer = store.rollback(datetime.now(UTC).isoformat(), options.reason)
    lines = [f"now serving {pointer.bundle}", f"sha256      {pointer.manifest_sha256}"]
    if pointer.previous is not None:
        lines.append(f"rolled back from {pointer.previous.bundle}; another rollback returns to it")
    said = _reconcile(store, pointer)
    return {**json.loads(pointer.to_json()), "registry_note": said}, [*lines, said]


def _reconcile(store: Store, pointer: Pointer) -> str:
    """Move the registry's aliases to what the pointer says, or leave the pointer marked; returns what came of it."""
    if pointer.registry is None:
        return "registry: this bundle was never registered there; nothing to move"
    try:
        set_alias(pointer.registry.model, "champion", pointer.registry.version)
        if pointer.previous is not None and pointer.previous.registry is not None:
            set_alias(pointer.previous.registry.model, "previous", pointer.previous.registry.version)
    except RegistryError as error:
        return f"registry: the alias was not moved, and the next flow will reconcile it ({error})"
    store.mark_reconciled(pointer)
    return f"registry: champion is version {pointer.registry.version} of {pointer.registry.model}"


if __name__ == "__main__":
    sys.exit(main())
