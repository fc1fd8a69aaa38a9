"""A sentence encoder: mean of the last layer's states, in torch for calibration and teaching, and as the graph that is served."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Iterable, Iterator, Sequence

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from tokenizers import Tokenizer

from .model import SpanClassifier
from .onnx_graph import CONTRIB, MASKED, GraphOptions, SpanGraph
from .quantise import set_mode
from .rows import SpecialTokens

# As all-MiniLM-L6-v2 was trained; the server cuts longer texts into windows of this many tokens.
MAX_TOKENS = 256


def ids_of(tokenizer: Tokenizer, special: SpecialTokens, texts: Sequence[str], max_tokens: int = MAX_TOKENS) -> list[list[int]]:
    """`[CLS] text [SEP]` of each text, cut at `max_tokens`."""
    encodings = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return [[special.cls, *encoding.ids[: max_tokens - 2], special.sep] for encoding in encodings]


def padded(rows: Sequence[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, both [rows, tokens]."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = 1
    return ids, mask


def mean_of(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean state of the tokens that are not padding [rows, hidden]."""
    weights = mask[:, :, None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


def batches_by_length(rows: Sequence[list[int]], batch_tokens: int) -> Iterator[list[int]]:
    """Indices of rows of similar length, at most `batch_tokens` padded tokens in a batch."""
    batch: list[int] = []
    for index in sorted(range(len(rows)), key=lambda i: (len(rows[i]), i)):
        if batch and (len(batch) + 1) * len(rows[index]) > batch_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def vectors_of(rows: Sequence[list[int]], pad: int, run, batch_tokens: int = 2000, unit: bool = True) -> np.ndarray:
    """Vectors [rows, width] of `run(ids, mask)`, of length 1 unless told otherwise."""
    found: list[np.ndarray | None] = [None] * len(rows)
    for batch in batches_by_length(rows, batch_tokens):
        values = np.asarray(run(*padded([rows[i] for i in batch], pad)))
        for index, value in zip(batch, values):
            found[index] = value
    vectors = np.stack(found)
    if not unit:
        return vectors
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def torch_runner(model: SpanClassifier, bfloat16: bool = False):
    """Runs the torch encoder."""

    def run(ids: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return mean_of(model.states(ids, mask)[-1].float(), mask).numpy()

    return run


def session_runner(session):
    """Runs an exported graph."""

    def run(ids: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
        return session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]

    return run


@torch.no_grad()
def observe_ranges(model: SpanClassifier, rows: Sequence[list[int]], pad: int) -> None:
    """Find the activation ranges of a model that never imitated int8, and even out the channels that stretch them."""

    def look() -> None:
        set_mode(model, "observe")
        for batch in batches_by_length(rows, 2000):
            model.states(*padded([rows[i] for i in batch], pad))
        set_mode(model, "off")

    look()
    for activation, linear in model.smoothed():
        linear.weight.mul_(activation.smooth()[None, :])
    look()


class EmbeddingGraph(SpanGraph):
    """Writes an encoder as a graph that returns the mean state of each row, `embedding` [rows, width].

    With a `projection` [width, hidden + 1], whose last column is a bias, it returns that of the mean state.
    """

    def __init__(self, model: SpanClassifier, projection: np.ndarray | None = None, quantised: bool = True) -> None:
        weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
        shape = model.shape
        super().__init__(weights, shape.layers, shape.heads, shape.epsilon, model.sep, 1.0, GraphOptions(quantised))
        self.projection = projection

    def build(self) -> onnx.ModelProto:
        """The whole model."""
        b = self.b
        positions, bias = self._layout()
        x = self._embed(positions)
        for layer in range(self.layers):
            x = self._layer(x, bias, f"encoder.layer.{layer}.")
        self._pool(x)
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ("rows", "tokens")) for name in ("input_ids", "attention_mask")]
        width = self.hidden if self.projection is None else len(self.projection)
        outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ("rows", width))]
        graph = helper.make_graph(b.nodes, "sentor", inputs, outputs, list(b.constants.values()))
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="sentor_training", ir_version=8)
        onnx.checker.check_model(model)
        return model

    def _layout(self) -> tuple[str, str]:
        """Position ids [rows, tokens] and the additive mask [rows, 1, tokens, tokens] of rows that are one text each."""
        b = self.b
        shape = b.add("Shape", "input_ids")
        tokens = b.add("Gather", shape, b.constant([1], np.int64))
        index = b.add("Range", b.constant(0, np.int64), b.add("Squeeze", tokens), b.constant(1, np.int64))
        positions = b.add("Expand", index, shape)
        real = b.add("Unsqueeze", b.add("Cast", "attention_mask", to=TensorProto.BOOL), b.constant([1, 2], np.int64))
        masked = b.add("Where", real, b.constant(0.0, np.float32), b.constant(MASKED, np.float32))
        square = b.add("Concat", b.constant([1, 1], np.int64), tokens, b.constant([1], np.int64), axis=0)
        return positions, b.add("Expand", masked, square)

    def _pool(self, x: str) -> None:
        b = self.b
        real = b.add("Unsqueeze", b.add("Cast", "attention_mask", to=TensorProto.FLOAT), b.constant([1], np.int64))
        total = b.add("Squeeze", b.add("MatMul", real, x), b.constant([1], np.int64))
        count = b.add("ReduceSum", real, b.constant([2], np.int64), keepdims=0)
        if self.projection is None:
            b.add("Div", total, count, name="embedding")
            return
        # A product and a sum per row: a matrix product would round by the number of rows.
        mean = b.add("Unsqueeze", b.add("Div", total, count), b.constant([1], np.int64))
        products = b.add("Mul", mean, b.constant(self.projection[None, :, :-1], np.float32, "projection"))
        mapped = b.add("ReduceSum", products, b.constant([2], np.int64), keepdims=0)
        b.add("Add", mapped, b.constant(self.projection[:, -1], np.float32, "projection_bias"), name="embedding")


def read_jsonl(path: Path) -> Iterator[dict]:
    """The lines of a gzip'd JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def distinct(texts: Iterable[str]) -> list[str]:
    """Each text once, in order."""
    return list(dict.fromkeys(text for text in texts if text.strip()))
