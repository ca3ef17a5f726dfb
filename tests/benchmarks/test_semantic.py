"""The semantic benchmark on questions whose classes are known: no leak, every rule beside its ceiling, real lookups."""

import argparse
import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import semantic, semantic_files
from benchmarks.semantic_encoders import embedding
from benchmarks.semantic_lookups import lookups
from features.edits import HARMFUL, edits
from features.questions import questions
from features.worlds.questions import pairs
from models.encoders import EncoderSettings, fit
from models.verifiers import VerifierSettings, examples, trained

SETTINGS = VerifierSettings(trees=60, edited=400, candidates=8)
LIMITS = argparse.Namespace(limit=2000, test_limit=500, seed=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    past, future = semantic.split(pairs(1200, 0), None, LIMITS)
    settings = EncoderSettings(surface_columns=0, term_columns=96)
    encoder = fit(past.texts, [str(i) for i in range(len(past))], settings, 0)
    embed = embedding(encoder, tmp_path_factory.mktemp("memory"))
    taught = examples(past, embed, SETTINGS, 0)
    return past, future, encoder, embed, taught, trained(taught, SETTINGS, 0)


def test_no_text_and_no_group_is_on_both_sides(run):
    past, future = run[:2]
    assert not set(past.texts) & set(future.texts)
    assert len(past) > 3 * len(future) > 300
    rows = pairs(900, 1)
    past, future = semantic.split(rows, rows[:60], LIMITS)
    assert not set(past.texts) & set(future.texts)


def test_every_rule_stands_beside_its_ceiling_and_its_bound(run):
    _, future, _, embed, taught, learned = run
    found = semantic.judged(future, embed, learned, taught, SETTINGS, 0)
    assert 0.1 < found["test"]["ceiling"] < 0.5
    assert set(found["rules"]) >= {"static_0.90", "cosine_point_1%", "verifier_point_3%", "verifier_upper_1%"}
    for rule in found["rules"].values():
        assert rule["good"] <= found["test"]["ceiling"] + 1e-4
        assert rule["wrong"] < rule["wrong_upper"]
    assert found["train_rules"]["verifier_upper_1%"]["wrong_upper"] <= 0.01
    assert found["auc"]["verifier"] > found["auc"]["cosine"]
    assert found["rules"]["verifier_upper_1%"]["good"] > found["rules"]["cosine_upper_1%"]["good"]


def test_each_split_keeps_other_questions_back_and_all_of_them_are_summed_up(run):
    _, future, _, embed, taught, learned = run
    rows = pairs(900, 1)
    sides = [semantic.split(rows, None, LIMITS, number) for number in (0, 1)]
    assert all(not set(past.texts) & set(kept.texts) for past, kept in sides)
    assert len(set(sides[0][1].texts) & set(sides[1][1].texts)) < 0.5 * len(sides[0][1])
    each = [semantic.judged(one, embed, learned, taught, SETTINGS, 0) for one in (future, sides[0][1])]
    told = semantic.over_splits(each)["verifier_point_1%"]
    assert told["wrong"] == [one["rules"]["verifier_point_1%"]["wrong"] for one in each]
    assert told["wrong_mean"] == pytest.approx(sum(told["wrong"]) / 2, abs=1e-4)
    assert told["wrong_se"] == pytest.approx(abs(told["wrong"][0] - told["wrong"][1]) / 2, abs=1e-4)


def test_lookups_are_timed_without_the_memory_of_training():
    from types import SimpleNamespace

    from beastmode.encoding import Encoder
    from beastmode.transformer import SentenceVectors, Transformer
    from beastmode.wordpiece import WordPiece
    from benchmarks.semantic_lookups import as_served

    pieces = WordPiece.of({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3})
    sentences = SentenceVectors(Transformer(pieces, b"", 16, memory=SimpleNamespace), np.eye(4, dtype=np.float32))
    encoder = Encoder(np.zeros(32), np.ones(32), sentences=sentences)
    assert as_served(encoder).sentences.transformer.memory is None


def test_hard_pairs_are_judged_where_half_of_the_paraphrases_are_served(run):
    _, future, _, embed, taught, learned = run
    made = edits(future.texts, HARMFUL, 3)
    rows = [{"text_a": edit.text, "text_b": edit.edited, "family": edit.family} for edit in made]
    found = semantic.hardness(rows, future, embed, learned.verifier, taught, SETTINGS, 0)
    assert set(found["families"]) <= set(HARMFUL)
    assert len(found["families"]) > 2
    assert found["mean"]["left_out"] <= 0.1 < found["mean"]["cosine"]


def test_half_accepts_at_least_half():
    for scores in ([0.1], [0.1, 0.2], [0.3, 0.1, 0.2], [0.5, 0.5, 0.5, 0.1]):
        told = np.array(scores)
        assert (told >= semantic.half(told)).mean() >= 0.5


def test_lookups_are_timed_with_and_without_embedding(run):
    past, _, encoder, _, _, learned = run
    found = lookups(encoder, learned.verifier, past.texts, 20)
    assert found["held"] == len(past) // 2
    for name in ("verifier", "without_embedding", "with_embedding"):
        assert found[name]["p50_us"] > 0
        assert found[name]["per_matmul"] > 0


def test_without_pairs_it_says_how_to_name_them(monkeypatch, capsys):
    monkeypatch.delenv("BEASTMODE_DATA", raising=False)
    for name in semantic.ONE_THREAD:
        monkeypatch.setenv(name, "1")
    assert semantic.main([]) == 2
    assert "--train" in capsys.readouterr().err


def test_a_file_of_pairs_is_read(tmp_path):
    pq.write_table(pa.Table.from_pylist(pairs(20, 2)), tmp_path / "pairs.parquet")
    assert len(questions(semantic_files.read(tmp_path / "pairs.parquet", 0)).pairs) == 20


@pytest.fixture
def single(monkeypatch):
    for name in semantic.ONE_THREAD:
        monkeypatch.setenv(name, "1")


def written(tmp_path, name="p.parquet", **columns):
    pq.write_table(pa.table(columns), tmp_path / name)
    return tmp_path / name


def test_paraphrases_and_questions_of_known_answers_are_pairs_too(tmp_path):
    origin, similar = ["Which day is it?", None, "What is it?"], ["What day is it?", "x", "  "]
    rows = semantic_files.read(written(tmp_path, origin=origin, similar=similar, more=[1, 2, 3]), 0)
    assert rows[0] == {"text_a": "Which day is it?", "text_b": "What day is it?", "label": 1}
    assert len(questions(rows).pairs) == 1
    texts = [f"question {i}" for i in range(12)]
    kinds = ["pay"] * 5 + ["send"] * 3 + ["oos"] * 2 + [None, "alone"]
    rows = semantic_files.read(written(tmp_path, text=texts, answer_class=kinds), 0)
    assert len(rows) == 8
    kind_of = dict(zip(texts, kinds, strict=True))
    for row in rows:
        assert row["label"] == 1
        assert row["text_a"] != row["text_b"]
        assert kind_of[row["text_a"]] == kind_of[row["text_b"]] == row["answer_class_a"] == row["answer_class_b"]
    known = questions(rows)
    assert len(known) == 8
    assert len(set(known.groups)) == len(set(known.classes)) == 2


@pytest.mark.parametrize("kind", [pa.int8(), pa.bool_(), pa.float64()])
def test_labels_may_be_of_any_kind_and_classes_that_are_not_all_known_are_none(tmp_path, kind):
    told = {"text_a": ["a", "b", "c"], "text_b": ["x", "y", "z"], "label": pa.array([1, 0, 1]).cast(kind)}
    known = questions(semantic_files.read(written(tmp_path, **told, answer_class_a=[1, None, 1],
                                                  answer_class_b=[1, None, 2]), 0))  # fmt: skip
    assert known.same.tolist() == [True, False, True]
    assert len(set(known.classes)) == 4
    known = questions(semantic_files.read(written(tmp_path, **told, answer_class_a=[1, 2, 1],
                                                  answer_class_b=[1, 3, 1]), 0))  # fmt: skip
    assert len(set(known.classes)) == 3


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        (
            {"question": ["a"]},
            "needs columns text_a, text_b, label; origin, similar; text, answer_class; it has question",
        ),
        ({"text_a": ["a"], "text_b": ["b"], "label": ["same"]}, "row 0 has label 'same'; expected 0 or 1"),
        ({"text_a": ["a"], "text_b": ["b"], "label": pa.array([None], pa.int8())}, "row 0 has label None"),
        ({"text_a": [None], "text_b": [" "], "label": [1]}, "no pair with two texts"),
        ({"text_a": ["a", "c"], "text_b": ["b", "d"], "label": [0, 1]}, "groups cannot make 5 folds; give more pairs"),
    ],
)
def test_pairs_that_cannot_be_used_are_refused_with_their_file(tmp_path, single, columns, why, capsys):
    path = written(tmp_path, **columns)
    assert semantic.main(["--train", str(path), "--encoder", "static"]) == 2
    told = capsys.readouterr()
    assert f"semantic: {path}: " in told.err
    assert why in told.err
    assert told.err.count("\n") == 1


