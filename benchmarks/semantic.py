"""What a semantic cache serves, right and wrong: `python -m benchmarks semantic --train A --test B --json OUT`.

A and B are files of question pairs (text_a, text_b, label, and answer_class_a, answer_class_b where they are known), of
paraphrases (origin, similar), or of questions whose answer is known (text, answer_class).
The distinct questions of B arrive in random order; a request whose class came before is a possible hit, and their share
is the ceiling. Thresholds are fixed on A, on streams of its folds, by models that saw no question of the same group:
by the wrong answers that were seen, and by the upper 95% bound of their share. Static cosines stand beside them.
`--hard` names pairs that one edit turns into another question (text_a, text_b, family): what is served of a family
whose edits were left out of training, where half of the paraphrases are served. Lookup times are medians, also as
ratios to a 512 × 512 float32 matrix product of the same run. Without `--test` a sixth of A's groups is kept back;
`--splits 5` keeps others back four more times, and says what each rule's wrong answers were in all of them.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import semantic_files
from benchmarks.arguments import count, output
from benchmarks.decision import ONE_THREAD
from benchmarks.semantic_files import Rows
from benchmarks.traces import locate

PAIRS, HARD = "cache_qqp_pairs", "cache_hardneg_pairs"
KEPT_BACK = 1 / 6
LIMIT, TEST_LIMIT = 25_000, 6_000
COSINES = (0.80, 0.90, 0.95)
BUDGETS: Mapping[str, tuple[float, float | None]] = {
    "point_1%": (0.01, None), "point_3%": (0.03, None), "upper_1%": (0.01, 0.05)
}  # fmt: skip


class Unusable(ValueError):
    """Nothing can be learned from the pairs, or judged by them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write JSON where asked to; returns 2 where a file is missing."""
    options = _options(arguments)
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):
        command = [sys.executable, "-m", "benchmarks.semantic", *(sys.argv[2:] if arguments is None else arguments)]
        return subprocess.run(command, check=False, env={**os.environ, **ONE_THREAD}).returncode
    train, hard = options.train or (PAIRS if options.data else None), options.hard
    if hard is None and options.data and (Path(options.data) / f"{HARD}.parquet").is_file():
        hard = HARD
    if train is None:
        print("semantic: name pairs by --train, or their folder by --data or BEASTMODE_DATA", file=sys.stderr)
        return 2
    try:
        rows = semantic_files.read(locate(train, options.data), options.seed)
        test = semantic_files.read(locate(options.test, options.data), options.seed) if options.test else None
        edited = semantic_files.hard(locate(hard, options.data)) if hard is not None else None
    except ValueError as refused:
        print(f"semantic: {refused}", file=sys.stderr)
        return 2
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = options.memory or Path(scratch)
            found = {kind: _run(kind, rows, test, options, edited, folder) for kind in options.encoder}
    except Unusable as refused:
        print(f"semantic: {train}: {refused}", file=sys.stderr)
        return 2
    text = json.dumps(found, indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def _run(
    kind: str, rows: Rows, test: Rows | None, options: argparse.Namespace, hard: Rows | None, folder: Path
) -> dict[str, Any]:
    from benchmarks.semantic_lookups import lookups

    past, future, known, embed, taught, learned, settings = _learned(kind, rows, test, options, folder, 0)
    found: dict[str, Any] = {
        "encoder": kind,
        "can_serve": known is not None,
        "train": {"questions": len(past), "pairs": len(past.pairs), "examples": len(taught.rows)},
        **judged(future, embed, learned, taught, settings, options.seed),
    }
    if hard is not None:
        # Where nothing that is judged asks the same there is no paraphrase to recall half of.
        judgeable = bool(future.same.any())
        found["hard"] = (
            hardness(hard, future, embed, learned.verifier, taught, settings, options.seed) if judgeable else None
        )
    if known is not None and options.lookups > 0:
        found["lookups"] = lookups(known, learned.verifier, past.texts, options.lookups)
    if options.splits > 1:
        each = [found]
        for number in range(1, options.splits):
            _, future, _, embed, taught, learned, settings = _learned(kind, rows, test, options, folder, number)
            each.append(judged(future, embed, learned, taught, settings, options.seed))
        found["splits"] = over_splits(each)
    print(kind, json.dumps(found), file=sys.stderr, flush=True)
    return found


def _learned(
    kind: str, rows: Sequence[Any], test: Sequence[Any] | None, options: argparse.Namespace, folder: Path, number: int
) -> tuple[Any, ...]:
    """Return one split, its encoder and its verifier."""
    from benchmarks.semantic_encoders import embedding, encoder
    from models.verifiers import VerifierSettings, examples, trained

    settings = VerifierSettings(trees=options.trees)
    try:
        past, future = split(rows, test, options, number)
        past.folds(settings.folds, options.seed)
    except ValueError as refused:
        raise Unusable(str(refused)) from None
    known = encoder(kind, past.texts, folder, options.seed)
    embed = embedding(known, folder)
    taught = examples(past, embed, settings, options.seed)
    try:
        learned = trained(taught, settings, options.seed)
    except ValueError as refused:
        raise Unusable(str(refused)) from None
    return past, future, known, embed, taught, learned, settings


def over_splits(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return for each rule what its threshold promised and kept, split by split: a single stream says little of it."""
    told = {}
    for name in each[0]["train_rules"]:
        kept = np.array([one["rules"][name]["wrong"] for one in each])
        told[name] = {
            "wrong_in_training": [one["train_rules"][name]["wrong"] for one in each],
            "wrong": kept.tolist(),
            "wrong_mean": round(float(kept.mean()), 5),
            "wrong_se": round(float(kept.std(ddof=1) / len(kept) ** 0.5), 5),
            "good_of_ceiling_mean": round(float(np.mean([one["rules"][name]["good_of_ceiling"] for one in each])), 4),
        }
    return told


