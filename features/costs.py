"""What a call cost, from its tokens and the catalogue's prices, or as the log has it; never a made-up zero."""

from collections.abc import Mapping, Sequence

from beastmode.candidates import Candidate, Price
from beastmode.interactions import Interaction


def prices(candidates: Sequence[Candidate]) -> dict[str, Price]:
    """Return the prices by every name that a log may call a candidate."""
    named = {candidate.model: candidate.price for candidate in candidates if candidate.model}
    return named | {candidate.name: candidate.price for candidate in candidates}


def cost(row: Interaction, known: Mapping[str, Price]) -> tuple[float | None, str | None]:
    """Return the cost in US dollars and where it comes from (catalogue, logged), or None twice.

    What the journal computed when the call was made stands. What served the request is what is paid for.
    """
    if row.cost_usd is not None:
        return row.cost_usd, row.cost_source or "logged"
    if row.cache_tier is None and row.status == "success":
        name = next((n for n in (row.model_served, row.plan, row.model_requested) if n in known), None)
        price = known[name] if name is not None else Price()
        per_token = price.input_per_mtok is not None or price.output_per_mtok is not None
        if not per_token or (row.input_tokens is not None and row.output_tokens is not None):
            usd = price.cost_usd(row.input_tokens or 0, row.output_tokens or 0)
            if usd is not None:
                return usd, "catalogue"
    if row.cost_logged_usd is not None:
        return row.cost_logged_usd, "logged"
    return None, None
