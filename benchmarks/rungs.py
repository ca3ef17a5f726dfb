"""The ladder of encoders in the benchmarks: one teacher a rung, and what one rung buys over another."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from beastmode.bundle import Bundle
from beastmode.encoding import KINDS
from beastmode.lexical import window
from beastmode.transformer import Transformer, Vectors
from benchmarks.routing_report import ONE_SIDED, Run, averaged
from models.encoders import EncoderSettings, Teacher
from models.values import Gain
from pipelines.rungs import Teachers
from pipelines.teaching import exported, sentence_transformer


def teachers(rungs: Sequence[str], folder: Path, settings: EncoderSettings, *, terms: bool = False) -> Teachers:
    """Return whom each rung's encoder learns from, with a memory in a folder; `terms` leaves static without one."""
    known: dict[str, Teacher | Transformer | None] = {}
    for rung in rungs:
        if rung == "onnx":
            known[rung] = exported(folder, settings.sentence_pieces)
        else:
            known[rung] = None if terms else sentence_transformer(folder)
    return known


def reminded(bundle: Bundle, teacher: Teacher | Transformer | None, texts: Sequence[str]) -> Bundle:
    """Return the bundle with what its transformer says of some texts looked up, so that they are embedded once.

    The vectors come from the memory of the rung's teacher, which holds what the same graph said of the same texts.
    """
    known = bundle.encoder.sentences
    if known is None or not isinstance(teacher, Transformer) or not texts:
        return bundle
    seen = [window(text) for text in texts]
    said = teacher.vectors(seen)
    place = {text: i for i, text in enumerate(seen)}

    def memory(asked: Sequence[str]) -> Vectors:
        return said[[place[text] for text in asked]]

    sentences = replace(known, transformer=replace(known.transformer, memory=memory))
    return replace(bundle, encoder=replace(bundle.encoder, sentences=sentences))


def bought(runs: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """Return what each dearer rung earns over the next cheaper one on the same prompts, in quality, paired."""
    found = {}
    for cheap, dear in pairwise(sorted(runs, key=KINDS.index)):
        gain = Gain.of(averaged(runs[dear], lambda r: r.won) - averaged(runs[cheap], lambda r: r.won))
        low, high = gain.mean - ONE_SIDED * gain.se, gain.mean + ONE_SIDED * gain.se
        found[f"{dear} - {cheap}"] = {"mean": gain.mean, "se": gain.se, "low": low, "high": high, "n": gain.n}
    return found
