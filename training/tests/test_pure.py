"""Tests of the parts where off-by-one errors are likely; no weights needed.

Run: python -m unittest discover -s training/tests -t training

`make test` has numpy and tokenizers for them; those that need torch or onnx too are skipped where these are missing.
"""

import tempfile
import unittest
from importlib.util import find_spec
from pathlib import Path

try:
    import numpy as np
    import tokenizers  # noqa: F401
except ImportError as missing:
    raise unittest.SkipTest(f"needs training/requirements.txt: {missing}") from missing

from sentor_training.augment import apply_edits
from sentor_training.names import is_name
from sentor_training.rows import hide, layout, quieten, segments_and_positions, tokens_of_span

NEEDS_TORCH = unittest.skipUnless(find_spec("torch") and find_spec("onnx"), "needs training/requirements.txt")


class Spans(unittest.TestCase):
    def test_span_covers_every_token_it_touches(self):
        offsets = [(0, 3), (4, 7), (7, 9), (10, 15)]
        self.assertEqual(tokens_of_span(offsets, 4, 9), (1, 2))
        self.assertEqual(tokens_of_span(offsets, 5, 8), (1, 2))
        self.assertEqual(tokens_of_span(offsets, 0, 15), (0, 3))
        self.assertIsNone(tokens_of_span(offsets, 3, 4))

    def test_layout_appends_entities_and_skips_empty_ones(self):
        ids, spans = layout([7, 8], [[9], [], [10, 11]], cls=1, sep=2)
        self.assertEqual(ids, [1, 7, 8, 2, 9, 2, 10, 11, 2])
        self.assertEqual(spans, [(4, 4), None, (6, 7)])

    def test_capitals_are_read_in_small_letters(self):
        self.assertEqual(quieten("WAT EEN ÉCHTE TOPZAAK!"), "wat een échte topzaak!")
        self.assertEqual(quieten("iPhone VAN KPN ZEER GOED"), "iphone van kpn zeer goed")
        for text in ("Wat een TOPZAAK", "KLM, ING", "De BBC en CNN melden", "今天", ""):
            self.assertEqual(quieten(text), text)

    def test_a_hidden_place_is_one_token(self):
        offsets = [(0, 5), (5, 6), (6, 7), (8, 12), (12, 14), (15, 20)]
        ids = [10, 11, 12, 13, 14, 15]
        self.assertEqual(hide(ids, offsets, [], 1), (ids, offsets))
        self.assertEqual(hide(ids, offsets, [(9, 13), (0, 5)], 1), ([1, 11, 12, 1, 15], [(0, 5), (5, 6), (6, 7), (8, 14), (15, 20)]))
        self.assertEqual(hide(ids, offsets, [(0, 12), (8, 14), (9, 10)], 1), ([1, 15], [(0, 14), (15, 20)]))
        self.assertEqual(hide(ids, offsets, [(8, 12), (12, 14), (8, 12)], 1)[0], [10, 11, 12, 1, 1, 15])
        self.assertEqual(hide(ids, offsets, [(14, 15)], 1)[0], ids)

    def test_every_appended_entity_starts_at_the_same_position(self):
        segments, positions = segments_and_positions([1, 7, 8, 2, 9, 2, 10, 11, 2], sep=2)
        self.assertEqual(segments, [0, 0, 0, 0, 1, 1, 2, 2, 2])
        self.assertEqual(positions, [0, 1, 2, 3, 4, 5, 4, 5, 6])

    @NEEDS_TORCH
    def test_model_computes_the_same_layout(self):
        import torch

        from sentor_training.model import layout_of

        rows = [[1, 7, 8, 2, 9, 2, 10, 11, 2], [1, 7, 2, 0, 0, 0, 0, 0, 0]]
        ids = torch.tensor(rows)
        attention = (ids != 0).long()
        positions, allowed = layout_of(ids, attention, 2)
        for row, length in ((0, 9), (1, 3)):
            segments, expected = segments_and_positions(rows[row][:length], sep=2)
            self.assertEqual(positions[row, :length].tolist(), expected)
            for query in range(length):
                for key in range(9):
                    sees = key < length and segments[key] in (0, segments[query])
                    self.assertEqual(bool(allowed[row, query, key]), sees)


