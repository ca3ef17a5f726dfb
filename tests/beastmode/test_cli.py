import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from beastmode import Certificate
from beastmode.__main__ import main
from beastmode.store import Registered, Store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(make_bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store(tmp_path / "store")
    for name in ("first", "second"):
        store.add(make_bundle(name))
        store.promote(name, at="2026-01-01", reason="for the test")
    return store


def test_route_says_where_and_why(store: Store, capsys: Any) -> None:
    assert main(["route", "--bundle", str(store.path), "--seed", "0", "What is 2+2?"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split()[0] in ("small", "large", "seer")
    assert out[1].startswith("because ")
    assert any(line.startswith("> large") for line in out)
    assert "utility" in out[3]


def test_route_as_json_from_standard_input(store: Store, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("What is 2+2?"))
    command = ["route", "--bundle", str(store.path), "--json", "--allow", "small", "--needs-tools", "-"]
    assert main(command) == 0
    known = json.loads(capsys.readouterr().out)
    assert known["candidate"] == "small"
    assert known["propensity"] == 1.0
    assert known["excluded"]["large"] == "not on the allow list"
    assert len(known["explanation"]["rows"]) == 3


def test_route_at_an_operating_point(store: Store, capsys: Any) -> None:
    assert main(["route", "--bundle", str(store.path), "--quality-ratio", "0.9", "hi"]) == 0
    assert "one dollar is worth 100 of quality" in capsys.readouterr().out
    assert main(["route", "--bundle", str(store.path), "--quality-ratio", "2", "hi"]) == 1
    assert "0.9, 0.99" in capsys.readouterr().err


def test_inspect_says_what_is_in_it(store: Store, capsys: Any) -> None:
    assert main(["inspect", str(store.path)]) == 0
    out = capsys.readouterr().out
    for part in (
        "second  (verified manifest",
        "epsilon_greedy",
        "incumbent large",
        "rows: 1000",
        "large.example",
        "0.99",
    ):
        assert part in out
    assert main(["inspect", "--json", str(store.folder("first"))]) == 0
    known = json.loads(capsys.readouterr().out)
    assert known["trust"] == "unverified manifest"
    assert [candidate["name"] for candidate in known["candidates"]] == ["small", "large", "seer"]


def test_route_holds_the_constraints_that_it_is_given(store: Store, capsys: Any) -> None:
    command = ["route", "--bundle", str(store.path), "hi"]
    assert main([*command, "--deny", "large", "--deny", "seer", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["excluded"]["large"] == "on the deny list"
    assert main([*command, "--region", "eu"]) == 1
    assert "allow another region (known are: none, see region in the catalogue)" in capsys.readouterr().err
    assert main([*command, "--budget-usd", "-1"]) == 1
    assert "budget_usd = -1.0 must be a positive number" in capsys.readouterr().err


def test_inspect_says_what_is_guaranteed(make_bundle: Any, tmp_path: Path, capsys: Any) -> None:
    known = Certificate(
        loss=0.0, alpha=0.05, delta=0.1, of="all", reference="large", per_dollar=40.0, margin=0.03, n=1200,
        diverted=0.31, lost=41, risk=41 / 1200, upper=0.0434, saving=0.28, saving_usd=None, saving_usd_se=None,
        smallest_alpha=None, probes_needed=None, method="m", data_sha256="0", since="1", until="2",
    )  # fmt: skip
    make_bundle(guarantee=known).write(tmp_path / "b")
    assert main(["inspect", str(tmp_path / "b")]) == 0
    assert f"guarantee: {known.sentence}" in capsys.readouterr().out.splitlines()
    assert main(["inspect", "--json", str(tmp_path / "b")]) == 0
    assert json.loads(capsys.readouterr().out)["guarantee"]["sentence"] == known.sentence


def test_inspect_of_a_damaged_bundle_names_the_remedy(store: Store, capsys: Any) -> None:
    file = store.folder("second") / "scorer.npz"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert main(["inspect", str(store.folder("second"))]) == 1
    said = capsys.readouterr().err
    assert "scorer.npz does not match its hash" in said
    assert "fetch the bundle again" in said


def test_rollback_puts_the_previous_back(store: Store, capsys: Any) -> None:
    assert main(["rollback", "--store", str(store.path), "--reason", "errors at noon"]) == 0
    out = capsys.readouterr().out
    assert "now serving first" in out
    assert "rolled back from second" in out
    assert "never registered" in out
    pointer = store.champion()
    assert pointer is not None
    assert (pointer.bundle, pointer.reason) == ("first", "errors at noon")


def test_rollback_without_a_registry_in_reach_leaves_a_mark(store: Store, capsys: Any) -> None:
    for name, version in (("first", "1"), ("second", "2")):
        store.promote(name, at="2", reason="b", registry=Registered("router", version), reconciled=True)
    assert main(["rollback", "--store", str(store.path), "--json"]) == 0
    known = json.loads(capsys.readouterr().out)
    assert known["bundle"] == "first"
    assert known["reconciled"] is False
    assert "the next flow will reconcile it" in known["registry_note"]


def test_rollback_with_nothing_to_go_back_to(tmp_path: Path, capsys: Any) -> None:
    assert main(["rollback", "--store", str(tmp_path)]) == 1
    assert "no previous bundle" in capsys.readouterr().err


def test_it_runs_as_a_module(store: Store) -> None:
    command = [sys.executable, "-m", "beastmode", "inspect", str(store.path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert "golden requests reproduced" in done.stdout
    assert done.stderr == ""
