"""Stage label: let a trained teacher score every training target of a student, for the student to learn from.

Scores are appended to RUNS/TEACHER/labels.STUDENT.jsonl as they come, and the same command goes on from there; the finished file
goes to training/labels/, which is small enough to commit. Texts of more than the teacher's positions are left out.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from .data import Group, read_groups
from .labels import key_of, labels_path, parts_of, write_labels
from .names import hidden_places
from .paths import add_runs_option, runs_folder
from .recipes import RECIPES, SHIPPED
from .rows import Row, encode_row
from .scoring import Runner, score_rows, torch_runner
from .trained import Trained, load_trained

CHUNK_GROUPS = 400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    parser.add_argument("teacher", choices=sorted(RECIPES), help="a trained model")
    parser.add_argument("student", choices=sorted(SHIPPED), help="whose prepared training groups are labelled")
    parser.add_argument("--name", help="the teacher's run name (default: its own)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--groups", type=int, help="label the first groups only, to try the plumbing")
    add_runs_option(parser)


def row_of(trained: Trained, group: Group) -> Row | None:
    """A group's row, names hidden, with its targets' spans, in their order; none where it is too long or a target has no token."""
    explicit = [(t.start, t.end) for t in group.targets if not t.is_implicit]
    implicit = [t.entity for t in group.targets if t.is_implicit]
    names = ((t.entity, (t.start, t.end)) for t in group.targets if not t.is_implicit)
    hidden = hidden_places(group.text, names, trained.aspect_words)
    row, found = encode_row(trained.tokenizer, trained.special, group.text, explicit, implicit, hidden)
    if not all(found) or len(row.ids) > trained.model.shape.positions:
        return None
    mentioned, appended = iter(row.spans[: len(explicit)]), iter(row.spans[len(explicit) :])
    return Row(row.ids, [next(appended) if t.is_implicit else next(mentioned) for t in group.targets])


def in_bfloat16(model: torch.nn.Module) -> Runner:
    """Runs a model without gradients, in the arithmetic that it was trained in."""
    score = torch_runner(model)

    def run(*tensors: torch.Tensor) -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16):
            return score(*tensors)

    return run


def run(options: argparse.Namespace) -> None:
    """Write training/labels/STUDENT.TEACHER.jsonl.gz."""
    torch.set_num_threads(options.threads)
    root = runs_folder(options)
    trained = load_trained(root, options.teacher, options.name)
    groups = read_groups(root / "prepared" / options.student / "train.jsonl.gz")[: options.groups]
    score = in_bfloat16(trained.model)
    partial = trained.folder / f"labels.{options.student}.jsonl"
    done = set()
    if partial.exists():
        done = {json.loads(line)["text"] for line in partial.read_text().splitlines()}
    waiting = [group for group in groups if key_of(group) not in done]
    print(f"{len(done)} texts are labelled, {len(waiting)} wait", flush=True)
    with partial.open("a", encoding="utf-8") as out:
        for start in range(0, len(waiting), CHUNK_GROUPS):
            pairs = [(group, row_of(trained, group)) for group in waiting[start : start + CHUNK_GROUPS]]
            pairs = [(group, row) for group, row in pairs if row is not None]
            lines = []
            for (group, _), logits in zip(pairs, score_rows([row for _, row in pairs], score, trained.special.pad)):
                lines.append(json.dumps({"text": key_of(group), "parts": parts_of(logits)}, separators=(",", ":")))
            out.write("".join(f"{line}\n" for line in lines))
            out.flush()
    write_labels(partial.read_bytes(), labels_path(options.student, options.name or options.teacher))
