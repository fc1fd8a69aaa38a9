"""Compares ways to aggregate the scores of several mentions, on labelled development data.

    python3 benches/pooling.py DATA/dev target/release/sentor

No set labels documents that mention one entity many times, so they are put together: two to five labelled
mentions of one data set with the same label are an entity with that label ("agree"); one or two mentions with
an opinion among one to four neutral ones are an entity with that opinion ("story"). Each mention was scored in
its own text, and only the pooling differs. Prints macro-F1 over both kinds together, and each apart.

Nor are documents labelled as a whole, so a text of several sentences whose two or more targets all have one label is a
document with that label. Its sentences are pooled by the same formulas, with a length in words for that in tokens.
"""

import collections
import glob
import gzip
import json
import math
import random
import subprocess
import sys

LABELS = ["negative", "neutral", "positive"]
TEXTS_PER_SET = 250


def scored_mentions(data, sentor):
    """(language, data set, label, probabilities) of each target found at its place."""
    mentions = []
    for language in ("en", "nl"):
        documents = []
        for path in sorted(glob.glob(f"{data}/*.explicit.jsonl.gz")):
            by_text = collections.defaultdict(list)
            with gzip.open(path, "rt") as lines:
                for target in map(json.loads, lines):
                    if target["lang"] == language:
                        by_text[target["text"]].append(target)
            texts = list(by_text)
            random.shuffle(texts)
            documents += [by_text[text] for text in texts[:TEXTS_PER_SET]]
        lines = (
            json.dumps({"doc_id": "", "doc": targets[0]["text"], "entities": list({t["entity"] for t in targets})})
            for targets in documents
        )
        command = [sentor, "predict", "--language", language, "--input", "jsonl", "--format", "jsonl", "-"]
        answers = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True)
        for targets, answer in zip(documents, map(json.loads, answers.stdout.splitlines())):
            found = {
                (entity["entity"], mention["start"]): tuple(mention["probabilities"][label] for label in LABELS)
                for entity in answer["entity_sentiments"]
                for mention in entity["mentions"]
            }
            for target in targets:
                if scores := found.get((target["entity"], target["start"])):
                    mentions.append((language, target["dataset"], LABELS.index(target["label"]), scores))
    return mentions


def entities(mentions):
    """The "agree" and "story" entities: pairs of a label and the scores of the mentions."""
    groups = collections.defaultdict(list)
    for language, dataset, label, scores in mentions:
        groups[language, dataset, label].append(scores)
    agree, story = [], []
    for (language, dataset, label), scores in groups.items():
        rest = list(scores)
        random.shuffle(rest)
        while len(rest) > 1:
            size = random.randint(2, 5)
            group, rest = rest[:size], rest[size:]
            if len(group) > 1:
                agree.append((label, group))
        neutral = groups.get((language, dataset, 1), [])
        if label != 1 and neutral:
            for start in range(0, len(scores) - 1, 2):
                opinions = scores[start : start + random.choice([1, 1, 2])]
                story.append((label, opinions + random.choices(neutral, k=random.randint(1, 4))))
                random.shuffle(story[-1][1])
    return agree, story


def confidence(scores):
    return max(0.0, 1 + sum(p * math.log(p) for p in scores if p > 0) / math.log(3))


def mean(weight):
    return lambda parts: [sum(weight(part) * part[label] for part in parts) for label in range(3)]


def weighted(exponent, neutral, floor=0.1):
    return mean(lambda part: (floor + confidence(part) ** exponent) * (1 - neutral * part[1]))


POOLINGS = {
    "last mention": lambda parts: parts[-1],
    "plain mean": mean(lambda part: 1),
    "mean of logarithms": lambda parts: [sum(math.log(max(p[label], 1e-4)) for p in parts) for label in range(3)],
    "surest mention": lambda parts: max(parts, key=confidence),
    "least neutral mention": lambda parts: min(parts, key=lambda part: part[1]),
} | {
    f"weighted, CONFIDENCE {exponent}, NEUTRAL {neutral}": weighted(exponent, neutral)
    for exponent in (1, 2, 3, 4)
    for neutral in (0, 0.5, 0.75, 0.9, 0.95)
}


def accuracy(cases, pooling):
    return 100 * sum(label == answer(pooling(parts)) for label, parts in cases) / len(cases)


def answer(pooled):
    return max((1, 0, 2), key=lambda label: pooled[label])


def macro_f1(cases, pooling):
    right, said, gold = collections.Counter(), collections.Counter(), collections.Counter()
    for label, parts in cases:
        predicted = answer(pooling(parts))
        said[predicted] += 1
        gold[label] += 1
        right[label] += predicted == label
    return sum(200 * right[label] / (said[label] + gold[label]) for label in gold) / len(gold)


def documents(data, sentor):
    """(label, scores and length of each sentence) of the texts whose targets agree."""
    found = []
    for language in ("en", "nl"):
        labels = collections.defaultdict(list)
        for path in sorted(glob.glob(f"{data}/*.explicit.jsonl.gz")):
            with gzip.open(path, "rt") as lines:
                for target in map(json.loads, lines):
                    if target["lang"] == language:
                        labels[target["text"]].append(target["label"])
        agreeing = [text for text, given in labels.items() if len(given) > 1 and len(set(given)) == 1]
        lines = (json.dumps({"doc": text}) for text in agreeing)
        command = [sentor, "predict", "--language", language, "--input", "jsonl", "--format", "jsonl", "-"]
        answers = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True)
        for text, answer in zip(agreeing, map(json.loads, answers.stdout.splitlines())):
            if len(answer["details"]) > 1:
                sentences = [
                    (*(one["probabilities"][label] for label in LABELS), len(one["sentence_text"].split()))
                    for one in answer["details"]
                ]
                found.append((LABELS.index(labels[text][0]), sentences))
    return found


def by_length(exponent, weight):
    return lambda part: part[3] ** exponent * weight(part[:3])


def used(part):
    return (0.1 + confidence(part) ** 3) * (1 - 0.9 * part[1])


DOCUMENT_POOLINGS = {
    "last sentence": lambda parts: parts[-1],
    "first sentence": lambda parts: parts[0],
    "plain mean": mean(lambda part: 1),
    "mean by length": mean(by_length(1, lambda part: 1)),
    "surest sentence": lambda parts: max(parts, key=lambda part: confidence(part[:3])),
    "least neutral sentence": lambda parts: min(parts, key=lambda part: part[1]),
    "weighted, SIZE 0": mean(by_length(0, used)),
    "weighted, SIZE 1/2 (used)": mean(by_length(0.5, used)),
    "weighted, SIZE 1": mean(by_length(1, used)),
}


def main():
    data, sentor = sys.argv[1:]
    random.seed(11)
    agree, story = entities(scored_mentions(data, sentor))
    print(f"{len(agree)} agree, {len(story)} story\n{'together':>9}{'agree':>8}{'story':>8}")
    for name, pooling in POOLINGS.items():
        figures = (macro_f1(cases, pooling) for cases in (agree + story, agree, story))
        print("{:9.1f}{:8.1f}{:8.1f}  ".format(*figures) + name)
    whole = documents(data, sentor)
    counts = collections.Counter(LABELS[label] for label, _ in whole)
    print(f"{len(whole)} documents: {dict(counts)}\n macro-F1 accuracy")
    for name, pooling in DOCUMENT_POOLINGS.items():
        print(f"{macro_f1(whole, pooling):9.1f}{accuracy(whole, pooling):9.1f}  {name}")


main()
