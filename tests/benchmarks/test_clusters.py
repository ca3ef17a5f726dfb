"""The benchmark of clusters on questions whose classes are known: what is replayed is about what is served."""

import argparse

import numpy as np
import pandas as pd
import pytest

from beastmode.cache import Cosine
from benchmarks import clusters as benchmark
from benchmarks.clusters_served import Stream, serve
from features.questions import questions
from features.worlds.questions import pairs
from models.encoders import EncoderSettings, fit
from models.verifiers import VerifierSettings, embedding, train
from models.warmers import ewma
from models.warmers.playing import middle
from models.warmers.settings import WarmerSettings

OPTIONS = argparse.Namespace(seed=0, wordings=2, days=6.0, per_day=250.0, popular=60, rows=None, data=None)
SETTINGS = WarmerSettings(ttl_seconds=6 * 3600.0, budgets=(0.1,), later_share=0.5)


@pytest.fixture(scope="module")
def run():
    stream, past = benchmark._world(OPTIONS, questions(pairs(2500, 0)))
    shape = EncoderSettings(surface_columns=0, term_columns=96)
    encoder = fit(past.texts, [str(i) for i in range(len(past))], shape, 0)
    training = VerifierSettings(trees=60, edited=400, candidates=8, budget=0.03)
    verifier = train(past, embedding(encoder), training, 0).verifier
    return stream, past, encoder, verifier


def test_no_question_of_the_stream_is_among_those_that_taught(run):
    stream, past = run[:2]
    assert not {question.text for question in stream.questions} & set(past.texts)
    assert len(stream.questions) > 1.3 * len(set(stream.classes))


def test_the_serving_code_serves_about_what_is_replayed_and_no_more(run):
    """A replay has every wording of a cluster served by every other; the verifier leaves some of them out."""
    stream, _, encoder, verifier = run
    found = benchmark.measure(stream, encoder, verifier, SETTINGS, 0)
    told = found["budgets"]["0.1"]
    assert found["clusters"] < found["questions"]
    assert -0.06 < found["none"]["served"]["hit_rate"] - found["none"]["replay"] < 0.01
    for app in ("told", "untold"):
        for keys in ("exact", "clusters"):
            served, replayed = told["served"][app][keys], told["replay"][keys]
            assert -0.06 < served["hit_rate"] - replayed["hit_rate"] < 0.01
            assert served["spent"] == pytest.approx(replayed["prefills_per_request"], abs=0.005)
            assert found["none"]["served"]["hit_rate"] < served["hit_rate"] <= found["ceiling"]
            assert served["wrong"] <= 0.03


def test_what_is_served_of_another_class_is_counted_as_wrong(run):
    stream, _, encoder, _ = run
    vectors = embedding(encoder)([question.text for question in stream.questions])
    half = middle(stream.demand, 0.5)
    lax, strict = (
        serve(stream, vectors, encoder, Cosine(cosine), half, SETTINGS, None, 0.0, None, told=True)
        for cosine in (0.01, 1.0)
    )
    assert lax["wrong"] > 0.2
    assert strict["wrong"] == 0.0
    # Without a semantic hit the cache is an exact one.
    warmer = ewma.train(stream.demand.until(half), SETTINGS, 0)
    plain = serve(stream, 0 * vectors, encoder, Cosine(1.0), half, SETTINGS, warmer, 0.1, None, told=True)
    assert plain["semantic"] == plain["wrong"] == 0.0
    assert plain["exact"] == plain["hit_rate"]


def test_a_trace_is_read_by_tenant_and_text_and_what_it_holds_teaches_nothing(tmp_path, capsys):
    rows = pairs(300, 0)
    texts = [row["text_a"] for row in rows]
    table = pd.DataFrame({
        "timestamp": pd.to_datetime(np.arange(600) * 60 * 1_000_000, unit="us"), "tenant": ["a", "b"] * 300,
        "text": texts * 2, "answer_class": [row["answer_class_a"] for row in rows] * 2,
    })  # fmt: skip
    table.to_parquet(tmp_path / "t.parquet")
    options = argparse.Namespace(trace=str(tmp_path / "t.parquet"), data=None, rows=None, seed=0)
    stream, past = benchmark._trace(options, questions(pairs(900, 0)))
    assert isinstance(stream, Stream)
    assert {question.partition.tenant for question in stream.questions} == {"a", "b"}
    assert stream.demand.tenant.tolist() == [int(question.partition.tenant == "b") for question in stream.questions]
    assert not {question.text for question in stream.questions} & set(past.texts)
    table.drop(columns="answer_class").to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="lacks answer_class"):
        benchmark._trace(options, questions(pairs(900, 0)))
    assert benchmark.main(["--data", str(tmp_path)]) == 2
    assert "name pairs by --train" in capsys.readouterr().err
