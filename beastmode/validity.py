"""What a bundle may hold: the checks that stand between a folder and a router."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beastmode.candidates import Candidate

_OPTIONAL = ("usage", "tokens", "latency")
"""Arrays of a scorer that may hold NaN: what was never observed. A NaN anywhere else is damage."""


def candidates_of(known: Sequence[Mapping[str, Any]]) -> tuple[Candidate, ...]:
    """Return the candidates of a manifest; raises ValueError on a name that occurs twice and on odd values."""
    candidates = tuple(Candidate.from_mapping(entry) for entry in known)
    names = [candidate.name for candidate in candidates]
    if not names or len(set(names)) != len(names) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"its candidates {names} are not distinct names")
    for candidate in candidates:
        limits = (candidate.context_tokens, *candidate.price.amounts())
        if not all(limit is None or (type(limit) in (int, float) and limit >= 0) for limit in limits):
            raise ValueError(f"candidate {candidate.name!r}: a price or a limit is no number of zero or more")
        bounds = [tier.above_input_tokens for tier in candidate.price.tiers]
        if any(None in (t.above_input_tokens, t.input_per_mtok, t.output_per_mtok) for t in candidate.price.tiers):
            raise ValueError(f"candidate {candidate.name!r}: a tier needs its bound and prices of input and output")
        if bounds != sorted(set(bounds)):
            raise ValueError(f"candidate {candidate.name!r}: the bounds of its tiers {bounds} do not rise")
        if not all(type(getattr(candidate, name)) is bool for name in ("tools", "json", "vision")):
            raise ValueError(f"candidate {candidate.name!r}: tools, json and vision must be true or false")
        if not (candidate.region is None or isinstance(candidate.region, str)):
            raise ValueError(f"candidate {candidate.name!r}: region = {candidate.region!r} is no text")
        for limit in (candidate.cache_ttl_seconds, candidate.cache_minimum_tokens):
            if not (type(limit) in (int, float) and limit >= 0):
                raise ValueError(f"candidate {candidate.name!r}: what its cache keeps is no number of zero or more")
    return candidates


def require_columns(bundle: Any) -> None:
    """Raise ValueError unless every incumbent is a candidate, and objective and points are made of numbers."""
    objective = bundle.objective
    for name in ("per_dollar", "per_second", "quality_floor"):
        value = getattr(objective, name)
        if not (type(value) in (int, float) or (name == "quality_floor" and value is None)):
            raise ValueError(f"objective: {name} = {value!r:.100} is no number")
    greedy = getattr(bundle.policy, "base", bundle.policy)
    for owner in (greedy, *bundle.operating_points):
        incumbent = getattr(owner, "incumbent", None)
        if incumbent is not None and not (type(incumbent) is int and 0 <= incumbent < len(bundle.candidates)):
            raise ValueError(f"incumbent {incumbent!r} is no column of {len(bundle.candidates)} candidates")
    if bundle.guarantee is not None and bundle.guarantee.reference not in [c.name for c in bundle.candidates]:
        raise ValueError(f"guarantee: its reference {bundle.guarantee.reference!r} is no candidate")
    for point in bundle.operating_points:
        numbers = (point.quality_ratio, point.per_dollar, point.margin)
        if not all(type(number) in (int, float) for number in numbers) or point.per_dollar < 0:
            raise ValueError(f"the operating point {point} holds what is no number, or a negative price of money")


def require_finite(encoder: Mapping[str, NDArray[Any]], scorer: Mapping[str, NDArray[Any]]) -> None:
    """Raise ValueError naming a table that holds NaN or an infinity."""
    for owner, arrays in (("encoder", encoder), ("scorer", scorer)):
        for name, array in arrays.items():
            if array.dtype.kind != "f":
                continue
            optional = owner == "scorer" and any(word in name for word in _OPTIONAL)
            if np.isinf(array).any() or (not optional and np.isnan(array).any()):
                raise ValueError(f"{owner}.npz: {name} holds NaN or an infinity")


def require_text(bundle: Any) -> None:
    """Raise ValueError unless names are text, and what is told of the training a mapping."""
    for name in ("name", "created", "code_version"):
        if not isinstance(getattr(bundle, name), str):
            raise ValueError(f"{name} = {getattr(bundle, name)!r} is no text")
    for name in ("training", "evaluation"):
        if not isinstance(getattr(bundle, name), Mapping):
            raise ValueError(f"{name} = {getattr(bundle, name)!r} is no mapping")


def plain(value: Any) -> Any:
    """Return a value as JSON has it: arrays as lists, what is no number as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
