"""Make the entry that a fill leaves behind: an answer, or for a moment a refusal."""

from collections.abc import Sequence

from beastmode.cache.entry import Entry, Snapshot, encode, encode_chunks
from beastmode.cache.looking import Looker
from beastmode.cache.miss import Lead, Tape, cost_of
from beastmode.cache.partition import Question
from beastmode.errors import CacheError, classify

_REPEATED = ("caller_invalid_request", "caller_context_length")
"""What is the caller's fault and would be refused again; all that a provider or a policy refused is held too."""


def answer_entry(
    looker: Looker,
    question: Question,
    value: object,
    snapshot: Snapshot | None,
    *,
    model: str | None = None,
    cost_usd: float | None = None,
    tags: Sequence[str] = (),
    ttl_seconds: float | None = None,
    asked: float | None = None,
) -> Entry:
    """Return the entry of an answer or of a stream's tape; raises CacheError on what cannot be held.

    It is as old as its question, which was asked at `asked` (seconds since 1970), and lives for its time from now on.
    """
    settings = looker.settings
    if isinstance(value, Tape):
        if value.broken is not None:
            raise CacheError(f"a stream cannot be cached: {value.broken}")
        kind, body = encode_chunks(value.parts)
    else:
        kind, body = encode(value)
    if len(body) > settings.max_entry_bytes:
        raise CacheError(f"an answer of {len(body)} bytes is over max_entry_bytes = {settings.max_entry_bytes}")
    now = looker.clock.now()
    ttl = settings.ttl_seconds if ttl_seconds is None else ttl_seconds
    fresh_until = now + ttl * (1 - settings.jitter * looker.rng.random())
    return Entry(
        key=question.key, partition=question.partition.digest, kind=kind, body=body,
        made=now if asked is None else asked, fresh_until=fresh_until,
        stale_until=fresh_until + settings.stale_seconds, model=model, cost_usd=cost_usd,
        text=question.text if looker.semantic is not None else None, tags=tuple(sorted(set(tags))), snapshot=snapshot,
    )  # fmt: skip


def filled_entry(looker: Looker, question: Question, lead: Lead, value: object) -> Entry | None:
    """Return the entry of what a fill returned, or None where it asked for none."""
    miss, last = lead.miss, lead.miss.attempt.present
    if not miss.keep:
        return None
    cost = cost_of(last, miss.decision, looker.router)
    return answer_entry(
        looker, question, value, lead.snapshot, model=last.candidate, cost_usd=cost, tags=miss.tags,
        ttl_seconds=miss.ttl_seconds, asked=lead.asked,
    )  # fmt: skip


def refusal_entry(looker: Looker, question: Question, error: BaseException) -> Entry | None:
    """Return the entry of a failure that would only be repeated, or None where it may be asked again at once."""
    kind = classify(error).name
    repeated = kind.startswith(("provider_", "policy_")) or kind in _REPEATED
    if not repeated or not isinstance(error, Exception) or looker.settings.error_seconds <= 0:
        return None
    now = looker.clock.now()
    until = now + looker.settings.error_seconds
    body = encode([kind, f"{type(error).__name__}: {error}"[:500]])[1]
    return Entry(
        key=question.key, partition=question.partition.digest, kind="error", body=body, made=now,
        fresh_until=until, stale_until=until,
    )  # fmt: skip
