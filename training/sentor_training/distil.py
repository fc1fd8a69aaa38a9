"""Stage distil: train a student that is smaller than its teacher and reads the same pieces, with the teacher beside it.

The student begins as some of the teacher's layers (Sanh et al. 2019, arXiv:1910.01108), and learns, on every augmented batch, what
the teacher makes of it: its distributions over the labels, and its states after as many layers as the student has
(Sun et al. 2019, arXiv:1908.09355). All else is as in the train stage, whose options these are: budget, checkpoints, imitated int8.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import replace

import torch

from .batches import Batch
from .model import SpanClassifier
from .paths import runs_folder
from .recipes import TEACHERS
from .trained import load_trained
from .train import Run, set_up_torch
from .train import add_arguments as add_training_arguments

# What the teacher's distribution counts against what is to be learnt without it, which may be of earlier teachers too.
TEACHER_SHARE = 0.5
# What the states count against the labels.
STATE_WEIGHT = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    add_training_arguments(parser)
    parser.add_argument("--teacher", required=True, choices=sorted(recipe.name for recipe in TEACHERS), help="a trained teacher of the same pieces and hidden size")
    parser.add_argument(
        "--from-layers", type=int, nargs="+", metavar="LAYER",
        help="which of the teacher's layers the student begins as, counted from 0 (default: evenly spaced ones, the last among them)",
    )
    parser.add_argument("--state-weight", type=float, default=STATE_WEIGHT, help=f"what the states count against the labels (default {STATE_WEIGHT})")


def spaced(few: int, many: int) -> list[int]:
    """As many as `few` of `many` layers, evenly spaced, the last among them."""
    return [(index + 1) * many // few - 1 for index in range(few)]


def chosen_layers(weights: dict[str, torch.Tensor], layers: list[int]) -> dict[str, torch.Tensor]:
    """The weights of a model that has only these layers of another, in this order."""
    chosen = {name: value for name, value in weights.items() if not name.startswith("encoder.layer.")}
    for ours, theirs in enumerate(layers):
        prefix = f"encoder.layer.{theirs}."
        found = {re.sub(r"^encoder\.layer\.\d+\.", f"encoder.layer.{ours}.", name): value for name, value in weights.items() if name.startswith(prefix)}
        if not found:
            raise SystemExit(f"the teacher has no layer {theirs}")
        chosen |= found
    return chosen


def unlike(ours: torch.Tensor, theirs: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of states [rows, tokens, hidden] over the tokens that are seen, each channel in units of its variance
    in `theirs`, so that the few channels that lie far out do not decide alone. 1 is what the teacher's mean would get."""
    seen = attention.bool()
    ours, theirs = ours[seen].float(), theirs[seen].float()
    return ((ours - theirs).square().mean(0) / theirs.var(0, correction=0).clamp_min(1e-6)).mean()


class Distillation(Run):
    """A training run with a teacher beside it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.trained = load_trained(runs_folder(options), options.teacher)
        self.teacher: SpanClassifier = self.trained.model
        super().__init__(options)

    def start(self) -> None:
        if self.trained.tokenizer.to_str() != self.tokenizer.to_str() or self.teacher.shape.hidden != self.model.shape.hidden:
            raise SystemExit(f"{self.options.teacher} has other pieces or another hidden size than {self.options.model}: use its labels instead (label)")
        # The teacher's layer that each of the student's learns from.
        self.matched = spaced(self.model.shape.layers, self.teacher.shape.layers)
        if self.options.start_from:
            super().start()
        else:
            self.model.load_state_dict(chosen_layers(self.teacher.state_dict(), self.options.from_layers or self.matched))

    def settings(self) -> dict:
        names = ("teacher", "from_layers", "state_weight")
        return {**super().settings(), **{name: getattr(self.options, name) for name in names}}

    def loss_of(self, batch: Batch, logits: torch.Tensor, states: list[torch.Tensor]) -> torch.Tensor:
        with torch.no_grad():
            said, theirs = self.outputs_of(self.teacher, batch)
        wanted = torch.lerp(batch.wanted, said.softmax(1), TEACHER_SHARE)
        differences = [unlike(ours, theirs[layer], batch.attention) for ours, layer in zip(states, self.matched)]
        return super().loss_of(replace(batch, wanted=wanted), logits, states) + self.options.state_weight * torch.stack(differences).mean()


def run(options: argparse.Namespace) -> None:
    """Train, or go on."""
    set_up_torch(options.threads)
    Distillation(options).train()
