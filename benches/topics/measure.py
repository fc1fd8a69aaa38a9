#!/usr/bin/env python3
"""Measure the clusters of a running server on labelled texts, against k-means and BERTopic on the same vectors.

    python3 benches/topics/measure.py --url http://127.0.0.1:8080 --key KEY DATA/*.jsonl.gz [--bertopic]

A file has JSON lines with `text`, `label` and `lang`. Printed in percent: V-measure with the number of clusters known; NMI
(outliers are a class of their own), clusters and outliers with the number not given; ARI between two orders of the texts.
Needs numpy and scikit-learn, and bertopic==0.17.4 for the last column.
"""

import argparse
import gzip
import json
import random
import time
import urllib.request

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, v_measure_score


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--bertopic", action="store_true", help="cluster the same vectors with BERTopic's defaults as well")
    options = parser.parse_args()
    for path in options.files:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            records = [json.loads(line) for line in lines]
        print(json.dumps(measure(options, path, records)), flush=True)


def measure(options, path, records):
    texts, labels, language = [r["text"] for r in records], [r["label"] for r in records], records[0]["lang"]
    known = len(set(labels))
    started = time.perf_counter()
    vectors = np.array([item["embedding"] for item in post(options, "/v1/embeddings", {"model": language, "input": texts})["data"]])
    embedding_s = time.perf_counter() - started
    given = cluster(options, texts, language, known)
    started = time.perf_counter()
    found = cluster(options, texts, language)
    clustering_s = time.perf_counter() - started
    order = list(range(len(texts)))
    random.Random(0).shuffle(order)
    shuffled = cluster(options, [texts[i] for i in order], language)
    kmeans = [v_measure_score(labels, KMeans(known, n_init=1, random_state=seed).fit_predict(vectors)) for seed in range(5)]
    report = {
        "file": path.rsplit("/", 1)[-1], "texts": len(texts), "labels": known,
        "v_known": percent(v_measure_score(labels, given)),
        "kmeans_v_known": percent(np.mean(kmeans)),
        "nmi": percent(normalized_mutual_info_score(labels, found)), "clusters": len(set(found) - {-1}),
        "outliers": percent(found.count(-1) / len(found)),
        "ari_after_shuffling": adjusted_rand_score([found[i] for i in order], shuffled),
        "embedding_s": round(embedding_s, 1), "clustering_s_vectors_cached": round(clustering_s, 1),
    }
    if options.bertopic:
        report["bertopic"] = with_bertopic(texts, vectors, labels)
    return report


def cluster(options, texts, language, number=0):
    """The cluster of each text."""
    documents = [{"doc_id": str(index), "text": text} for index, text in enumerate(texts)]
    answer = post(options, f"/api/predicts/cluster?language={language}", {"documents": documents, "n_clusters": number})
    found = [None] * len(texts)
    for one in answer["clusters"]:
        for document in one["documents"]:
            found[int(document["doc_id"])] = one["cluster_id"]
    return found


def with_bertopic(texts, vectors, labels):
    from bertopic import BERTopic

    started = time.perf_counter()
    found, _ = BERTopic().fit_transform(texts, vectors)
    return {
        "nmi": percent(normalized_mutual_info_score(labels, found)), "clusters": len(set(found) - {-1}),
        "outliers": percent(found.count(-1) / len(found)), "seconds": round(time.perf_counter() - started, 1),
    }


def post(options, path, body):
    headers = {"content-type": "application/json", "x-api-key": options.key, "x-request-timeout-ms": "600000"}
    request = urllib.request.Request(options.url + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def percent(value):
    return round(100 * float(value), 1)


if __name__ == "__main__":
    main()
