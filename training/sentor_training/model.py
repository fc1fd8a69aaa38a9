"""The span classifier: a BERT encoder (Hugging Face parameter names) and a small head on spans."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import torch
from torch import nn
from torch.nn import functional

from .quantise import ActivationRange, QuantLinear


# Attention score of masked positions. The exported graph adds a smaller number with the same effect (see onnx_graph.py).
MASKED = -1e4


@dataclass(frozen=True)
class Shape:
    """Sizes of the encoder, from a Hugging Face `config.json`."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    pieces: int
    positions: int
    epsilon: float
    # Buckets of MPNet's relative position bias; 0 for BERT, which has none.
    relative_buckets: int = 0

    @classmethod
    def read(cls, folder: Path) -> "Shape":
        config = json.loads((folder / "config.json").read_text())
        return cls(
            config["num_hidden_layers"], config["hidden_size"], config["num_attention_heads"], config["intermediate_size"],
            config["vocab_size"], config["max_position_embeddings"], config.get("layer_norm_eps", 1e-12),
            config.get("relative_attention_num_buckets", 0),
        )


def layout_of(ids: torch.Tensor, attention: torch.Tensor, sep: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions [rows, tokens] and the allowed pairs [rows, tokens, tokens] (query, key).

    The same arithmetic as in the exported graph: see `rows.segments_and_positions` for its plain form.
    """
    is_sep = (ids == sep).long()
    segment = is_sep.cumsum(1) - is_sep
    index = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    # Where the token's own segment starts: one after the latest [SEP] strictly before it.
    ends = torch.where(is_sep.bool(), index + 1, 0)
    start = functional.pad(ends.cummax(1).values[:, :-1], (1, 0))
    first_length = is_sep.argmax(1, keepdim=True) + 1
    positions = torch.where(segment == 0, index, first_length + index - start)
    same = segment[:, :, None] == segment[:, None, :]
    allowed = (same | (segment[:, None, :] == 0)) & attention[:, None, :].bool()
    return positions, allowed


class RelativeBias(nn.Module):
    """Score that attention adds for the distance from query to key: one for each head, the same in all layers.

    Raffel et al., 2020, "Exploring the Limits of Transfer Learning", section 2.1; used so by Song et al., 2020, "MPNet".
    """

    furthest = 128

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape.relative_buckets, shape.heads))
        self.longest = shape.positions
        distances = range(-self.longest, self.longest + 1)
        buckets = torch.tensor([self.bucket(distance, shape.relative_buckets) for distance in distances])
        self.register_buffer("buckets", buckets, persistent=False)

    @classmethod
    def bucket(cls, distance: int, buckets: int) -> int:
        """Row of the weights for a distance in tokens (key − query): half of the rows are for keys behind the query;
        of each half, half are for one distance each and half for ranges that grow to `furthest`."""
        half, near = buckets // 2, buckets // 4
        size = abs(distance)
        if size >= near:
            size = near + int(math.log(size / near) / math.log(cls.furthest / near) * (half - near))
        return (half if distance > 0 else 0) + min(size, half - 1)

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        """Bias [rows, heads, tokens, tokens] for positions [rows, tokens]."""
        distances = positions[:, None, :] - positions[:, :, None]
        return self.weight[self.buckets[distances + self.longest]].permute(0, 3, 1, 2)


class SelfAttention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query = QuantLinear(shape.hidden, shape.hidden)
        self.key = QuantLinear(shape.hidden, shape.hidden)
        self.value = QuantLinear(shape.hidden, shape.hidden)

    def forward(self, x: torch.Tensor, allowed: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        rows, tokens, hidden = x.shape
        # One product for all three, which reads x once.
        parts = (self.query, self.key, self.value)
        joined = functional.linear(x, torch.cat([part.used_weight() for part in parts]), torch.cat([part.bias for part in parts]))
        query, key, value = joined.view(rows, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        # Written out: for heads this small, the backward pass of torch's fused attention takes several times as long on a CPU.
        scores = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(-1, -2))
        if bias is not None:
            scores = scores + bias
        weights = functional.softmax(scores.float().masked_fill(~allowed[:, None], MASKED), dim=-1)
        context = torch.matmul(weights.to(value.dtype), value)
        return context.transpose(1, 2).reshape(rows, tokens, hidden)


class Dropout(nn.Module):
    """Dropout from bytes of random integers, to 1/256; torch's own draws a double for each element, serially."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped = round(256 * share)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.dropped:
            return x
        words = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 8),), dtype=torch.int64, device=x.device)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.dropped
        return x * kept.to(x.dtype).mul_(256 / (256 - self.dropped))


class Residual(nn.Module):
    """dense → dropout → add → LayerNorm, the end of both halves of a layer."""

    def __init__(self, inputs: int, shape: Shape, dropout: float, smoothed: bool) -> None:
        super().__init__()
        self.input_range = ActivationRange(inputs if smoothed else None)
        self.dense = QuantLinear(inputs, shape.hidden)
        self.dropout = Dropout(dropout)
        self.LayerNorm = nn.LayerNorm(shape.hidden, eps=shape.epsilon)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return self.LayerNorm(self.dropout(self.dense(self.input_range(x))) + skip)


