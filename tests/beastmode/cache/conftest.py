"""Clocks, models and servers for the tests of the cache."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.redis_server import RedisServer
from tests.beastmode.cache.parts import Dial, Model, need_redis


@pytest.fixture
def dial() -> Dial:
    return Dial()


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    need_redis()
    running = RedisServer(tmp_path)
    yield running
    running.kill()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisServer]:
    """A cluster of one node, which speaks the cluster's protocol all the same."""
    need_redis()
    import redis

    running = RedisServer(tmp_path, "--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1")
    try:
        with redis.Redis(port=running.port) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            for _ in range(500):
                if "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO")):
                    break
                time.sleep(0.01)
        yield running
    finally:
        running.kill()
