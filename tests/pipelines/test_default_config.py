"""Every threshold of the gate, the stages and the monitor stands in configs/default.toml, as it is by default."""

import re
import tomllib
from dataclasses import asdict, fields

import pytest

from models import comparison, experiments
from pipelines.settings import CONFIGS, parse
from pipelines.stage_settings import MonitorSettings, StageSettings

UNSET = {"estimated_odds", "cost_cap_usd"}
"""Off by default: the file shows an example."""


@pytest.fixture(scope="module")
def shown() -> dict:
    """The file with what is commented out put in."""
    text = (CONFIGS / "default.toml").read_text(encoding="utf-8")
    return tomllib.loads(re.sub(r"(?m)^# (?=\[|[a-z_0-9]+ = )", "", text))


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("gate", comparison.Settings),
        ("stages", StageSettings),
        ("stages.canary", experiments.Settings),
        ("monitor", MonitorSettings),
    ],
)
def test_every_threshold_is_shown_as_it_is_by_default(shown, place, kind) -> None:
    section = shown
    for name in place.split("."):
        section = section[name]
    assert [field.name for field in fields(kind) if field.name not in section] == []
    parsed = parse({"stages": shown["stages"], "gate": shown["gate"], "monitor": shown["monitor"]})
    for name in place.split("."):
        parsed = getattr(parsed, name)
    known, default = asdict(parsed), asdict(kind())
    assert {name for name in known if known[name] != default[name]} - {"canary"} <= UNSET