class Names(unittest.TestCase):
    def test_the_cases_that_the_server_reads_too(self):
        aspect_words = frozenset("battery screen service staff food life bediening scherm".split())
        cases = Path(__file__).parents[2] / "crates" / "text" / "tests" / "data" / "names.txt"
        lines = [line for line in cases.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        self.assertGreater(len(lines), 30)
        for line in lines:
            kind, entity = line.split(maxsplit=1)
            self.assertEqual("name" if is_name(entity, aspect_words) else "aspect", kind, entity)


class Edits(unittest.TestCase):
    def test_spans_follow_the_text(self):
        text, spans = apply_edits("Apple beats Samsung, says Apple.", [(0, 5), (12, 19), (26, 31)], [(0, 5, "Zo"), (26, 31, "Zo")])
        self.assertEqual(text, "Zo beats Samsung, says Zo.")
        self.assertEqual([text[s:e] for s, e in spans], ["Zo", "Samsung", "Zo"])

    def test_edit_inside_a_span_stretches_it(self):
        text, spans = apply_edits("the big camera works", [(4, 14)], [(4, 7, "huge")])
        self.assertEqual([text[s:e] for s, e in spans], ["huge camera"])


@NEEDS_TORCH
class Quantiser(unittest.TestCase):
    def test_weights_stay_within_seven_bits_and_half_a_step(self):
        from sentor_training.quantise import quantise_weight

        weight = np.random.default_rng(1).normal(size=(8, 64)).astype(np.float32)
        levels, scale = quantise_weight(weight)
        self.assertLessEqual(np.abs(levels).max(), 64)
        self.assertTrue((np.abs(levels * scale[:, None] - weight) <= scale[:, None] * 0.5001).all())
        self.assertLess(255 * 64 * 2, 32768)

    def test_zero_is_exact(self):
        from sentor_training.quantise import activation_parameters

        for low, high in ((-1.3, 4.2), (0.5, 2.0), (-3.0, -1.0)):
            scale, zero_point = activation_parameters(low, high)
            self.assertTrue(0 <= zero_point <= 255 and scale > 0)

    def test_fake_activation_matches_its_definition(self):
        import torch

        from sentor_training.quantise import ActivationRange, activation_parameters

        ranges = ActivationRange()
        ranges.low.data.fill_(-1.0)
        ranges.high.data.fill_(3.0)
        ranges.mode = "on"
        x = torch.tensor([-2.0, -0.5, 0.0, 1.234, 5.0], requires_grad=True)
        y = ranges(x)
        scale, zero_point = activation_parameters(-1.0, 3.0)
        expected = (np.clip(np.rint(x.detach().numpy() / scale) + zero_point, 0, 255) - zero_point) * scale
        np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-5)
        y.sum().backward()
        self.assertEqual(x.grad.tolist(), [0.0, 1.0, 1.0, 1.0, 0.0])
        self.assertGreater(float(ranges.high.grad), 0)


class Comparison(unittest.TestCase):
    def counts(self, predicted, gold=(0, 1, 2, 2), texts=(0, 0, 1, 2)):
        from sentor_training.metrics import confusion_by_text

        return confusion_by_text(np.array(gold), np.array(predicted), np.array(texts))

    def test_counts_are_kept_by_text(self):
        counts = self.counts([0, 1, 2, 0])
        self.assertEqual(counts.shape, (3, 3, 3))
        self.assertEqual(counts.sum(axis=(1, 2)).tolist(), [2, 1, 1])
        self.assertEqual(counts[2, 2].tolist(), [1, 0, 0])

    def test_a_better_model_gains_and_the_same_one_does_not(self):
        from sentor_training.metrics import gain

        right, wrong = self.counts([0, 1, 2, 2]), self.counts([0, 1, 2, 0])
        self.assertEqual(gain([(right, right)]), (0.0, (0.0, 0.0)))
        measured, (low, high) = gain([(right, wrong)])
        self.assertAlmostEqual(measured, 1 - (2 / 3 + 1 + 2 / 3) / 3)
        self.assertTrue(0 <= low <= measured <= high)
        self.assertAlmostEqual(gain([(right, wrong), (right, right)])[0], measured / 2)

    def test_models_that_scored_other_targets_are_not_compared(self):
        from sentor_training.metrics import gain

        for other in (self.counts([0, 1, 2, 2], gold=(0, 1, 2, 1)), self.counts([0, 1, 2], gold=(0, 1, 2), texts=(0, 0, 1))):
            with self.assertRaises(ValueError):
                gain([(self.counts([0, 1, 2, 2]), other)])


