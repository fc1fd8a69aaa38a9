"""Loads the weights of a training run and turns them into a graph."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from tokenizers import Tokenizer

from .batches import Sampler
from .data import read_groups
from .model import SpanClassifier, load_base
from .names import ASPECT_WORDS, read_aspect_words
from .onnx_graph import GraphOptions, SpanGraph
from .quantise import set_mode
from .recipes import RECIPES, SHIPPED, Recipe
from .rows import SpecialTokens, load_tokenizer


@dataclass
class Trained:
    """A model after (or before) training, with everything that export needs."""

    recipe: Recipe
    folder: Path
    prepared: Path
    tokenizer: Tokenizer
    special: SpecialTokens
    aspect_words: frozenset[str]
    model: SpanClassifier
    facts: dict

    @property
    def language(self) -> str:
        """The language that the model is for; it may have been trained on more."""
        return self.recipe.languages[0]

    @property
    def temperature(self) -> float:
        """The temperature of the calibrate stage; 1 before it ran."""
        path = self.folder / "calibration.json"
        return json.loads(path.read_text())["temperature"] if path.exists() else 1.0

    def graph(self, temperature: float, quantised: bool = True, fused_attention: bool = True) -> onnx.ModelProto:
        """The ONNX graph of these weights."""
        weights = {name: value.numpy() for name, value in self.model.state_dict().items()}
        shape = self.model.shape
        options = GraphOptions(quantised, fused_attention)
        return SpanGraph(weights, shape.layers, shape.heads, shape.epsilon, self.special.sep, temperature, options).build()


def load_trained(root: Path, model_name: str, run_name: str | None = None, untrained: bool = False) -> Trained:
    """Read RUNS/NAME/model.pt. Ranges that training has not learnt yet are observed on training rows."""
    recipe = RECIPES[model_name]
    folder, prepared = root / (run_name or model_name), root / "prepared" / model_name
    tokenizer = load_tokenizer(str(prepared / "base" / "tokenizer.json"))
    special = SpecialTokens.of(tokenizer)
    torch.manual_seed(0)
    model = load_base(prepared / "base", special.sep, 0.0).eval().requires_grad_(False)
    facts: dict = {"quantised": False, "step": 0}
    if not untrained:
        state = torch.load(folder / "model.pt", map_location="cpu", weights_only=True)
        model.load_state_dict(state.pop("weights"))
        facts = state
    trained = Trained(recipe, folder, prepared, tokenizer, special, read_aspect_words(prepared / ASPECT_WORDS), model, facts)
    if recipe.name in SHIPPED and not facts["quantised"]:
        observe(trained)
    return trained


def observe(trained: Trained, batches: int = 20) -> None:
    """Moving-average ranges, for a checkpoint from before the imitated int8 part of training."""
    set_mode(trained.model, "observe")
    sampler = Sampler(read_groups(trained.prepared / "train.jsonl.gz"), trained.recipe, trained.tokenizer, trained.aspect_words, seed=0)
    for count, batch in enumerate(sampler):
        if count == batches:
            break
        trained.model(batch.ids, batch.attention, batch.span_row, batch.span_start, batch.span_end)
    set_mode(trained.model, "off")


