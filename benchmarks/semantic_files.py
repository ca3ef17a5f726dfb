"""Files that say which questions are one: as rows of pairs, whatever the file has."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.traces import columns, table

JUDGED = ("text_a", "text_b", "label")
CLASSES = ("answer_class_a", "answer_class_b")
PARAPHRASES = ("origin", "similar")
CLASSED = ("text", "answer_class")
EDITED = ("text_a", "text_b", "family")
SCOPELESS = frozenset({"oos", "out_of_scope", ""})
"""What is in the class column where there is none: these questions ask for as many things, and are left out."""

Rows = list[dict[str, Any]]


def read(path: Path, seed: int) -> Rows:
    """Return the judged pairs of a file: `text_a`, `text_b`, `label`, and `answer_class_a`, `_b` where it has them.

    All pairs of `origin` and `similar` ask the same. Questions with an `answer_class` are paired within it. Raises
    ValueError where the file has none of these.
    """
    names = columns(path)
    if set(JUDGED) <= set(names):
        both = CLASSES if set(CLASSES) <= set(names) else ()
        known = table(path, [*JUDGED, *both])
        # A class that is not known is not one class: what the pairs say is then all that is known.
        rows: Rows = known.select(
            JUDGED if any(known[name].null_count for name in both) else known.column_names
        ).to_pylist()
    elif set(PARAPHRASES) <= set(names):
        rows = [{**dict(zip(JUDGED, row.values(), strict=False)), "label": 1} for row in _rows(path, PARAPHRASES)]
    elif set(CLASSED) <= set(names):
        rows = paired([(row["text"], row["answer_class"]) for row in _rows(path, CLASSED)], seed)
    else:
        kinds = "; ".join(", ".join(kind) for kind in (JUDGED, PARAPHRASES, CLASSED))
        raise ValueError(f"{path}: needs columns {kinds}; it has {', '.join(names)}: rename those that hold texts")
    return [{**row, "text_a": _text(row["text_a"]), "text_b": _text(row["text_b"])} for row in rows]


def hard(path: Path) -> Rows:
    """Return pairs one edit apart; raises ValueError where the file has none."""
    names = columns(path)
    if not set(EDITED) <= set(names):
        raise ValueError(f"{path}: needs columns {', '.join(EDITED)}; it has {', '.join(names)}: rename or add them")
    rows = [row for row in _rows(path, EDITED) if all(row.values())]
    if not rows:
        raise ValueError(f"{path}: no row has two texts and a family; give pairs one edit apart")
    return rows


def paired(classed: Sequence[tuple[Any, Any]], seed: int) -> Rows:
    """Return a pair for each question of a known class: with another of its class, drawn at random.

    Pairs across classes would make one group of all of them; the streams hold them anyway.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for text, kind in dict(classed).items():
        if text and kind is not None and str(kind).lower() not in SCOPELESS:
            members[str(kind)].append(text)
    rng = np.random.default_rng(seed)
    rows: Rows = []
    for kind, texts in members.items():
        if len(texts) > 1:
            mates = (np.arange(len(texts)) + rng.integers(1, len(texts), size=len(texts))) % len(texts)
            same = {"label": 1, "answer_class_a": kind, "answer_class_b": kind}
            rows += [{"text_a": text, "text_b": texts[mate], **same} for text, mate in zip(texts, mates, strict=True)]
    return rows


def _rows(path: Path, wanted: Sequence[str]) -> Rows:
    rows: Rows = table(path, wanted).to_pylist()
    return rows


def _text(value: Any) -> str | None:
    return None if value is None or not str(value).strip() else str(value)
