"""The worst legal requests, by kind: what one key may send under the default limits, and what costs most of it."""

import gzip
import json
import random
import struct
from dataclasses import dataclass

MEGABYTE = 1 << 20
# The largest document, and the largest body, of the default settings.
DOCUMENT = 10 * MEGABYTE
BODY = 16 * MEGABYTE


@dataclass
class Request:
    """A request to score documents."""

    body: bytes
    query: str = ""
    headers: tuple = ()

    def head(self, key):
        lines = [
            f"POST /api/predicts{self.query} HTTP/1.1", "host: x", f"x-api-key: {key}", "content-type: application/json",
            f"content-length: {len(self.body)}", *(f"{name}: {value}" for name, value in self.headers),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"


def docs(*documents, query="", headers=()):
    body = json.dumps({"docs": list(documents)}, ensure_ascii=False).encode()
    return Request(body, query, tuple(headers))


def document(text, entities=(), doc_id="1"):
    return {"doc_id": doc_id, "doc": text, "entities": list(entities)} if entities else {"doc_id": doc_id, "doc": text}


def packed(request):
    headers = (*request.headers, ("content-encoding", "gzip"))
    return Request(gzip.compress(request.body, 6), request.query, headers)


def filled(piece, size=None):
    """The text `piece` again and again, up to a size in bytes of UTF-8: that of the largest document, or another."""
    return piece * ((size or DOCUMENT) // len(piece.encode()))


def words(count, seed=1):
    chosen = random.Random(seed)
    return ["".join(chosen.choices("abcdefghijklmnoprstuvw", k=6)) for _ in range(count)]


def zstd_bomb(size=1 << 30):
    """A frame of zstd whose blocks each say: this one byte, 128 KiB of times."""
    block = struct.pack("<I", (128 << 10) << 3 | 1 << 1)[:3] + b"a"
    last = struct.pack("<I", (128 << 10) << 3 | 1 << 1 | 1)[:3] + b"a"
    # A window of 128 KiB, no checksum, no size.
    return bytes.fromhex("28b52ffd") + b"\x00" + bytes([7 << 3]) + block * (size // (128 << 10) - 1) + last


def partial_problems(documents, entities):
    wrong = '{"entities":[' + ",".join("1" * entities) + "]}"
    return Request(('{"docs":[' + ",".join([wrong] * documents) + "]}").encode(), "?partial=true")


def entity_names(documents=1000, entities=100, length=10):
    names = [f"{number:0{length}d}" for number in range(entities)]
    return docs(*(document("Great.", names, str(number)) for number in range(documents)))


def cased(word, count):
    """Spellings of one word that differ in case alone."""
    for number in range(count):
        yield "".join(letter.upper() if number >> place & 1 else letter for place, letter in enumerate(word))


def every_kind():
    """Name and maker of each kind of request. A maker takes a moment, since some bodies are large."""
    sentences = "The camera is superb, but the battery is a joke. "
    return {
        "mentions x entities": lambda: docs(document("ab " * 4000, ["ab"] * 1000)),
        "nested names": lambda: docs(document("ab " * 100_000, [("ab " * count).strip() for count in range(1, 342)])),
        "names that overlap": lambda: docs(document("a" * 200_000, ["a" * count for count in range(1, 1001)])),
        "names equal but for case": lambda: docs(document("abcdefghij " * 4000, cased("abcdefghij", 1000))),
        "1 MB of entity names": entity_names,
        "long entity names": lambda: docs(*(document("Ok.", [" ".join(words(140, number)) for number in range(1000)], str(one)) for one in range(16))),
        "text x unnamed entities": lambda: docs(document(filled("The screen is bright. ", 400_000), [" ".join(words(20, number)) for number in range(1000)])),
        "ellipses": lambda: docs(document(filled("... "))),
        "opening brackets": lambda: docs(document(filled("(. "))),
        "short sentences": lambda: docs(document(filled("A! "))),
        "lines": lambda: docs(document(filled("a\n\n"))),
        "60,000 rows": lambda: docs(document("Good.\n" * 60_000)),
        "one long word": lambda: docs(document("a" * DOCUMENT)),
        "combining marks": lambda: docs(document("e" + filled("\u0301"))),
        "right to left": lambda: docs(document(filled("\u202eשלום عليكم. "))),
        "zero width": lambda: docs(document("a" + filled("\u200b\u200d\ufeff"))),
        "ideographs": lambda: docs(document(filled("字。"))),
        "emoji": lambda: docs(document(filled("👩‍👩‍👧‍👦 "))),
        "pronouns": lambda: docs(document("Jan " + filled("he saw it. ", 1 * MEGABYTE), ["Jan", *(f"Jan{number}" for number in range(999))]), query="?pronouns=true"),
        "language unknown": lambda: docs(document(filled("lorem ipsum dolor sit amet, ")), query="?language=auto"),
        "ordinary text": lambda: docs(document(filled(sentences), ["camera", "battery"])),
        "10,000 documents": lambda: docs(*(document(sentences * 30, ["camera", "battery"], str(number)) for number in range(10_000))),
        "10,000 tiny documents": lambda: docs(*(document(f"{number}", (), str(number)) for number in range(10_000))),
        "a document's identifier": lambda: docs(document("Great.", (), "x" * (BODY - 100))),
        "identifiers of escapes": lambda: docs(document("Great.", (), "\u0001" * (BODY // 6 - 100))),
        "partial, wrong values": lambda: partial_problems(10_000, 760),
        "partial, wrong values, gzip": lambda: packed(partial_problems(10_000, 760)),
        "half surrogates": lambda: Request(b'{"docs":[{"doc_id":"1","doc":"' + b"\\ud800" * (BODY // 6 - 20) + b'"}]}', "?partial=true"),
        "escapes": lambda: Request(b'{"docs":[{"doc_id":"1","doc":"' + b"\\u0061 " * (BODY // 7 - 20) + b'"}]}'),
        "deep JSON": lambda: Request(b"[" * (BODY - 10)),
        "a member that nobody reads": lambda: Request(b'{"x":"' + b"a" * (BODY - 100) + b'","docs":[{"doc_id":"1","doc":"Great."}]}'),
        "the same member often": lambda: Request(b'{' + b'"docs":[{"doc_id":"1","doc":"Great."}],' * 400_000 + b'"docs":[]}'),
        "huge answer": lambda: docs(document(filled("A! ", 500_000))),
        "huge answer, gzip": lambda: docs(document(filled("A! ", 500_000)), headers=[("accept-encoding", "gzip")]),
        "huge answer, br": lambda: docs(document(filled("A! ", 500_000)), headers=[("accept-encoding", "br")]),
        "huge answer, zstd": lambda: docs(document(filled("A! ", 500_000)), headers=[("accept-encoding", "zstd")]),
        "gzip of the largest body": lambda: packed(docs(document(filled(sentences)))),
        "gzip of spaces": lambda: Request(gzip.compress(b'{"docs":[' + b" " * (BODY - 20) + b"]}"), "", (("content-encoding", "gzip"),)),
        "zip bomb": lambda: Request(gzip.compress(bytes(256 * MEGABYTE), 9), "", (("content-encoding", "gzip"),)),
        "zip in zip": lambda: Request(gzip.compress(gzip.compress(bytes(256 * MEGABYTE), 9)), "", (("content-encoding", "gzip"),)),
        "zstd bomb": lambda: Request(zstd_bomb(), "", (("content-encoding", "zstd"),)),
    }
