"""Every threshold of the gate, the stages and the monitor stands in configs/default.toml, as it is by default."""

import re
import tomllib
from dataclasses import asdict, fields

import pytest

from models import comparison, experiments
from pipelines.settings import CONFIGS, parse
from pipelines.stage_settings import MonitorSettings, StageSettings
from pipelines.target_settings import TargetSettings

TARGETS = {"hit_rate", "p95_ms", "selection_accuracy", "saving", "error_rate", "uptime", "baseline"}
UNSET = {"estimated_odds", "cost_cap_usd", *TARGETS}
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
        ("targets", TargetSettings),
    ],
)
def test_every_threshold_is_shown_as_it_is_by_default(shown, place, kind) -> None:
    section = shown
    for name in place.split("."):
        section = section[name]
    assert [field.name for field in fields(kind) if field.name not in section] == []
    parsed = parse({name: shown[name] for name in ("stages", "gate", "monitor", "targets")})
    for name in place.split("."):
        parsed = getattr(parsed, name)
    known, default = asdict(parsed), asdict(kind())
    assert {name for name in known if known[name] != default[name]} - {"canary"} <= UNSET
