"""The indexes of the semantic tier: the flat one against plain arithmetic, the graph against the flat one."""

import os
from typing import Any

import numpy as np
import pytest

from beastmode.cache.vectors import Flat


def units(count: int, width: int = 32, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Clusters, as texts form them."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(count // 20, 1), width))
    vectors = centres[rng.integers(len(centres), size=count)] + 0.4 * rng.normal(size=(count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.mark.parametrize(
    ("width", "decay", "floor"),
    [(32, 0.0, -1.0), (300, 0.0, -1.0), (300, 0.0, 0.8), (300, 0.02, 0.5), (300, 0.02, 0.99)],
)
def test_the_flat_index_finds_what_arithmetic_finds_whatever_came_and_went(
    width: int, decay: float, floor: float
) -> None:
    """Wide vectors are read in two parts; `decay` lets the first columns be the main directions, or not."""
    rng = np.random.default_rng(1)
    vectors = units(300, width) * np.exp(-decay * np.arange(width))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    index, held, most = Flat(width), {}, 0
    for step in range(1500):
        number = int(rng.integers(300))
        if number in held and rng.random() < 0.5:
            index.remove(key(number))
            del held[number]
        else:
            vector = vectors[int(rng.integers(300))]
            index.add(key(number), vector)
            held[number] = vector
        if step % 50 == 0 and held:
            query = vectors[int(rng.integers(300))]
            expected = [cosine for v in held.values() if (cosine := float(v @ query)) >= floor]
            found = index.nearest(query, 4, floor)
            assert [cosine for _, cosine in found] == pytest.approx(sorted(expected, reverse=True)[:4], abs=1e-5)
            assert all(float(held[int.from_bytes(k, "big")] @ query) == pytest.approx(c, abs=1e-5) for k, c in found)
            most = max(most, len(found))
    assert most > 0
    assert len(index) == len(held)
    index.remove(b"unknown")
    assert Flat(width).nearest(vectors[0], 4) == []


def test_a_zero_vector_and_equal_ones_are_no_special_case() -> None:
    index = Flat(256)
    for number in range(3):
        index.add(key(number), units(1, 256)[0])
    index.add(key(3), np.zeros(256, dtype=np.float32))
    found = index.nearest(units(1, 256)[0], 2, 0.9)
    assert {k for k, _ in found} < {key(0), key(1), key(2)}
    assert [cosine for _, cosine in found] == pytest.approx([1.0, 1.0], abs=1e-5)
    assert index.nearest(np.zeros(256, dtype=np.float32), 4, 0.5) == []


@pytest.fixture
def graph() -> Any:
    try:
        import hnswlib  # noqa: F401
    except ImportError:
        if os.environ.get("BEASTMODE_EXPECT_HNSW"):
            pytest.fail("hnswlib is missing; pip install 'beastmode[hnsw]'")
        pytest.skip("hnswlib is not installed; pip install 'beastmode[hnsw]'")
    from beastmode.cache import Graph

    return Graph


def test_the_graph_finds_what_the_flat_index_finds_under_churn(graph: Any) -> None:
    vectors, rng = units(4000), np.random.default_rng(2)
    index, flat = graph(32, flat_up_to=200), Flat(32)
    alive = list(range(1500))
    for number in alive:
        index.add(key(number), vectors[number])
        flat.add(key(number), vectors[number])
    index.settled()
    agreed = asked = rebuilt = 0
    for number in range(1500, 4000):
        gone = alive.pop(int(rng.integers(len(alive))))
        alive.append(number)
        before = index._graph
        for each in (index, flat):
            each.remove(key(gone))
            each.add(key(number), vectors[number])
        index.settled()
        rebuilt += index._graph is not before
        if number % 5 == 0:
            query = vectors[int(rng.integers(4000))]
            (found, _), (expected, _) = index.nearest(query, 1)[0], flat.nearest(query, 1)[0]
            agreed += found == expected
            asked += 1
            assert found in {key(each) for each in alive}
    assert agreed / asked >= 0.98
    assert rebuilt >= 2
    assert len(index) == len(flat) == 1500


def test_a_graph_of_which_nearly_all_died_still_answers(graph: Any) -> None:
    vectors = units(600)
    index = graph(32, flat_up_to=100)
    for number in range(600):
        index.add(key(number), vectors[number])
    index.settled()
    for number in range(598):
        index.remove(key(number))
    assert {found for found, _ in index.nearest(vectors[0], 4)} == {key(598), key(599)}
    index.settled()
    for number in (598, 599):
        index.remove(key(number))
    assert index.nearest(vectors[0], 4) == []
