import asyncio
import http.client
import http.server
import json
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from beastmode.errors import (
    ERROR_TYPES,
    BeastmodeError,
    BundleError,
    RoutingError,
    classify,
    retry_after,
    tip,
)
from tests.loopback import Handler, serving


class Provider(Handler):
    """Answers with the status that the path names."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        what = self.path.split("/")[1]
        if what == "hang":
            self.server.release.wait(20)  # type: ignore[attr-defined]
            self.close_connection = True
            return
        if what == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.close_connection = True
            return
        status, _, code = what.partition("-")
        body = b"<html>" if code == "html" else json.dumps({"error": {"message": code or "no", "code": code}}).encode()
        headers = {"Content-Type": "text/html" if code == "html" else "application/json"}
        self.answer(int(status), body, headers | ({"Retry-After": "7"} if status == "429" else {}))

    do_GET = do_POST


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with serving(Provider) as server:
        yield server.url


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def failure(url: str, timeout: float = 10) -> BaseException:
    """Return what a real call raises."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, b"{}"), timeout=timeout) as answer:
            json.loads(answer.read())
    except urllib.error.HTTPError as error:
        error.close()
        return error
    except Exception as error:
        return error
    pytest.fail(f"{url}: nothing was raised")


STATUSES = {
    "400": "caller_invalid_request",
    "401": "provider_authentication",
    "402": "provider_quota_exceeded",
    "403": "provider_permission",
    "404": "provider_not_found",
    "408": "provider_timeout",
    "413": "caller_context_length",
    "418": "provider_unknown",
    "422": "caller_invalid_request",
    "429": "provider_rate_limited",
    "500": "provider_server_error",
    "502": "provider_server_error",
    "503": "provider_server_error",
    "529": "provider_server_error",
    "504": "provider_timeout",
}


@pytest.mark.parametrize(("status", "name"), STATUSES.items())
def test_http_statuses_over_a_real_socket(provider: str, status: str, name: str) -> None:
    error = failure(f"{provider}/{status}")
    assert isinstance(error, urllib.error.HTTPError)
    assert classify(error).name == name
    assert classify(status=int(status)).name == name


def test_a_refused_connection(closed_port: int) -> None:
    kind = classify(failure(f"http://127.0.0.1:{closed_port}/v1"))
    assert kind.name == "provider_connection_refused"
    said = tip(kind, {"host": f"127.0.0.1:{closed_port}", "candidate": "small", "elapsed_ms": 2.4})
    assert said == (
        f"nothing listens at the address (after 2 ms): start the server at 127.0.0.1:{closed_port}, "
        "or correct base_url of 'small'"
    )


def test_a_name_that_does_not_resolve() -> None:
    kind = classify(failure("http://nobody.invalid/v1"))
    assert kind.name == "provider_dns"
    assert "nobody.invalid" in tip(kind, {"host": "nobody.invalid"})


def test_tls_spoken_to_a_server_that_does_not(provider: str) -> None:
    kind = classify(failure(provider.replace("http:", "https:") + "/200"))
    assert kind.name == "provider_tls"
    assert "certificate" in tip(kind)


def test_a_read_timeout(provider: str) -> None:
    kind = classify(failure(f"{provider}/hang", timeout=0.2))
    assert kind.name == "provider_timeout"
    assert kind.retry
    assert "read timeout" in tip(kind)


def test_an_answer_that_breaks_off(provider: str) -> None:
    assert classify(failure(f"{provider}/cut")).name == "provider_connection_lost"


def test_an_answer_that_is_no_json(provider: str) -> None:
    kind = classify(failure(f"{provider}/200-html"))
    assert kind.name == "provider_bad_response"
    assert "/v1" in tip(kind)


def test_something_that_speaks_no_http() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    error = failure(f"http://127.0.0.1:{port}/")
    thread.join()
    listener.close()
    assert classify(error).name == "provider_bad_response"


OPENAI = {
    "401-invalid_api_key": "provider_authentication",
    "404-model_not_found": "provider_not_found",
    "400-context_length_exceeded": "caller_context_length",
    "400-content_policy_violation": "policy_content_filtered",
    "429": "provider_rate_limited",
    "429-insufficient_quota": "provider_quota_exceeded",
    "500": "provider_server_error",
    "403": "provider_permission",
}


