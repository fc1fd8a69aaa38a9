"""Reads a TensorFlow tensor bundle (`variables.index` + `variables.data-*`) without TensorFlow.

The index is an uncompressed LevelDB-style table. A table ends in a 48-byte footer that holds
two block handles (offset, size as varints): the meta index and the index. The index block's
values are handles of data blocks; the data blocks' values are `BundleEntryProto` messages:
field 1 dtype, 2 shape, 3 shard, 4 offset, 5 size. The data file is raw little-endian numbers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import numpy as np

FOOTER_BYTES = 48
TABLE_MAGIC = 0xDB4775248B80FB57
DTYPES = {1: np.dtype("<f4"), 3: np.dtype("<i4"), 9: np.dtype("<i8")}


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies in the data file."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size_bytes: int


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Decode one varint; return the value and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def block_items(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the (key, value) pairs of one uncompressed table block; keys are prefix-compressed."""
    if data[offset + size] != 0:
        raise ValueError("compressed table blocks are not supported")
    block = data[offset : offset + size]
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 - 4 * restarts
    at, key = 0, b""
    while at < end:
        shared, at = varint(block, at)
        unshared, at = varint(block, at)
        length, at = varint(block, at)
        key = key[:shared] + block[at : at + unshared]
        at += unshared
        yield key, block[at : at + length]
        at += length


def proto_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of a protocol buffer message; groups do not occur here."""
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = varint(message, at)
        elif kind == 2:
            length, at = varint(message, at)
            value, at = message[at : at + length], at + length
        elif kind == 5:
            value, at = message[at : at + 4], at + 4
        elif kind == 1:
            value, at = message[at : at + 8], at + 8
        else:
            raise ValueError(f"wire type {kind} is not supported")
        yield tag >> 3, value


def parse_entry(message: bytes) -> Entry:
    """Parse a `BundleEntryProto`."""
    plain = {1: 0, 3: 0, 4: 0, 5: 0}
    shape: list[int] = []
    for number, value in proto_fields(message):
        if number == 2:
            for inner, dimension in proto_fields(value):
                if inner == 2:
                    sizes = [size for field, size in proto_fields(dimension) if field == 1]
                    shape.append(sizes[0] if sizes else 0)
        elif number in plain:
            plain[number] = value
    return Entry(plain[1], tuple(shape), plain[3], plain[4], plain[5])


def read_index(path: Path) -> dict[str, Entry]:
    """Read every entry of an index file, the empty header key left out."""
    data = path.read_bytes()
    footer = data[-FOOTER_BYTES:]
    (magic,) = struct.unpack_from("<Q", footer, FOOTER_BYTES - 8)
    if magic != TABLE_MAGIC:
        raise ValueError(f"{path} is no tensor bundle index")
    _, at = varint(footer, 0)
    _, at = varint(footer, at)
    offset, at = varint(footer, at)
    size, at = varint(footer, at)
    entries = {}
    for _, handle in block_items(data, offset, size):
        block_offset, after = varint(handle, 0)
        block_size, _ = varint(handle, after)
        for key, value in block_items(data, block_offset, block_size):
            if key:
                entries[key.decode()] = parse_entry(value)
    return entries


class TensorBundle:
    """Tensors by name, each read from the (memory-mapped) data file when asked for."""

    def __init__(self, folder: Path, prefix: str = "variables") -> None:
        self.entries = read_index(folder / f"{prefix}.index")
        shards = sorted(folder.glob(f"{prefix}.data-*"))
        self._shards = [np.memmap(shard, dtype=np.uint8, mode="r") for shard in shards]

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self.entries[name]
        raw = self._shards[entry.shard][entry.offset : entry.offset + entry.size_bytes]
        return np.frombuffer(raw.tobytes(), dtype=DTYPES[entry.dtype]).reshape(entry.shape)
