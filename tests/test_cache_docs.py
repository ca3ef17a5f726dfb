"""The cache's page says what the code does: its examples run as they stand, one after another."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beastmode import Bundle, Candidate, Greedy, Objective, Price, Router
from beastmode.cache import CacheSettings
from beastmode.encoding import Encoder
from beastmode.lexical import NAMES
from beastmode.scorers import Constant

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "cache.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def router() -> Router:
    bundle = Bundle(
        name="b", candidates=(Candidate("a", price=Price(1, 1)),), policy=Greedy(), objective=Objective(),
        encoder=Encoder(np.zeros(len(NAMES)), np.ones(len(NAMES))),
        scorer=Constant(*np.ones((3, 1))), created="2026", code_version="0",
    )  # fmt: skip
    return Router(bundle, seed=0)


def test_the_examples_run_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {"my_model": lambda messages, model=None: f"{len(messages)} by {model}", "router": router()}
    assert len(EXAMPLES) == 6
    for example in EXAMPLES:
        exec(example, known)
    for name in ("cache", "routed", "meaning"):
        known[name].close()
    (log,) = (tmp_path / "workspace" / "logs").iterdir()
    assert log.read_text().count('"cache_tier":"memory"') == 1


def test_every_setting_stands_in_the_table_with_its_default() -> None:
    told = {"max_entry_bytes": "1 MiB", "half_life_seconds": "none"}
    for row in re.findall(r"^\| (`[a-z_`, ]+`) \| ([^|]+) \|", PAGE, re.MULTILINE):
        names, values = (re.findall(r"[a-z_]{4,}|[.\d]+", cell) for cell in row)
        told |= {name: value for name, value in zip(names, values, strict=False) if name not in told}
    for field in fields(CacheSettings):
        default = getattr(CacheSettings(), field.name)
        if field.name not in ("max_entry_bytes", "half_life_seconds"):
            assert float(told[field.name]) == default, field.name
    assert CacheSettings().max_entry_bytes == 1 << 20


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+\.md)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
