"""Replay: a world on disk that ingest reads back as what it was."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from beastmode.candidates import Candidate
from features.costs import prices
from features.formats import FORMATS
from features.joins import table
from features.worlds.replay import WorldSettings
from features.worlds.synthetic import SyntheticSettings
from pipelines.ingest import IngestSettings, SourceSettings, ingest
from pipelines.lake import Lake
from pipelines.replay import ReplayError, ReplaySettings, replay

AT = datetime(2026, 6, 1, tzinfo=UTC)
SMALL = SyntheticSettings(prompts=120)
WRITABLE = [name for name, known in FORMATS.items() if known.write is not None]


@pytest.mark.parametrize("name", WRITABLE)
def test_every_writable_format_brings_back_the_same_table(name: str, tmp_path: Path) -> None:
    settings = ReplaySettings(format=name, synthetic=SMALL, world=WorldSettings(probe_share=0.3, failures=0.05))
    result = replay(settings, 4, tmp_path / "logs")
    sources = (SourceSettings(path=str(tmp_path / "logs" / "*.jsonl")),)
    report = ingest(IngestSettings(sources=sources), tmp_path / "lake", AT, prices=prices(result.world.candidates))
    assert report.adds_up
    assert (report.written, report.quarantined) == (len(result.world.interactions), 0)
    lake, truth = Lake(tmp_path / "lake"), result.world.truth
    got = table(lake.interactions(), lake.feedback(), AT, truth.candidates)
    assert got.request_ids.tolist() == truth.request_ids.tolist()
    assert got.texts == truth.texts
    assert (got.served == truth.served).all()
    assert (got.probed == truth.probed).all()
    np.testing.assert_allclose(got.propensity, truth.propensity)
    for cells in ("quality", "cost_usd", "output_tokens", "latency_ms"):
        known, true = getattr(got, cells), getattr(truth, cells)
        seen = ~np.isnan(known)
        assert seen.any()
        np.testing.assert_allclose(known[seen], true[seen], rtol=1e-5, atol=1e-3 if cells == "latency_ms" else 1e-9)


def test_without_decisions_the_propensity_is_unknown(tmp_path: Path) -> None:
    world = WorldSettings(strip_decisions=True, probe_share=0.1)
    replay(ReplaySettings(format="litellm", synthetic=SMALL, world=world), 4, tmp_path / "logs")
    assert b"beastmode" not in (tmp_path / "logs" / "litellm.jsonl").read_bytes()
    sources = (SourceSettings(path=str(tmp_path / "logs" / "*.jsonl")),)
    report = ingest(IngestSettings(sources=sources), tmp_path / "lake", AT)
    assert report.without_propensity == report.written > 0
    frame = Lake(tmp_path / "lake").interactions()
    assert set(frame["propensity_source"]) == {"unknown"}
    with pytest.raises(ReplayError, match="a journal holds decisions, take 'litellm'"):
        replay(ReplaySettings(synthetic=SMALL, world=world), 4, tmp_path / "other")


def test_the_files_say_what_the_world_holds(tmp_path: Path) -> None:
    result = replay(ReplaySettings(synthetic=SMALL, world=WorldSettings(probes=5)), 0, tmp_path)
    truth = pd.read_parquet(result.truth)
    assert len(truth) == 120 * 6
    assert truth.groupby("request_id")["candidate"].nunique().eq(6).all()
    assert truth.drop_duplicates("request_id")["probed"].sum() == 5
    assert "topic" not in truth
    listed = json.loads(result.candidates.read_text(encoding="utf-8"))
    assert tuple(Candidate.from_mapping(known) for known in listed) == result.world.candidates
    assert not list(tmp_path.glob(".*staged"))
    assert any("120 requests" in line for line in result.lines())


def test_a_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    settings = ReplaySettings(format="litellm", synthetic=SMALL)
    one, two = replay(settings, 3, tmp_path / "a"), replay(settings, 3, tmp_path / "b")
    other = replay(settings, 4, tmp_path / "c")
    assert one.log.read_bytes() == two.log.read_bytes() != other.log.read_bytes()
    assert one.feedback.read_bytes() == two.feedback.read_bytes()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ReplaySettings(format="feedback"),
            "format = 'feedback' cannot be written; writable: journal, litellm, langfuse, .*, table",
        ),
        (ReplaySettings(outcomes="no.parquet"), "outcomes = no.parquet is missing; set the data folder"),
        (ReplaySettings(candidate_set="ten"), "candidate_set = 'ten' needs candidate_sets"),
        (ReplaySettings(candidate_set="ten", candidate_sets="no.json"), "candidate_sets = no.json is missing"),
        (ReplaySettings(synthetic=SMALL, arrivals="no.parquet"), "arrivals = no.parquet is missing"),
    ],
)
def test_what_cannot_be_replayed_is_said(settings: ReplaySettings, said: str, tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=said):
        replay(settings, 0, tmp_path)


@pytest.mark.outcomes
def test_an_outcome_table_is_replayed_over_a_trace(data: Path, tmp_path: Path) -> None:
    settings = ReplaySettings(
        candidate_sets=str(data / "candidate_sets.json"),
        candidate_set="mmlu_pro_five",
        arrivals=str(data / "cache_azurellm2023_conv.parquet"),
        latency=str(data / "llmperf_latency_noprompt.parquet"),
        prompts=300,
        format="litellm",
        world=WorldSettings(probes=20, shift=1.0),
    )
    result = replay(settings, 1, tmp_path / "logs")
    truth = result.world.truth
    assert (len(truth), len(truth.candidates)) == (300, 5)
    assert 100 < np.median(truth.latency_ms) < 20_000
    cut = result.truncation
    assert cut is not None
    assert (cut.requests, cut.truncated) == (300, sum(len(text) > 2048 for text in truth.texts))
    assert cut.chars_lost == sum(max(len(text) - 2047, 0) for text in truth.texts if len(text) > 2048)
    sources = (SourceSettings(path=str(tmp_path / "logs" / "*.jsonl")),)
    report = ingest(IngestSettings(sources=sources), tmp_path / "lake", AT, prices=prices(result.world.candidates))
    assert report.written == len(result.world.interactions)
    asked = [row for row in result.world.interactions if row.messages]
    assert report.truncated == sum(len(str(row.messages[0]["content"])) > 2048 for row in asked if row.messages)
    frame = pd.read_parquet(data / "mmlu_pro.parquet", columns=["task"])
    log = result.log.read_text(encoding="utf-8")
    assert not any(f'"{task}"' in log for task in frame["task"].unique())


@pytest.mark.outcomes
def test_a_candidate_set_that_is_not_there_names_those_that_are(data: Path, tmp_path: Path) -> None:
    settings = ReplaySettings(candidate_sets=str(data / "candidate_sets.json"), candidate_set="nine_lives")
    with pytest.raises(ReplayError, match=r"'nine_lives' is not in .*mmlu_pro_ten"):
        replay(settings, 0, tmp_path)
