"""An application: route each prompt, call the model over its OpenAI-compatible interface, journal what came of it.

    python examples/application.py --bundle workspace-demo/store --journal workspace-demo/logs "What is 2+2?"

It needs numpy, beastmode, and whatever client you like: the `openai` package where it is installed, the standard
library otherwise. A failed call is tried once more where that can help, then on another candidate; every call is in
the journal.
"""

import argparse
import json
import os
import sys
import urllib.request
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from beastmode import Decision, Journal, Router, classify
from beastmode.recording import Recording
from beastmode.records import Endpoint

Messages = Sequence[dict[str, str]]
Client = Callable[[Endpoint, Messages, float], dict[str, Any]]


def call_with_urllib(endpoint: Endpoint, messages: Messages, timeout_seconds: float) -> dict[str, Any]:
    """Ask a model with the standard library alone, and return its answer as the provider sent it."""
    url = f"{address(endpoint).rstrip('/')}/chat/completions"
    headers = {"Content-Type": "application/json"}
    if endpoint.api_key_env is not None:
        headers["Authorization"] = f"Bearer {os.environ[endpoint.api_key_env]}"
    body = json.dumps({"model": endpoint.model, "messages": messages}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=timeout_seconds) as answer:
        known: dict[str, Any] = json.load(answer)
    return known


def call_with_openai(endpoint: Endpoint, messages: Messages, timeout_seconds: float) -> dict[str, Any]:
    """Ask a model with the openai package; its own retries are off, for the application retries and journals them."""
    import openai

    key = os.environ[endpoint.api_key_env] if endpoint.api_key_env is not None else "none"
    client = openai.OpenAI(base_url=address(endpoint), api_key=key, max_retries=0, timeout=timeout_seconds)
    with client:
        answer = client.chat.completions.create(model=endpoint.model, messages=messages)  # type: ignore[arg-type]
    return answer.model_dump()


def address(endpoint: Endpoint) -> str:
    """Return where a model is asked; without one a client would send the prompt to an address of its own."""
    if endpoint.base_url is None:
        raise ValueError(f"{endpoint.model}: the catalogue names no base_url for it; add one there and train again")
    return endpoint.base_url


def ask(router: Router, journal: Journal, prompt: str, call: Client, timeout_seconds: float) -> tuple[Decision, str]:
    """Route a prompt, call the chosen model, journal the outcome, and return the decision and the answer."""
    messages = [{"role": "user", "content": prompt}]
    decision = router.route(messages)
    with journal.attempt(decision) as attempt:
        answer = call_or_fall_back(
            router, decision, attempt, lambda endpoint: call(endpoint, messages, timeout_seconds)
        )
        attempt.served(answer.get("model", ""), decision.endpoint.provider)
        attempt.usage(answer.get("usage") or {})
    return decision, answer["choices"][0]["message"]["content"]


def call_or_fall_back(
    router: Router, decision: Decision, attempt: Recording, call: Callable[[Endpoint], dict[str, Any]]
) -> dict[str, Any]:
    """Call the chosen candidate; once more where the failure may pass, then the next best one."""
    try:
        return call(decision.endpoint)
    except Exception as error:
        kind = classify(error)
        if kind.retry:
            attempt.retry(error=error)
            try:
                return call(decision.endpoint)
            except Exception as again:
                error, kind = again, classify(again)
        others = [p for p in decision.predictions if p.candidate in decision.probabilities]
        others = sorted((p for p in others if p.candidate != decision.candidate), key=lambda p: -p.utility)
        if not (kind.fallback and others):
            raise error from None
        endpoint = router.endpoint(others[0].candidate)
        attempt.retry(others[0].candidate, error, endpoint=endpoint)
        return call(endpoint)


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask one prompt; returns 0, or 1 where no model answered."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("prompt")
    parser.add_argument("--bundle", required=True, help="a bundle's folder, a store, or models:/NAME@ALIAS")
    parser.add_argument("--journal", required=True, help="the folder that `python -m pipelines ingest` reads")
    parser.add_argument("--timeout-seconds", type=float, default=60.0)
    parser.add_argument("--thumb", type=float, help="a word on the answer's quality, in [0, 1]")
    options = parser.parse_args(arguments)
    call = call_with_openai if find_spec("openai") else call_with_urllib
    router = Router.load(options.bundle)
    with Journal(options.journal) as journal:
        try:
            decision, answer = ask(router, journal, options.prompt, call, options.timeout_seconds)
        except Exception as error:
            print(f"no answer: {classify(error).name} ({error}); the journal in {options.journal} says more")
            return 1
        if options.thumb is not None:
            journal.feedback(decision.request.request_id, "thumb", options.thumb, source="command line")
    print(f"[{decision.candidate}] {answer}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
