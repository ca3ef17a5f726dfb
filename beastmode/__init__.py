"""Load the promoted router in an application: numpy and the standard library are all it needs."""

from beastmode.bundle import Bundle, OperatingPoint
from beastmode.candidates import Candidate, Price
from beastmode.errors import (
    BeastmodeError,
    BundleError,
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

__version__ = "0.1.0"

__all__ = [
    "BeastmodeError",
    "Bundle",
    "BundleError",
    "Candidate",
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
