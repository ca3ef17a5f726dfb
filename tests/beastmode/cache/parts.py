"""A real Redis on a free port of loopback, a clock that can be set, and a model that counts its calls."""

import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass
class Dial:
    """Wall and monotonic time that a test sets."""

    wall: float = 1_800_000_000.0
    steady: float = 1_000.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def clocks(self) -> dict[str, Callable[[], float]]:
        return {"wall": lambda: self.wall, "monotonic": lambda: self.steady}


@dataclass
class Model:
    """Answers with the question and the number of the call."""

    seconds: float = 0.0
    calls: list[str] = field(default_factory=list)
    error: Exception | None = None
    tags: tuple[str, ...] = ()
    lock: Any = field(default_factory=threading.Lock)

    def __call__(self, miss: Any) -> str:
        with self.lock:
            self.calls.append(miss.request.text)
            number = len(self.calls)
        miss.tag(*self.tags)
        time.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return f"{miss.request.text} #{number}"


def need_redis() -> None:
    """Skip where the server or the library is missing; under CI that is a failure."""
    missing = "redis-server" if shutil.which("redis-server") is None else None
    try:
        import redis  # noqa: F401
    except ImportError:
        missing = missing or "the redis library"
    if missing is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{missing} is missing; install it: these tests do not run without the real thing")
        pytest.skip(f"{missing} is not installed; apt-get install redis-server, pip install 'beastmode[redis]'")