class Labels(unittest.TestCase):
    def test_a_target_gets_the_mean_of_its_teachers(self):
        import gzip
        import json

        from sentor_training.data import Group, Target
        from sentor_training.labels import add_labels, key_of

        def group(text, targets):
            return Group(text, "en", [Target("x", -1, -1, 1, "set", "news") for _ in range(targets)])

        groups = [group("one", 1), group("two", 2), group("three", 1)]
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for teacher, parts in (("a", [[100, 300]]), ("b", [[300, 500]])):
                paths.append(Path(folder) / f"{teacher}.jsonl.gz")
                lines = [{"text": key_of(groups[0]), "parts": parts}, {"text": key_of(groups[1]), "parts": parts}]
                with gzip.open(paths[-1], "wt") as out:
                    out.write("".join(json.dumps(line) + "\n" for line in lines))
            self.assertEqual(add_labels(groups, paths), 1)
        np.testing.assert_allclose(groups[0].targets[0].soft, [0.2, 0.4, 0.4])
        # A text with another number of targets is not changed.
        self.assertIsNone(groups[1].targets[0].soft)
        self.assertIsNone(groups[2].targets[0].soft)


    def test_a_teacher_judges_the_text_and_other_words_too(self):
        import gzip
        import json

        from sentor_training.data import Group, Target
        from sentor_training.labels import add_labels, dense_words, key_of

        text = "Our Waiter forgot the soup twice but smiled."
        group = Group(text, "en", [Target("soup", 22, 26, 0, "set", "reviews")])
        words = dense_words(group)
        self.assertEqual([text[start:end] for start, end in words], ["forgot", "twice", "smiled"])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.jsonl.gz"
            line = {"text": key_of(group), "parts": [[900, 0]], "dense": [[500, 100], [800, 0], [100, 100], [0, 700]]}
            with gzip.open(path, "wt") as out:
                out.write(json.dumps(line))
            self.assertEqual(add_labels([group], [path]), 1)
        np.testing.assert_allclose(group.whole_soft, [0.5, 0.4, 0.1])
        self.assertEqual([(t.entity, t.label, t.is_dense) for t in group.targets], [("soup", 0, False), ("forgot", 0, True), ("twice", 1, True), ("smiled", 2, True)])


