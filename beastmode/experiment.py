"""The experiment that a store runs: a file beside the pointer, replaced in one step."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beastmode.arms import Dealing, Step, steps
from beastmode.errors import StoreError
from beastmode.pointer import Pointer

if TYPE_CHECKING:
    from beastmode.bundle import Bundle

EXPERIMENT = "experiment.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenger that was read and verified, and how units are dealt to it."""

    bundle: "Bundle"
    dealing: Dealing

    @classmethod
    def of(cls, bundle: "Bundle", share: float, dealing: Dealing | None = None) -> "Challenge":
        """Return a challenge on a `share` of the sessions from ever on, or as `dealing` says where it is given."""
        always = (Step(datetime.min.replace(tzinfo=UTC), share),)
        return cls(bundle, dealing or Dealing(bundle.sha256 or bundle.name, always))


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A challenger on trial against one champion; a promotion of another champion ends it."""

    challenger: str
    """The name of its folder under `bundles/`."""
    manifest_sha256: str
    champion_sha256: str
    """The manifest of the champion that it was started against."""
    dealing: Dealing
    start: str
    """ISO 8601: when it was started."""
    reason: str
    ended: str | None = None
    """Why it was stopped: it serves nobody then, and stays in its file, so that what stopped it is final."""

    def compares(self, challenger_sha256: str, champion_sha256: str) -> bool:
        """Return whether it is between these two."""
        return (self.manifest_sha256, self.champion_sha256) == (challenger_sha256, champion_sha256)

    def to_json(self) -> str:
        """Return the experiment as the text of its file."""
        dealing = self.dealing
        known = {
            "challenger": self.challenger, "manifest_sha256": self.manifest_sha256,
            "champion_sha256": self.champion_sha256, "mode": dealing.mode, "unit": dealing.unit, "salt": dealing.salt,
            "ramp": [[step.at.isoformat(), step.share] for step in dealing.ramp],
            "start": self.start, "reason": self.reason,
        } | ({} if self.ended is None else {"ended": self.ended})  # fmt: skip
        return json.dumps(known, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Experiment":
        """Return the experiment that `to_json` wrote; raises ValueError or StoreError on anything else."""
        try:
            known: dict[str, Any] = dict(json.loads(text))
            salt, ramp, unit, mode = (known.pop(name) for name in ("salt", "ramp", "unit", "mode"))
            dealing = Dealing(salt, steps(ramp), unit, mode)
            experiment = cls(**known, dealing=dealing)
        except (TypeError, KeyError, ValueError, RecursionError) as error:
            raise ValueError(f"it is no experiment ({error})") from error
        for digest in (experiment.manifest_sha256, experiment.champion_sha256):
            if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
                raise ValueError(f"{digest!r} is no SHA-256")
        texts = (experiment.challenger, salt, experiment.start, experiment.reason, experiment.ended or "")
        if not all(isinstance(text, str) for text in texts) or not salt:
            raise ValueError("challenger, salt, start, reason and ended must be text")
        return experiment


@dataclass(frozen=True, slots=True)
class State:
    """What serves and what is tried, at one moment: what is decided on it is written while it is still so, or never."""

    champion: Pointer | None
    last: Experiment | None
    """The newest experiment, be it over."""

    @property
    def trial(self) -> Experiment | None:
        """The experiment that runs against the champion."""
        last, now = self.last, self.champion
        runs = last is not None and now is not None and last.champion_sha256 == now.manifest_sha256
        return last if last is not None and runs and last.ended is None else None

    def same(self, other: "State") -> bool:
        """Return whether nobody has moved the pointer or touched the experiment in between."""
        one, two = (
            None if state.champion is None else (state.champion.manifest_sha256, state.champion.at)
            for state in (self, other)
        )
        return one == two and self.last == other.last


def read_experiment(folder: Path) -> Experiment | None:
    """Return the newest experiment of a store's folder, be it over, or None; raises StoreError where it is damaged."""
    file = folder / EXPERIMENT
    try:
        return Experiment.from_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise StoreError(f"{file}: {error}; stop the experiment, and start it again") from error
