"""One released sentor-ml client, unchanged, against a running server.

run.py installs the client and passes what to test through the environment. What is expected of an answer is
what that release's own source makes of it.
"""

import json
import os
import socket
import unittest
from concurrent.futures import ThreadPoolExecutor

import requests
import sentor
from sentor.exceptions import AuthenticationError, RateLimitError, SentorAPIError

SETTINGS = json.loads(os.environ["SENTOR_CLIENT_TEST"])
VERSION = tuple(int(part) for part in SETTINGS["version"].split("."))
KEYS = SETTINGS["keys"]
# All releases join paths to a base that ends in /api.
BASE = SETTINGS["url"] + "/api"
TIGHT_BASE = SETTINGS["tight_url"] + "/api"

LABELS = ["negative", "neutral", "positive"]

# The example of the client's own documentation.
EXAMPLE = [
    {
        "doc": "In the competitive landscape of consumer electronics, Apple and Samsung continue to lead the market with "
        "innovative products and strong brand loyalty. While Apple focuses on a tightly integrated ecosystem with "
        "devices like the iPhone, iPad, and Mac, Samsung excels in offering a wide range of options across various "
        "price points, especially in its Galaxy smartphone lineup. Both companies push the boundaries of technology, "
        "from cutting-edge chipsets to advanced camera systems, often setting industry trends that others follow.",
        "doc_id": "0",
        "entities": ["Apple", "Samsung", "camera"],
    },
    {"doc": "Apple's new iPhone is amazing!", "doc_id": "1", "entities": ["Apple", "iPhone"]},
    {"doc": "Samsung's new phone is amazing!", "doc_id": "2", "entities": ["Samsung", "phone"]},
]

# Takes some tenths of a second, long enough to be interrupted.
LONG_DOCUMENT = {"doc_id": "a", "doc": "A great product with a bad manual. " * 300, "entities": ["product"]}


def client(key=KEYS["good"], base_url=BASE, **more):
    return sentor.SentorClient(key, base_url=base_url, **more)


def predict(client, documents, **more):
    """`analyze` became `predict` in 1.3.0."""
    method = client.predict if hasattr(client, "predict") else client.analyze
    return method(documents, **more)


class ClientTest(unittest.TestCase):
    def assert_error(self, kind, code, call, *arguments, **more):
        """The call raises just `kind`, no subclass of it, and the client could read the server's answer."""
        with self.assertRaises(SentorAPIError) as raised:
            call(*arguments, **more)
        error = raised.exception
        self.assertIs(type(error), kind)
        self.assertEqual(error.code, code)
        self.assertNotIn(error.message, ("", None, "An error occurred"))
        self.assertEqual(str(error), error.message)
        return error

    def assert_works(self):
        """The next good request is answered."""
        result = predict(client(), [{"doc_id": "a", "doc": "Great product!", "entities": ["product"]}])
        self.assertEqual(result["results"][0]["predicted_label"], "positive")


class Predicting(ClientTest):
    def test_the_documented_example(self):
        results = predict(client(), EXAMPLE)["results"]
        self.assertEqual([result["doc_id"] for result in results], ["0", "1", "2"])
        for document, result in zip(EXAMPLE, results):
            self.assert_class(result)
            self.assertEqual([detail["sentence_index"] for detail in result["details"]], list(range(len(result["details"]))))
            for detail in result["details"]:
                self.assert_class(detail)
                self.assertIn(detail["sentence_text"], document["doc"])
            entities = result["entity_sentiments"]
            self.assertEqual([entity["entity"] for entity in entities], document["entities"])
            for entity in entities:
                self.assertIn(entity["sentiment"], LABELS)
                self.assertTrue(0 <= entity["score"] <= 1)
        self.assertEqual(len(results[0]["details"]), 3)
        self.assertEqual([result["predicted_label"] for result in results], ["positive"] * 3)

    def assert_class(self, item):
        self.assertEqual(item["predicted_label"], LABELS[item["predicted_class"]])
        self.assertEqual(list(item["probabilities"]), LABELS)
        self.assertAlmostEqual(sum(item["probabilities"].values()), 1, places=4)
        self.assertEqual(max(item["probabilities"], key=item["probabilities"].get), item["predicted_label"])

    def test_documents_without_entities(self):
        documents = [{"doc_id": "a", "doc": "Great product!"}, {"doc_id": "a", "doc": "Bad product!", "entities": []}]
        results = predict(client(), documents)["results"]
        self.assertEqual([result["predicted_label"] for result in results], ["positive", "negative"])
        self.assertEqual([result["entity_sentiments"] for result in results], [[], []])

    @unittest.skipIf(VERSION < (1, 3), "the language became an argument in 1.3.0")
    def test_dutch(self):
        documents = [{"doc_id": "a", "doc": "Geweldig product!", "entities": ["product"]}]
        [result] = predict(client(), documents, language="nl")["results"]
        self.assertEqual(result["predicted_label"], "positive")
        self.assertEqual(result["language"], "nl")

    def test_a_batch_of_hundreds(self):
        documents = [{"doc_id": str(n), "doc": f"Product {n} is great.", "entities": [f"{n}"]} for n in range(300)]
        results = predict(client(), documents)["results"]
        self.assertEqual([result["doc_id"] for result in results], [str(n) for n in range(300)])

    def test_text_outside_ascii(self):
        text = "Het café was één groot feest 🎉 — aanrader!"
        [result] = predict(client(), [{"doc_id": "é", "doc": text, "entities": ["café"]}])["results"]
        self.assertEqual(result["doc_id"], "é")
        self.assertEqual("".join(detail["sentence_text"] for detail in result["details"]).replace(" ", ""), text.replace(" ", ""))


