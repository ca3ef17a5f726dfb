"""The loss report: what became of every record that was read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LossReport:
    """What became of every record that was read."""

    files: int = 0
    unchanged: int = 0
    """Files among them that held nothing new since the last reading."""
    read: int = 0
    """Records of interactions, and refused or torn ones; words of feedback are counted apart."""
    written: int = 0
    duplicate: int = 0
    merged: int = 0
    """Gateway records of calls that the journal holds: kept beside it, counted once."""
    joined: int = 0
    """Records that became part of another, as the model calls of an inference do."""
    other: int = 0
    """Records that answer no prompt, such as the span of a tool."""
    quarantined: int = 0
    waiting: int = 0
    unpriced: int = 0
    """Among the written, as the following are."""
    without_prompt: int = 0
    truncated: int = 0
    truncated_chars: int = 0
    without_propensity: int = 0
    failures: int = 0
    redacted: int = 0
    """Secrets that were taken out of what is kept, quarantine included."""
    feedback_read: int = 0
    feedback_written: int = 0
    feedback_duplicate: int = 0
    feedback_quarantined: int = 0
    dry_run: bool = False
    """Whether nothing was written, so that `written` is what would have been."""
    formats: tuple[str, ...] = ()
    """How each source was read, and how sure that is."""
    reasons: tuple[tuple[str, int], ...] = ()
    """Why records were refused, the most frequent first."""
    others: tuple[tuple[str, int], ...] = ()
    """What the records were that answer no prompt."""
    secrets: tuple[tuple[str, int], ...] = ()
    """What was redacted, by rule."""
    notes: tuple[str, ...] = ()
    """What the readers assumed."""

    @property
    def adds_up(self) -> bool:
        """Whether every record is accounted for."""
        here = self.written + self.duplicate + self.merged + self.joined + self.other + self.quarantined + self.waiting
        words = self.feedback_written + self.feedback_duplicate + self.feedback_quarantined
        return self.read == here and self.feedback_read == words

    def lines(self) -> tuple[str, ...]:
        """Return the report as lines to print."""
        told = ["dry run: nothing was written; below is what would be"] if self.dry_run else []
        told += self.formats
        told += [
            f"read {self.read:,} records of {self.files} files = {self.written:,} written "
            f"+ {self.duplicate:,} duplicate + {self.merged:,} merged + {self.joined:,} joined "
            f"+ {self.other:,} of other kinds + {self.quarantined:,} quarantined + {self.waiting:,} waiting",
            f"of the written: {self.unpriced:,} unpriced, {self.without_prompt:,} without prompt, "
            f"{self.truncated:,} truncated ({self.truncated_chars:,} characters lost), "
            f"{self.without_propensity:,} without propensity, {self.failures:,} failed",
            f"feedback: read {self.feedback_read:,} = {self.feedback_written:,} written "
            f"+ {self.feedback_duplicate:,} duplicate + {self.feedback_quarantined:,} quarantined",
        ]
        if self.unchanged:
            told.append(f"{self.unchanged} of the files held nothing new")
        if self.secrets:
            told.append("redacted: " + ", ".join(f"{count:,} {rule}" for rule, count in self.secrets))
        told += [f"refused {count:,} times: {reason}" for reason, count in self.reasons]
        told += [f"no call, {count:,} times: {what}" for what, count in self.others]
        told += [f"note: {note}" for note in self.notes]
        return tuple(told)
