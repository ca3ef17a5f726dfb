"""Answers of an API that were saved as they came: a page of records in one line."""

from collections.abc import Mapping
from typing import Any

from features.formats.heads import beginning

EMPTY: Mapping[str, Any] = {"data": []}
"""What stands for the records of a page without any, so that its line is accounted for."""


def items(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the records of a page `{"data": [...]}`, or the one record that this is."""
    page = values.get("data")
    return tuple(page) or (EMPTY,) if isinstance(page, list) else (values,)


def first(head: bytes) -> Mapping[str, Any]:
    """Return the first record of a log that begins so, also where it is on a page; never raises."""
    found = items(beginning(head))[0]
    return found if isinstance(found, Mapping) else {}