# `cluster` and `generate_topic_name` came in 1.3.1, and 1.4.0 lacks them.
HAS_TOPICS = hasattr(sentor.SentorClient, "cluster")


class Topics(ClientTest):
    # The example of the client's own documentation.
    DOCUMENTS = [
        {"doc_id": "doc_1", "text": "Apple announced new iPhone features with improved camera.", "entities": ["Apple", "iPhone"]},
        {"doc_id": "doc_2", "text": "Samsung launched Galaxy with advanced AI capabilities.", "entities": ["Samsung", "Galaxy"]},
        {"doc_id": "doc_3", "text": "Apple plans to integrate AI into iOS ecosystem.", "entities": ["Apple", "iOS"]},
        {"doc_id": "doc_4", "text": "SpaceX successfully launched Starlink satellites.", "entities": ["SpaceX", "Starlink"]},
        {"doc_id": "doc_5", "text": "Bitcoin price surged after ETF approval.", "entities": ["Bitcoin", "ETF"]},
    ]

    def test_that_the_releases_with_topics_are_tested(self):
        self.assertEqual(HAS_TOPICS, VERSION >= (1, 3, 1) and VERSION != (1, 4, 0))

    @unittest.skipUnless(HAS_TOPICS, "this release has no topics")
    def test_the_documented_example(self):
        answer = client().cluster(self.DOCUMENTS, language="en")
        self.assertEqual(answer["total_documents"], 5)
        self.assertGreaterEqual(answer["total_clusters"], 2)
        self.assertEqual(answer["outliers_count"], answer["outliers"])
        found = [document["doc_id"] for cluster in answer["clusters"] for document in cluster["documents"]]
        self.assertEqual(sorted(found), [document["doc_id"] for document in self.DOCUMENTS])
        for cluster in answer["clusters"]:
            self.assertEqual(cluster["document_count"], len(cluster["documents"]))
            self.assertIsInstance(cluster["entities"], list)
            for document in cluster["documents"]:
                self.assertTrue(0 <= document["cluster_probability"] <= 1)
            named = client().generate_topic_name(
                cluster_id=cluster["cluster_id"],
                documents=cluster["documents"],
                entities=cluster["entities"],
                top_words=cluster["top_words"],
                language="en",
            )
            self.assertEqual(named["cluster_id"], cluster["cluster_id"])
            self.assertEqual(named["document_count"], cluster["document_count"])
            self.assertIn(named["generation_method"], ("LLM", "Fallback"))
            self.assertTrue(named["topic_name"].strip())

    @unittest.skipUnless(HAS_TOPICS, "this release has no topics")
    def test_a_number_of_clusters_and_dutch(self):
        documents = [
            {"doc_id": "1", "text": text}
            for text in ["De trein was te laat.", "Weer vertraging op het spoor.", "De soep was koud.", "Heerlijk gegeten!", "Een lauwe maaltijd."]
        ]
        answer = client().cluster(documents, language="nl", n_clusters=2)
        self.assertEqual((answer["language"], answer["total_clusters"]), ("nl", 2))

    @unittest.skipUnless(HAS_TOPICS, "this release has no topics")
    def test_a_document_without_a_text(self):
        documents = [{"doc_id": "1", "text": "Good."}] * 4 + [{"doc_id": "5"}]
        self.assert_error(SentorAPIError, "422", client().cluster, documents, "en")


class Health(ClientTest):
    def test_healthy(self):
        health = client().check_health()
        self.assertEqual(health["status"], "healthy")
        self.assertIsInstance(health["version"], str)
        self.assertIn(health["llm_status"], ("available", "unavailable"))
        self.assertIn("timestamp", health)

    def test_no_key_is_fine_and_a_wrong_one_is_not(self):
        self.assertEqual(client(None).check_health()["status"], "healthy")
        # check_health has no case for 401, so it is not an AuthenticationError.
        self.assert_error(SentorAPIError, "401", client("wrong").check_health)


