"""A transformer of one layer, as small as a test wants it: the mean of a vector for each piece, of unit length."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.teaching import graph_file, sentence_transformer, slug

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS, *(f"##{c}" for c in LETTERS), *"0123456789.?", "the",
          "what", "write", "function", "prove", "translate", "list", "is")  # fmt: skip


def graph(seed: int, width: int = 12, inputs: tuple[str, str] = ("input_ids", "attention_mask")) -> bytes:
    """Return an ONNX graph over `PIECES` whose vectors are drawn by a seed."""
    from onnx import TensorProto, helper, numpy_helper

    table: NDArray[np.float32] = np.random.default_rng(seed).normal(size=(len(PIECES), width)).astype(np.float32)
    table[2:4] = 0  # the markers say nothing
    nodes = [
        helper.make_node("Gather", ["table", inputs[0]], ["each"]),
        helper.make_node("Cast", [inputs[1]], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weight"]),
        helper.make_node("Mul", ["each", "weight"], ["heard"]),
        helper.make_node("ReduceSum", ["heard", "middle"], ["sum"], keepdims=0),
        helper.make_node("LpNormalization", ["sum"], ["embedding"], axis=1, p=2),
    ]
    known = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "middle"),
    ]
    whole = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "pieces"]) for name in inputs],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["texts", width])],
        known,
    )
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def remember(folder: Path, seed: int = 1) -> Path:
    """Put a tiny graph and its pieces where a training keeps what it exported, and return the folder."""
    known = sentence_transformer(folder)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{slug(known.name)}-vocabulary.npy", np.array(PIECES), allow_pickle=False)
    graph_file(folder).write_bytes(graph(seed))
    return folder
