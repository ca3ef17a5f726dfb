"""Every warmer as a bundle: what is read is what was written, and foretells the same."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from beastmode.errors import BundleError
from beastmode.folder import CHECKSUM, MANIFEST, sha256_of, write_folder
from features.worlds.demand import DemandSettings, demand
from models.warmers import WARMERS
from models.warmers.following import Follower
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


FOLLOWER = Follower(
    after=5.0, within=60.0, levels=(-3.0, 2.0), worths=(0.0, 0.9), line=(0.8, 0.1, 0.3, -1.0),
    expected=((0.9, 0.01), (0.2, 0.3)),
)  # fmt: skip


def sealed_again(made: WarmerBundle, follower: object, path: Path) -> WarmerBundle:
    """Write a bundle whose manifest has something else for its follower, nothing where it is None, and read it."""
    files = dict(made.files())
    manifest = {name: value for name, value in json.loads(files[MANIFEST]).items() if name != "follower"}
    text = json.dumps(manifest if follower is None else {**manifest, "follower": follower}).encode()
    write_folder(path, {**files, MANIFEST: text, CHECKSUM: f"{sha256_of(text)}  {MANIFEST}\n".encode()})
    return WarmerBundle.read(path)


def test_who_follows_is_plain_numbers_in_the_manifest_and_older_bundles_have_nobody(tmp_path):
    made = bundle(Warmer("ewma", "ewma", 3, follower=FOLLOWER))
    made.write(tmp_path / "b")
    assert WarmerBundle.read(tmp_path / "b").warmer.follower == FOLLOWER
    bundle(Warmer("ewma", "ewma", 3)).write(tmp_path / "none")
    assert WarmerBundle.read(tmp_path / "none").warmer.follower is None
    assert sealed_again(made, None, tmp_path / "old").warmer.follower is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"after": 60.0}, "no span of time"),
        ({"within": "inf"}, "no span of time"),
        ({"levels": (2.0, -3.0)}, "do not rise"),
        ({"worths": (0.5,)}, "other shapes"),
        ({"worths": (0.0, 1.2)}, "no shares"),
        ({"line": (0.8, 0.1, 0.3)}, "has not four"),
        ({"line": (0.8, 0.1, 0.3, "inf")}, "not finite"),
        ({"levels": ("-inf", 2.0)}, "not finite"),
        ({"expected": ((0.9, "inf"),)}, "not finite"),
        ({"expected": ((0.2, 0.3), (0.9, 0.01))}, "do not fall in worth"),
        ({"expected": ((0.9, -0.01),)}, "fewer than none"),
        ({"expected": ((0.9, 0.1, 0.2),)}, "cannot reshape"),
        ({"after": "soon"}, "could not convert"),
        ({"line": None}, "has not four|float"),
        ({"expected": ((1.9, 0.1),)}, "no shares"),
    ],
)
def test_who_follows_by_numbers_that_cannot_be_true_is_refused(wrong, said, tmp_path):
    made = bundle(Warmer("ewma", "ewma", 3, follower=FOLLOWER))
    with pytest.raises(BundleError, match=f"({said}).*train-warmer"):
        sealed_again(made, asdict(replace(FOLLOWER, **wrong)), tmp_path / "b")


@pytest.mark.parametrize("wrong", [{}, {"after": 5.0}, [], "nobody", 3])
def test_who_follows_without_its_numbers_is_refused(wrong, tmp_path):
    with pytest.raises(BundleError, match="train-warmer"):
        sealed_again(bundle(Warmer("ewma", "ewma", 3)), wrong, tmp_path / "b")
