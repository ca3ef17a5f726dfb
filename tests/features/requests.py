"""What tests of formats share: the requests that a log's calls belong to, as a table would see them."""

from collections.abc import Iterable
from typing import Any

from beastmode.interactions import Interaction
from features.attempts import together
from features.prices import PriceBook
from pipelines.columns import interactions_table


def requests(rows: Iterable[Interaction]) -> dict[str, dict[str, Any]]:
    """Return requests with their attempts joined, by request id."""
    frame = together(interactions_table(list(rows), PriceBook(listed=False)).to_pandas())
    return {record["request_id"]: record for record in frame.to_dict("records")}


def attempts(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the role and the status of each attempt."""
    return [(call["role"], call["status"]) for call in record["attempts"]]
