"""Put what served before back into service, of what has a pointer of its own beside the router's."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from beastmode.cache import LearnedVerifier
from beastmode.cache.tuned import VERIFIERS
from beastmode.store import Pointer, Store
from pipelines.context import Context
from pipelines.warm_bundle import WarmerBundle, warmers

PARTS: dict[str, tuple[Callable[[Context], Store], Callable[[Path, str], object]]] = {
    "warmer": (warmers, WarmerBundle.read),
    "verifier": (lambda context: Store(context.store.path / VERIFIERS), LearnedVerifier.load),
}
"""By name: its store, and what reads a bundle of it whole."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """A warmer with its tuned cache, or a verifier, that serves again."""

    part: str
    pointer: Pointer
    config: str

    def lines(self) -> Iterator[str]:
        """Yield what a person wants to read."""
        yield f"in service: {self.pointer.bundle}"
        if self.pointer.previous is not None:
            back = self.pointer.previous.bundle
            yield f"to go back to {back}: python -m pipelines rollback --of {self.part} --config {self.config}"


def rollback(context: Context, part: str, at: datetime, reason: str) -> RolledBack:
    """Put the previous bundle of a part (a key of `PARTS`) back into service; a second rollback comes back.

    Raises StoreError where there is none, BundleError where it does not verify: what serves then stays.
    """
    store, verify = PARTS[part]
    pointer = store(context).rollback(at.isoformat(), reason, verify=verify)
    return RolledBack(part, pointer, context.settings.name)
