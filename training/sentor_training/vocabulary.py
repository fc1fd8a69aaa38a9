"""Cut a multilingual base to a student: fewer pieces, fewer layers, and separate pieces for emoji.

Kept pieces: special tokens, every piece that the Dutch training texts use, those that the
English ones use, those that Dutch and British word lists use most, and single characters of
Latin script, digits and punctuation, each also as a continuation (`##x`), so that no Latin
word becomes unknown.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tokenizers.implementations import BertWordPieceTokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

# BERT's vocabularies lack most emoji, and a word with an unknown character is lost whole. Each
# gets a piece that starts as the mean of these words' pieces.
EMOJI_WORDS = {
    "happy": "😀😃😄😁😆😊🙂☺😇😌🤗😸😺", "love": "😍🥰😘❤♥💕💖💗💙💚💛💜🧡🖤💓💞💘😻", "laugh": "😂🤣😅😹",
    "great": "👍👌💪🎉🥳✨🌟⭐🏆🔥💯👏🙌😎🤩✅😋🤤", "sad": "😢😭😞😔😟🙁☹😥😿💔😩😫😪", "angry": "😠😡🤬👿😤😾",
    "bad": "👎❌💩🤮🤢😖😣😒🙄😑😬", "afraid": "😱😨😰😧", "surprised": "😮😲😯😳🤯", "think": "🤔🧐🤷🤨😐😶",
    "sick": "🤒😷🤕", "thanks": "🙏", "wink": "😉😜😝😛🤪😏", "money": "💰💸", "up": "📈🚀⬆", "down": "📉⬇", "see": "👀",
    "sleep": "😴💤", "dead": "💀☠", "attention": "⚠🚨❗❓", "play": "🎶🎵⚽", "drink": "🍺🍻🍷☕", "food": "🍕🍔🍽🍴", "sun": "☀🌞",
}
# Typographic signs that the multilingual vocabulary lacks, and the sign each starts from.
SIGNS = {"’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "‚": ",", "—": "-", "–": "-", "‑": "-", "…": ".", "«": '"', "»": '"', "•": "-", "´": "'"}
MODIFIERS = "\ufe0f🏻🏼🏽🏾🏿♀♂"


def latin_characters() -> list[str]:
    """Printable characters of the Latin blocks, punctuation and currency signs."""
    blocks = [range(0x21, 0x7F), range(0xA1, 0x180), range(0x2010, 0x2040), range(0x20A0, 0x20C0), range(0x2100, 0x2127)]
    return [chr(c) for block in blocks for c in block if unicodedata.category(chr(c))[0] not in "CZ"]


def choose_pieces(tokenizer: Tokenizer, dutch: list[str], english: list[str], words: list[list[str]], size: int) -> list[str]:
    """The kept pieces in the order of the full vocabulary, at most `size` of them."""

    def counts(texts: list[str]) -> Counter:
        total: Counter = Counter()
        for start in range(0, len(texts), 2000):
            for encoding in tokenizer.encode_batch(texts[start : start + 2000], add_special_tokens=False):
                total.update(encoding.tokens)
        return total

    vocabulary = tokenizer.get_vocab()
    kept = {piece for piece in SPECIAL if piece in vocabulary}
    for character in latin_characters():
        kept.update(piece for piece in (character, "##" + character) if piece in vocabulary)
    kept.update(counts(dutch))
    score: Counter = Counter()
    for piece, count in counts(english).items():
        score[piece] += 4 * count
    for share, word_list in zip((2, 1), words):
        for piece, count in counts(word_list).items():
            score[piece] += share * count
    for piece, _ in score.most_common():
        if len(kept) >= size:
            break
        kept.add(piece)
    return sorted(kept, key=vocabulary.__getitem__)


def emoji_words() -> dict[str, str]:
    """Emoji → the English word its piece starts from."""
    return {emoji: word for word, row in EMOJI_WORDS.items() for emoji in row}


def with_emoji(pieces: list[str], free: list[int] | None) -> tuple[list[str], dict[int, str]]:
    """Add emoji pieces, into the `free` slots or at the end; return them and slot → starting word."""
    pieces, starts = list(pieces), {}
    known = set(pieces)
    slots = iter(free) if free is not None else None
    wanted = list(emoji_words().items()) + [(c, "and") for c in MODIFIERS] + list(SIGNS.items())
    for character, word in wanted:
        for piece in (character, "##" + character):
            if piece in known:
                continue
            if slots is None:
                pieces.append(piece)
                starts[len(pieces) - 1] = word
            else:
                slot = next(slots)
                pieces[slot] = piece
                starts[slot] = word
    return pieces, starts


def make_tokenizer(pieces: list[str], lowercase: bool, path: Path) -> Tokenizer:
    """A WordPiece tokenizer file without truncation or padding."""
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = BertWordPieceTokenizer(vocabulary, lowercase=lowercase, strip_accents=lowercase)
    tokenizer.save(str(path))
    return Tokenizer.from_file(str(path))


def cut_base(base: Path, out: Path, pieces: list[str] | None, layers: list[int], lowercase: bool) -> None:
    """Write a Hugging Face folder with the chosen layers and pieces (all if `pieces` is none)."""
    from safetensors.numpy import load_file, save_file

    old = [line.rstrip("\n") for line in (base / "vocab.txt").open(encoding="utf-8")]
    old_index = {piece: index for index, piece in enumerate(old)}
    if pieces is None:
        free = [i for i, piece in enumerate(old) if piece.startswith("[unused")]
        new, starts = with_emoji(old, free)
    else:
        new, starts = with_emoji(pieces, None)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(new, lowercase, out / "tokenizer.json")
    (out / "vocab.txt").write_text("\n".join(new) + "\n", encoding="utf-8")

    tensors = {name.removeprefix("bert."): value for name, value in load_file(str(base / "model.safetensors")).items()}
    words = tensors["embeddings.word_embeddings.weight"]
    table = np.stack([words[old_index.get(piece, 0)] for piece in new])
    for slot, word in starts.items():
        table[slot] = table[tokenizer.encode(word, add_special_tokens=False).ids].mean(axis=0)
    kept = {name: tensors[name] for name in tensors if not name.startswith("encoder.layer.") and "position_ids" not in name}
    kept["embeddings.word_embeddings.weight"] = table.astype(np.float32)
    for index, layer in enumerate(layers):
        prefix = f"encoder.layer.{layer}."
        for name, value in tensors.items():
            if name.startswith(prefix):
                kept[f"encoder.layer.{index}." + name[len(prefix):]] = value
    save_file({name: np.ascontiguousarray(value, dtype=np.float32) for name, value in kept.items()}, str(out / "model.safetensors"))
    config = json.loads((base / "config.json").read_text())
    config.update(num_hidden_layers=len(layers), vocab_size=len(new), do_lower_case=lowercase)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
