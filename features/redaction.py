r"""Secrets out of text and out of columns of text, before anything is stored."""

import hmac
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from features.redaction_rules import RULES

_LONGEST_CHECKED = 64
"""Characters: cards, IBANs and phone numbers are shorter, and only they may hide a valid secret in a refused one."""
_LEAST_KEY_BYTES = 16


@cache
def _pattern(name: str) -> re.Pattern[str]:
    rule = RULES[name]
    return re.compile(f"{rule.before}(?P<secret>{rule.shape}){rule.after}", re.ASCII)


def _marker(match: re.Match[str], name: str) -> str:
    """Return what stands in a secret's place: where a JSON number may have stood, a number must."""
    around = match.groupdict()
    number = around.get("opens") is not None and around.get("closes") is not None and match["secret"].isdigit()
    return "0" if number else f"[redacted:{name}]"


def _without(text: str, name: str) -> tuple[str, int]:
    """Return the text without this rule's secrets, and how many there were."""
    pattern, valid = _pattern(name), RULES[name].valid
    parts: list[str] = []
    kept = position = 0
    while match := pattern.search(text, position):
        start, end = match.span("secret")
        if valid(match["secret"]):
            parts += (text[kept:start], _marker(match, name))
            kept = position = end
        else:
            position = end if end - start > _LONGEST_CHECKED else match.start() + 1
    return "".join([*parts, text[kept:]]), len(parts) // 2


def _redacted(text: str, names: Iterable[str], counts: Counter[str]) -> str:
    for name in names:
        text, found = _without(text, name)
        if found:
            counts[name] += found
    return text


def redact(text: str) -> tuple[str, Counter[str]]:
    """Return a text, JSON or plain, with every secret replaced by `[redacted:rule]`, and the number of each rule's.

    JSON stays JSON of the same structure; a card that may be a JSON number becomes 0. Markers are left as they
    are, so what was redacted before may be read again.

    >>> redact('{"content": "write to ada@example.org\\nby noon"}')
    ('{"content": "write to [redacted:email]\\nby noon"}', Counter({'email': 1}))
    """
    counts: Counter[str] = Counter()
    return _redacted(text, RULES, counts), counts


def redact_column(column: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, Counter[str]]:
    """Return a column of strings with `redact` done to every row, and the counts over all rows; null stays null.

    RE2 reads the column once for all hints together; a rule then sees only the rows that hold its own.

    Raises:
        TypeError: The column is not of type string or large_string.
    """
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise TypeError(f"cannot redact a column of {column.type}; cast it to string first")
    whole = pa.concat_arrays(column.chunks or [pa.array([], column.type)]) if hasattr(column, "chunks") else column
    counts: Counter[str] = Counter()
    suspicious = pc.match_substring_regex(whole, "|".join(f"(?:{rule.hint})" for rule in RULES.values()))
    if not pc.any(suspicious).as_py():
        return whole, counts
    rows = whole.filter(suspicious)
    names: list[list[str]] = [[] for _ in range(len(rows))]
    for name, rule in RULES.items():
        for row in pc.indices_nonzero(pc.match_substring_regex(rows, rule.hint)).to_pylist():
            names[row].append(name)
    texts = [_redacted(text, names[row], counts) for row, text in enumerate(rows.to_pylist())]
    return pc.replace_with_mask(whole, suspicious, pa.array(texts, whole.type)), counts


def keyed_hash(column: pa.Array | pa.ChunkedArray, key: bytes) -> pa.Array:
    """Return HMAC-SHA256 (RFC 2104) of every string's UTF-8 as 64 hexadecimal digits; null stays null.

    A bare sha256 of "hi" is found by hashing a list of greetings; without the key this one is not. The same key gives
    the same prompt the same hash, so repeats can still be counted.

    Raises:
        ValueError: The key is shorter than 16 bytes.
    """
    if len(key) < _LEAST_KEY_BYTES:
        raise ValueError(f"a key of {len(key)} bytes can be guessed; give at least {_LEAST_KEY_BYTES} random ones")
    return pa.array(
        [None if text is None else hmac.digest(key, text.encode(), "sha256").hex() for text in column.to_pylist()],
        pa.string(),
    )
