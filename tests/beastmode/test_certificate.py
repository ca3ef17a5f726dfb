"""A certificate travels in the manifest, is served at its operating point, and is refused where it says nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from beastmode.bundle import Bundle
from beastmode.certificate import Certificate
from beastmode.errors import BundleError
from beastmode.folder import CHECKSUM, MANIFEST, seal, write_folder
from beastmode.policies import EpsilonGreedy, Greedy
from beastmode.router import Router
from beastmode.store import Store

KNOWN = Certificate(
    loss=0.0, alpha=0.05, delta=0.1, of="all", reference="large", per_dollar=40.0, margin=0.03, n=1200, diverted=0.31,
    lost=41, risk=41 / 1200, upper=0.0434, saving=0.28, saving_usd=0.002, saving_usd_se=0.0001, smallest_alpha=None,
    probes_needed=None, method="learn then test", data_sha256="0" * 64, since="2026-01-01", until="2026-02-01",
)  # fmt: skip
UNSAFE = replace(KNOWN, per_dollar=None, margin=None, upper=0.07, smallest_alpha=0.07, probes_needed=4000)


def test_a_certificate_is_written_read_and_served(make_bundle: Any, tmp_path: Path) -> None:
    written = make_bundle(guarantee=KNOWN).write(tmp_path / "b")
    assert Bundle.read(tmp_path / "b", written.sha256).guarantee == KNOWN
    router = Router.load(tmp_path / "b", guaranteed=True)
    assert router.bundle.objective.per_dollar == 40.0
    # What was certified does not explore.
    assert isinstance(written.policy, EpsilonGreedy)
    assert router.bundle.policy == Greedy(incumbent=1, margin=0.03)
    assert router.route("x").propensity == 1.0
    assert Router.load(tmp_path / "b").at(guaranteed=True).bundle.policy == router.bundle.policy
    assert router.at(0.9).bundle.objective.per_dollar == 100.0


def test_without_a_certificate_it_is_said_why(make_bundle: Any, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"'first': no quality guarantee; set \[guarantee\]"):
        Router(make_bundle(), guaranteed=True)
    make_bundle(guarantee=UNSAFE).write(tmp_path / "b")
    router = Router.load(tmp_path / "b")
    with pytest.raises(BundleError, match=r"No threshold is safe.*about 4,000 would do.*certified is 0\.0700"):
        router.at(guaranteed=True)
    with pytest.raises(BundleError, match=r"either guaranteed or quality_ratio = 0\.9"):
        Router(make_bundle(guarantee=KNOWN), guaranteed=True, quality_ratio=0.9)


def test_a_bundle_written_before_there_were_guarantees_is_read(make_bundle: Any, tmp_path: Path) -> None:
    make_bundle().write(tmp_path / "b")
    assert Bundle.read(resealed(tmp_path / "b", None)).guarantee is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": "gone"}, "'gone' is no candidate"),
        ({"alpha": 2}, r"must lie in \[0, 1\]"),
        ({"alpha": 0.01}, "exceeds its alpha"),
        ({"of": "some"}, "'some' must be 'all' or 'diverted'"),
        ({"margin": None}, "must be numbers of zero or more"),
        ({"per_dollar": -1.0}, "must be numbers of zero or more"),
        ({"per_dollar": "much"}, "must be numbers of zero or more"),
        ({"another": 1}, "another"),
    ],
)
def test_a_certificate_that_cannot_be_one_is_refused(
    make_bundle: Any, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    make_bundle(guarantee=KNOWN).write(tmp_path / "b")
    with pytest.raises(BundleError, match=message):
        Bundle.read(resealed(tmp_path / "b", {**KNOWN.to_json(), **change}))


def test_a_follower_keeps_what_is_certified(make_bundle: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.add(make_bundle("first", guarantee=KNOWN))
    store.promote("first", at="1", reason="a")
    with Router.follow(store, every_seconds=60, guaranteed=True) as router:
        store.add(make_bundle("second"))
        store.promote("second", at="2", reason="b")
        assert router._follower is not None
        assert not router._follower.look(router.swap), "a champion without a certificate does not take its place"
        assert router.bundle.name == "first"


def test_a_sentence_says_what_is_promised() -> None:
    assert KNOWN.sentence == (
        "31% of requests go to another candidate than large, which saves 28% of its cost; with 90% confidence at most "
        "0.05 of all requests lose quality against large (0.0342 did, upper bound 0.0434, on 1,200 requests)."
    )
    other = replace(KNOWN, of="diverted", loss=0.2, saving=None)
    assert "saves an unknown amount" in other.sentence
    assert "at most 0.05 of the requests that leave large lose more than 0.2 of quality against large" in other.sentence
    assert "no number of them would do" in replace(UNSAFE, probes_needed=None).sentence


def resealed(path: Path, guarantee: dict[str, Any] | None) -> Path:
    """The same bundle with another certificate, or with no word of one, and hashes that agree."""
    manifest = json.loads((path / MANIFEST).read_text())
    files = {file.name: file.read_bytes() for file in path.iterdir() if file.name not in (MANIFEST, CHECKSUM)}
    del manifest["files"], manifest["guarantee"]
    if guarantee is not None:
        manifest["guarantee"] = guarantee
    write_folder(path.with_name("resealed"), seal(manifest, files))
    return path.with_name("resealed")
