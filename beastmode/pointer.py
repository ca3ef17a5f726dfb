"""What serves, what served before it, and what it is held to: the pointer file of a store."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""What a bundle may be called: never a path."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Registered:
    """A version of a registered model."""

    model: str
    version: str


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a guard holds a bundle to: what was usual when it was promoted."""

    error_rate: float
    """The share of calls that fail by the provider's or the router's fault, in [0, 1]."""
    p95_ms: float
    refusal_rate: float = 0.01
    """The share of calls that end in an error of the policy's, a content filter's among them."""

    def __post_init__(self) -> None:
        rates = (self.error_rate, self.refusal_rate)
        if not all(isinstance(rate, int | float) and 0 <= rate <= 1 for rate in rates) or not self.p95_ms > 0:
            raise ValueError(f"{self}: rates lie in [0, 1], and p95_ms is positive")


@dataclass(frozen=True, slots=True)
class Kept:
    """A bundle that can be rolled back to."""

    bundle: str
    manifest_sha256: str
    registry: Registered | None = None
    baseline: Baseline | None = None
    breach: str | None = None
    """Why a guard took it out of service; no guard puts such a bundle back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """The one truth about what serves; a registry's alias is its projection."""

    bundle: str
    """The name of its folder under `bundles/`."""
    manifest_sha256: str
    at: str
    """ISO 8601: when it was pointed to."""
    reason: str
    previous: Kept | None = None
    registry: Registered | None = None
    reconciled: bool = False
    """Whether the registry's alias is known to agree."""
    baseline: Baseline | None = None

    def to_json(self) -> str:
        """Return the pointer as the text of its file."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Pointer":
        """Return the pointer that `to_json` wrote; raises ValueError on anything else."""
        try:
            known = json.loads(text)
            kept = known.get("previous")
            previous = None if kept is None else Kept(**{**kept, **_nested(kept)})
            pointer = cls(**{**known, "previous": previous, **_nested(known)})
        except (TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ValueError(f"it is no pointer ({error})") from error
        if not isinstance(pointer.at, str) or not isinstance(pointer.reason, str):
            raise ValueError("at and reason must be text")
        _require(pointer.bundle, pointer.manifest_sha256)
        if previous is not None:
            _require(previous.bundle, previous.manifest_sha256)
        return pointer


def _require(bundle: Any, sha256: Any) -> None:
    if not isinstance(bundle, str) or not NAME.fullmatch(bundle):
        raise ValueError(f"bundle {bundle!r} is no name of a folder")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError(f"manifest_sha256 {sha256!r} is no SHA-256")


def _nested(known: Mapping[str, Any]) -> dict[str, Any]:
    registry, baseline = known.get("registry"), known.get("baseline")
    return {
        "registry": None if registry is None else Registered(**registry),
        "baseline": None if baseline is None else Baseline(**baseline),
    }
