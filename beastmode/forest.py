"""Score LightGBM's text models with numpy alone, exactly as LightGBM does and without its import.

The method is QuickScorer (Lucchese et al., SIGIR 2015): a split that sends a row to the right strikes out the leaves
of its left side, and the leftmost leaf that remains is the one a walk would have reached. All splits of all trees are
compared at once, so a single row costs a handful of numpy calls.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bits = NDArray[np.unsignedinteger[Any]]

MAX_LEAVES = 64
MAX_TREES = 20_000
MAX_COLUMNS = 100_000
MAX_CHARS = 64_000_000

_CELLS = 1 << 18
"""Comparisons held at once: what fits a cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Trees as arrays: `t` trees of at most `s` splits; a smaller tree is padded with splits that strike nothing."""

    columns: int
    """How many columns a row must have."""
    outputs: int
    feature: NDArray[np.intp]
    """(s, t)"""
    threshold: Floats
    """(s, t)"""
    threshold_single: NDArray[np.float32]
    """(s, t) Rounded down to float32: every float32 lies on the same side of both."""
    missing_left: NDArray[np.bool_]
    """(s, t) Whether a NaN goes left."""
    keep: Bits
    """(s, t) The leaves that stay possible when a row goes right, one bit each from the left."""
    value: Floats
    """(t, leaves)"""
    first: NDArray[np.intp]
    """(outputs,) The first tree of each output; the trees of one output lie together."""
    _strike: Bits = field(init=False, repr=False)
    """(s, t) The leaves that a row which goes right cannot reach: what `keep` does not keep."""
    _start: NDArray[np.int64] = field(init=False, repr=False)
    """(t,) Where the tree's values begin, one after the other, less the bias of a double's exponent."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_strike", ~self.keep)
        object.__setattr__(self, "_start", np.arange(len(self.value)) * self.value.shape[1] - 1023)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `Booster.model_to_string()` wrote.

        Raises ValueError, naming the tree, on all that is not a forest of numeric splits: categorical splits, linear
        trees, zero as missing, averaged outputs, more than 64 leaves, a damaged text.
        """
        if len(text) > MAX_CHARS:
            raise ValueError(f"forest: {len(text)} characters are more than the {MAX_CHARS} allowed")
        body, end, _ = text.partition("\nend of trees")
        if not end:
            raise ValueError("forest: the line 'end of trees' is missing; the text is cut short")
        head, *blocks = body.split("\nTree=")
        header = _fields(head)
        if "average_output" in header:
            raise ValueError("forest: averaged outputs (boosting=rf) are not scored; train with boosting=gbdt")
        columns = _integer(header, "max_feature_idx", "forest", 0, MAX_COLUMNS) + 1
        outputs = _integer(header, "num_tree_per_iteration", "forest", 1, MAX_TREES)
        if len(blocks) % outputs or len(blocks) > MAX_TREES:
            raise ValueError(f"forest: {len(blocks)} trees for {outputs} outputs; the text is damaged")
        trees = [_tree(_fields("Tree=" + block), f"forest: tree {i}", columns) for i, block in enumerate(blocks)]
        # Without a single tree every output is zero: one leaf says so.
        by_output = [trees[i::outputs] or [_Tree((), (), (), (), (0.0,))] for i in range(outputs)]
        return cls._of(by_output, columns)

    @classmethod
    def _of(cls, by_output: Sequence[Sequence["_Tree"]], columns: int) -> Self:
        trees = [tree for group in by_output for tree in group]
        splits = max(1, max(len(tree.feature) for tree in trees))
        leaves = max(len(tree.value) for tree in trees)
        kind = _kind(leaves)

        def filled(rows: int, fill: Any, dtype: Any, name: str) -> NDArray[Any]:
            array = np.full((rows, len(trees)), fill, dtype=dtype)
            for i, tree in enumerate(trees):
                values = getattr(tree, name)
                array[: len(values), i] = values
            return array

        threshold = filled(splits, np.inf, np.float64, "threshold")
        with np.errstate(over="ignore"):
            single = threshold.astype(np.float32)
        single = np.where(single > threshold, np.nextafter(single, np.float32(-np.inf)), single)
        every = np.iinfo(kind).max
        keep = filled(splits, every, kind, "keep")
        return cls(
            columns=columns,
            outputs=len(by_output),
            feature=filled(splits, 0, np.intp, "feature"),
            threshold=threshold,
            threshold_single=single,
            missing_left=filled(splits, True, np.bool_, "missing_left"),
            keep=keep,
            value=np.ascontiguousarray(filled(leaves, 0.0, np.float64, "value").T),
            first=np.cumsum([0, *(len(group) for group in by_output)])[:-1],
        )

    @classmethod
    def join(cls, forests: Sequence["Forest"]) -> "Forest":
        """Return one forest that gives the outputs of several side by side, in a single pass."""
        if not forests:
            raise ValueError("forest: nothing to join; give at least one forest")
        if len({forest.columns for forest in forests}) > 1:
            widths = ", ".join(str(forest.columns) for forest in forests)
            raise ValueError(f"forest: cannot join forests over different columns ({widths})")
        total = sum(forest.feature.shape[1] for forest in forests)
        if total > MAX_TREES:
            raise ValueError(f"forest: {total} trees in all are more than the {MAX_TREES} allowed")
        splits = max(len(forest.feature) for forest in forests)
        leaves = max(forest.value.shape[1] for forest in forests)
        kind = _kind(leaves)

        def joined(name: str, fill: Any, dtype: Any) -> NDArray[Any]:
            parts = [getattr(forest, name).astype(dtype) for forest in forests]
            padded = [np.pad(p, ((0, splits - len(p)), (0, 0)), constant_values=fill) for p in parts]
            return np.concatenate(padded, axis=1)

        starts = np.cumsum([0, *(len(forest.value) for forest in forests)])[:-1]
        return cls(
            columns=forests[0].columns,
            outputs=sum(forest.outputs for forest in forests),
            feature=joined("feature", 0, np.intp),
            threshold=joined("threshold", np.inf, np.float64),
            threshold_single=joined("threshold_single", np.inf, np.float32),
            missing_left=joined("missing_left", True, np.bool_),
            keep=joined("keep", np.iinfo(kind).max, kind),
            value=np.concatenate([np.pad(f.value, ((0, 0), (0, leaves - f.value.shape[1]))) for f in forests]),
            first=np.concatenate([f.first + start for f, start in zip(forests, starts, strict=True)]),
        )

    def predict(self, rows: NDArray[Any]) -> Floats:
        """Return the raw scores, shape (rows, outputs), that `Booster.predict(rows, raw_score=True)` gives.

        `rows` is a float matrix of shape (rows, columns); NaN goes where LightGBM sends it.
        """
        if rows.ndim != 2 or rows.shape[1] != self.columns:
            raise ValueError(f"forest: rows of shape {rows.shape}, expected (rows, {self.columns})")
        if rows.dtype not in (np.float32, np.float64):
            rows = rows.astype(np.float64)
        step = max(1, _CELLS // self.feature.size)
        if len(rows) <= step:
            return self._scores(rows)
        return np.concatenate([self._scores(rows[i : i + step]) for i in range(0, len(rows), step)])

    def _scores(self, rows: NDArray[Any]) -> Floats:
        seen = rows.take(self.feature, axis=1)
        right = seen > (self.threshold_single if rows.dtype == np.float32 else self.threshold)
        if np.isnan(rows).any():
            right |= np.isnan(seen) & ~self.missing_left
        struck = np.bitwise_or.reduce(self._strike * right, axis=1)
        # The exponent of a power of two is its logarithm: the place of the lowest bit that is left, the leaf.
        lowest = (~struck & (struck + struck.dtype.type(1))).astype(np.float64)
        reached = self.value.ravel().take((lowest.view(np.int64) >> 52) + self._start)
        return np.asarray(np.add.reduceat(reached, self.first, axis=1))


@dataclass(frozen=True, slots=True)
class _Tree:
    """A checked tree: its splits, and the values of its leaves from left to right."""

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    missing_left: tuple[bool, ...]
    keep: tuple[int, ...]
    value: tuple[float, ...]


def _kind(leaves: int) -> type[np.unsignedinteger[Any]]:
    return np.uint16 if leaves <= 16 else np.uint32 if leaves <= 32 else np.uint64


def _fields(block: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition("=") for line in block.splitlines())}


def _integer(known: dict[str, str], name: str, where: str, low: int, high: int) -> int:
    try:
        value = int(known[name])
    except KeyError:
        raise ValueError(f"{where}: {name} is missing; the text is damaged") from None
    if not low <= value <= high:
        raise ValueError(f"{where}: {name} = {value} is outside [{low}, {high}]")
    return value


def _numbers(known: dict[str, str], name: str, where: str, count: int) -> list[float]:
    values = [float(word) for word in known.get(name, "").split()]
    # A split on NaN alone has the threshold inf; nothing else may be infinite.
    broken = any(map(math.isnan if name == "threshold" else math.isinf, values)) or any(map(math.isnan, values))
    if len(values) != count or broken:
        raise ValueError(f"{where}: {name} should hold {count} numbers; the text is damaged")
    return values


def _tree(known: dict[str, str], where: str, columns: int) -> _Tree:
    """Check a tree and put its leaves in order; bits are struck by what lies under a split's left child."""
    leaves = _integer(known, "num_leaves", where, 1, MAX_LEAVES)
    if _integer(known, "num_cat", where, 0, MAX_COLUMNS):
        raise ValueError(f"{where}: categorical splits are not scored; give the category as numeric columns")
    if _integer({"is_linear": "0", **known}, "is_linear", where, 0, 1):
        raise ValueError(f"{where}: linear trees are not scored; train with linear_tree=false")
    value = _numbers(known, "leaf_value", where, leaves)
    if leaves == 1:
        return _Tree((), (), (), (), tuple(value))
    feature, decision, left, right = (
        [int(number) for number in _numbers(known, name, where, leaves - 1)]
        for name in ("split_feature", "decision_type", "left_child", "right_child")
    )
    threshold = _numbers(known, "threshold", where, leaves - 1)
    if not all(0 <= column < columns for column in feature):
        raise ValueError(f"{where}: split_feature names a column outside [0, {columns - 1}]")
    if any(kind not in (0, 2, 8, 10) for kind in decision):
        # 1: categorical; 2: default left; 4 and 8: zero or NaN is what counts as missing.
        raise ValueError(f"{where}: decision_type {sorted(set(decision))} is not scored; train without zero_as_missing")
    order, under = _in_order(left, right, where)
    every = (1 << 64) - 1 if leaves > 32 else (1 << 32) - 1 if leaves > 16 else (1 << 16) - 1
    return _Tree(
        feature=tuple(feature),
        threshold=tuple(threshold),
        # Where NaN is no missing value of its own, LightGBM reads it as zero.
        missing_left=tuple(bool(k & 2) if k & 8 else t >= 0 for k, t in zip(decision, threshold, strict=True)),
        keep=tuple(every & ~bits for bits in under),
        value=tuple(value[leaf] for leaf in order),
    )


def _in_order(left: list[int], right: list[int], where: str) -> tuple[list[int], list[int]]:
    """Return the leaves from left to right, and for each split the bits of the leaves under its left child."""
    order: list[int] = []
    bounds: dict[int, int] = {}
    under = [0] * len(left)
    stack = [(0, False)]
    steps = 0
    while stack:
        node, returning = stack.pop()
        steps += 1
        if node < 0:
            order.append(~node)
        elif returning:
            under[node] = (1 << len(order)) - (1 << bounds[node])
            stack.append((right[node], False))
        elif node >= len(left) or node in bounds:
            raise ValueError(f"{where}: split {node} is unknown or has two parents; the text is damaged")
        else:
            bounds[node] = len(order)
            stack += [(node, True), (left[node], False)]
    if sorted(order) != list(range(len(left) + 1)):
        raise ValueError(f"{where}: the leaves {order} are not each reached once; the text is damaged")
    return order, under
