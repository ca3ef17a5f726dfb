"""Load the promoted router in an application: numpy and the standard library are all it needs."""

from typing import TYPE_CHECKING, Any

from beastmode.bundle import Bundle, OperatingPoint
from beastmode.candidates import Candidate, Price
from beastmode.certificate import Certificate
from beastmode.errors import (
    BeastmodeError,
    BundleError,
    CacheError,
    JournalError,
    RegistryError,
    RoutingError,
    StoreError,
    classify,
    tip,
)
from beastmode.explanation import Explanation
from beastmode.journal import Journal
from beastmode.objective import Objective
from beastmode.policies import EpsilonGreedy, Greedy, Softmax
from beastmode.records import Decision, Needs, Plan, Prediction, Request
from beastmode.router import Router
from beastmode.store import Pointer, Store

if TYPE_CHECKING:
    from beastmode.cache import Cache

__version__ = "0.1.0"

__all__ = [
    "BeastmodeError",
    "Bundle",
    "BundleError",
    "Cache",
    "CacheError",
    "Candidate",
    "Certificate",
    "Decision",
    "EpsilonGreedy",
    "Explanation",
    "Greedy",
    "Journal",
    "JournalError",
    "Needs",
    "Objective",
    "OperatingPoint",
    "Plan",
    "Pointer",
    "Prediction",
    "Price",
    "RegistryError",
    "Request",
    "Router",
    "RoutingError",
    "Softmax",
    "Store",
    "StoreError",
    "__version__",
    "classify",
    "tip",
]


def __getattr__(name: str) -> Any:
    """Import the cache when somebody asks for it: a router alone needs neither SQLite nor an index."""
    if name == "Cache":
        from beastmode.cache import Cache

        return Cache
    raise AttributeError(f"module 'beastmode' has no attribute {name!r}")
