"""A model file in ONNX Runtime, as the server runs it."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime
import torch
from onnx import helper
from tokenizers import Tokenizer

from .names import aspect_words_of
from .rows import load_tokenizer
from .scoring import Runner

# Of `SkipLayerNormalization`, where a node does not say.
SKIP_EPSILON = 1e-12

INPUTS = ("input_ids", "attention_mask", "span_row", "span_start", "span_end")


def session_of(model: Path | onnx.ModelProto, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open a file or a graph in memory; the server's sessions have one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    graph = model if isinstance(model, onnx.ModelProto) else onnx.load(model)
    return onnxruntime.InferenceSession(served(graph).SerializeToString(), options, providers=["CPUExecutionProvider"])


def served(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph as the server runs it: without a slow kernel, as `src/engine/graph.rs` says. Rounding to 8 bits makes of the last
    bits that this changes a few hundredths of a logit now and then."""
    nodes = []
    for node in model.graph.node:
        if node.op_type != "SkipLayerNormalization":
            nodes.append(node)
            continue
        x, skip, gamma, *beta = node.input
        total = f"{node.output[0]}.sum"
        epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), SKIP_EPSILON)
        nodes += [
            helper.make_node("Sum", [x, skip], [total]),
            helper.make_node("LayerNormalization", [total, gamma, *beta], node.output, epsilon=epsilon),
        ]
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.node[:]
    changed.graph.node.extend(nodes)
    return changed


def onnx_runner(session: onnxruntime.InferenceSession) -> Runner:
    """Run a session on torch tensors."""

    def run(*tensors: torch.Tensor):
        return session.run(None, {name: tensor.numpy() for name, tensor in zip(INPUTS, tensors)})[0]

    return run


def open_folder(folder: Path, threads: int = 1) -> tuple[Tokenizer, frozenset[str] | None, Runner]:
    """An exported model as it is served: its tokenizer, its aspect words (none where it reads names), and what runs it."""
    runner = onnx_runner(session_of(folder / "model.onnx", threads))
    return load_tokenizer(str(folder / "tokenizer.json")), aspect_words_of(folder), runner
