"""What the lake may keep of prompts: all of them, all but secrets, or hashes alone."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from features.formats.events import Refusal
from features.formats.values import prompt_facts
from features.redaction import keyed_hash, redact, redact_column

StorePrompts = Literal["full", "redacted", "hashed"]
WITHHELD = "withheld: only hashes of prompts are stored"


@dataclass(frozen=True, slots=True)
class Keeping:
    """How prompts are stored, and the key of their hashes."""

    store_prompts: StorePrompts = "redacted"
    hash_key: bytes = field(default=b"", repr=False)

    def interactions(self, rows: pa.Table, secrets: Counter[str]) -> pa.Table:
        """Return rows as they may be kept; the secrets that were taken out are counted by rule."""
        if self.store_prompts == "full":
            return rows
        if self.store_prompts == "hashed":
            rows = _set(rows, "messages", pa.nulls(len(rows), pa.string()))
            # Providers quote prompts in their errors.
            rows = _set(rows, "error_message", pa.nulls(len(rows), pa.string()))
            rows = _with_errors(rows, pa.nulls(len(_calls(rows).values), pa.string()))
            if self.hash_key:
                rows = _set(rows, "prompt_sha256", keyed_hash(rows["prompt_sha256"], self.hash_key))
        said = rows["messages"]
        rows = _redacted(rows, ("messages", "context", "needs", "error_message"), secrets)
        return _redacted_attempts(_rehashed(rows, said), secrets)

    def feedback(self, words: pa.Table, secrets: Counter[str]) -> pa.Table:
        """Return feedback as it may be kept."""
        return words if self.store_prompts == "full" else _redacted(words, ("label", "source"), secrets)

    def refusals(self, refused: Sequence[Refusal]) -> Sequence[Refusal]:
        """Return refusals as they may be kept: a reason quotes the value that was wrong, which may be of a prompt."""
        if self.store_prompts != "hashed":
            return refused
        return [replace(refusal, reason=refusal.kind or WITHHELD, raw=WITHHELD) for refusal in refused]

    def quarantine(self, refused: pa.Table, secrets: Counter[str]) -> pa.Table:
        """Return refused records as they may be kept."""
        return refused if self.store_prompts == "full" else _redacted(refused, ("raw", "reason"), secrets)

    def text(self, said: str) -> str:
        """Return a line of a report as it may be shown."""
        return said if self.store_prompts == "full" else redact(said)[0]


def _set(rows: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)


def _redacted(rows: pa.Table, names: Iterable[str], secrets: Counter[str]) -> pa.Table:
    for name in names:
        if rows[name].null_count < len(rows):
            values, found = redact_column(rows[name])
            if found:
                rows = _set(rows, name, values)
                secrets.update(found)
    return rows


def _rehashed(rows: pa.Table, said: pa.ChunkedArray) -> pa.Table:
    """Return rows whose hash is that of the prompt that is kept: that of a secret could be found by trying."""
    changed = pc.fill_null(pc.not_equal(rows["messages"], said), False)
    if not pc.any(changed).as_py():
        return rows
    hashes = [prompt_facts(json.loads(text))[0] for text in rows["messages"].filter(changed).to_pylist()]
    mask = changed.combine_chunks()
    known = pc.replace_with_mask(rows["prompt_sha256"].combine_chunks(), mask, pa.array(hashes, pa.string()))
    return _set(rows, "prompt_sha256", known)


def _redacted_attempts(rows: pa.Table, secrets: Counter[str]) -> pa.Table:
    """Redact what the attempts say of their errors."""
    said = _calls(rows).values.field("error_message")
    if said.null_count == len(said):
        return rows
    values, found = redact_column(said)
    secrets.update(found)
    return _with_errors(rows, values) if found else rows


def _calls(rows: pa.Table) -> pa.ListArray:
    """Return the attempts as one array, whose offsets begin at zero."""
    return pa.concat_arrays(rows["attempts"].chunks or [pa.array([], rows.schema.field("attempts").type)])


def _with_errors(rows: pa.Table, messages: pa.Array) -> pa.Table:
    """Return rows whose attempts say other things of their errors."""
    calls = _calls(rows)
    kinds = list(calls.values.type)
    arrays = [messages if kind.name == "error_message" else calls.values.field(kind.name) for kind in kinds]
    inner = pa.StructArray.from_arrays(arrays, fields=kinds)
    return _set(rows, "attempts", pa.ListArray.from_arrays(calls.offsets, inner, type=calls.type))
