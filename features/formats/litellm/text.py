"""How LiteLLM stores long prompts: the ends are kept, the middle is a remark."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from beastmode.records import Message

LIMIT = 2048
"""Characters of a string that the database keeps, `MAX_STRING_LENGTH_PROMPT_IN_DB`."""
LEAST = 20
"""Characters of the shortest remark."""
GAP = " … "
"""Stands where something was left out: LiteLLM's remark would be learnt as a word of the prompt."""
_NOTE = (
    "Truncation is a DB storage safeguard. Full, untruncated data is logged to logging callbacks "
    "(OTEL, Datadog, etc.). To increase the truncation limit, set `MAX_STRING_LENGTH_PROMPT_IN_DB` in your env."
)
_REMARK = re.compile(
    r"\.\.\. \((?:litellm_)?truncated(?: skipped)? (\d{1,12}) chars?"
    r"(?:\. Truncation is a DB storage safeguard\..{0,300}? in your env\.)?\)(?: ?\.\.\.)?",
    re.DOTALL,
)


def truncated(value: Any, limit: int = LIMIT) -> Any:
    """Return a JSON value with every long string cut as litellm 1.109.1 cuts it.

    35% of the limit stays of the beginning and 65% of the end (proxy/spend_tracking/spend_tracking_utils.py,
    `_truncated_for_db`).
    """
    if isinstance(value, dict):
        return {key: truncated(item, limit) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [truncated(item, limit) for item in value]
    if not isinstance(value, str) or len(value) <= limit:
        return value
    start, end = int(limit * 0.35), int(limit * 0.65)
    skipped = len(value) - start - end
    tail = value[-min(end, limit - start) :]
    return f"{value[:start]}... (litellm_truncated skipped {skipped} chars. {_NOTE}) ...{tail}"


def restored(messages: Sequence[Message]) -> tuple[tuple[Message, ...], int, int]:
    """Return messages with a gap in place of LiteLLM's remarks, the characters left out, and the number of gaps."""
    skipped: list[int] = []

    def gap(match: re.Match[str]) -> str:
        skipped.append(int(match.group(1)))
        return GAP

    def whole(value: Any) -> Any:
        if type(value) is str:
            return _REMARK.sub(gap, value) if len(value) > LEAST and "truncated" in value else value
        if isinstance(value, list):
            return [whole(item) for item in value]
        if isinstance(value, Mapping):
            return {key: whole(item) for key, item in value.items()}
        return value

    return tuple(map(whole, messages)), sum(skipped), len(skipped)
