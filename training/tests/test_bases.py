"""Tests of the readers of the bases: on made files, and on fetched bases against stored outputs of other programs.

The second kind is skipped where `$TRAINING_RUNS/bases` does not hold a base: run the fetch stage first.
"""

import json
import os
import struct
import tempfile
import unittest
from pathlib import Path

try:
    import numpy as np
    import onnx
    import torch
except ImportError as missing:
    raise unittest.SkipTest(f"needs training/requirements.txt: {missing}") from missing

from onnx import helper, numpy_helper

from sentor_training import e5_blocks, mpnet, onnx_base
from sentor_training.model import RelativeBias, Shape, load_base
from sentor_training.vocabulary import make_tokenizer

REFERENCE = json.loads((Path(__file__).parent / "reference_bases.json").read_text(encoding="utf-8"))
BASES = Path(os.environ.get("TRAINING_RUNS", "runs")).expanduser() / "bases"


class MadeFiles(unittest.TestCase):
    def test_linear_weights_are_named_after_their_bias_and_turned(self):
        weight = np.arange(6, dtype=np.float32).reshape(2, 3)
        bias_name = "encoder.layer.0.output.dense.bias"
        for order in (("product", bias_name), (bias_name, "product")):
            nodes = [helper.make_node("MatMul", ["x", "w"], ["product"]), helper.make_node("Add", list(order), ["y"])]
            bias = numpy_helper.from_array(np.zeros(3, np.float32), bias_name)
            graph = helper.make_graph(nodes, "g", [], [], [numpy_helper.from_array(weight, "w"), bias])
            found = onnx_base.bert_tensors(helper.make_model(graph))
            np.testing.assert_array_equal(found["encoder.layer.0.output.dense.weight"], weight.T)
        self.assertIn("encoder.layer.0.attention.self.query.weight", onnx_base.missing_layers(found, 1))

    def test_four_bit_blocks(self):
        halves = bytes(low | high << 4 for low, high in zip(range(16), reversed(range(16))))
        values = e5_blocks.from_blocks(np.float16(0.5).tobytes() + halves)
        np.testing.assert_array_equal(values[:16], (np.arange(16) - 8) * 0.5)
        np.testing.assert_array_equal(values[16:], (np.arange(15, -1, -1) - 8) * 0.5)

    def test_block_file(self):
        pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁ok"]
        text = "".join(pieces).encode()
        ends = np.cumsum([0, *(len(piece.encode()) for piece in pieces)])
        head = b"E5S1" + struct.pack("<I7ifi5iQ", 1, 2, 0, 1, 4, 5, 1, 1, 1e-12, 32, 5, 0, 2, 1, 3, len(text))
        head += ends.astype("<u4").tobytes() + bytes(4 * 5) + text + struct.pack("<iI", 0, 3) + b"xyz" + struct.pack("<i", 1)
        entry = struct.pack("<H", 3) + b"abc" + struct.pack("<BIQQ", 0, 4, len(head) + 26, 16)
        file = e5_blocks.BlockFile(head + entry + np.arange(4, dtype="<f4").tobytes())
        self.assertEqual(file.pieces, pieces)
        np.testing.assert_array_equal(file.tensor("abc", 2, 2), [[0, 1], [2, 3]])

    def test_sentence_pieces_become_word_pieces(self):
        pieces = ["<s>", "▁", "▁de", "de", "!", "▁!", "é", "▁x"]
        self.assertEqual(
            e5_blocks.word_pieces(pieces, {"[CLS]": 0}),
            {"[CLS]": 0, "de": 2, "##de": 3, "!": 4, "##é": 6, "é": 6, "x": 7},
        )

    def test_rows_of_mpnet(self):
        self.assertEqual(mpnet.rows_of(["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the"]), [1, 5, 3, 0, 2, 30526, 10])

    def test_relative_buckets(self):
        bucket = lambda distance: RelativeBias.bucket(distance, 32)
        self.assertEqual([bucket(d) for d in (0, -1, -7, -8, -128, -400)], [0, 1, 7, 8, 15, 15])
        self.assertEqual([bucket(d) for d in (1, 7, 8, 11, 12, 128)], [17, 23, 24, 24, 25, 31])

    def test_relative_bias_follows_the_positions(self):
        bias = RelativeBias(Shape(1, 8, 2, 8, 10, 16, 1e-5, relative_buckets=32))
        with torch.no_grad():
            bias.weight.copy_(torch.arange(64).reshape(32, 2))
        found = bias(torch.tensor([[0, 1, 5]]))
        self.assertEqual(found.shape, (1, 2, 3, 3))
        self.assertEqual(found[0, 1, 0].tolist(), [1, 2 * 17 + 1, 2 * 21 + 1])
        self.assertEqual(found[0, 0, 2].tolist(), [2 * 5, 2 * 4, 0])


class FetchedBases(unittest.TestCase):
    def states(self, base: str) -> np.ndarray:
        """Last hidden states [tokens, hidden] of the reference's tokens."""
        folder = BASES / base
        if not (folder / "config.json").exists():
            self.skipTest(f"{base} is not fetched")
        with tempfile.TemporaryDirectory() as temporary:
            pieces = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
            tokenizer = make_tokenizer(pieces, base != "multilingual-e5-small", Path(temporary) / "tokenizer.json")
        ids = torch.tensor([[tokenizer.token_to_id(token) for token in REFERENCE[base]["tokens"]]])
        model = load_base(folder, tokenizer.token_to_id("[SEP]"), 0.0).eval()
        with torch.no_grad():
            return model.states(ids, torch.ones_like(ids))[-1][0].numpy()

    def test_states_equal_those_of_the_original(self):
        for base in ("bge-small-en-v1.5", "mpnet-base"):
            with self.subTest(base):
                states, expected = self.states(base), REFERENCE[base]
                for state, name in ((states[0], "first_token"), (states[-1], "last_token")):
                    np.testing.assert_allclose(state[: len(expected[name])], expected[name], atol=2e-5)

    def test_embedding_is_that_of_the_original(self):
        """The original rounds activations to 8 bits, so the two agree to four digits of the cosine."""
        mean = self.states("multilingual-e5-small").mean(axis=0)
        expected = np.array(REFERENCE["multilingual-e5-small"]["embedding"])
        self.assertGreater(float(mean @ expected / np.linalg.norm(mean) / np.linalg.norm(expected)), 0.9995)


if __name__ == "__main__":
    unittest.main()
