"""The serving pages say what the code does."""

import json
import re
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beastmode import Bundle, Candidate, Greedy, Needs, Objective, Price, Router, Store
from beastmode.bundle import LIMITS
from beastmode.encoding import Encoder
from beastmode.folder import FILES_LIMIT, FORMAT, MANIFEST_LIMIT
from beastmode.lexical import NAMES
from beastmode.policies import POLICIES
from beastmode.scorers import Constant
from beastmode.vocabulary import ERROR_TYPES
from tests.loopback import Handler, serving

ROOT = Path(__file__).resolve().parent.parent
SERVING = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
BUNDLE = (ROOT / "docs" / "bundle.md").read_text(encoding="utf-8")


def bundle(base_url: str | None = None) -> Bundle:
    return Bundle(
        name="b",
        candidates=(Candidate("a", base_url=base_url, api_key_env="A_KEY", price=Price(1, 1)),),
        encoder=Encoder(np.zeros(len(NAMES)), np.ones(len(NAMES))),
        scorer=Constant(*np.ones((3, 1))),
        policy=Greedy(),
        objective=Objective(),
        created="2026",
        code_version="0",
    )


def test_the_table_of_errors_is_the_vocabulary() -> None:
    words = {"candidate": "the candidate", "host": "the provider's host", "key": "the variable named by api_key_env",
             "wait": "a moment"}  # fmt: skip
    rows = [f"| `{k.name}` | {k.meaning} | {k.remedy.format(**words)} |" for k in ERROR_TYPES.values()]
    assert [line for line in SERVING.splitlines() if re.match(r"\| `[a-z]+_", line)] == rows


def test_the_format_page_names_every_key_kind_and_limit(tmp_path: Path) -> None:
    bundle().write(tmp_path / "b")
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    keys = {*manifest, *manifest["candidates"][0], *manifest["candidates"][0]["price"], *manifest["objective"]}
    assert {key for key in keys if f"`{key}`" not in BUNDLE} == set()
    assert {kind for kind in POLICIES if f"`{kind}`" not in BUNDLE} == set()
    for value in (f"{FILES_LIMIT} ", f"{MANIFEST_LIMIT:,}", FORMAT, *(f"{limit:,}" for limit in LIMITS.values())):
        assert value in BUNDLE


def test_every_link_leads_somewhere() -> None:
    for text in (SERVING, BUNDLE):
        for target in re.findall(r"\]\((\.\./[^)#]+)\)", text):
            assert (ROOT / "docs" / target).exists(), target


SNIPPETS = re.findall(r"```python\n(.*?)```", SERVING, re.DOTALL)


def served(base_url: str) -> Bundle:
    """A bundle of the candidates that the page speaks of, all of which answer at one address."""
    known = {"base_url": base_url, "api_key_env": "A_KEY"}
    spread = np.array([0.25, 1.0, 4.0])[:, None]
    return Bundle(
        name="b",
        candidates=(
            Candidate("gpt-4o-mini", price=Price(0.15, 0.6, 0.075), region="us", **known),
            Candidate("claude-3-5-haiku", price=Price(0.8, 4.0, 0.08), region="eu", **known),
            Candidate("llama-3.1-8b-local", price=Price(0.02, 0.06), region="on-premises", **known),
        ),
        encoder=Encoder(np.zeros(len(NAMES)), np.ones(len(NAMES))),
        scorer=Constant(
            np.array([0.8, 0.7, 0.6]),
            np.full(3, 100.0),
            np.full(3, 400.0),
            spread * np.full(3, 100.0),
            spread * np.array([300.0, 400.0, 200.0]),
        ),
        policy=Greedy(),
        objective=Objective(per_dollar=10.0),
        created="2026",
        code_version="0",
    )


def test_it_is_eight_lines_beside_imports() -> None:
    lines = [line for line in SNIPPETS[0].splitlines() if line.strip() and not line.startswith(("import", "from"))]
    lines = [line for line in lines if not line.startswith(("messages", "journal.feedback"))]
    assert len(lines) == 8


class Provider(Handler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": "four"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
        said = {"id": "1", "object": "chat.completion", "created": 1, "model": "a", "choices": [choice], "usage": usage}
        self.answer(200, said, {"Content-Type": "application/json"})


def test_every_example_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them, in their order, as one program; what a comment says of a line's output is what it prints."""
    pytest.importorskip("openai", reason="the openai client is not installed; it comes with the dev extra")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("A_KEY", "none")
    known: dict[str, Any] = {}
    with serving(Provider) as server:
        store = Store(tmp_path / "workspace" / "store")
        store.add(served(f"{server.url}/v1"))
        store.promote("b", at="2026", reason="test")
        try:
            for snippet in SNIPPETS:
                exec(snippet, known)
                claims = re.findall(r"print\(.*\)  # (.*)", snippet)
                said = capsys.readouterr().out
                for claim in claims:
                    # Dots stand for what is left out.
                    assert re.search(".*".join(map(re.escape, claim.split("..."))), said), (claim, said)
            known["client"].close()
        finally:
            known["router"].close()
            known["journal"].close()
    (file,) = (tmp_path / "workspace" / "logs").iterdir()
    begin, end, feedback = map(json.loads, file.read_text().splitlines())
    assert (begin["plan"], end["status"], end["input_tokens"]) == ("gpt-4o-mini", "success", 9)
    assert feedback["value"] == 1.0
    assert known["decision"].candidate == "llama-3.1-8b-local"
    assert known["second"].sticky_from == known["first"].decision_id
    assert len(SNIPPETS) == 5


def test_the_constraints_that_the_page_names_are_all_there_are() -> None:
    table = SERVING.split("| constraint |")[1].split("\n\n")[0]
    assert {f"`{name}`" for name in ("Needs.tools", ".json", ".vision")} <= set(re.findall(r"`[^`]+`", table))
    assert all(f".{name}`" in table for name in Needs.__slots__)
    options = {
        name for name in signature(Router.route).parameters if name not in ("self", "prompt", "remember", "known")
    }
    assert all(f"`{name}=[...]`" in table for name in options)
