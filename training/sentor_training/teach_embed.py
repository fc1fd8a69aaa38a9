"""Stage teach-embed: carry the English embedding model's vectors over to Dutch.

Sentences that mean the same should have the same vector (Reimers and Gurevych, 2020, "Making Monolingual Sentence Embeddings
Multilingual"). The Dutch encoder stays as it is; what is learnt is one linear map of its mean state, by ridge regression on
the vectors that embed-en gives to the English sentences. Both languages are then in one space.

Mean states are kept in RUNS/embed-nl/states.npz after each thousand pairs, so that the stage can be stopped and resumed; the
projection is written each time.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from .embed import PROJECTION, load_encoder
from .embed_data import parallel_pairs
from .embedding import ids_of, torch_runner, vectors_of
from .paths import add_data_option, add_runs_option, runs_folder

STUDENT, TEACHER = "embed-nl", "embed-en"
CHUNK = 1000
# Of this many pairs, one lends its English sentence to the student as well.
ENGLISH_EVERY = 4
# Pairs that tell how close the student comes; they are not learnt from.
HELD_BACK = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    parser.add_argument("--pairs", type=int, default=30_000, help="sentence pairs to learn from (default 30,000)")
    parser.add_argument("--ridge", type=float, default=10.0, help="weight of the penalty, for states of length 10 (default 10)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    add_runs_option(parser)
    add_data_option(parser)


def fit(states: np.ndarray, vectors: np.ndarray, ridge: float) -> np.ndarray:
    """The projection [width, hidden + 1] with a bias in its last column."""
    scale = 10 / np.linalg.norm(states, axis=1).mean()
    inputs = np.hstack([states * scale, np.ones((len(states), 1))])
    solution = np.linalg.solve(inputs.T @ inputs + ridge * np.eye(inputs.shape[1]), inputs.T @ vectors).T
    solution[:, :-1] *= scale
    return solution.astype(np.float32)


def closeness(projection: np.ndarray, states: np.ndarray, vectors: np.ndarray) -> dict[str, float]:
    """Mean cosine to the teacher, and how often the own pair is the nearest of all."""
    projected = states @ projection[:, :-1].T + projection[:, -1]
    projected /= np.linalg.norm(projected, axis=1, keepdims=True)
    cosines = projected @ vectors.T
    return {"cosine": round(float(np.diag(cosines).mean()), 4), "nearest": round(float((cosines.argmax(1) == np.arange(len(cosines))).mean()), 4)}


def run(options: argparse.Namespace) -> None:
    """Write RUNS/embed-nl/projection.npy."""
    torch.set_num_threads(options.threads)
    runs, data = runs_folder(options), Path(options.data)
    folder = runs / STUDENT
    folder.mkdir(parents=True, exist_ok=True)
    pairs = parallel_pairs(data)
    order = np.random.default_rng(0).permutation(len(pairs))[: options.pairs + HELD_BACK]
    kept = folder / "states.npz"
    states, vectors, done = [], [], 0
    if kept.exists():
        stored = np.load(kept)
        states, vectors, done = [stored["states"]], [stored["vectors"]], int(stored["done"])
    teacher, teacher_tokenizer, teacher_special = load_encoder(TEACHER, runs, data)
    student, tokenizer, special = load_encoder(STUDENT, runs, data)
    while True:
        if states:
            all_states, all_vectors = np.concatenate(states), np.concatenate(vectors)
            projection = fit(all_states[HELD_BACK:].astype(np.float64), all_vectors[HELD_BACK:].astype(np.float64), options.ridge)
            np.save(folder / PROJECTION, projection)
            facts = closeness(projection, all_states[:HELD_BACK], all_vectors[:HELD_BACK])
            print(json.dumps({"pairs": done, "rows": len(all_states), **facts}), flush=True)
        if done >= len(order):
            return
        chunk = [pairs[i] for i in order[done : done + CHUNK]]
        english = vectors_of(ids_of(teacher_tokenizer, teacher_special, [english for english, _ in chunk]), teacher_special.pad, torch_runner(teacher, True))
        texts = [dutch for _, dutch in chunk] + [english for english, _ in chunk[::ENGLISH_EVERY]]
        states.append(vectors_of(ids_of(tokenizer, special, texts), special.pad, torch_runner(student, True), unit=False))
        vectors.append(np.concatenate([english, english[::ENGLISH_EVERY]]))
        done += len(chunk)
        np.savez(kept, states=np.concatenate(states), vectors=np.concatenate(vectors), done=done)
