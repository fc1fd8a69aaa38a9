"""The exported graph, built node by node so that it does not depend on a converter.

What makes a row's logits independent of what else is in the run:

* every weight product is an integer product with fixed scales: sums of integers have no order;
* layer norms, GELU and the embeddings work on one token alone;
* attention is masked inside the row, and what is masked adds exact zeros;
* the head's last layer is a product and a sum per span instead of a matrix product, whose
  kernel (and so rounding) would depend on the number of spans.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .quantise import ACTIVATION_LEVELS, activation_parameters, quantise_rows, quantise_weight

CONTRIB = "com.microsoft"
# Added to the scores of masked positions. A much larger number would produce denormal numbers, which are slow to compute with.
MASKED = -50.0

# Separator of the names of layers whose weights are concatenated in one product.
PART_SEPARATOR = "+"


@dataclass(frozen=True)
class GraphOptions:
    """Choices that change speed, not meaning; the defaults are the shipped ones."""

    quantised: bool = True
    fused_attention: bool = True


class Builder:
    """Collects nodes and constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.count = 0

    def constant(self, value, dtype=None, name: str | None = None) -> str:
        array = np.asarray(value, dtype=dtype)
        name = name or f"c{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def add(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", name: str | None = None, **attributes):
        self.count += 1
        names = [name] if name else [f"{op}_{self.count}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"{op}_{self.count}", domain=domain, **attributes))
        return names[0] if len(names) == 1 else names


def read_weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The weights and ranges of a quantised graph that `SpanGraph` wrote, by the classifier's parameter names.

    What int8 rounded off is gone, and the head's last layer has the temperature in it: enough to train on from.
    """
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    heads = next(a.i for node in model.graph.node if node.op_type == "MultiHeadAttention" for a in node.attribute if a.name == "num_heads")
    weights = {
        "embeddings.word_embeddings.weight": stored["words"].astype(np.float32) * stored["word_scales"],
        "embeddings.position_embeddings.weight": stored["positions"],
    }
    for name, value in stored.items():
        if name.endswith(".levels"):
            joined = name.removesuffix(".levels")
            parts = joined.split(PART_SEPARATOR)
            matrix = (value.astype(np.float32) * stored[f"{joined}.scale"]).T
            for part, rows, bias in zip(parts, np.split(matrix, len(parts)), np.split(stored[f"{joined}.bias"], len(parts))):
                # Queries are stored with attention's scale in them.
                factor = np.float32(np.sqrt(len(rows) / heads)) if part.endswith(".query") else np.float32(1)
                weights[f"{part}.weight"], weights[f"{part}.bias"] = rows * factor, bias * factor
        elif name.endswith(".input_range.scale"):
            part, zero = name.removesuffix(".scale"), np.float32(stored[f"{name.removesuffix('.scale')}.zero_point"])
            weights[f"{part}.low"], weights[f"{part}.high"] = -zero * value, (ACTIVATION_LEVELS - zero) * value
        elif "LayerNorm." in name or name.endswith(".smoothing") or name.startswith("head.output."):
            weights[name] = value
    return weights


class SpanGraph:
    """Writes a trained classifier's weights (name → float32 array) as an ONNX graph."""

    def __init__(self, weights: dict[str, np.ndarray], layers: int, heads: int, epsilon: float, sep: int, temperature: float, options: GraphOptions) -> None:
        self.w, self.layers, self.heads, self.epsilon, self.sep = weights, layers, heads, epsilon, sep
        self.temperature, self.options = temperature, options
        self.hidden = weights["embeddings.word_embeddings.weight"].shape[1]
        self.b = Builder()

    def build(self) -> onnx.ModelProto:
        """The whole model."""
        b = self.b
        rows, tokens, spans = "rows", "tokens", "spans"
        inputs = [("input_ids", (rows, tokens)), ("attention_mask", (rows, tokens)), ("span_row", (spans,)), ("span_start", (spans,)), ("span_end", (spans,))]
        positions, bias = self._layout()
        x = self._embed(positions)
        for layer in range(self.layers):
            x = self._layer(x, bias, f"encoder.layer.{layer}.")
        self._head(x)
        graph = helper.make_graph(
            b.nodes, "sentor",
            [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in inputs],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (spans, 3))],
            list(b.constants.values()),
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="sentor_training", ir_version=8)
        onnx.checker.check_model(model)
        return model

    def _layout(self) -> tuple[str, str]:
        """Position ids and the additive attention mask [rows, 1, tokens, tokens]; see `model.layout_of`."""
        b = self.b
        zero, one = b.constant(0, np.int64), b.constant(1, np.int64)
        axis1 = b.constant([1], np.int64)
        is_sep = b.add("Equal", "input_ids", b.constant(self.sep, np.int64))
        sep = b.add("Cast", is_sep, to=TensorProto.INT64)
        segment = b.add("CumSum", sep, one, exclusive=1)
        shape = b.add("Shape", "input_ids")
        self.rows = b.add("Gather", shape, zero)
        self.tokens = b.add("Gather", shape, one)
        index = b.add("Range", zero, self.tokens, one)
        # One after each [SEP], in the order of the flattened batch, looked up by how many came before.
        minus_one = b.constant([-1], np.int64)
        before = b.add("CumSum", b.add("Reshape", sep, minus_one), zero, exclusive=1)
        columns = b.add("Gather", b.add("NonZero", is_sep), one, axis=0)
        starts = b.add("Concat", b.constant([0], np.int64), b.add("Add", columns, one), axis=0)
        start = b.add("Reshape", b.add("Gather", starts, before), shape)
        first_length = b.add("Add", b.add("ArgMax", sep, axis=1, keepdims=1), one)
        in_window = b.add("Equal", segment, zero)
        appended = b.add("Sub", b.add("Add", index, first_length), start)
        positions = b.add("Where", in_window, index, appended)

        key_segment = b.add("Unsqueeze", segment, axis1)
        query_segment = b.add("Unsqueeze", segment, b.constant([2], np.int64))
        seen = b.add("Or", b.add("Equal", query_segment, key_segment), b.add("Unsqueeze", in_window, axis1))
        real = b.add("Unsqueeze", b.add("Cast", "attention_mask", to=TensorProto.BOOL), axis1)
        allowed = b.add("And", seen, real)
        bias = b.add("Where", allowed, b.constant(0.0, np.float32), b.constant(MASKED, np.float32))
        return positions, b.add("Unsqueeze", bias, axis1)

    def _embed(self, positions: str) -> str:
        b = self.b
        table = self.w["embeddings.word_embeddings.weight"]
        if self.options.quantised:
            levels, scale = quantise_rows(table)
            row = b.add("Cast", b.add("Gather", b.constant(levels, name="words"), "input_ids"), to=TensorProto.FLOAT)
            words = b.add("Mul", row, b.add("Gather", b.constant(scale[:, None], name="word_scales"), "input_ids"))
        else:
            words = b.add("Gather", b.constant(table, np.float32, "words"), "input_ids")
        place = b.add("Gather", b.constant(self.w["embeddings.position_embeddings.weight"], np.float32, "positions"), positions)
        return self._norm(words, place, "embeddings.LayerNorm")

    def _norm(self, x: str, skip: str, name: str) -> str:
        gamma, beta = (self.b.constant(self.w[part], np.float32, part) for part in (f"{name}.weight", f"{name}.bias"))
        # ONNX Runtime would make one slow kernel of Add and this; benches/RESULTS.md has the figures.
        return self.b.add("LayerNormalization", self.b.add("Sum", x, skip), gamma, beta, epsilon=self.epsilon)

    def _linear(self, x: str, parts: list[tuple[str, float]], range_name: str) -> str:
        """x · [W of each part, times its factor] + bias; integer product of the quantised sides."""
        b = self.b
        factors = [np.full(self.w[f"{name}.bias"].shape, factor, np.float32) for name, factor in parts]
        factor = np.concatenate(factors)
        weight = np.concatenate([self.w[f"{name}.weight"] for name, _ in parts])
        joined = PART_SEPARATOR.join(name for name, _ in parts)
        bias = b.constant(np.concatenate([self.w[f"{name}.bias"] for name, _ in parts]) * factor, np.float32, f"{joined}.bias")
        if f"{range_name}.smoothing" in self.w:
            x = b.add("Mul", x, b.constant(self.w[f"{range_name}.smoothing"], np.float32, f"{range_name}.smoothing"))
        if not self.options.quantised:
            product = b.add("MatMul", x, b.constant((weight * factor[:, None]).T.copy(), np.float32))
            return b.add("Add", product, bias)
        scale, zero_point = activation_parameters(float(self.w[f"{range_name}.low"]), float(self.w[f"{range_name}.high"]))
        x_scale, x_zero = b.constant(scale, np.float32, f"{range_name}.scale"), b.constant(zero_point, np.uint8, f"{range_name}.zero_point")
        levels, weight_scale = quantise_weight(weight)
        x = b.add("QuantizeLinear", x, x_scale, x_zero)
        return b.add(
            "MatMulIntegerToFloat", x, b.constant(levels.T.copy(), name=f"{joined}.levels"), x_scale,
            b.constant(weight_scale * factor, np.float32, f"{joined}.scale"),
            x_zero, b.constant(np.zeros(len(factor)), np.int8), bias, domain=CONTRIB,
        )

    def _layer(self, x: str, bias: str, prefix: str) -> str:
        b = self.b
        scale = 1.0 / np.sqrt(self.hidden / self.heads)
        names = [(f"{prefix}attention.self.query", scale), (f"{prefix}attention.self.key", 1.0), (f"{prefix}attention.self.value", 1.0)]
        projected = self._linear(x, names, f"{prefix}attention.input_range")
        context = self._attention(projected, bias)
        attended = self._linear(context, [(f"{prefix}attention.output.dense", 1.0)], f"{prefix}attention.output.input_range")
        x = self._norm(attended, x, f"{prefix}attention.output.LayerNorm")
        inner = self._linear(x, [(f"{prefix}intermediate.dense", 1.0)], f"{prefix}intermediate.input_range")
        inner = b.add("Gelu", inner, domain=CONTRIB)
        out = self._linear(inner, [(f"{prefix}output.dense", 1.0)], f"{prefix}output.input_range")
        return self._norm(out, x, f"{prefix}output.LayerNorm")

    def _attention(self, projected: str, bias: str) -> str:
        """Masked attention; queries are already scaled."""
        b, width = self.b, self.hidden // self.heads
        if self.options.fused_attention:
            q, k, v = b.add("Split", projected, b.constant([self.hidden] * 3, np.int64), outputs=3, axis=2)
            return b.add("MultiHeadAttention", q, k, v, "", "", bias, domain=CONTRIB, num_heads=self.heads, scale=1.0)
        split = b.add("Reshape", projected, b.constant([0, 0, 3, self.heads, width], np.int64))
        split = b.add("Transpose", split, perm=[2, 0, 3, 1, 4])
        q, k, v = (b.add("Gather", split, b.constant(i, np.int64), axis=0) for i in range(3))
        scores = b.add("Add", b.add("FusedMatMul", q, k, domain=CONTRIB, transB=1), bias)
        context = b.add("MatMul", b.add("Softmax", scores, axis=-1), v)
        context = b.add("Transpose", context, perm=[0, 2, 1, 3])
        return b.add("Reshape", context, b.constant([0, 0, self.hidden], np.int64))

    def _head(self, x: str) -> None:
        b = self.b
        flat = b.add("Reshape", x, b.constant([-1, self.hidden], np.int64))
        row = b.add("Mul", "span_row", self.tokens)
        places = [b.add("Add", row, "span_start"), b.add("Add", row, "span_end"), row]
        features = b.add("Concat", *(b.add("Gather", flat, place) for place in places), axis=1)
        hidden = b.add("Gelu", self._linear(features, [("head.dense", 1.0)], "head.input_range"), domain=CONTRIB)
        weight, bias = (
            b.constant(self.w[part] / self.temperature, np.float32, part) for part in ("head.output.weight", "head.output.bias")
        )
        products = b.add("Mul", b.add("Unsqueeze", hidden, b.constant([1], np.int64)), weight)
        b.add("Add", b.add("ReduceSum", products, b.constant([-1], np.int64), keepdims=0), bias, name="logits")