class Attention(nn.Module):
    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.input_range = ActivationRange()
        self.self = SelfAttention(shape)
        self.output = Residual(shape.hidden, shape, dropout, smoothed=False)

    def forward(self, x: torch.Tensor, allowed: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        return self.output(self.self(self.input_range(x), allowed, bias), x)


class Intermediate(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_range = ActivationRange(shape.hidden)
        self.dense = QuantLinear(shape.hidden, shape.intermediate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.gelu(self.dense(self.input_range(x)))


class Layer(nn.Module):
    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(shape, dropout)
        self.intermediate = Intermediate(shape)
        self.output = Residual(shape.intermediate, shape, dropout, smoothed=True)

    def forward(self, x: torch.Tensor, allowed: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        x = self.attention(x, allowed, bias)
        return self.output(self.intermediate(x), x)


class Embeddings(nn.Module):
    """Word and position embeddings; the one token type is folded into the positions at load."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(shape.pieces, shape.hidden)
        self.position_embeddings = nn.Embedding(shape.positions, shape.hidden)
        self.LayerNorm = nn.LayerNorm(shape.hidden, eps=shape.epsilon)
        self.dropout = Dropout(dropout)

    def forward(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.LayerNorm(self.word_embeddings(ids) + self.position_embeddings(positions)))


class Encoder(nn.Module):
    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(shape, dropout) for _ in range(shape.layers))
        self.relative_attention_bias = RelativeBias(shape) if shape.relative_buckets else None


class Head(nn.Module):
    """Span features → dense → GELU → three logits."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.input_range = ActivationRange()
        self.dense = QuantLinear(3 * shape.hidden, shape.hidden)
        self.dropout = Dropout(dropout)
        self.output = nn.Linear(shape.hidden, 3)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        hidden = functional.gelu(self.dense(self.input_range(features)))
        return self.output(self.dropout(hidden))


class SpanClassifier(nn.Module):
    """`input_ids`, `attention_mask` [rows, tokens] and spans (row, start, end) → logits [spans, 3]."""

    def __init__(self, shape: Shape, sep: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.shape, self.sep = shape, sep
        self.embeddings = Embeddings(shape, dropout)
        self.encoder = Encoder(shape, dropout)
        self.head = Head(shape, dropout)

    def smoothed(self) -> Iterator[tuple[ActivationRange, QuantLinear]]:
        """Each range with scales by channel, with the layer that reads it: both halves of the feed-forward part."""
        for layer in self.encoder.layer:
            yield layer.intermediate.input_range, layer.intermediate.dense
            yield layer.output.input_range, layer.output.dense

    def states(self, ids: torch.Tensor, attention: torch.Tensor) -> list[torch.Tensor]:
        """Hidden states after each layer, first layer first; each [rows, tokens, hidden]."""
        positions, allowed = layout_of(ids, attention, self.sep)
        bias = self.encoder.relative_attention_bias(positions) if self.encoder.relative_attention_bias else None
        states = [self.embeddings(ids, positions)]
        for layer in self.encoder.layer:
            states.append(layer(states[-1], allowed, bias))
        return states[1:]

    def classify(self, state: torch.Tensor, span_row, span_start, span_end) -> torch.Tensor:
        """Logits [spans, 3] of the last layer's state."""
        features = torch.cat([state[span_row, span_start], state[span_row, span_end], state[span_row, 0]], dim=1)
        return self.head(features)

    def forward(self, ids, attention, span_row, span_start, span_end):
        return self.classify(self.states(ids, attention)[-1], span_row, span_start, span_end)


def load_base(folder: Path, sep: int, dropout: float) -> SpanClassifier:
    """A classifier on a folder in Hugging Face's form (BERT, or MPNet as `mpnet.py` writes it), its head untrained."""
    model = SpanClassifier(Shape.read(folder), sep, dropout)
    if (folder / "model.safetensors").exists():
        from safetensors.torch import load_file

        tensors = load_file(str(folder / "model.safetensors"))
    else:
        tensors = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    tensors = {name.removeprefix("bert."): value for name, value in tensors.items()}
    tensors["embeddings.position_embeddings.weight"] = (
        tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
    )
    wanted = {name for name, _ in model.named_parameters() if not name.startswith("head.") and "input_range" not in name}
    missing = wanted - tensors.keys()
    if missing:
        raise SystemExit(f"the base lacks {sorted(missing)[:3]}")
    model.load_state_dict({name: tensors[name] for name in wanted}, strict=False)
    for linear in (model.head.dense, model.head.output):
        nn.init.normal_(linear.weight, std=0.02)
        nn.init.zeros_(linear.bias)
    return model
