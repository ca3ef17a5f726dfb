"""Whether a part that an application brings keeps its role: told when it is handed over, not when it is needed."""

import inspect
from collections.abc import Iterator
from typing import Any

from beastmode.errors import CacheError


def require(part: object, role: type, who: str, remedy: str) -> None:
    """Raise CacheError where a part does not keep a Protocol: the message says what it lacks, and the remedy."""
    lacking = "; ".join(_lacks(part, role))
    if lacking:
        raise CacheError(f"{who}: {lacking}; {remedy}")


def promised(role: type) -> dict[str, Any]:
    """Return the attributes, properties and methods of a Protocol by name."""
    found: dict[str, Any] = {}
    for each in role.__mro__:
        for name, value in {**inspect.get_annotations(each), **vars(each)}.items():
            if name == "__len__" or not name.startswith("_"):
                found.setdefault(name, value)
    return found


def _lacks(part: object, role: type) -> Iterator[str]:
    for name, wanted in promised(role).items():
        if not hasattr(part, name):
            yield f"{name} is missing"
        elif inspect.isfunction(wanted):
            # Arguments are handed over by place, those with a default in the role included.
            needed = list(inspect.signature(wanted).parameters)[1:]
            if not _takes(getattr(part, name), needed):
                yield f"{name} does not take ({', '.join(needed)})"


def _takes(method: Any, arguments: list[str]) -> bool:
    try:
        inspect.signature(method).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # Compiled code may not say what it takes.
        return callable(method)
    return True
