"""The decisions of TensorZero's gateway: which variant it drew, with what probability, and what it fell back to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from beastmode.interactions import Attempt
from features.formats.tensorzero.experiments import Experiment
from features.formats.tensorzero.log import Log, digits
from features.formats.tensorzero.rows import NAMESPACE, OWN, PINNED, Call, attempts, name, plain, uuid


def drawn(
    values: Mapping[str, Any], function: str, variant: str, tags: Mapping[str, Any], calls: Sequence[Call], log: Log
) -> dict[str, Any]:
    """Return the decision that the gateway made: the variant that it drew, and with what probability.

    What was drawn is drawn again here. A served variant that was not drawn is a fallback where the configuration in
    force is known; where it is not, nothing can be told of how it came to serve.
    """
    if function.startswith(OWN):
        # The caller named a model, so that there was nothing to draw.
        return {}
    native, episode = name(values, "id"), name(values, "episode_id")
    known: dict[str, Any] = {"plan": variant}
    experiment = _experiment(values, function, tags, log)
    drawing = uuid(episode)
    if experiment is None or drawing is None or PINNED in tags or variant.startswith(OWN):
        return known
    order = experiment.order(function, drawing)
    if variant not in order or (variant != order[0] and not experiment.exact):
        return known
    chances = experiment.probabilities
    known |= {"decision_id": native, "plan": order[0], "candidates": tuple(chances), "policy": f"tensorzero {function}"}
    if variant != order[0]:
        known["attempts"] = [plain(one) for one in _fallen(order, variant, calls)]
    first = log.first.get((function, episode), (None, native))[1]
    if first != native:
        return known | {"sticky_from": first}
    return known | {"probabilities": chances, "propensity": chances[order[0]], "propensity_source": "reconstructed"}


def _fallen(order: tuple[str, ...], variant: str, calls: Sequence[Call]) -> Iterator[Attempt]:
    """Yield the variants that failed, of which the gateway keeps no row, and the calls of the one that served."""
    for place, failed in enumerate(order[: order.index(variant)]):
        role = "fallback" if place else "primary"
        yield Attempt(candidate=failed, role=role, status="failure", error_type="provider_unknown")
    served = attempts(calls) or (Attempt(candidate=variant),)
    yield replace(served[0], candidate=variant, role="fallback")
    yield from served[1:]


def _experiment(values: Mapping[str, Any], function: str, tags: Mapping[str, Any], log: Log) -> Experiment | None:
    snapshot_ = log.snapshots.get(digits(values.get("snapshot_hash")) or "")
    if snapshot_ is None:
        return log.columns.get(function)
    spaces = snapshot_.get(function, {})
    space = str(tags.get(NAMESPACE))
    return spaces[space] if space in spaces else spaces.get(None)
