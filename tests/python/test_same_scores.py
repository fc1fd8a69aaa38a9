"""The wheel, the program and the server give the same scores, bit for bit."""

import asyncio
import json
import os
import subprocess
import tempfile
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import sentor
from server import Server, create_key

PROGRAM = os.environ["PROGRAM_UNDER_TEST"]
SUBJECTS = ["camera", "battery", "screen", "De bezorging", "Apple", "service", "prijs"]
VERDICTS = ["is superb", "is a joke", "was fine I guess", "is geweldig", "viel erg tegen", "could have been a lot better, honestly"]


def rows(count):
    """Texts of many lengths in both languages, with what they are about."""
    for number in range(count):
        subjects = [SUBJECTS[(number + step) % len(SUBJECTS)] for step in range(1 + number % 4)]
        sentences = [f"{subject} {VERDICTS[(number * 5 + step) % len(VERDICTS)]}." for step, subject in enumerate(subjects)]
        yield " ".join([f"Order {number}."] + sentences * (1 + number % 3)), subjects


class SameScoresTest(unittest.TestCase):
    COUNT = 400

    @classmethod
    def setUpClass(cls):
        cls.texts, cls.entities = map(list, zip(*rows(cls.COUNT)))
        with sentor.Scorer() as scorer:
            cls.here = [result.to_dict() for result in scorer.score(cls.texts, cls.entities)]

    def test_sentor_predict(self):
        lines = [json.dumps({"doc": text, "entities": names}) for text, names in zip(self.texts, self.entities)]
        command = [PROGRAM, "predict", "-", "--language", "auto", "--format", "jsonl"]
        done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True)
        printed = [json.loads(line) for line in done.stdout.splitlines()]
        for result in printed:
            del result["doc_id"]
        self.assertEqual(printed, self.here)

    def test_the_server(self):
        with tempfile.TemporaryDirectory() as data:
            key = create_key(PROGRAM, data)["key"]
            with Server(PROGRAM, data) as server:
                with sentor.Client(server.url, key) as client:
                    there = client.score(self.texts, self.entities)
                    self.assertEqual([result.to_dict() for result in there], self.here)
                    with self.assertRaisesRegex(sentor.SentorError, r"texts\[1\]: the text is empty"):
                        client.score(["Great.", " "])
                    self.assertEqual([bool(result) for result in client.score(["Great.", " "], errors="keep")], [True, False])
                    self.assertEqual(client.score("Great phone.", ["phone"]).entities[0].sentiment, "positive")

                async def ask():
                    async with sentor.AsyncClient(f"{server.url}/api/", key) as client:
                        return await client.score(self.texts, self.entities), await client.score("Great phone.")

                several, one = asyncio.run(ask())
                self.assertEqual([result.to_dict() for result in several], self.here)
                self.assertEqual(one.sentiment, "positive")
                with sentor.Client(server.url, "wrong") as client, self.assertRaises(sentor.ServerError) as raised:
                    client.score("Great.")
                self.assertEqual((raised.exception.status, raised.exception.code), (401, "invalid_key"))
                self.assertTrue(raised.exception.request_id)


class BusyServer(BaseHTTPRequestHandler):
    """Answers as `answers` says, one after the other: a status and a Retry-After."""

    answers: list = []
    requests = 0

    def do_POST(self):
        type(self).requests += 1
        self.rfile.read(int(self.headers["content-length"]))
        status, retry_after = self.answers.pop(0)
        body = b'{"results": []}' if status == 200 else b'{"error": {"code": "overloaded", "message": "the queue is full"}}'
        self.send_response(status)
        if retry_after is not None:
            self.send_header("retry-after", retry_after)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class RetryTest(unittest.TestCase):
    """The pauses are as short as a server may ask for, so that nothing waits."""

    def ask(self, answers, **options):
        BusyServer.answers, BusyServer.requests = list(answers), 0
        with HTTPServer(("127.0.0.1", 0), BusyServer) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            with sentor.Client(f"http://127.0.0.1:{server.server_port}", "key", **options) as client:
                try:
                    return client.score(["a"])
                finally:
                    server.shutdown()

    def test_a_busy_server_is_asked_again(self):
        self.assertEqual(self.ask([(503, "0"), (429, "0"), (503, "Mon, 01 Jan 2024 00:00:00 GMT"), (200, None)]), [])
        self.assertEqual(BusyServer.requests, 4)

    def test_a_server_that_stays_busy_is_given_up(self):
        with self.assertRaisesRegex(sentor.ServerError, "the queue is full") as raised:
            self.ask([(503, "0")] * 3, tries=3)
        self.assertEqual((raised.exception.status, BusyServer.requests), (503, 3))

    def test_a_long_wait_and_other_errors_are_raised_at_once(self):
        for answer in [(503, "3600"), (403, None), (500, "0")]:
            with self.assertRaises(sentor.ServerError):
                self.ask([answer])
            self.assertEqual(BusyServer.requests, 1)

    def test_an_absent_server_is_named(self):
        with sentor.Client("http://127.0.0.1:9", tries=1) as client, self.assertRaisesRegex(sentor.SentorError, "cannot be reached"):
            client.score("a")


if __name__ == "__main__":
    unittest.main()
