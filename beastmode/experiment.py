"""The experiment that a store runs: a file beside the pointer, replaced in one step."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beastmode.arms import Dealing, steps
from beastmode.errors import StoreError

if TYPE_CHECKING:
    from beastmode.bundle import Bundle

EXPERIMENT = "experiment.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenger that was read and verified, and how units are dealt to it."""

    bundle: "Bundle"
    dealing: Dealing


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

    def to_json(self) -> str:
        """Return the experiment as the text of its file."""
        dealing = self.dealing
        known = {
            "challenger": self.challenger, "manifest_sha256": self.manifest_sha256,
            "champion_sha256": self.champion_sha256, "mode": dealing.mode, "unit": dealing.unit, "salt": dealing.salt,
            "ramp": [[step.at.isoformat(), step.share] for step in dealing.ramp],
            "start": self.start, "reason": self.reason,
        }  # fmt: skip
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
        if not isinstance(experiment.challenger, str) or not isinstance(salt, str) or not salt:
            raise ValueError("challenger and salt must be text")
        return experiment


def read_experiment(folder: Path) -> Experiment | None:
    """Return the experiment in a store's folder, or None where there is none; raises StoreError where it is damaged."""
    file = folder / EXPERIMENT
    try:
        return Experiment.from_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise StoreError(f"{file}: {error}; start the experiment again, or remove the file") from error
