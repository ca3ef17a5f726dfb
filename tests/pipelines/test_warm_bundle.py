"""Every warmer as a bundle: what is read is what was written, and foretells the same."""

from datetime import UTC, datetime

import numpy as np
import pytest

from beastmode.errors import BundleError
from features.worlds.demand import DemandSettings, demand
from models.warmers import WARMERS
from models.warmers.settings import WarmerSettings
from models.warmers.warmer import Warmer, chances
from pipelines.warm_bundle import WarmerBundle, demand_of
from pipelines.warm_demand import Logged

SETTINGS = WarmerSettings()


def logged(seed: int = 0) -> Logged:
    known = demand(DemandSettings(days=8), seed)
    k = known.keys
    return Logged(
        keys=tuple(str(row).encode() for row in range(k)), key=known.key, at=known.at,
        session=np.arange(len(known)), tenant=known.tenant, miss_usd=np.full(k, np.nan), miss_ms=np.zeros(k),
        answer_bytes=np.ones(k), requests=(None,) * k,
    )  # fmt: skip


def bundle(warmer: Warmer, **known) -> WarmerBundle:
    told = {
        "window_seconds": SETTINGS.window_seconds,
        "ttl_seconds": SETTINGS.ttl_seconds,
        "cache": {"ttl_seconds": 9.0},
    }
    return WarmerBundle(
        name="mine", created="2026-03-01", warmer=warmer, evaluation={"reason": "test"}, training={}, **told | known
    )


@pytest.mark.parametrize("name", WARMERS)
def test_what_is_read_is_what_was_written_and_foretells_the_same(name, tmp_path):
    known = logged()
    at = datetime.fromtimestamp(float(known.at[-1]), UTC)
    made = WARMERS[name](demand_of(known), SETTINGS, 0)
    bundle(made).write(tmp_path / "b")
    found = WarmerBundle.read(tmp_path / "b")
    assert found.warmer == made
    p = found.chances(known, at, SETTINGS.ttl_seconds)
    assert p == pytest.approx(chances(made, demand_of(known), at.timestamp(), SETTINGS.window_seconds))
    assert p.max() > 0.3
    # An answer that lives for half as long is less often used; one that lives longer has the chance that is known.
    half = found.chances(known, at, SETTINGS.ttl_seconds / 2)
    assert half == pytest.approx(1 - np.sqrt(1 - p))
    assert found.chances(known, at, 2 * SETTINGS.ttl_seconds) == pytest.approx(p)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "oracle"}, "unknown warmer 'oracle'"),
        ({"heuristic": "ewmaa"}, "heuristic 'ewmaa'"),
        ({"half_life": 99}, "half-life"),
        ({"levels": (1.0, 0.0), "chances": (0.0, 1.0)}, "do not rise"),
        ({"levels": (0.0, 1.0), "chances": (0.0, 1.5)}, "no probabilities"),
        ({"levels": (0.0, np.inf), "chances": (0.0, 0.5)}, "not finite"),
    ],
)
def test_a_warmer_that_cannot_be_true_is_refused_with_the_remedy(wrong, said, tmp_path):
    values = {"name": "ewma", "heuristic": "ewma", "half_life": 3, **wrong}
    bundle(Warmer(**values)).write(tmp_path / "b")
    with pytest.raises(BundleError, match=f"{said}.*train-warmer"):
        WarmerBundle.read(tmp_path / "b")
