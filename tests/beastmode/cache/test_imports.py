"""What importing the cache brings: numpy and the standard library, and nothing before somebody asks for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def modules(code: str) -> set[str]:
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"],
        check=True, capture_output=True, text=True, cwd=ROOT,
    ).stdout  # fmt: skip
    return set(json.loads(told))


def test_a_router_alone_brings_no_cache() -> None:
    assert modules("import beastmode").isdisjoint({"beastmode.cache", "sqlite3", "concurrent.futures"})


def test_the_cache_brings_no_library_of_an_extra_and_no_event_loop() -> None:
    loaded = modules("import beastmode; beastmode.Cache; import beastmode.cache")
    assert "sqlite3" in loaded
    assert loaded.isdisjoint({"redis", "hnswlib", "asyncio", "pandas", "scipy"})


LIBRARIES = [("redis", "Redis('redis://x')", "redis"), ("hnswlib", "Graph(4)", "hnsw")]


@pytest.mark.parametrize(("library", "make", "extra"), LIBRARIES)
def test_a_missing_library_is_told_with_its_extra(library: str, make: str, extra: str) -> None:
    code = f"""
import sys
sys.modules[{library!r}] = None
from beastmode.cache import Graph, Redis
from beastmode.errors import CacheError
try:
    {make}
except CacheError as error:
    assert "beastmode[{extra}]" in str(error), error
else:
    raise SystemExit(1)
"""
    modules(code)