def split(
    rows: Sequence[Any], test: Sequence[Any] | None, options: argparse.Namespace, number: int = 0
) -> tuple[Any, Any]:
    """Return the questions to train on and those to judge by; no group, and no text, is on both sides.

    Each `number` keeps other groups back, or takes others of a large test file.
    """
    from features.questions import questions

    whole = questions(rows)
    if test is None:
        whole = whole.limited(options.limit + options.test_limit, options.seed)
        share = min(KEPT_BACK, options.test_limit / len(whole))
        kept = np.isin(whole.groups, whole.drawn_groups(share, options.seed + 1 + number))
        past, future = whole.take(~kept), whole.take(kept)
    else:
        future = questions(test).limited(options.test_limit, options.seed + number)
        shown = set(future.texts)
        leaked = np.array([text in shown for text in whole.texts])
        past = whole.take(~np.isin(whole.groups, np.unique(whole.groups[leaked])))
        if not len(past):
            raise ValueError("--test holds every question; name other pairs, or none: a sixth is then kept back")
    return past.limited(options.limit, options.seed), future


def judged(future: Any, embed: Any, learned: Any, taught: Any, settings: Any, seed: int) -> dict[str, Any]:
    """Return what each rule serves of the stream of later questions, and how well pairs are told apart."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    from models.verifiers import cosine_stream, within_budget
    from models.verifiers_stream import bounded_threshold, candidates, point_threshold, served

    vectors = embed(future.texts)
    order = np.random.default_rng(seed).permutation(len(future))
    near = candidates(vectors, order, settings.candidates, settings.floor)
    offered = [
        (future.texts[a], future.texts[b], float(c))
        for a, b, c in zip(near.asked, near.stored, near.cosine, strict=True)
    ]
    by_cosine = served(near, near.cosine, future.classes, order, future.groups)
    by_verifier = served(near, learned.verifier.scores(offered), future.classes, order, future.groups)
    rules = {f"static_{cosine:.2f}": by_cosine.at(cosine) for cosine in COSINES}
    past, seen = cosine_stream(taught), {}
    for name, (budget, delta) in BUDGETS.items():
        tuned = point_threshold(past, budget) if delta is None else bounded_threshold(past, budget, delta)
        rules[f"cosine_{name}"], seen[f"cosine_{name}"] = by_cosine.at(tuned), past.at(tuned)
        tuned = within_budget(learned.stream, budget, delta)
        rules[f"verifier_{name}"], seen[f"verifier_{name}"] = by_verifier.at(tuned), learned.stream.at(tuned)
    cosine, score = _pair_scores(future, vectors, learned.verifier)
    told = {"cosine": cosine, "verifier": score}
    both = bool(future.same.any() and not future.same.all())
    return {
        "test": {"questions": len(future), "pairs": len(future.pairs), "same": float(future.same.mean()),
                 "ceiling": by_cosine.ceiling},
        "train_rules": {name: _rounded(rule) for name, rule in seen.items()},
        "rules": {name: _rounded(rule) for name, rule in rules.items()},
        "auc": {
            name: round(float(roc_auc_score(future.same, one)), 4) if both else None for name, one in told.items()
        },
        "average_precision": {
            name: round(float(average_precision_score(future.same, one)), 4) if both else None
            for name, one in told.items()
        },
    }  # fmt: skip


def _rounded(rule: Mapping[str, float]) -> dict[str, float | None]:
    return {key: round(value, 4) if math.isfinite(value) else None for key, value in rule.items()}


def hardness(
    rows: Sequence[Any], future: Any, embed: Any, verifier: Any, taught: Any, settings: Any, seed: int
) -> dict[str, Any]:
    """Return the share of each family's pairs that is served where half of the judged paraphrases are."""
    from models.verifiers import without

    sides = embed([row["text_a"] for row in rows]), embed([row["text_b"] for row in rows])
    cosines = np.einsum("ij,ij->i", *sides)
    pairs = [(row["text_b"], row["text_a"], float(cosine)) for row, cosine in zip(rows, cosines, strict=True)]
    family = np.array([row["family"] for row in rows])
    vectors = embed(future.texts)

    def share(one: Any, of: NDArray[np.bool_]) -> float:
        least = half(_pair_scores(future, vectors, one)[1][future.same])
        chosen = [pair for pair, kept in zip(pairs, of, strict=True) if kept]
        return float((one.scores(chosen) >= least).mean())

    found: dict[str, Any] = {}
    for name in sorted(set(family)):
        of = family == name
        served = float((cosines[of] >= half(_pair_scores(future, vectors, verifier)[0][future.same])).mean())
        left_out = share(without(taught, [name], settings, seed), of)
        found[name] = {
            "pairs": int(of.sum()),
            "cosine": served,
            "in_training": share(verifier, of),
            "left_out": left_out,
        }
    means = {key: float(np.mean([one[key] for one in found.values()])) for key in ("cosine", "in_training", "left_out")}
    return {"families": found, "mean": means, "paraphrase_recall": 0.5}


