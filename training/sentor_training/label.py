"""Stage label: score the training texts of a student with a trained teacher or a shipped model.

It judges every target, each text as a whole, and up to eight other words of it, names hidden.

Scores are appended to RUNS/TEACHER/labels.STUDENT.jsonl as they come, and the same command goes on from there; the finished file
goes to training/labels/, which is small enough to commit. Texts of more than the teacher's positions are left out.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from .data import Group, read_groups
from .labels import dense_words, key_of, labels_path, parts_of, write_labels
from .names import hidden_places
from .paths import add_runs_option, runs_folder
from .recipes import RECIPES, SHIPPED
from .rows import Row, SpecialTokens, encode_row
from .runtime import open_folder
from .scoring import Runner, score_rows, torch_runner
from .trained import load_trained

CHUNK_GROUPS = 400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    parser.add_argument("teacher", choices=sorted(RECIPES), help="a trained model")
    parser.add_argument("student", choices=sorted(SHIPPED), help="whose prepared training groups are labelled")
    parser.add_argument("--name", help="the teacher's run name (default: its own)")
    parser.add_argument("--folder", type=Path, help="an exported model folder that labels in place of the teacher's run, such as models/sentor-en")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument("--device", default="cpu", help="where a run's weights score, as torch names it (default cpu)")
    parser.add_argument("--groups", type=int, help="label the first groups only, to try the plumbing")
    add_runs_option(parser)


def in_bfloat16(model: torch.nn.Module) -> Runner:
    """Runs a model without gradients, in the arithmetic of its training."""
    score, device = torch_runner(model), next(model.parameters()).device

    def run(*tensors: torch.Tensor) -> np.ndarray:
        with torch.autocast(device.type, torch.bfloat16):
            return score(*tensors)

    return run


@dataclass
class Teacher:
    """A labelling model, with its tokenizer and limits."""

    tokenizer: Tokenizer
    special: SpecialTokens
    # None if it reads names.
    aspect_words: frozenset[str] | None
    # Of a row, in tokens.
    positions: int
    score: Runner

    @classmethod
    def of_run(cls, root: Path, model: str, name: str | None, device: str = "cpu") -> "Teacher":
        """Load the model of a training run."""
        trained = load_trained(root, model, name)
        return cls(trained.tokenizer, trained.special, trained.aspect_words, trained.model.shape.positions, in_bfloat16(trained.model.to(device)))

    @classmethod
    def of_folder(cls, folder: Path, threads: int) -> "Teacher":
        """Load an exported model."""
        tokenizer, aspect_words, score = open_folder(folder, threads)
        positions = json.loads((folder / "manifest.json").read_text())["max_tokens"]
        return cls(tokenizer, SpecialTokens.of(tokenizer), aspect_words, positions, score)

    def row_of(self, group: Group) -> Row | None:
        """A group's row with masked names; none if it is too long or a span has no token.

        Its spans are those of the group's targets in their order, the text as a whole, and its `dense_words`.
        """
        explicit = [(t.start, t.end) for t in group.targets if not t.is_implicit]
        implicit = [t.entity for t in group.targets if t.is_implicit]
        more = [(0, len(group.text)), *dense_words(group)]
        names = ((t.entity, (t.start, t.end)) for t in group.targets if not t.is_implicit)
        hidden = hidden_places(group.text, names, self.aspect_words)
        row, found = encode_row(self.tokenizer, self.special, group.text, [*explicit, *more], implicit, hidden)
        if not all(found) or len(row.ids) > self.positions:
            return None
        mentioned, appended = iter(row.spans[: len(explicit)]), iter(row.spans[len(explicit) + len(more) :])
        spans = [next(appended) if t.is_implicit else next(mentioned) for t in group.targets]
        return Row(row.ids, spans + row.spans[len(explicit) : len(explicit) + len(more)])


def run(options: argparse.Namespace) -> None:
    """Write training/labels/STUDENT.TEACHER.jsonl.gz."""
    torch.set_num_threads(options.threads)
    root = runs_folder(options)
    name = options.name or options.teacher
    teacher = Teacher.of_folder(options.folder, options.threads) if options.folder else Teacher.of_run(root, options.teacher, options.name, options.device)
    groups = read_groups(root / "prepared" / options.student / "train.jsonl.gz")[: options.groups]
    partial = root / name / f"labels.{options.student}.jsonl"
    partial.parent.mkdir(parents=True, exist_ok=True)
    done = set()
    if partial.exists():
        done = {json.loads(line)["text"] for line in partial.read_text().splitlines()}
    waiting = [group for group in groups if key_of(group) not in done]
    print(f"{len(done)} texts are labelled, {len(waiting)} wait", flush=True)
    with partial.open("a", encoding="utf-8") as out:
        for start in range(0, len(waiting), CHUNK_GROUPS):
            pairs = [(group, teacher.row_of(group)) for group in waiting[start : start + CHUNK_GROUPS]]
            pairs = [(group, row) for group, row in pairs if row is not None]
            lines = []
            for (group, _), logits in zip(pairs, score_rows([row for _, row in pairs], teacher.score, teacher.special.pad)):
                parts, targets = parts_of(logits), len(group.targets)
                lines.append(json.dumps({"text": key_of(group), "parts": parts[:targets], "dense": parts[targets:]}, separators=(",", ":")))
            out.write("".join(f"{line}\n" for line in lines))
            out.flush()
    write_labels(partial.read_bytes(), labels_path(options.student, name))
