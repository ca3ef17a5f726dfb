"""Turn a sentence-transformer into a graph for serving: pieces to one unit vector, in int8, a quarter of its size."""

import logging
import tempfile
import warnings
from importlib import import_module
from typing import Any

from models.teachers import SentenceTransformerTeacher

OPSET = 17
VERSION = 1
"""Of what this module makes of given weights: what was made by another is made anew."""


def export(teacher: SentenceTransformerTeacher) -> bytes:
    """Return the graph of a teacher's transformer, mean over the pieces and unit length, with int8 weights.

    Inputs are `input_ids` and `attention_mask`, int64 of shape (texts, pieces); the output is (texts, width). The same
    weights give the same bytes. Weights have seven bits and a scale for each channel: with eight, processors without
    int8 dot products saturate, and would give other vectors than the one that trained (onnxruntime's documentation of
    `reduce_range`). Raises ValueError, naming the remedy, where onnx or onnxruntime is not installed.
    """
    try:
        import onnx

        quantization = import_module("onnxruntime.quantization")
    except ImportError as error:
        raise ValueError(
            f"onnx: {error.name} is not installed; pip install -e '.[embeddings]', or drop \"onnx\" from ladder.rungs"
        ) from error
    root = logging.getLogger()
    level = root.level
    with tempfile.TemporaryDirectory() as folder:
        _write(teacher, f"{folder}/float.onnx")
        # It recommends a preparation that changes nothing for this graph, on the root logger.
        root.setLevel(logging.ERROR)
        try:
            quantization.quantize_dynamic(
                f"{folder}/float.onnx", f"{folder}/int8.onnx",
                weight_type=quantization.QuantType.QInt8, per_channel=True, reduce_range=True,
            )  # fmt: skip
        finally:
            root.setLevel(level)
        model: bytes = onnx.load(f"{folder}/int8.onnx").SerializeToString(deterministic=True)
    return model


def _write(teacher: SentenceTransformerTeacher, path: str) -> None:
    """Write the graph in float32."""
    import torch

    class Pooled(torch.nn.Module):
        """The steps of a sentence-transformer in one."""

        def __init__(self, transformer: Any) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            said = self.transformer(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=torch.zeros_like(input_ids)
            ).last_hidden_state
            weight = attention_mask.unsqueeze(-1).to(said.dtype)
            mean = (said * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, dim=1)

    transformer = teacher.transformer
    usual = transformer.config._attn_implementation
    transformer.set_attn_implementation("eager")
    ids = torch.tensor([[0, 1, 2, 3]])
    try:
        with warnings.catch_warnings():
            # The exporter says that another will follow it; that one needs a further package.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Pooled(transformer).eval(), (ids, torch.ones_like(ids)), path, opset_version=OPSET, dynamo=False,
                input_names=["input_ids", "attention_mask"], output_names=["embedding"],
                dynamic_axes={"input_ids": {0: "texts", 1: "pieces"}, "attention_mask": {0: "texts", 1: "pieces"},
                              "embedding": {0: "texts"}},
            )  # fmt: skip
    finally:
        transformer.set_attn_implementation(usual)
