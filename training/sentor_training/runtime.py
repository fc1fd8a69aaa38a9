"""A model file in ONNX Runtime, one thread, as the server runs it."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime
import torch

from .scoring import Runner

INPUTS = ("input_ids", "attention_mask", "span_row", "span_start", "span_end")


def session_of(model: Path | onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Open a file or a graph in memory."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def onnx_runner(session: onnxruntime.InferenceSession) -> Runner:
    """Run a session on torch tensors."""

    def run(*tensors: torch.Tensor):
        return session.run(None, {name: tensor.numpy() for name, tensor in zip(INPUTS, tensors)})[0]

    return run