@NEEDS_TORCH
class Sampling(unittest.TestCase):
    """The targets of a training row, without a tokenizer of words."""

    def sampler(self, groups, **changes):
        from dataclasses import replace

        from sentor_training.batches import Sampler
        from sentor_training.recipes import ENGLISH
        from sentor_training.vocabulary import make_tokenizer

        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *{w for g in groups for w in g.text.lower().replace(".", " .").split()}]
        with tempfile.TemporaryDirectory() as folder:
            tokenizer = make_tokenizer(pieces, True, Path(folder) / "tokenizer.json")
        recipe = replace(ENGLISH, copies={"set": 1.0}, **changes)
        return Sampler(groups, recipe, tokenizer, frozenset({"soup"}), seed=1)

    def labelled(self, group, **changes):
        import random

        return self.sampler([group], **changes)._labelled([group], random.Random(3))

    def group(self):
        from sentor_training.data import Group, Target

        targets = [Target("Waiter", 4, 10, 2, "set", "x"), Target("soup", 22, 26, 0, "set", "x")]
        return Group("Our Waiter forgot the soup twice but smiled.", "en", targets, whole=1)

    def test_a_text_with_a_label_of_its_own_learns_that(self):
        row = self.labelled(self.group(), label_smoothing=0.0)
        self.assertEqual(row.spans[0], (0, len(row.text)))
        self.assertEqual(row.wanted, [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
        self.assertEqual(row.weights, [0.8, 1.0, 1.0])

    def test_teachers_count_by_their_share(self):
        group = self.group()
        group.targets[1].soft = [0.5, 0.5, 0.0]
        group.whole, group.whole_soft = None, [0.2, 0.2, 0.6]
        row = self.labelled(group, label_smoothing=0.0, soft_share=0.4)
        np.testing.assert_allclose(row.wanted, [[0.2, 0.2, 0.6], [0, 0, 1], [0.8, 0.2, 0]])

    def test_names_are_hidden_by_their_share(self):
        self.assertEqual(self.labelled(self.group(), hidden_share=1.0).hidden, [(4, 10)])
        sampler, group = self.sampler([self.group()], hidden_share=0.0), self.group()
        import random

        hidden = [sampler._hidden_targets(group, random.Random(seed)) for seed in range(200)]
        self.assertTrue(60 < sum("Waiter" in some for some in hidden) < 140)

    def test_twins_show_the_names_and_learn_the_same(self):
        import random

        sampler = self.sampler([self.group()], hidden_share=1.0, twin_share=1.0, batch_tokens=60, lowercase=True)
        row = sampler._labelled([self.group()], random.Random(3))
        twin = sampler._twin(row, random.Random(3))
        self.assertEqual(len(twin[0].spans), len(sampler._encode(row)[0].spans))
        mask = sampler.special.mask
        self.assertIn(mask, sampler._encode(row)[0].ids)
        self.assertNotIn(mask, twin[0].ids)
        (batch,) = sampler._batches([0])
        ours, theirs = batch.twins[:, 0], batch.twins[:, 1]
        self.assertEqual(len(ours), 3)
        self.assertEqual(batch.wanted[ours].tolist(), batch.wanted[theirs].tolist())
        self.assertEqual((batch.span_row[ours] + 1).tolist(), batch.span_row[theirs].tolist())

    def test_a_row_without_names_has_a_twin_with_another_end_alone(self):
        import random

        sampler, group = self.sampler([self.group()]), self.group()
        row = sampler._labelled([group], random.Random(3))
        row.hidden = []
        ends = {len(twin[0].ids) for seed in range(40) if (twin := sampler._twin(row, random.Random(seed)))}
        row.text = row.text.rstrip(".!")
        self.assertIsNone(sampler._twin(row, random.Random(1)))
        self.assertTrue(ends)

    def test_a_resumed_sampler_goes_on_with_the_next_batch(self):
        from sentor_training.data import Group, Target

        groups = [Group(f"a{i} word", "en", [Target(f"a{i}", 0, len(f"a{i}"), i % 3, "set", "x")]) for i in range(40)]
        whole, begun = self.sampler(groups, batch_tokens=24), self.sampler(groups, batch_tokens=24)
        batches = iter(whole)
        expected = [next(batches).ids.tolist() for _ in range(12)]
        first = iter(begun)
        for _ in range(5):
            next(first)
        resumed = self.sampler(groups, batch_tokens=24)
        resumed.position = dict(begun.position)
        rest = iter(resumed)
        self.assertEqual([next(rest).ids.tolist() for _ in range(7)], expected[5:])


@NEEDS_TORCH
class Graph(unittest.TestCase):
    def test_weights_come_back_from_the_exported_graph(self):
        import torch

        from sentor_training.model import Shape, SpanClassifier
        from sentor_training.onnx_graph import GraphOptions, SpanGraph, read_weights

        torch.manual_seed(0)
        shape = Shape(layers=2, hidden=16, heads=2, intermediate=32, pieces=40, positions=24, epsilon=1e-12)
        model = SpanClassifier(shape, sep=2)
        for name, parameter in model.named_parameters():
            if "input_range" in name:
                parameter.data.fill_(-1.5 if name.endswith("low") else 2.5)
        weights = {name: value.numpy() for name, value in model.state_dict().items()}
        read = read_weights(SpanGraph(weights, 2, 2, 1e-12, 2, 1.0, GraphOptions()).build())
        self.assertEqual(read.keys(), weights.keys())
        for name, value in weights.items():
            step = np.abs(value).max() / 64 if value.ndim == 2 else 0.02
            np.testing.assert_allclose(read[name], value, atol=step, err_msg=name)


    def test_a_graph_that_must_be_rewritten_is_found(self):
        from onnx import TensorProto, helper

        from sentor_training.export import graph_problems

        def graph(mask, op):
            nodes = [helper.make_node("Where", ["seen", "zero", "mask"], ["bias"]), helper.make_node(op, ["bias"], ["y"], name="n")]
            scalars = [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in (("zero", 0.0), ("mask", mask))]
            return helper.make_model(helper.make_graph(nodes, "g", [], [], scalars))

        self.assertEqual(graph_problems(graph(-50.0, "Softmax")), [])
        self.assertEqual(len(graph_problems(graph(-1e4, "SkipLayerNormalization"))), 2)


@NEEDS_TORCH
class Manifest(unittest.TestCase):
    def test_the_command_has_what_was_chosen(self):
        from sentor_training.export import command_of

        self.assertEqual(command_of("m", {}), "train m")
        self.assertEqual(command_of("m", {"labels": ["a.gz", "b.gz"], "start_from": "models/m"}), "train m --start-from models/m --labels labels/a.gz labels/b.gz")
        self.assertEqual(command_of("sentor-nl", {"languages": ["nl"]}), "train sentor-nl --languages nl")
        self.assertEqual(command_of("sentor-nl", {"languages": ["nl", "en"]}), "train sentor-nl")
        self.assertEqual(command_of("m", {"steps": 40}), "train m --steps 40")


if __name__ == "__main__":
    unittest.main()
