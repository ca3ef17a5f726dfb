"""Maps as logs keep them: an object, JSON text, or the pairs of a Parquet column."""

from typing import Any

from features.formats.values import Impossible, mapping


def strict(field: str, value: object) -> dict[str, Any]:
    """Return a map, empty where there is none; raises Impossible for what is no map."""
    if isinstance(value, list) and (known := _pairs(value)) is not None:
        return known
    return mapping(field, value)


def loose(value: object) -> dict[str, Any]:
    """Return what a caller has put there, or nothing where it is no map: a call is not refused for it.

    >>> loose('{""app"": ""chat""}'), loose([("app", "chat")]), loose("not a map")
    ({'app': 'chat'}, {'app': 'chat'}, {})
    """
    try:
        return strict("map", value)
    except Impossible:
        # Helicone's own CSV doubles the quotes of JSON twice.
        doubled = isinstance(value, str) and '""' in value
    return loose(str(value).replace('""', '"')) if doubled else {}


def _pairs(value: list[Any]) -> dict[str, Any] | None:
    if not all(isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) for item in value):
        return None
    return dict(value)
