"""Files that a kill leaves whole: texts put in place once complete, and lines of which a torn one is passed over."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write_whole(path: Path, text: str, *, private: bool = False) -> None:
    """Write a file, whole or not at all; a private one is its owner's alone from the first byte."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    if private:
        part.touch(mode=0o600)
    part.write_text(text, encoding="utf-8", errors="replace")
    part.replace(path)


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines; what is none, as the line that a kill tore, is passed over."""
    with path.open("rb") as stream:
        for raw in stream:
            try:
                known = json.loads(raw)
            except ValueError:
                continue
            if isinstance(known, dict):
                yield known
