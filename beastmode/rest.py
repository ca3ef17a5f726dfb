"""MLflow's REST interface through urllib: capped answers, no redirects to elsewhere, errors that name the remedy."""

import base64
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from beastmode.errors import RegistryError, classify, tip

_JSON_LIMIT = 2_000_000


class Unreachable(RegistryError):
    """The server did not answer, or failed: what was fetched before may be served instead."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the credentials to a host that nobody named."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Tracking:
    """An MLflow server, and how to speak to it."""

    uri: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 30.0

    @classmethod
    def from_environment(cls) -> "Tracking":
        """Return the server that MLFLOW_TRACKING_URI names, with the credentials of MLflow's own variables.

        Raises RegistryError where the address is not http: there is no REST interface behind a database file.
        """
        uri = os.environ.get("MLFLOW_TRACKING_URI", "").rstrip("/")
        if urllib.parse.urlsplit(uri).scheme not in ("http", "https"):
            raise RegistryError(
                f"MLFLOW_TRACKING_URI = {uri!r} is no http address, and models:/ is read over MLflow's REST interface; "
                "start `mlflow server` and set it to its address, or load from a store or a bundle's folder"
            )
        token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        user = os.environ.get("MLFLOW_TRACKING_USERNAME")
        headers = {}
        if user is not None:
            pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        elif token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return cls(uri, headers)

    def get_json(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """GET a path of the interface, and return its JSON."""
        address = f"{self.uri}/api/2.0/mlflow/{path}?{urllib.parse.urlencode(query)}"
        return self._json(self._request(address, None, _JSON_LIMIT), address)

    def post_json(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST JSON to a path of the interface, and return its JSON."""
        address = f"{self.uri}/api/2.0/mlflow/{path}"
        return self._json(self._request(address, json.dumps(body).encode(), _JSON_LIMIT), address)

    def artifact(self, model: str, version: str, path: str, limit: int) -> bytes:
        """GET one file of a model version, of at most `limit` bytes."""
        query = urllib.parse.urlencode({"name": model, "version": version, "path": path})
        return self._request(f"{self.uri}/model-versions/get-artifact?{query}", None, limit)

    def _json(self, data: bytes, address: str) -> dict[str, Any]:
        try:
            known = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise RegistryError(
                f"{address}: the answer is no JSON; is MLFLOW_TRACKING_URI an MLflow server?"
            ) from error
        if not isinstance(known, dict):
            raise RegistryError(f"{address}: the answer is no JSON object; is MLFLOW_TRACKING_URI an MLflow server?")
        return known

    def _request(self, address: str, body: bytes | None, limit: int) -> bytes:
        headers = {**self.headers, **({"Content-Type": "application/json"} if body is not None else {})}
        request = urllib.request.Request(address, body, headers)
        opener = urllib.request.build_opener(_NoRedirects)
        start = time.perf_counter()
        try:
            with opener.open(request, timeout=self.timeout_seconds) as answer:
                data: bytes = answer.read(limit + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(address, error, error.read(2000).decode(errors="replace")) from error
        except Exception as error:
            # Whatever breaks on the way (a socket, TLS, a half answer) is one thing here: not reached.
            elapsed = (time.perf_counter() - start) * 1000
            known = {
                "host": urllib.parse.urlsplit(address).netloc,
                "elapsed_ms": elapsed,
                "candidate": "MLFLOW_TRACKING_URI",
            }
            raise Unreachable(f"{address}: {tip(classify(error), known)} ({error})") from error
        if len(data) > limit:
            raise RegistryError(f"{address}: more than the {limit:,} bytes it may have; register the bundle again")
        return data

    def _refused(self, address: str, error: urllib.error.HTTPError, said: str) -> RegistryError:
        remedy = {
            401: "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
            403: "let the user of MLFLOW_TRACKING_USERNAME or _TOKEN read it; a foreign host name must be named in "
            "the server's --allowed-hosts",
            404: "check the model's name and alias in the MLflow UI, or promote a bundle first",
        }.get(error.code, "see the MLflow server's log")
        if 300 <= error.code < 400:
            remedy = f"it redirects to {error.headers.get('Location')!r}; set MLFLOW_TRACKING_URI to the final address"
        kind = Unreachable if error.code >= 500 or error.code == 429 else RegistryError
        return kind(f"{address}: HTTP status {error.code} ({said[:200].strip()}); {remedy}")
