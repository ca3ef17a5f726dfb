"""Ids become text for their own tenant alone; everything else is told as an id with its reason."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from beastmode import Bundle, Candidate, Greedy, Objective, Router
from beastmode.encoding import Encoder
from beastmode.interactions import Interaction
from beastmode.lexical import NAMES
from beastmode.neighbours import Near
from beastmode.scorers import Constant
from beastmode.store import Store
from features.outcomes import catalogue
from features.prices import PriceBook
from features.table import Table
from models import exporting, recipes
from pipelines.__main__ import main
from pipelines.columns import interactions_table
from pipelines.explain import Resolved, explain, resolve
from pipelines.lake import Lake
from pipelines.workspace import Workspace

START = datetime(2026, 1, 5, tzinfo=UTC)


def row(name: str, tenant: str | None, text: str | None, at: datetime = START, **known: str) -> Interaction:
    messages = None if text is None else ({"role": "user", "content": text},)
    return Interaction(event_id=f"e-{name}", request_id=name, at=at, tenant=tenant, messages=messages, **known)


def lake_of(root: Path, rows: list[Interaction]) -> Lake:
    lake = Lake(root)
    whole = interactions_table(rows, PriceBook([]))
    days = [row.at.date() for row in rows]
    with lake.writing():
        for day in sorted(set(days)):
            lake.append("interactions", day, whole.filter(pa.array([one == day for one in days])))
    return lake


@pytest.mark.parametrize(
    ("tenant", "said"),
    [
        ("acme", {"a": "hello a", "b": None, "n": None, "h": None, "p": "asked again", "gone": None}),
        ("other", {"a": None, "b": "hello b", "n": None, "h": None, "p": None, "gone": None}),
        (None, {"a": None, "b": None, "n": "hello n", "h": None, "p": None, "gone": None}),
    ],
)
def test_text_is_shown_to_its_own_tenant_alone(tmp_path: Path, tenant: str | None, said: dict[str, str | None]) -> None:
    lake = lake_of(tmp_path, [
        row("a", "acme", "hello a"), row("b", "other", "hello  b"), row("n", None, "hello n"), row("h", "acme", None),
        row("probe-1", "acme", "asked again", START + timedelta(days=1), purpose="probe", parent_request_id="p"),
    ])  # fmt: skip
    found = {one.request_id: one for one in resolve(lake, list(said), tenant, lake.days("interactions"))}
    assert {name: one.text for name, one in found.items()} == said
    assert found["gone"].why == "not in the lake"
    assert found["h"].why == ("the log holds no prompt of it" if tenant == "acme" else "of another tenant")
    for name in said:
        if said[name] is None:
            assert found[name].line == f"{name}: ({found[name].why})"


def test_an_id_that_two_tenants_share_shows_each_its_own(tmp_path: Path) -> None:
    one, two = row("1", "acme", "mine"), replace(row("1", "other", "theirs"), event_id="e-2")
    lake = lake_of(tmp_path, [one, two])
    days = lake.days("interactions")
    assert resolve(lake, ["1"], "acme", days) == (Resolved("1", "mine"),)
    assert resolve(lake, ["1"], "other", days) == (Resolved("1", "theirs"),)
    assert resolve(lake, ["1"], None, days) == (Resolved("1", None, "of another tenant"),)


def test_long_prompts_are_cut(tmp_path: Path) -> None:
    lake = lake_of(tmp_path, [row("a", None, "word " * 1000)])
    (found,) = resolve(lake, ["a"], None, lake.days("interactions"))
    assert found.text is not None
    assert len(found.text) == 203


def test_a_router_that_holds_no_ids_says_so(tmp_path: Path) -> None:
    bundle = Bundle(
        name="b", candidates=(Candidate("a"),), encoder=Encoder(np.zeros(len(NAMES)), np.ones(len(NAMES))),
        scorer=Constant(*np.ones((3, 1))), policy=Greedy(), objective=Objective(), created="2026", code_version="0",
    )  # fmt: skip
    lines = explain(Router(bundle), lake_of(tmp_path, [row("a", None, "hello")]), "hello", None).lines()
    assert lines[-2:] == ["near in the log, as no tenant may read it:",
                          "  none: the router holds no ids of requests near this one"]  # fmt: skip


def test_the_command_reads_up_what_the_bundle_names(
    table: Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a trained bundle to the log: the text's own request is among the nearest, and shown to its tenant alone."""
    workspace = Workspace.of(tmp_path / "workspace")
    asked = ["--config", "small", "--set", f"paths.root={workspace.root}"]
    assert main(["explain", *asked, "--text", "x"]) == 2
    assert "no champion" in capsys.readouterr().err
    settings = recipes.Settings(selector="neighbours", learning=recipes.Learning(folds=3, trials=2, prototypes=128))
    trained = recipes.train(table, settings, 0, candidates=catalogue(table), objective=recipes.Objective())
    training = {"from": str(table.at.min()), "until": str(table.at.max())}
    bundle = exporting.bundle(trained, name="b", created="2026", training=training, evaluation={})
    store = Store(workspace.store)
    store.add(bundle)
    store.promote("b", at="2026", reason="test")
    moments = [datetime.fromisoformat(str(at)).replace(tzinfo=UTC) for at in table.at]
    tenants = np.where(np.arange(len(table)) % 2 == 0, "acme", "other").tolist()
    lake_of(workspace.lake, [
        row(str(name), tenant, text, at)
        for name, tenant, text, at in zip(table.request_ids, tenants, table.texts, moments, strict=True)
    ])  # fmt: skip
    assert main(["explain", *asked, "--text", table.texts[40], "--tenant", "acme", "--json"]) == 0
    known = json.loads(capsys.readouterr().out)
    place = {str(name): i for i, name in enumerate(table.request_ids)}
    assert len(known["near"]) >= 10
    assert known["nearest"][0]["requests"] >= 5
    for one in known["near"]:
        at = place[one["request_id"]]
        mine = tenants[at] == "acme"
        assert one["text"] == (" ".join(table.texts[at].split()) if mine else None)
        assert one["why"] == (None if mine else "of another tenant")
    assert {one["why"] for one in known["near"]} == {None, "of another tenant"}
    assert main(["explain", *asked, "--text", table.texts[40]]) == 0
    said = capsys.readouterr().out
    assert "near in the log, as no tenant may read it:" in said
    assert said.count("(of another tenant)") == len(known["near"])
    assert not any(text in said for text in table.texts)
    assert Near.__slots__ == tuple(known["nearest"][0])