def half(scores: NDArray[np.float64]) -> float:
    """Return the highest threshold at which at least half of the scores are accepted."""
    return float(np.sort(scores)[::-1][(len(scores) - 1) // 2])


def _pair_scores(known: Any, vectors: Any, verifier: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    cosine = np.einsum("ij,ij->i", vectors[known.pairs[:, 0]], vectors[known.pairs[:, 1]]).astype(np.float64)
    texts = [(known.texts[a], known.texts[b]) for a, b in known.pairs]
    return cosine, verifier.scores([(*pair, float(c)) for pair, c in zip(texts, cosine, strict=True)])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks semantic", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default=os.environ.get("BEASTMODE_DATA"), help="folder; BEASTMODE_DATA by default")
    parser.add_argument("--train", help=f"pairs to learn from; {PAIRS} of the folder by default")
    parser.add_argument("--test", help="pairs to judge by; by default a sixth of the groups of --train")
    parser.add_argument("--hard", help=f"pairs one edit apart; {HARD} of the folder where it is there")
    parser.add_argument("--encoder", nargs="+", choices=("static", "onnx", "minilm"), default=["static", "onnx"])
    parser.add_argument("--limit", type=count, default=LIMIT, help="questions to train on, in whole groups")
    parser.add_argument("--test-limit", type=count, default=TEST_LIMIT, help="questions to judge by")
    parser.add_argument("--splits", type=count, default=1, help="streams that each rule is judged on, one a split")
    parser.add_argument("--trees", type=count, default=250)
    parser.add_argument("--lookups", type=int, default=400, help="lookups that are timed; 0 for none")
    parser.add_argument("--memory", type=Path, help="folder that remembers vectors, so that the next run is shorter")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=output, help="write the numbers to this file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
