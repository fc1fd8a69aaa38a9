"""A model file in ONNX Runtime, as the server runs it."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime
import torch
from tokenizers import Tokenizer

from .names import aspect_words_of
from .rows import load_tokenizer
from .scoring import Runner

INPUTS = ("input_ids", "attention_mask", "span_row", "span_start", "span_end")


def session_of(model: Path | onnx.ModelProto, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open a file or a graph in memory; the server's sessions have one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    graph = model if isinstance(model, onnx.ModelProto) else onnx.load(model)
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def onnx_runner(session: onnxruntime.InferenceSession) -> Runner:
    """Run a session on torch tensors."""

    def run(*tensors: torch.Tensor):
        return session.run(None, {name: tensor.numpy() for name, tensor in zip(INPUTS, tensors)})[0]

    return run


def open_folder(folder: Path, threads: int = 1) -> tuple[Tokenizer, frozenset[str] | None, Runner]:
    """An exported model: its tokenizer, its aspect words (none if it reads names), and its session."""
    runner = onnx_runner(session_of(folder / "model.onnx", threads))
    return load_tokenizer(str(folder / "tokenizer.json")), aspect_words_of(folder), runner