@pytest.fixture
def openai_failure() -> Callable[..., BaseException]:
    """Return a function that calls through the openai client, and returns what that raises."""
    openai = pytest.importorskip("openai", reason="the openai client is not installed; it comes with the dev extra")

    def call(base_url: str, timeout: float = 10) -> BaseException:
        client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=timeout)
        with client, pytest.raises(openai.OpenAIError) as caught:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        return caught.value

    return call


@pytest.mark.parametrize(("path", "name"), OPENAI.items())
def test_the_openai_client_s_own_errors(openai_failure: Any, provider: str, path: str, name: str) -> None:
    assert classify(openai_failure(f"{provider}/{path}")).name == name


def test_the_openai_client_without_a_server(openai_failure: Any, provider: str, closed_port: int) -> None:
    assert classify(openai_failure(f"http://127.0.0.1:{closed_port}")).name == "provider_connection_refused"
    assert classify(openai_failure("http://nobody.invalid/v1")).name == "provider_dns"
    assert classify(openai_failure(provider.replace("http:", "https:"))).name == "provider_tls"
    assert classify(openai_failure(f"{provider}/hang", timeout=0.2)).name == "provider_timeout"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (RoutingError("none"), "policy_no_eligible_candidate"),
        (BundleError("bad"), "router_error"),
        (KeyError("x"), "caller_application_error"),
        (asyncio.CancelledError(), "caller_cancelled"),
        (ConnectionResetError(), "provider_connection_lost"),
        (http.client.RemoteDisconnected(), "provider_connection_lost"),
        ("litellm.RateLimitError", "provider_rate_limited"),
        ("litellm.ContextWindowExceededError", "caller_context_length"),
        ("BudgetExceededError", "policy_budget_exceeded"),
        ("Timeout", "provider_timeout"),
        ("NobodyKnows", "provider_unknown"),
        (None, "provider_unknown"),
    ],
)
def test_exceptions_and_the_names_that_logs_hold(given: Any, name: str) -> None:
    assert classify(given).name == name


def test_the_cause_of_an_exception_counts() -> None:
    def wrapped() -> None:
        try:
            raise ConnectionRefusedError
        except ConnectionRefusedError as error:
            raise RuntimeError("the client's own words") from error

    with pytest.raises(RuntimeError) as caught:
        wrapped()
    assert classify(caught.value).name == "provider_connection_refused"


def test_causes_in_a_circle_end() -> None:
    one, two = RuntimeError("one"), RuntimeError("two")
    one.__cause__, two.__cause__ = two, one
    assert classify(one).name == "caller_application_error"


def test_the_vocabulary_is_closed_and_prefixed() -> None:
    assert all(re.fullmatch(r"(caller|policy|provider|router)_[a-z_]+", name) for name in ERROR_TYPES)
    assert {name.partition("_")[0] for name in ERROR_TYPES} == {"caller", "policy", "provider", "router"}


@pytest.mark.parametrize("name", ERROR_TYPES)
def test_every_kind_has_a_tip_with_and_without_what_is_known(name: str) -> None:
    bare = tip(name)
    known = {"candidate": "small", "host": "h.example:8000", "key": "SMALL_KEY", "elapsed_ms": 12.3, "retry_after": 7}
    full = tip(name, known)
    assert "{" not in bare + full
    assert "(after 12 ms)" in full
    assert len(ERROR_TYPES[name].remedy) > 20


def test_a_key_is_named_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMALL_KEY", "sk-secret")
    assert "sk-secret" not in tip("provider_authentication", {"key": "SMALL_KEY"})
    assert "SMALL_KEY" in tip("provider_authentication", {"key": "SMALL_KEY"})


def test_retry_after_is_read_and_said(provider: str) -> None:
    error = failure(f"{provider}/429")
    assert retry_after(error) == 7.0
    assert "wait 7 s" in tip("provider_rate_limited", {"retry_after": retry_after(error)})
    assert retry_after(failure(f"{provider}/500")) is None


@pytest.mark.parametrize("said", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "soon", "1e9", "", None])
def test_a_retry_after_that_holds_no_seconds_is_left_alone(said: Any) -> None:
    error = urllib.error.HTTPError("http://x", 429, "no", {"Retry-After": said}, None)  # type: ignore[arg-type]
    assert retry_after(error) is None
    error.close()


def test_the_openai_client_passes_retry_after_on(openai_failure: Any, provider: str) -> None:
    assert retry_after(openai_failure(f"{provider}/429")) == 7.0


def test_one_base_catches_all_of_ours() -> None:
    from beastmode import errors

    ours = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, BeastmodeError)]
    assert len(ours) == 8
