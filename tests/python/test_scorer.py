"""`Scorer` on texts: what it returns, what it rejects, and what it does to the process that it runs in."""

import doctest
import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

import sentor
import sentor.plot

CAMERA = "The camera is superb, but the battery is a joke."
SCORER = sentor.Scorer(threads=1)


def load_tests(loader, tests, pattern):
    """The examples of the docstrings are tests too."""
    from sentor import _html, _results, _runtime, _scorer

    for module in (sentor, _scorer, _results, _runtime, _html, sentor.plot):
        tests.addTests(doctest.DocTestSuite(module, extraglobs={"sentor": sentor}))
    return tests


class ResultTest(unittest.TestCase):
    def test_a_result_has_the_text_its_sentences_and_its_entities(self):
        result = SCORER.score("😀 I love the camera. The battery is a joke.", entities=["camera", "battery", "lens"])
        self.assertEqual([entity.sentiment for entity in result.entities[:2]], ["positive", "negative"])
        self.assertEqual([entity.match for entity in result.entities], ["explicit", "explicit", "implicit"])
        self.assertEqual(len(result.sentences), 2)
        for place in [*result.sentences, *result.entities[0].mentions, *result.entities[1].mentions]:
            self.assertEqual(result.text[place.start : place.end], place.text)
        for part in [result, *result.sentences, *result.entities]:
            shares = part.probabilities
            self.assertAlmostEqual(shares.negative + shares.neutral + shares.positive, 1, places=5)
        self.assertEqual(result.language, "en")
        self.assertIs(result.entity("battery"), result.entities[1])
        with self.assertRaises(KeyError):
            result.entity("zoom")
        wire = result.to_dict()
        self.assertEqual(wire["predicted_label"], result.sentiment)
        self.assertEqual(json.loads(json.dumps(wire)), wire)
        self.assertIn("sentiment='", repr(result))
        self.assertEqual(pickle.loads(pickle.dumps(result)), result)

    def test_the_text_of_a_page_is_escaped_and_its_mentions_are_marked(self):
        result = SCORER.score("<b>Great</b> camera & <script>alert(1)</script> battery", entities=["camera", "battery"])
        page = result.show()._repr_html_()
        self.assertNotIn("<script>", page)
        self.assertEqual(page.count("<mark"), 2)
        self.assertIn("&lt;b&gt;Great", page)
        self.assertEqual(page, str(result.show()))

    def test_entities_are_drawn(self):
        results = SCORER.score(["Great phone.", "Poor phone, great lens."], entities=["phone", "lens"])
        axes = sentor.plot.entities(results)
        self.assertEqual([label.get_text() for label in axes.get_yticklabels()], ["phone (2)", "lens (2)"])
        with tempfile.TemporaryDirectory() as folder:
            axes.figure.savefig(Path(folder) / "chart.png")
        with self.assertRaises(ValueError):
            sentor.plot.entities(SCORER.score(["Great phone."]))


