"""The example application, against providers on real sockets, with the standard library's client."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beastmode import Bundle, Candidate, Greedy, Journal, Objective, Price, Router
from beastmode.encoding import Encoder
from beastmode.lexical import NAMES
from beastmode.scorers import Constant
from tests.loopback import Handler, serving

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def application() -> Any:
    spec = importlib.util.spec_from_file_location("application", ROOT / "examples" / "application.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Provider(Handler):
    """Answers as the list of statuses for the model asked of says, then always well."""

    def do_POST(self) -> None:
        asked = self.asked()
        server: Any = self.server
        status = server.statuses.get(asked["model"], []).pop(0) if server.statuses.get(asked["model"]) else 200
        usage = {"prompt_tokens": 9, "completion_tokens": 2}
        said = {"model": asked["model"], "choices": [{"message": {"content": "four"}}], "usage": usage}
        self.answer(status, said if status == 200 else {"error": {"message": "no"}})


@pytest.fixture
def provider() -> Iterator[Any]:
    with serving(Provider, statuses={}) as server:
        yield server


@pytest.fixture
def bundle(provider: Any, tmp_path: Path) -> Path:
    names = ("best", "second", "third")
    Bundle(
        name="b",
        candidates=tuple(Candidate(name, "here", f"{provider.url}/v1", price=Price(1, 1)) for name in names),
        encoder=Encoder(np.zeros(len(NAMES)), np.ones(len(NAMES))),
        scorer=Constant(np.array([0.9, 0.8, 0.7]), np.ones(3), np.ones(3)),
        policy=Greedy(),
        objective=Objective(),
        created="2026",
        code_version="0",
    ).write(tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.mark.parametrize(
    ("statuses", "calls"),
    [
        ({}, [("best", "primary", None)]),
        ({"best": [500]}, [("best", "primary", "provider_server_error"), ("best", "retry", None)]),
        ({"best": [401]}, [("best", "primary", "provider_authentication"), ("second", "fallback", None)]),
        (
            {"best": [503, 503]},
            [
                ("best", "primary", "provider_server_error"),
                ("best", "retry", "provider_server_error"),
                ("second", "fallback", None),
            ],
        ),
    ],
)
def test_every_call_is_journalled(
    application: Any, provider: Any, bundle: Path, tmp_path: Path, statuses: dict[str, list[int]], calls: list[Any]
) -> None:
    provider.statuses = statuses
    with Journal(tmp_path / "log") as journal:
        decision, answer = application.ask(
            Router.load(bundle), journal, "What is 2+2?", application.call_with_urllib, 10
        )
    assert (decision.candidate, answer) == ("best", "four")
    (file,) = (tmp_path / "log").iterdir()
    _, end = map(json.loads, file.read_text().splitlines())
    assert [(c["candidate"], c["role"], c.get("error_type")) for c in end["attempts"]] == calls
    assert (end["status"], end["input_tokens"], end["output_tokens"]) == ("success", 9, 2)
    assert end["model_served"] == calls[-1][0]


def test_the_command(
    application: Any, provider: Any, bundle: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "find_spec", lambda name: None)
    command = ["--bundle", str(bundle), "--journal", str(tmp_path / "log"), "--thumb", "1", "What is 2+2?"]
    assert application.main(command) == 0
    assert capsys.readouterr().out == "[best] four\n"
    provider.statuses = {"best": [400]}
    assert application.main(command) == 1
    assert "caller_invalid_request" in capsys.readouterr().out
    lines = [json.loads(line) for file in (tmp_path / "log").iterdir() for line in file.read_text().splitlines()]
    assert sorted(line["kind"] for line in lines) == ["begin", "begin", "end", "end", "feedback"]
