"""The plain alternative that `compare` measures against: FastAPI, ONNX Runtime and a classifier of text pairs.

One row for each entity of each document, all rows of a request in one run, as such a server is mostly written. The
network has the shape of BERT-base (12 layers of 768, 12 heads, about 110 million parameters) and random weights: its
speed is that of a trained one, its answers mean nothing. It takes the body that sentor takes, so that one load generator
drives both.
"""

import argparse
import pathlib

import numpy as np
import onnx
import onnxruntime
import uvicorn
from fastapi import FastAPI
from onnx import TensorProto, helper, numpy_helper
from pydantic import BaseModel
from tokenizers import Tokenizer

LAYERS, WIDTH, HEADS, INNER, VOCABULARY, POSITIONS = 12, 768, 12, 3072, 30522, 512
LABELS = ["negative", "neutral", "positive"]


class Builder:
    """Collects the nodes and weights of a network."""

    def __init__(self):
        self.nodes, self.weights = [], []
        self.random = np.random.default_rng(1)

    def constant(self, name, value):
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, name, *shape):
        values = self.random.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
        return self.constant(name, values)

    def node(self, kind, inputs, name, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def linear(self, x, name, wide, out):
        product = self.node("MatMul", [x, self.weight(f"{name}.w", wide, out)], f"{name}.product")
        return self.node("Add", [product, self.weight(f"{name}.b", out)], name)

    def normal(self, x, name):
        scale = self.constant(f"{name}.scale", np.ones(WIDTH, np.float32))
        shift = self.constant(f"{name}.shift", np.zeros(WIDTH, np.float32))
        return self.node("LayerNormalization", [x, scale, shift], name, axis=-1, epsilon=1e-12)

    def heads(self, x, name, order):
        shape = self.constant(f"{name}.shape", np.array([0, 0, HEADS, WIDTH // HEADS], np.int64))
        split = self.node("Reshape", [x, shape], f"{name}.split")
        return self.node("Transpose", [split], name, perm=order)

    def layer(self, x, mask, name):
        query = self.heads(self.linear(x, f"{name}.q", WIDTH, WIDTH), f"{name}.qh", [0, 2, 1, 3])
        key = self.heads(self.linear(x, f"{name}.k", WIDTH, WIDTH), f"{name}.kh", [0, 2, 3, 1])
        value = self.heads(self.linear(x, f"{name}.v", WIDTH, WIDTH), f"{name}.vh", [0, 2, 1, 3])
        scores = self.node("MatMul", [query, key], f"{name}.scores")
        scale = self.constant(f"{name}.scale", np.float32(1 / np.sqrt(WIDTH // HEADS)))
        masked = self.node("Add", [self.node("Mul", [scores, scale], f"{name}.scaled"), mask], f"{name}.masked")
        attention = self.node("Softmax", [masked], f"{name}.attention", axis=-1)
        mixed = self.node("MatMul", [attention, value], f"{name}.mixed")
        together = self.node("Transpose", [mixed], f"{name}.together", perm=[0, 2, 1, 3])
        flat = self.node("Reshape", [together, self.constant(f"{name}.flat", np.array([0, 0, WIDTH], np.int64))], f"{name}.context")
        out = self.linear(flat, f"{name}.out", WIDTH, WIDTH)
        x = self.normal(self.node("Add", [x, out], f"{name}.sum1"), f"{name}.norm1")
        inner = self.node("Gelu", [self.linear(x, f"{name}.up", WIDTH, INNER)], f"{name}.gelu")
        down = self.linear(inner, f"{name}.down", INNER, WIDTH)
        return self.normal(self.node("Add", [x, down], f"{name}.sum2"), f"{name}.norm2")


def build(path):
    """Writes the network to `path`."""
    b = Builder()
    words = b.node("Gather", [b.weight("words", VOCABULARY, WIDTH), "input_ids"], "word")
    kinds = b.node("Gather", [b.weight("kinds", 2, WIDTH), "token_type_ids"], "kind")
    length = b.node("Gather", [b.node("Shape", ["input_ids"], "shape"), b.constant("one", np.int64(1))], "length")
    numbers = b.node("Range", [b.constant("zero", np.int64(0)), length, "one"], "numbers")
    places = b.node("Gather", [b.weight("places", POSITIONS, WIDTH), numbers], "place")
    x = b.node("Add", [b.node("Add", [words, kinds], "with_kind"), places], "with_place")
    x = b.normal(x, "embedded")
    seen = b.node("Cast", ["attention_mask"], "seen", to=TensorProto.FLOAT)
    hidden = b.node("Sub", [b.constant("seen_all", np.float32(1)), seen], "hidden")
    away = b.node("Mul", [hidden, b.constant("far", np.float32(-10000))], "away")
    mask = b.node("Unsqueeze", [away, b.constant("axes", np.array([1, 2], np.int64))], "mask")
    for layer in range(LAYERS):
        x = b.layer(x, mask, f"layer{layer}")
    first = b.node("Gather", [x, "zero"], "first", axis=1)
    pooled = b.node("Tanh", [b.linear(first, "pooler", WIDTH, WIDTH)], "pooled")
    b.linear(pooled, "logits", WIDTH, 3)
    inputs = ["input_ids", "attention_mask", "token_type_ids"]
    graph = helper.make_graph(
        b.nodes,
        "pair-classifier",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "tokens"]) for name in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 3])],
        b.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, path)


class Document(BaseModel):
    doc_id: str
    doc: str
    entities: list[str] = []


class Body(BaseModel):
    docs: list[Document]


def application(network, tokenizer_file):
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(POSITIONS)
    session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    app = FastAPI()

    @app.get("/readyz")
    def readyz():
        return {"status": "ready"}

    @app.post("/api/predicts")
    def predict(body: Body):
        pairs = [(document.doc, entity) for document in body.docs for entity in document.entities]
        scores = iter(())
        if pairs:
            rows = tokenizer.encode_batch(pairs)
            logits = session.run(
                None,
                {
                    "input_ids": np.array([row.ids for row in rows], np.int64),
                    "attention_mask": np.array([row.attention_mask for row in rows], np.int64),
                    "token_type_ids": np.array([row.type_ids for row in rows], np.int64),
                },
            )[0]
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            scores = iter(odds / odds.sum(axis=1, keepdims=True))
        results = []
        for document in body.docs:
            entities = []
            for entity in document.entities:
                probabilities = next(scores)
                best = int(probabilities.argmax())
                entities.append({"entity": entity, "sentiment": LABELS[best], "score": float(probabilities[best])})
            results.append({"doc_id": document.doc_id, "entity_sentiments": entities})
        return {"results": results}

    return app


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--network", type=pathlib.Path, required=True, help="where the network is, or is to be written")
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True, help="a BERT tokenizer.json of 30,522 word pieces")
    args = parser.parse_args()
    if not args.network.exists():
        build(args.network)
    uvicorn.run(application(args.network, args.tokenizer), host="127.0.0.1", port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
