"""What clusters as keys of warming win over exact keys: `python -m benchmarks clusters --train PAIRS --json OUT`.

A stream of questions is asked of a cache whose semantic tier serves one wording's answer to another: those of a trace
with `text` and `answer_class` (`--trace`), else the world of `features.worlds.demand`, whose keys are classes of the
pairs file that have at least `--wordings` questions, each asked in one of these by lot. Encoder and verifier are
trained on pairs of which no group is in the stream. Warmers and tournament know the first half of the time; the second
is replayed twice: as `train-warmer` does, where an answer serves its whole cluster (`replay`), and by the code that
serves, `beastmode.cache.Semantic`, question by question (`served`), which also says what was served wrong. There the
tier of the application is `told` of prefills, or hears of one when its own wording is asked for (`untold`).
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from beastmode.cache import Question
from beastmode.cache.learned import LearnedVerifier
from beastmode.encoding import Encoder
from beastmode.records import Request
from benchmarks.arguments import count, output, positive
from benchmarks.clusters_served import Stream, serve
from benchmarks.traces import locate
from benchmarks.warmer import seconds
from features.demand import Demand
from features.questions import Questions, questions
from features.worlds.demand import DemandSettings, demand
from models.verifiers import VerifierSettings, embedding, train
from models.warmers import tournament
from models.warmers.clusters import clusters
from models.warmers.keys import compare
from models.warmers.playing import middle
from models.warmers.settings import WarmerSettings

PAIRS = "cache_qqp_pairs"
LIMIT = 25_000
"""Questions that encoder and verifier learn from."""


@dataclass(frozen=True, slots=True)
class Remembering:
    """A verifier that judges a pair once, however many replays show it to it."""

    verifier: LearnedVerifier
    known: dict[tuple[str, str], float] = field(default_factory=dict)

    @property
    def threshold(self) -> float:
        """Return the verifier's."""
        return self.verifier.threshold

    def accepts(self, question: str, stored_question: str, cosine: float) -> float:
        """Return the score of a pair."""
        return self.scores([(question, stored_question, cosine)])[0]

    def scores(self, pairs: Sequence[tuple[str, str, float]]) -> list[float]:
        """Return the scores of pairs."""
        new = [pair for pair in pairs if pair[:2] not in self.known]
        if new:
            told = self.verifier.scores(new).tolist()
            self.known.update({pair[:2]: score for pair, score in zip(new, told, strict=True)})
        return [self.known[pair[:2]] for pair in pairs]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON where asked to; returns 2 where a file is missing."""
    options = _options(arguments)
    path = options.train or (Path(options.data) / f"{PAIRS}.parquet" if options.data else None)
    if path is None or not path.is_file():
        print("clusters: name pairs by --train, or their folder by --data or BEASTMODE_DATA", file=sys.stderr)
        return 2
    pairs = questions(pd.read_parquet(path).to_dict("records"))
    try:
        settings = WarmerSettings(
            window_seconds=seconds(options.window), ttl_seconds=seconds(options.ttl), budgets=tuple(options.budget),
            later_share=0.5, follow=False,
        )  # fmt: skip
        stream, past = _trace(options, pairs) if options.trace else _world(options, pairs)
    except ValueError as refused:
        print(f"clusters: {refused}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        found = {}
        for kind in options.encoder:
            known, verifier = _learned(kind, past, options, Path(scratch))
            found[kind] = measure(stream, known, verifier, settings, options.seed)
            print(kind, json.dumps(found[kind]), file=sys.stderr, flush=True)
    text = json.dumps(found, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def _trace(options: argparse.Namespace, pairs: Questions) -> tuple[Stream, Questions]:
    """Return the requests of a trace, and the pairs without the groups of which a question is among them."""
    rows = pd.read_parquet(locate(options.trace, options.data))
    missing = [name for name in ("timestamp", "text", "answer_class") if name not in rows]
    if missing:
        raise ValueError(
            f"trace {options.trace!r} lacks {', '.join(missing)}: a cluster is of texts, and so is an error"
        )
    rows = rows.sort_values("timestamp", kind="stable").head(options.rows)
    tenant = rows["tenant"] if "tenant" in rows else pd.Series("", index=rows.index)
    key, named = pd.factorize(pd.MultiIndex.from_arrays([tenant, rows["text"]]))
    at = rows["timestamp"].to_numpy(dtype="datetime64[us]").astype(np.int64) / 1e6
    who = pd.factorize(named.get_level_values(0))[0].astype(np.int64)
    asked = tuple(Question.of(Request.of(text, tenant=tenant), "m") for tenant, text in named)
    classes = pd.Series(rows["answer_class"].to_numpy()).groupby(key).first()
    stream = Stream(Demand.of(key.astype(np.int64), at, who), asked, tuple(classes))
    known = {question.text for question in stream.questions}
    leaked = pairs.groups[[text in known for text in pairs.texts]]
    return stream, pairs.take(~np.isin(pairs.groups, leaked)).limited(LIMIT, options.seed)


def _world(options: argparse.Namespace, pairs: Questions) -> tuple[Stream, Questions]:
    """Return a world of demand for classes of a third of the pairs, and the other pairs."""
    kept = np.isin(pairs.groups, pairs.drawn_groups(1 / 3, options.seed))
    later = pairs.take(kept)
    members = pd.Series(np.arange(len(later))).groupby(later.classes).apply(list)
    members = [one for one in members if len(one) >= options.wordings]
    world = demand(
        DemandSettings(days=options.days, popular_per_day=options.per_day, popular=options.popular), options.seed
    )
    classes = np.unique(world.key, return_inverse=True)[1]
    if classes.max() >= len(members):
        raise ValueError(
            f"the world asks for {classes.max() + 1} classes, and {len(members)} have {options.wordings} wordings: "
            "lower --popular, --days or --wordings"
        )
    rng = np.random.default_rng(options.seed)
    drawn = rng.permutation(len(members))[classes]
    asked = np.array([members[one][rng.integers(len(members[one]))] for one in drawn.tolist()])
    # In the order of their first requests, as `clusters` has them.
    key, named = pd.factorize(asked)
    texts = [later.texts[one] for one in named.tolist()]
    stream = Stream(
        Demand.of(key.astype(np.int64), world.at), tuple(Question.of(Request.of(text), "m") for text in texts),
        tuple(later.classes[named].tolist()),
    )  # fmt: skip
    return stream, pairs.take(~kept).limited(LIMIT, options.seed)


def measure(
    stream: Stream, known: Encoder, verifier: LearnedVerifier, settings: WarmerSettings, seed: int
) -> dict[str, Any]:
    """Return hit rates of exact keys and of clusters at every budget, replayed and served."""
    judge, exact = Remembering(verifier), stream.demand
    begun = time.perf_counter()
    found = clusters(stream.questions, exact, known, judge)
    spent = time.perf_counter() - begun
    half = middle(exact, settings.later_share)
    clustered = found.demand(exact)
    held = {
        name: tournament.hold(demand, settings, seed) for name, demand in (("exact", exact), ("clusters", clustered))
    }
    compared = compare(exact, found, held, settings, seed)
    vectors = embedding(known)([question.text for question in stream.questions])
    rows: dict[str, Any] = {}
    for budget, one in compared.items():
        chosen = {name: each.trained[each.chosen[budget].name] for name, each in held.items()}
        rows[f"{budget:g}"] = {
            "replay": {
                "exact": _row(one.exact), "clusters": _row(one.clusters),
                "clusters_less_exact_points": [round(100 * value, 3) for value in (one.difference, one.low, one.high)],
                "warmers": {name: each.chosen[budget].name for name, each in held.items()},
            },
            "served": {
                app: {
                    name: serve(
                        stream, vectors, known, judge, half, settings, chosen[name], budget,
                        found.of if name == "clusters" else None, told=app == "told",
                    )
                    for name in held
                }
                for app in ("told", "untold")
            },
        }  # fmt: skip
    sizes = np.bincount(found.of)
    return {
        "requests": len(exact), "questions": exact.keys, "classes": len(set(stream.classes)), "clusters": len(found),
        "of_several_wordings": int((sizes > 1).sum()),
        "requests_in_those": round(float((sizes[clustered.key] > 1).mean()), 4),
        "served_by_the_wording_ahead": round(float(found.served[sizes > 1].mean()), 4) if (sizes > 1).any() else None,
        "clustering_seconds": round(spent, 2), "threshold": verifier.threshold,
        "none": {
            "replay": round(held["clusters"].played[tournament.NONE].hit_rate, 4),
            "served": serve(stream, vectors, known, judge, half, settings, None, 0.0, None, told=True),
        },
        "ceiling": round(held["clusters"].ceiling, 4), "budgets": rows,
    }  # fmt: skip


def _row(played: Any) -> dict[str, float]:
    return {
        "hit_rate": round(played.hit_rate, 4), "prefills_per_request": round(played.spent, 4),
        "useful_share": round(played.useful_share, 3),
    }  # fmt: skip


def _learned(
    kind: str, past: Questions, options: argparse.Namespace, folder: Path
) -> tuple[Encoder, LearnedVerifier]:  # fmt: skip
    from benchmarks.semantic_encoders import encoder

    known = encoder(kind, past.texts, options.memory or folder, options.seed)
    if known is None:
        raise ValueError(f"encoder {kind!r} cannot serve; name static or onnx")
    learned = train(past, embedding(known), replace(VerifierSettings(), budget=options.wrong), options.seed)
    return known, learned.verifier


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks clusters", description=__doc__)
    parser.add_argument("--train", type=Path, help="pairs: text_a, text_b, label")
    parser.add_argument("--data", default=os.environ.get("BEASTMODE_DATA"), help="the folder of pairs and traces")
    parser.add_argument("--trace", help="a trace with text and answer_class, in place of a world of the pairs")
    parser.add_argument("--rows", type=count, help="only the first so many requests of the trace")
    parser.add_argument("--wordings", type=count, default=1, help="questions that a class of the world has at least")
    parser.add_argument("--days", type=positive, default=14.0, help="of the world")
    parser.add_argument("--popular", type=count, default=400, help="classes that are asked for at any time")
    parser.add_argument("--per-day", type=positive, default=1500.0, help="requests for these")
    parser.add_argument("--encoder", nargs="+", choices=["static", "onnx"], default=["static"])
    parser.add_argument("--memory", type=Path, help="a folder that remembers what the teacher said")
    parser.add_argument("--wrong", type=positive, default=0.01, help="the verifier's budget of wrong answers")
    parser.add_argument("--ttl", default="6h", help="how long an answer lives")
    parser.add_argument("--window", default="1h", help="how often prefills are planned")
    parser.add_argument("--budget", type=positive, nargs="+", default=[0.1, 0.2, 0.4], help="prefills a request")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=output, nargs="?", help="where to write what is printed")
    return parser.parse_args(arguments)
