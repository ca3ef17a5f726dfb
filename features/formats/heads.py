"""What a log's first bytes tell of its first record, for formats that are told by their columns."""

import csv
import json
import re
from typing import Any

from features.formats.events import FormatError
from features.formats.tabular import kind

_KEY = re.compile(r'"([^"\\]{1,80})"\s*:')
_DECODER = json.JSONDecoder()


def beginning(head: bytes) -> dict[str, Any]:
    """Return the first record of a log that begins so, empty where it cannot be told; never raises.

    Of a CSV file the columns are known and the values None; so it is where the first record is longer than the head.
    """
    try:
        of = kind(head)
    except FormatError:
        return {}
    text = head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if of == "parquet" or not text:
        return {}
    try:
        if of == "csv":
            return dict.fromkeys(name.strip() for name in next(csv.reader([text.splitlines()[0]]), []))
        record, _ = _DECODER.raw_decode(text[1:].lstrip() if of == "array" else text)
    except csv.Error:
        return {}
    except (ValueError, RecursionError):
        return dict.fromkeys(_KEY.findall(text))
    return record if isinstance(record, dict) else {}
