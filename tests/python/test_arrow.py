"""`Scorer.score_arrow`: tables of several libraries in and out."""

import struct
import unittest

import pandas
import polars
import pyarrow as pa

import sentor

SCORER = sentor.Scorer(threads=1)
TEXTS = ["The camera is superb, but the battery is a joke.", "Wat een geweldige telefoon!", None, "  ", "Just a phone 📱."]
ENTITIES = [["camera", "battery"], ["telefoon"], ["phone"], None, ["phone"]]


def narrow(value):
    """A number as float32 has it."""
    return struct.unpack("f", struct.pack("f", value))[0]


class ArrowTest(unittest.TestCase):
    def table(self):
        return pa.table({"id": range(5), "text": TEXTS, "entities": pa.array(ENTITIES, pa.list_(pa.string()))})

    def test_rows_have_the_scores_of_the_texts(self):
        scored = pa.table(SCORER.score_arrow(self.table())).to_pylist()
        results = SCORER.score(TEXTS, entities=ENTITIES, errors="keep")
        self.assertEqual([row["id"] for row in scored], list(range(5)))
        for row, result in zip(scored, results):
            if not result:
                self.assertEqual((row["error"], row["sentiment"], row["entity_sentiments"]), (result.reason, None, None))
                continue
            self.assertEqual((row["sentiment"], row["language"], row["error"]), (result.sentiment, result.language, None))
            self.assertEqual(row["positive"], narrow(result.probabilities.positive))
            self.assertEqual(len(row["entity_sentiments"]), len(result.entities))
            for cell, entity in zip(row["entity_sentiments"], result.entities):
                self.assertEqual((cell["entity"], cell["sentiment"], cell["match"]), (entity.entity, entity.sentiment, entity.match))
                self.assertEqual(cell["score"], narrow(entity.score))
                self.assertEqual(cell["polarity"], narrow(entity.polarity))
                for place, mention in zip(cell["mentions"], entity.mentions, strict=True):
                    self.assertEqual((place["start"], place["end"], place["text"]), (mention.start, mention.end, mention.text))
                    self.assertEqual(place["negative"], narrow(mention.probabilities.negative))

    def test_text_may_be_stored_in_any_way(self):
        expected = pa.table(SCORER.score_arrow(self.table()))["positive"]
        for kind, lists in [
            (pa.large_string(), pa.large_list(pa.large_string())),
            (pa.string_view(), pa.list_(pa.string_view())),
            (pa.dictionary(pa.int32(), pa.string()), pa.list_(pa.string())),
        ]:
            with self.subTest(kind):
                columns = {"text": pa.array(TEXTS, pa.string()).cast(kind), "entities": pa.array(ENTITIES, lists)}
                self.assertEqual(pa.table(SCORER.score_arrow(pa.table(columns)))["positive"], expected)

    def test_data_frames_go_in_and_out(self):
        frame = pandas.DataFrame({"review": ["Great phone.", "Poor phone."]})
        scored = pandas.DataFrame.from_arrow(SCORER.score_arrow(frame, text="review", entities=["phone"]))
        self.assertEqual(list(scored["sentiment"]), ["positive", "negative"])
        scored = polars.DataFrame(SCORER.score_arrow(polars.from_pandas(frame), text="review", entities=["phone"]))
        self.assertEqual(scored["entity_sentiments"][0][0]["entity"], "phone")
        self.assertEqual(SCORER.score(frame["review"])[0].sentiment, "positive")
        axes = sentor.plot.entities(scored)
        self.assertEqual(axes.get_title(), "Sentiment by entity, 2 texts")

    def test_a_stream_is_scored_as_it_is_read(self):
        read = 0

        def batches():
            nonlocal read
            for number in range(1000):
                read += 1
                yield pa.record_batch({"text": [f"Phone {number} is great."] * 10})

        reader = pa.RecordBatchReader.from_batches(pa.schema({"text": pa.string()}), batches())
        stream = pa.RecordBatchReader.from_stream(SCORER.score_arrow(reader, entities=["phone"]))
        self.assertEqual(stream.read_next_batch()["text"][0].as_py(), "Phone 0 is great.")
        self.assertLess(read, 200)
        stream.close()

    def test_what_is_wrong_with_a_table_is_said_at_once(self):
        for problem, table, options in [
            ("there is no column 'review'; the columns are text", {"text": ["a"]}, {"text": "review"}),
            ("column 'text' holds Int64", {"text": [1]}, {}),
            ("there is no column 'names'", {"text": ["a"]}, {"entities": "names"}),
            ("column 'entities' holds Utf8, and must hold lists of text", {"text": ["a"], "entities": ["b"]}, {}),
            ("has a column 'language' already", {"text": ["a"], "language": ["en"]}, {}),
            ("the languages are en, nl and auto", {"text": ["a"]}, {"language": "de"}),
        ]:
            with self.subTest(problem), self.assertRaises(ValueError) as raised:
                SCORER.score_arrow(pa.table(table), **options)
            self.assertIn(problem, str(raised.exception).replace('"', "'"))
        scored = pa.table(SCORER.score_arrow(pa.table({"text": ["a"], "language": ["en"]}), prefix="sentor_"))
        self.assertIn("sentor_language", scored.column_names)

    def test_a_stream_is_read_once(self):
        stream = SCORER.score_arrow(self.table())
        self.assertIn("entity_sentiments", repr(stream))
        pa.table(stream)
        with self.assertRaisesRegex(RuntimeError, "read before"):
            pa.table(stream)

    def test_an_error_of_the_input_is_passed_on(self):
        def batches():
            yield pa.record_batch({"text": ["Great."]})
            raise RuntimeError("the disk is gone")

        reader = pa.RecordBatchReader.from_batches(pa.schema({"text": pa.string()}), batches())
        with self.assertRaisesRegex(Exception, "the disk is gone"):
            pa.table(SCORER.score_arrow(reader))


if __name__ == "__main__":
    unittest.main()
