"""What was filled, what it cost and what is kept meanwhile: a killed run goes on without paying twice."""

import json
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.files import json_lines, write_whole


@dataclass(slots=True)
class Ledger:
    """An append-only file of one plan: a line before each call, a line after it, each on the disk before it counts."""

    path: Path
    spent: float = 0.0
    """US dollars: as counted, or the most that a call can have cost whose end nobody saw."""
    ended: dict[str, str] = field(default_factory=dict)
    """Key -> filled, failed or unknown: none of these is asked again under the same plan."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, path: Path) -> "Ledger":
        """Read what earlier runs wrote; a line that was torn by a kill is passed over."""
        ledger, begun = cls(path), {}
        for line in json_lines(path) if path.exists() else ():
            key = str(line.get("key"))
            if line.get("kind") == "begin":
                begun[key] = float(line["most_usd"])
            elif line.get("kind") == "end":
                begun.pop(key, None)
                ledger.spent += float(line["cost_usd"])
                ledger.ended[key] = str(line["state"])
        for key, most in begun.items():
            # The provider may have answered, and charged: it is not asked again for this window.
            ledger.spent += most
            ledger.ended[key] = "unknown"
        return ledger

    def begin(self, key: str, most_usd: float) -> None:
        """Write that a call may begin, and what it can cost at most."""
        self._write({"kind": "begin", "key": key, "most_usd": most_usd})

    def end(self, key: str, cost_usd: float, state: str) -> None:
        """Write what a call came to."""
        self._write({"kind": "end", "key": key, "cost_usd": cost_usd, "state": state})
        with self._lock:
            self.spent += cost_usd
            self.ended[key] = state

    def keep(self, key: str, value: Any) -> None:
        """Keep an answer until it is held by the cache: what is paid for is not lost with the process."""
        write_whole(self._answer(key), json.dumps(value), private=True)

    def kept(self, key: str) -> Any:
        """Return the answer that was kept, or None."""
        try:
            return json.loads(self._answer(key).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def drop(self, key: str) -> None:
        """Forget an answer that the cache holds."""
        self._answer(key).unlink(missing_ok=True)

    def _answer(self, key: str) -> Path:
        return self.path.parent / "answers" / f"{self.path.name.partition('.')[0]}-{key}.json"

    def _write(self, line: dict[str, Any]) -> None:
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                # A line that a kill tore is closed by the line end before the next one.
                file.write(b"\n" + json.dumps(line).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