def test_a_test_that_is_the_training_and_files_that_are_nowhere_are_refused(tmp_path, single, capsys):
    path = str(written(tmp_path, text_a=["a", "c"], text_b=["b", "d"], label=[0, 1]))
    assert semantic.main(["--train", path, "--test", path]) == 2
    assert "--test holds every question; name other pairs, or none" in capsys.readouterr().err
    assert semantic.main(["--train", path, "--hard", path]) == 2
    assert "needs columns text_a, text_b, family" in capsys.readouterr().err
    assert semantic.main(["--train", str(tmp_path / "nowhere")]) == 2
    assert "there is no file" in capsys.readouterr().err


def test_one_class_of_pairs_has_no_curve_and_few_questions_are_looked_up(run):
    _, future, encoder, embed, taught, learned = run
    places = np.unique(future.pairs[future.same])
    alike = future.take(np.isin(np.arange(len(future)), places))
    alike = dataclasses.replace(alike, pairs=alike.pairs[alike.same], same=alike.same[alike.same])
    found = semantic.judged(alike, embed, learned, taught, SETTINGS, 0)
    assert found["auc"] == found["average_precision"] == {"cosine": None, "verifier": None}
    json.dumps(found, allow_nan=False)
    assert lookups(encoder, learned.verifier, future.texts[:8], 20)["held"] == 4
