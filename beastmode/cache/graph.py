"""Nearest questions in a large partition: hnswlib's graph, with deletes, and built anew when the dead pile up."""

import importlib
import threading
from typing import Any

import numpy as np

from beastmode.cache.vectors import Flat, Vector
from beastmode.errors import CacheError
from beastmode.forks import renew_after_fork

DEAD_SHARE = 0.3
"""Share of dead nodes at which the graph is built anew: they are walked through and never returned."""

_AT_ONCE = 64
"""Vectors that a new graph may lack when it takes over: so many are added while lookups wait."""


class Graph:
    """An approximate index (Malkov and Yashunin, TPAMI 2020) over unit vectors. Needs the extra `hnsw`.

    `links` (M), `effort` (ef_construction) and `breadth` (ef) trade memory and time for recall. Up to `flat_up_to`
    vectors are looked at one by one; graphs are built in a thread of their own.
    """

    def __init__(
        self, width: int, *, flat_up_to: int = 5_000, links: int = 16, effort: int = 200, breadth: int = 64
    ) -> None:
        try:
            self._library: Any = importlib.import_module("hnswlib")
        except ImportError as error:
            raise CacheError("Graph: hnswlib is missing; pip install 'beastmode[hnsw]', or use Flat") from error
        self._width, self._links, self._effort, self._breadth = width, links, effort, breadth
        self._flat_up_to = flat_up_to
        self._vectors: dict[int, Vector] = {}
        self._labels: dict[bytes, int] = {}
        self._keys: dict[int, bytes] = {}
        self._next = 0
        self._dead = 0
        self._flat: Flat | None = Flat(width)
        self._graph: Any = None
        self._lock = threading.Lock()
        self._building: threading.Thread | None = None
        renew_after_fork(self)

    def __len__(self) -> int:
        return len(self._labels)

    def add(self, key: bytes, vector: Vector) -> None:
        """Hold a vector of unit length, in the place of the key's former one."""
        with self._lock:
            self._forget(key)
            label, self._next = self._next, self._next + 1
            self._labels[key], self._keys[label], self._vectors[label] = label, key, np.array(vector, dtype=np.float32)
            if self._flat is not None:
                self._flat.add(key, vector)
            else:
                _insert(self._graph, self._vectors[label], label)
            self._build_if_due()

    def remove(self, key: bytes) -> None:
        """Forget a key: its node dies at once, and goes when the graph is built anew."""
        with self._lock:
            self._forget(key)
            self._build_if_due()

    def nearest(self, vector: Vector, most: int, floor: float = -1.0) -> list[tuple[bytes, float]]:
        """Return at most so many keys whose cosine is at least `floor`, with their cosines, the nearest first."""
        return [(key, cosine) for key, cosine in self._nearest(vector, most, floor) if cosine >= floor]

    def _nearest(self, vector: Vector, most: int, floor: float) -> list[tuple[bytes, float]]:
        with self._lock:
            if self._flat is not None:
                return self._flat.nearest(vector, most, floor)
            count = min(most, len(self._labels))
            if count == 0:
                return []
            try:
                labels, distances = self._graph.knn_query(vector, k=count)
            except RuntimeError:
                # Among many dead neighbours the walk may find fewer than it was asked for.
                near = {key: float(self._vectors[label] @ vector) for key, label in self._labels.items()}
                return sorted(near.items(), key=lambda pair: -pair[1])[:count]
            pairs = zip(labels[0].tolist(), distances[0].tolist(), strict=True)
            return [(self._keys[label], 1.0 - distance) for label, distance in pairs]

    def settled(self) -> None:
        """Wait until no graph is being built."""
        while (building := self._building) is not None:
            building.join()

    def _forget(self, key: bytes) -> None:
        label = self._labels.pop(key, None)
        if label is None:
            return
        del self._keys[label], self._vectors[label]
        if self._flat is not None:
            self._flat.remove(key)
        else:
            self._graph.mark_deleted(label)
            self._dead += 1

    def _build_if_due(self) -> None:
        if self._flat is not None:
            due = len(self._labels) > self._flat_up_to
        else:
            due = self._dead > DEAD_SHARE * (self._dead + len(self._labels))
        if due and self._building is None:
            self._building = threading.Thread(target=self._build, name="beastmode-cache-graph", daemon=True)
            self._building.start()

    def _build(self) -> None:
        """Build a graph of the living; what came and went meanwhile is made up for before it takes over."""
        graph = self._library.Index(space="ip", dim=self._width)
        graph.init_index(max_elements=max(1024, 2 * len(self._labels)), M=self._links, ef_construction=self._effort)
        graph.set_ef(self._breadth)
        graph.set_num_threads(1)
        built: set[int] = set()
        while len(new := self._unbuilt(built)) > _AT_ONCE:
            # One at a time: the library lets other threads run meanwhile.
            for label, vector in new.items():
                _insert(graph, vector, label)
            built |= new.keys()
        with self._lock:
            for label in self._vectors.keys() - built:
                _insert(graph, self._vectors[label], label)
            gone = built - self._vectors.keys()
            for label in gone:
                graph.mark_deleted(label)
            self._graph, self._dead, self._flat, self._building = graph, len(gone), None, None

    def _unbuilt(self, built: set[int]) -> dict[int, Vector]:
        with self._lock:
            return {label: self._vectors[label] for label in self._vectors.keys() - built}

    def after_fork(self) -> None:
        """Replace a lock and a builder that stayed with the parent."""
        self._lock = threading.Lock()
        self._building = None


def _insert(graph: Any, vector: Vector, label: int) -> None:
    if graph.get_current_count() == graph.get_max_elements():
        graph.resize_index(2 * graph.get_max_elements())
    graph.add_items(vector, label)
