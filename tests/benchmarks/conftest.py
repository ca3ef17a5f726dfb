"""Candidate sets of their own for benchmarks, so that they run where no outcome tables are."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.worlds.synthetic import SyntheticSettings, outcomes


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """A folder with a candidate set `made_up`: 600 synthetic prompts and what each candidate made of them."""
    table, tasks = outcomes(SyntheticSettings(prompts=600), 4)
    rows = [
        {
            "dataset": "made-up", "task": tasks[i], "prompt_id": table.request_ids[i], "prompt": table.texts[i],
            "model": table.candidates[j], "score": table.quality[i, j], "cost_usd": table.cost_usd[i, j],
            "input_tokens": table.input_tokens[i], "output_tokens": table.output_tokens[i, j], "latency_ms": np.nan,
        }
        for i in range(len(table))
        for j in range(len(table.candidates))
    ]  # fmt: skip
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    sets = {"made_up": {"file": "a.parquet", "models": list(table.candidates)}}
    (tmp_path / "candidate_sets.json").write_text(json.dumps(sets))
    return tmp_path
