"""The parts of the embedding stages that need no weights."""

import unittest

import numpy as np

try:
    from sentor_training.embedding import batches_by_length, padded, vectors_of
    from sentor_training.teach_embed import closeness, fit
except ImportError as missing:
    raise unittest.SkipTest(str(missing))


class Embedding(unittest.TestCase):
    def test_batches_hold_each_row_once_and_no_more_tokens_than_allowed(self):
        rows = [[1] * length for length in (3, 9, 1, 5, 5, 2, 30)]
        batches = list(batches_by_length(rows, 12))
        self.assertEqual(sorted(index for batch in batches for index in batch), list(range(len(rows))))
        for batch in batches:
            self.assertTrue(len(batch) == 1 or len(batch) * max(len(rows[i]) for i in batch) <= 12)

    def test_vectors_keep_their_order_and_have_length_one(self):
        def run(ids, mask):
            return np.stack([ids.numpy().sum(1), mask.numpy().sum(1)], axis=1).astype(np.float64)

        vectors = vectors_of([[4, 4, 4], [8], [2, 2]], 0, run, batch_tokens=4)
        expected = np.array([[12, 3], [8, 1], [4, 2]]) / np.linalg.norm([[12, 3], [8, 1], [4, 2]], axis=1, keepdims=True)
        np.testing.assert_allclose(vectors, expected)

    def test_padding_is_masked(self):
        ids, mask = padded([[5, 6], [7]], pad=9)
        self.assertEqual(ids.tolist(), [[5, 6], [7, 9]])
        self.assertEqual(mask.tolist(), [[1, 1], [1, 0]])

    def test_a_projection_recovers_a_linear_map(self):
        generator = np.random.default_rng(0)
        states, matrix = generator.normal(size=(400, 6)), generator.normal(size=(4, 6))
        vectors = states @ matrix.T + 0.5
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        projection = fit(states, vectors, ridge=1e-6)
        self.assertEqual(projection.shape, (4, 7))
        close = closeness(projection, states[:50], vectors[:50])
        self.assertGreater(close["cosine"], 0.9)
        self.assertEqual(closeness(projection, states[:50], -vectors[:50])["nearest"], 0.0)


if __name__ == "__main__":
    unittest.main()