class InputTest(unittest.TestCase):
    def test_a_generator_is_read_as_its_results_are(self):
        read = 0

        def texts():
            nonlocal read
            for number in range(5000):
                read += 1
                yield f"Phone {number} is great."

        results = SCORER.score(texts(), entities=["phone"])
        self.assertEqual(next(results).text, "Phone 0 is great.")
        self.assertLess(read, 1000)
        self.assertEqual(next(results).text, "Phone 1 is great.")
        results.close()

    def test_results_keep_the_order_of_texts_of_all_lengths(self):
        texts = [f"Number {number}. " + "It is a good phone. " * (number * 7 % 40) for number in range(150)]
        self.assertEqual([result.text for result in SCORER.score(texts)], texts)
        self.assertEqual(SCORER.score([]), [])

    def test_entities_are_those_of_all_texts_or_of_each(self):
        of_all = SCORER.score(["Great phone.", "Poor lens."], entities=["phone", "lens"])
        self.assertEqual([len(result.entities) for result in of_all], [2, 2])
        of_each = SCORER.score(["Great phone.", "Poor lens.", "So so."], entities=[["phone"], ["lens", "phone"], None])
        self.assertEqual([len(result.entities) for result in of_each], [1, 2, 0])

    def test_wrong_input_is_named_with_its_place(self):
        for problem, kind, arguments in [
            ("texts[1] is a int", TypeError, (["a", 1],)),
            ("entities is the text 'phone'", TypeError, ("a", "phone")),
            ("entities[0] is blank", ValueError, ("a", [" "])),
            ("entities[1][0] is a int", TypeError, (["a", "b"], [["x"], [1]])),
            ("entities has 1 lists", ValueError, (["a", "b"], [["x"]])),
            ("entities has more lists", ValueError, (["a"], [["x"], ["y"]])),
            ("the languages are en, nl and auto", ValueError, ("a", None, "de")),
            ("texts is a bytes", TypeError, (b"a",)),
            ("texts[2]: the text is empty", sentor.SentorError, (["a", "b", None],)),
        ]:
            with self.subTest(problem), self.assertRaises(kind) as raised:
                SCORER.score(*arguments)
            self.assertIn(problem, str(raised.exception))
        with self.assertRaises(ValueError):
            sentor.Scorer(threads=0)

    def test_a_text_without_a_result_can_be_kept(self):
        results = SCORER.score(["Great.", "  ", float("nan")], errors="keep")
        self.assertEqual([bool(result) for result in results], [True, False, False])
        self.assertIn("empty", results[1].reason)

    def test_models_that_are_not_there_are_named(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaisesRegex(sentor.SentorError, "there is no model in"):
                sentor.Scorer(folder).score("a")
        with self.assertRaisesRegex(ValueError, "no language 'de'"):
            sentor.Scorer({"de": "x"}).score("a")
        english = Path(os.environ["SENTOR_MODELS_DIR"]) / "sentor-en"
        scorer = sentor.Scorer(english, threads=1)
        self.assertEqual(scorer.score("Great phone.", language="en"), SCORER.score("Great phone.", language="en"))
        with self.assertRaisesRegex(sentor.SentorError, "no model is loaded for language nl"):
            scorer.score("Goede telefoon.", language="nl")
        scorer.close()


def child_scores(texts):
    return [result.to_dict() for result in SCORER.score(texts, entities=["phone"])]


def run(code):
    """What a fresh Python prints that runs the code."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise AssertionError(f"ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


class HostTest(unittest.TestCase):
    TEXTS = ["Great phone.", "Poor phone."]

    def test_a_scorer_works_in_a_forked_process(self):
        here = child_scores(self.TEXTS)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for there in pool.map(child_scores, [self.TEXTS] * 4):
                self.assertEqual(there, here)
        self.assertEqual(child_scores(self.TEXTS), here)

    def test_a_scorer_can_be_pickled(self):
        copy = pickle.loads(pickle.dumps(SCORER))
        self.assertEqual(repr(copy), repr(SCORER))

    def test_threads_share_a_scorer(self):
        here = child_scores(self.TEXTS)
        found = []
        threads = [threading.Thread(target=lambda: found.append(child_scores(self.TEXTS))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(found, [here] * 8)

    def test_a_closed_scorer_loads_its_models_again(self):
        with sentor.Scorer(threads=1) as scorer:
            before = scorer.score(CAMERA)
        self.assertEqual(scorer.score(CAMERA), before)
        scorer.close()

    def test_importing_loads_nothing(self):
        printed = run(
            "import sys, threading, sentor\n"
            "scorer = sentor.Scorer()\n"
            "heavy = {'numpy', 'pyarrow', 'pandas', 'httpx', 'matplotlib', 'onnxruntime', 'sentor_models'}\n"
            "print(sorted(heavy & set(sys.modules)), threading.active_count(), open('/proc/self/maps').read().count('libonnxruntime'))"
        )
        self.assertEqual(printed.strip(), "[] 1 0")

    @unittest.skipUnless(sys.platform == "linux", "reads /proc")
    def test_the_host_is_left_as_it_is(self):
        printed = run(
            "import logging, os, pathlib, signal, sentor\n"
            "os.environ['HOME'] = os.getcwd()\n"
            "handlers = lambda: [signal.getsignal(number) for number in signal.valid_signals()]\n"
            # Of the signals that programs use: the C library keeps two of its own behind them for threads.
            "lines = lambda: [line.split() for line in open('/proc/self/status') if line.startswith(('SigCgt', 'SigIgn'))]\n"
            "caught = lambda: [(name, int(mask, 16) & (1 << 31) - 1) for name, mask in lines()]\n"
            "names = lambda: sorted({(thread / 'comm').read_text().strip().rstrip('0123456789') for thread in pathlib.Path('/proc/self/task').iterdir()})\n"
            "before = (handlers(), caught(), dict(os.environ), logging.getLogger().handlers[:])\n"
            "scorer = sentor.Scorer(threads=1)\n"
            "scorer.score(['Great phone. ' * 100] * 200)\n"
            "assert (handlers(), caught(), dict(os.environ), logging.getLogger().handlers[:]) == before\n"
            "print(names())"
        )
        names = printed.strip()
        self.assertIn("sentor-plan-", names)
        self.assertIn("sentor-worker-", names)
        # Of rayon, whose global pool would be there, and of ONNX Runtime, nothing.
        self.assertEqual(names.count(","), 2, names)

    def test_onnxruntime_can_be_used_beside_it(self):
        model = Path(os.environ["SENTOR_MODELS_DIR"]) / "sentor-en/model.onnx"
        printed = run(
            "import onnxruntime, sentor\n"
            f"session = onnxruntime.InferenceSession({str(model)!r}, providers=['CPUExecutionProvider'])\n"
            "print(sentor.Scorer(threads=1).score('Great phone.').sentiment, len(session.get_inputs()))"
        )
        self.assertTrue(printed.endswith("positive 5\n"), printed)

    def test_control_c_ends_a_call(self):
        code = "import sentor\nscorer = sentor.Scorer(threads=1)\nscorer.score('a')\nprint('ready', flush=True)\n"
        code += "scorer.score(['The phone is good and bad. ' * 300] * 100000)"
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "ready\n")
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
        self.assertIn("KeyboardInterrupt", errors)
        self.assertEqual(process.returncode, -signal.SIGINT)


if __name__ == "__main__":
    unittest.main()
