"""Load the promoted router in an application: numpy and the standard library are all it needs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from beastmode.bundle import Bundle, OperatingPoint
from beastmode.candidates import Candidate, Price
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
from beastmode.objective import Objective
from beastmode.policies import EpsilonGreedy, Greedy, Softmax
from beastmode.records import Decision, Needs, Plan, Prediction, Request
from beastmode.router import Router

if TYPE_CHECKING:
    from beastmode.cache import Cache
    from beastmode.certificate import Certificate
    from beastmode.explanation import Explanation
    from beastmode.journal import Journal
    from beastmode.store import Pointer, Store

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


# What a router alone does not need is imported when somebody asks for it.
_LATER = {
    "Cache": "beastmode.cache",
    "Certificate": "beastmode.certificate",
    "Explanation": "beastmode.explanation",
    "Journal": "beastmode.journal",
    "Pointer": "beastmode.store",
    "Store": "beastmode.store",
}


def __getattr__(name: str) -> Any:
    """Import a name of `_LATER`; it is an attribute like any other from then on."""
    if name not in _LATER:
        raise AttributeError(f"module 'beastmode' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_LATER[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
