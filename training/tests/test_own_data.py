"""Tests of fine-tuning on own data: the format, the converters, and a whole run with a tiny model."""

import contextlib
import io
import json
import tempfile
import unittest
import unittest.mock
from argparse import Namespace
from pathlib import Path

try:
    import onnx
    import torch
except ImportError as missing:
    raise unittest.SkipTest(f"needs training/requirements.txt: {missing}") from missing

from sentor_training import convert, finetune
from sentor_training.own_data import check_file, stop_at_problems


class Folder(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def file(self, name, content):
        path = self.folder / name
        path.write_text(content, encoding="utf-8")
        return path

    def lines(self, name, *records):
        return self.file(name, "".join((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records))


class Format(Folder):
    def test_targets_are_grouped_and_found(self):
        checked = check_file(self.lines(
            "a.jsonl",
            {"text": "The fish was cold", "entity": "fish", "label": "negative"},
            {"text": "The fish was cold", "entity": "service", "label": "neutral", "note": "kept out"},
            {"text": "The fish was cold", "entity": "The fish was cold", "label": "negative"},
        ), "en")
        self.assertEqual(checked.problems, [])
        (group,) = checked.groups
        self.assertEqual([(t.entity, t.start, t.end, t.label) for t in group.targets], [("fish", 4, 8, 0), ("service", -1, -1, 1)])
        self.assertEqual((group.lang, group.whole), ("en", 0))
        self.assertIn("1 texts, 2 targets (1 negative, 1 neutral, 0 positive), 1 labels of whole texts", checked.counts())

    def test_each_wrong_line_is_named(self):
        good = {"text": "Nice bar", "entity": "bar", "label": "positive"}
        checked = check_file(self.lines(
            "a.jsonl", good, "{", [1], {**good, "label": "great"}, {**good, "text": " "}, {**good, "start": 0, "end": 3},
            {**good, "start": 5, "end": 80}, {**good, "start": 5}, {**good, "label": "negative"}, good,
        ), "en")
        self.assertEqual([problem.split(":")[1] for problem in checked.problems], [str(n) for n in range(2, 10)])
        self.assertIn("labels 'bar' negative, but line 1 labels it positive", checked.problems[-1])
        self.assertEqual(len(checked.groups[0].targets), 1)
        with self.assertRaisesRegex(SystemExit, "8 lines have problems; nothing was trained"):
            stop_at_problems([checked])

    def test_an_empty_file_is_a_problem(self):
        self.assertEqual(check_file(self.file("a.jsonl", "\n"), "en").problems, ["a.jsonl: it has no line"])


class Converters(Folder):
    def convert(self, source, **changes):
        target = self.folder / "out.jsonl"
        options = {"source": source, "target": target, "columns": ["text", "entity", "label"], "text_field": "text"}
        with contextlib.redirect_stdout(io.StringIO()):
            convert.run(Namespace(**(options | changes)))
        records = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
        return [(r["text"], r["entity"], r["start"], r["end"], r["label"]) for r in records]

    def test_brackets(self):
        source = self.file("a.txt", "# a comment\nDe [accu|+] gaat mee, het [scherm|-] niet. => 0 ## prijs|+; AMBIENCE#GENERAL|0\nSaai boek. => -\n")
        text = "De accu gaat mee, het scherm niet."
        self.assertEqual(self.convert(source), [
            (text, "accu", 3, 7, "positive"), (text, "scherm", 22, 28, "negative"), (text, text, 0, len(text), "neutral"),
            (text, "prijs", -1, -1, "positive"), (text, "AMBIENCE#GENERAL", -1, -1, "neutral"),
            ("Saai boek.", "Saai boek.", 0, 10, "negative"),
        ])

    def test_tables(self):
        source = self.file("a.csv", '\ufeffreview,aspect,score\n"Good food, slow staff",food,1\n"Good food, slow staff",staff,-1\nFine,,pos\n')
        text = "Good food, slow staff"
        self.assertEqual(self.convert(source, columns=["review", "aspect", "score"]), [
            (text, "food", 5, 9, "positive"), (text, "staff", 16, 21, "negative"), ("Fine", "Fine", 0, 4, "positive"),
        ])

    def test_label_studio(self):
        span = lambda start, end, text, label: {"type": "labels", "value": {"start": start, "end": end, "text": text, "labels": [label]}}
        choice = {"type": "choices", "value": {"choices": ["Neutral"]}}
        tasks = [
            {"data": {"text": "😀 the fish"}, "annotations": [{"was_cancelled": True, "result": []}, {"result": [span(7, 11, "fish", "Positive"), choice]}]},
            {"data": {"text": "No fish"}, "annotations": [{"result": [span(3, 7, "fish", "neg")]}]},
        ]
        self.assertEqual(self.convert(self.file("a.json", json.dumps(tasks))), [
            ("😀 the fish", "fish", 6, 10, "positive"), ("😀 the fish", "😀 the fish", 0, 10, "neutral"), ("No fish", "fish", 3, 7, "negative"),
        ])

    def test_nothing_is_written_where_a_row_cannot_be_read(self):
        cases = {
            "a.csv": ("text,entity,label\nGood,,lovely\n", "a.csv:2: 'lovely' is no label"),
            "b.txt": ("The [bar|+] is nice\nThe [bar|+ is nice\n", "b.txt:2: a bracket is not closed"),
            "c.json": (json.dumps([{"data": {"text": "x"}, "annotations": []}]), "c.json:1: nobody has annotated"),
            "d.tsv": ("text\tlabel\n", "no column entity"),
        }
        for name, (content, message) in cases.items():
            with self.subTest(name), self.assertRaisesRegex(SystemExit, message):
                self.convert(self.file(name, content))
            self.assertFalse((self.folder / "out.jsonl").exists())


class Finetuning(Folder):
    def start(self):
        """A folder with a tiny untrained model."""
        from sentor_training.model import Shape, SpanClassifier
        from sentor_training.onnx_graph import GraphOptions, SpanGraph
        from sentor_training.vocabulary import make_tokenizer

        torch.manual_seed(0)
        words = "the food staff was is good bad fine cold warm slow and today".split()
        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
        folder = self.folder / "start"
        folder.mkdir()
        make_tokenizer(pieces, True, folder / "tokenizer.json")
        shape = Shape(layers=2, hidden=32, heads=2, intermediate=64, pieces=len(pieces), positions=200, epsilon=1e-12)
        model = SpanClassifier(shape, sep=3, dropout=0.0)
        for name, parameter in model.named_parameters():
            if "input_range" in name:
                parameter.data.fill_(-4.0 if name.endswith("low") else 4.0)
        weights = {name: value.numpy() for name, value in model.state_dict().items()}
        onnx.save(SpanGraph(weights, 2, 2, 1e-12, 3, 1.0, GraphOptions()).build(), str(folder / "model.onnx"))
        (folder / "aspect-words.txt").write_text("food\nstaff\n")
        manifest = {"name": "tiny", "version": "1.0.0", "languages": ["en"], "lowercase_capitals": False, "max_tokens": 200}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    def options(self, **changes):
        words = {"good": "positive", "fine": "positive", "bad": "negative", "cold": "negative", "slow": "negative", "warm": "neutral"}
        records = [
            {"text": f"the {noun} {verb} {word}{end}", "entity": noun, "label": label}
            for noun in ("food", "staff") for verb in ("was", "is") for end in ("", " today") for word, label in words.items()
        ]
        train, dev = [r for i, r in enumerate(records) if i % 5], records[::5]
        options = Namespace(
            start_from=self.start(), train=self.lines("train.jsonl", *train), dev=self.lines("dev.jsonl", *dev), out=self.folder / "out",
            epochs=30, checks_per_epoch=1, device="cpu", threads=1, seed=1,
        )
        return Namespace(**(vars(options) | changes))

    def test_a_model_learns_what_it_is_shown(self):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), unittest.mock.patch.multiple(finetune, RATE_SHARE=20.0, PATIENCE=6):
            finetune.run(self.options())
        figures = {line.split()[0]: float(line.split()[1]) for line in printed.getvalue().splitlines() if line.startswith(("before", "after "))}
        self.assertIn("gain in macro-F1: +", printed.getvalue())
        manifest = json.loads((self.folder / "out" / "manifest.json").read_text())
        self.assertEqual((manifest["name"], manifest["version"]), ("tiny", "1.0.0-own"))
        self.assertEqual(sorted(manifest["files"]), ["aspect-words.txt", "model.onnx", "tokenizer.json"])
        self.assertGreater(figures["after"], 80, printed.getvalue())
        # An exported model can be trained further.
        finetune.Start.read(self.folder / "out", threads=1)

    def test_files_with_problems_train_nothing(self):
        options = self.options()
        options.dev = self.lines("dev.jsonl", *(json.loads(line) for line in options.train.read_text().splitlines()[:1]), {"text": "x"})
        with contextlib.redirect_stdout(io.StringIO()), self.assertRaises(SystemExit) as stopped:
            finetune.run(options)
        self.assertIn("dev.jsonl:2: entity must be", str(stopped.exception))
        self.assertIn("also in train.jsonl", str(stopped.exception))
        self.assertFalse(options.out.exists())


if __name__ == "__main__":
    unittest.main()