class Errors(ClientTest):
    DOCUMENTS = [{"doc_id": "a", "doc": "Great product!", "entities": ["product"]}]

    def tearDown(self):
        self.assert_works()

    def test_a_key_that_is_not_accepted(self):
        good = KEYS["good"]
        mistyped = good[:-1] + ("a" if good[-1] != "a" else "b")
        for key in [None, "", "wrong", "né", mistyped, good + " x", KEYS["expired"], KEYS["revoked"]]:
            with self.subTest(key=key and key[:12]):
                self.assert_error(AuthenticationError, "401", predict, client(key), self.DOCUMENTS)

    def test_what_is_wrong_with_the_key_is_said(self):
        for state in ["expired", "revoked"]:
            error = self.assert_error(AuthenticationError, "401", predict, client(KEYS[state]), self.DOCUMENTS)
            self.assertIn(state, error.message)

    def test_a_key_for_something_else(self):
        self.assert_error(SentorAPIError, "403", predict, client(KEYS["unscoped"]), self.DOCUMENTS)

    def use_up(self, key):
        """Uses the one request of a key's plan, unless another release has done so."""
        try:
            predict(client(key), self.DOCUMENTS)
        except SentorAPIError:
            pass

    def test_a_minute_that_is_used_up(self):
        self.use_up(KEYS["once a minute"])
        error = self.assert_error(RateLimitError, "429", predict, client(KEYS["once a minute"]), self.DOCUMENTS)
        self.assertIsInstance(error.retry_after, int)
        self.assertTrue(1 <= error.retry_after <= 61, error.retry_after)
        self.assertIn("rate limit", error.message)
        # Testing a key is free.
        self.assertEqual(client(KEYS["once a minute"]).check_health()["status"], "healthy")

    def test_a_day_that_is_used_up(self):
        self.use_up(KEYS["once a day"])
        error = self.assert_error(SentorAPIError, "403", predict, client(KEYS["once a day"]), self.DOCUMENTS)
        self.assertIn("quota", error.message)

    def test_documents_that_are_wrong(self):
        wrong = [
            [{"doc_id": "a"}],
            [{"doc": "Great product!"}],
            [{"doc_id": "a", "doc": 1}],
            [{"doc_id": "a", "doc": ""}],
            [{"doc_id": "a", "doc": " \n"}],
            [{"doc_id": "a", "doc": "Great product!", "entities": "product"}],
            [{"doc_id": "a", "doc": "Great product!", "entities": [""]}],
            ["Great product!"],
            {"doc_id": "a", "doc": "Great product!"},
        ]
        for documents in wrong:
            with self.subTest(documents=documents):
                self.assert_error(SentorAPIError, "422", predict, client(), documents)

    def test_nothing_to_score_does_not_reach_the_server(self):
        with self.assertRaisesRegex(ValueError, "Input is required"):
            predict(client(base_url="http://nowhere.invalid"), [])

    def test_a_wrong_parameter(self):
        # The client's suffix becomes part of a meaningless parameter.
        broken = client(base_url=f"{BASE}/predicts?offsets=lines&rest=")
        self.assert_error(SentorAPIError, "400", predict, broken, self.DOCUMENTS)

    def test_a_wrong_path_and_a_wrong_method(self):
        self.assert_error(SentorAPIError, "404", predict, client(base_url=f"{BASE}/nowhere"), self.DOCUMENTS)
        self.assert_error(SentorAPIError, "404", client(base_url=f"{BASE}/nowhere").check_health)
        self.assert_error(SentorAPIError, "405", client(base_url=f"{BASE}/predicts?rest=").check_health)

    def test_a_body_over_the_limit(self):
        # Twice and five hundred times the limit, so that the server also answers while the client is still sending.
        for size in [2 * SETTINGS["tight_body_bytes"], 500 * SETTINGS["tight_body_bytes"]]:
            with self.subTest(size=size):
                document = {"doc_id": "a", "doc": "x" * size, "entities": []}
                self.assert_error(SentorAPIError, "413", predict, client(base_url=TIGHT_BASE), [document])

    def test_a_full_queue(self):
        def code(_):
            """The error of one of several concurrent clients; `None` if it succeeds."""
            try:
                predict(client(base_url=TIGHT_BASE, timeout=120), [LONG_DOCUMENT])
            except SentorAPIError as error:
                self.assertIs(type(error), SentorAPIError)
                return error.code
            return None

        # The first one is admitted; another one arrives while it runs.
        with ThreadPoolExecutor(4) as pool:
            codes = set(pool.map(code, range(12)))
        self.assertEqual(codes, {None, "503"})

    def test_no_server(self):
        with socket.socket() as taken:
            # Bound and not listening: nothing answers, and no other process can take the port.
            taken.bind(("127.0.0.1", 0))
            nowhere = client(base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/api")
            with self.assertRaises(requests.exceptions.ConnectionError):
                predict(nowhere, self.DOCUMENTS)
            with self.assertRaises(requests.exceptions.ConnectionError):
                nowhere.check_health()

    def test_a_client_that_does_not_wait(self):
        with self.assertRaises(requests.exceptions.Timeout):
            predict(client(timeout=0.02), [LONG_DOCUMENT])


class Exceptions(unittest.TestCase):
    def test_the_kinds_are_those_that_the_tests_expect(self):
        self.assertTrue(issubclass(AuthenticationError, SentorAPIError))
        self.assertTrue(issubclass(RateLimitError, SentorAPIError))


if __name__ == "__main__":
    unittest.main()
