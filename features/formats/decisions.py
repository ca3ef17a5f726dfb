"""Our decision inside another log: which of its fields travel, and how they are taken out again."""

from collections.abc import Iterable, Mapping
from typing import Any

from beastmode.interactions import Interaction
from features.formats.values import mapping

KEY = "beastmode"
"""The key under which a decision stands in whatever a log keeps of a caller's own metadata."""
DECISION = (
    "decision_id", "parent_request_id", "purpose", "unit", "candidates", "plan", "probabilities", "propensity", "arm",
    "arm_probability", "arm_probabilities", "marginal_propensity", "sticky_from", "policy", "bundle_sha256",
)  # fmt: skip
"""What of a decision travels, beside the request id."""


def carried(row: Interaction) -> dict[str, Any]:
    """Return the decision of an interaction as plain data, or nothing where none was made."""
    if row.plan is None:
        return {}
    ours = {name: value for name in DECISION if (value := getattr(row, name)) is not None}
    if row.purpose == "serve":
        del ours["purpose"]
    return {"request_id": row.request_id, **ours}


def taken(places: Iterable[object]) -> dict[str, Any]:
    """Return the decision that the first of some metadata holds, by column name; raises Impossible where it is broken.

    A place is a mapping that may have the key `beastmode`, whose value is an object or the JSON text of one.
    """
    for place in places:
        if isinstance(place, Mapping) and place.get(KEY):
            ours = mapping(f"metadata.{KEY}", place[KEY])
            return {name: ours[name] for name in ("request_id", *DECISION) if ours.get(name) is not None}
    return {}
