import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from beastmode.candidates import Candidate
from pipelines.check_candidates import Health, check, lines, main
from tests.loopback import Handler, serving


class Provider(Handler):
    """An OpenAI-compatible provider on a real socket; the model asked for says how it behaves."""

    def do_POST(self) -> None:
        asked = self.asked()
        server: Any = self.server
        server.seen.append((self.path, self.headers.get("Authorization"), asked))
        match asked["model"]:
            case "hangs":
                server.release.wait(20)
                return
            case "newer" if "max_tokens" in asked:
                self.answer(400, {"error": {"message": "Unsupported: use 'max_completion_tokens' instead"}})
            case "html":
                self.answer(200, "<html>welcome</html>")
            case "odd":
                self.answer(200, {"choices": []})
            case model if model.isdigit():
                self.answer(int(model), {"error": {"message": "no", "code": "nope"}})
            case model:
                self.answer(200, {"model": f"{model}-2026", "choices": [{"message": {"content": "yes"}}]})

    def do_GET(self) -> None:
        self.answer(200, {"object": "list", "data": [{"id": "good"}, {"id": "newer"}]})


@pytest.fixture
def provider() -> Iterator[Any]:
    with serving(Provider, seen=[]) as server:
        yield server


def test_a_healthy_candidate(provider: Any) -> None:
    (health,) = check(
        [Candidate("a", base_url=f"{provider.url}/v1", api_key_env="A_KEY", model="good")], {"A_KEY": "sk-1"}
    )
    assert (health.status, health.http_status, health.model_served) == ("healthy", 200, "good-2026")
    assert health.latency_ms is not None
    path, authorization, asked = provider.seen[0]
    assert (path, authorization) == ("/v1/chat/completions", "Bearer sk-1")
    assert asked["max_tokens"] == 1


def test_a_model_that_wants_the_newer_name_of_the_limit(provider: Any) -> None:
    (health,) = check([Candidate("newer", base_url=f"{provider.url}/v1" + "/")], {})
    assert health.status == "healthy"
    assert [sorted(asked)[0] for _, _, asked in provider.seen] == ["max_tokens", "max_completion_tokens"]


@pytest.mark.parametrize(
    ("model", "kind"),
    [("401", "provider_authentication"), ("404", "provider_not_found"), ("429", "provider_rate_limited"),
     ("500", "provider_server_error"), ("html", "provider_bad_response"), ("odd", "provider_bad_response"),
     ("hangs", "provider_timeout")],
)  # fmt: skip
def test_a_failing_candidate_says_what_to_do(provider: Any, model: str, kind: str) -> None:
    candidate = Candidate("a", base_url=f"{provider.url}/v1", api_key_env="A_KEY", model=model)
    (health,) = check([candidate], {"A_KEY": "sk-secret"}, timeout_seconds=0.5 if model == "hangs" else 10)
    assert (health.status, health.error_type) == ("failing", kind)
    assert "ms)" in health.message
    assert "sk-secret" not in health.message
    if kind == "provider_authentication":
        assert "A_KEY" in health.message
        assert "127.0.0.1" in health.message


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (health,) = check([Candidate("a", base_url=f"http://127.0.0.1:{port}/v1")], {})
    assert health.error_type == "provider_connection_refused"
    assert f"start the server at 127.0.0.1:{port}" in health.message


def test_a_key_that_is_not_set_is_named_and_nothing_is_called(provider: Any) -> None:
    (health,) = check([Candidate("a", base_url=f"{provider.url}/v1", api_key_env="A_KEY")], {})
    assert (health.status, health.error_type) == ("failing", "provider_authentication")
    assert "A_KEY is not set" in health.message
    assert provider.seen == []


def test_the_free_check_lists_models(provider: Any) -> None:
    candidates = [Candidate("good", base_url=f"{provider.url}/v1"), Candidate("gone", base_url=f"{provider.url}/v1")]
    good, gone = check(candidates, {}, free=True)
    assert good.status == "healthy"
    assert (gone.status, gone.error_type) == ("failing", "provider_not_found")
    assert provider.seen == [], "no token was asked for"


def test_the_command_prints_a_table_and_fails_where_one_fails(provider: Any, tmp_path: Any, capsys: Any) -> None:
    path = tmp_path / "candidates.toml"
    path.write_text(f'[[candidates]]\nname = "good"\nbase_url = "{provider.url}/v1"\n[[candidates]]\nname = "bare"\n')
    assert main([str(path)]) == 0
    out = capsys.readouterr().out
    assert "healthy" in out
    assert "skipped" in out
    assert "add one to its block" in out
    with path.open("a") as file:
        file.write(f'[[candidates]]\nname = "500"\nbase_url = "{provider.url}/v1"\n')
    assert main([str(path), "--json"]) == 1
    assert [health["status"] for health in json.loads(capsys.readouterr().out)] == ["healthy", "skipped", "failing"]
    assert main([str(tmp_path / "none.toml")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_lines_are_aligned() -> None:
    found = [
        Health("a-longer-name", "healthy", 12.4, 200, "m"),
        Health("b", "failing", None, None, None, "provider_dns", "check the spelling"),
    ]
    assert lines(found) == [
        "candidate       health  ms  http         error",
        "a-longer-name  healthy  12   200             -",
        "b              failing   -     -  provider_dns",
        "",
        "b: check the spelling",
    ]
