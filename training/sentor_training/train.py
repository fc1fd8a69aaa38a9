"""Stage train: fine-tune a prepared base for a number of steps; resumable to the step.

The learning rate follows the steps, never a clock, so the same command gives the same model however busy the machine
is. The last steps train through imitated int8 arithmetic (see quantise.py). State is written to RUNS/NAME/checkpoint.pt
at least every `--checkpoint-minutes`, on SIGTERM and at the end; the same command goes on from there. `--steps` may
differ when a run goes on: the schedule is then stretched or shortened. RUNS/NAME/config.json keeps the settings and, in
`history`, the step from which each differed. The finished weights (a moving average) are RUNS/NAME/model.pt; dev figures
and losses are lines of RUNS/NAME/log.jsonl.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import signal
import time
from pathlib import Path

import onnx
import torch
from torch.nn import functional

from .batches import Batch, Sampler
from .carry import balanced, carried_groups, is_carried
from .data import read_groups
from .labels import PARALLEL, add_labels, labels_for
from .metrics import accuracy, confusion, macro_f1
from .model import SpanClassifier, load_base
from .names import ASPECT_WORDS, read_aspect_words
from .onnx_graph import read_weights
from .paths import REPOSITORY, add_data_option, add_runs_option, runs_folder
from .quantise import ActivationRange, set_mode
from .recipes import RECIPES, Recipe, copies_of
from .rows import SpecialTokens, load_tokenizer
from .scoring import score_file, torch_runner

WARM_UP = 0.04
LAST_RATE = 0.02
OBSERVE_SHARE = 0.02
AVERAGE_EVERY = 4
AVERAGE_DECAY = 0.996
# Of a range's own size, a step at the peak.
RANGE_RATE = 2e-3
# A step that took longer was halted meanwhile (SIGSTOP, a machine asleep); the rest of it is not counted as training time.
LONGEST_STEP_S = 30.0
LOG_EVERY_STEPS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    parser.add_argument("model", choices=sorted(RECIPES), help="which recipe")
    parser.add_argument("--name", help="run name (default: the model's)")
    parser.add_argument(
        "--start-from", type=Path, metavar="PATH",
        help="start from the weights of an exported model folder, such as models/sentor-en, or of a run's model.pt (default: the prepared base)",
    )
    parser.add_argument(
        "--labels", type=Path, nargs="*", metavar="FILE",
        help="what teachers say of the training targets, from the label stage (default: all of training/labels/MODEL.*, and of parallel.* for Dutch; without a file: none)",
    )
    parser.add_argument(
        "--languages", nargs="+", choices=sorted({language for recipe in RECIPES.values() for language in recipe.languages}),
        help="learn from the labelled texts in these languages only (default: all of the recipe's)",
    )
    parser.add_argument("--steps", type=int, default=4000, help="updates of the whole run (default 4000); one reads about 1,200 tokens")
    parser.add_argument("--checkpoint-minutes", type=float, default=8, help="time between checkpoints (default 8)")
    parser.add_argument("--dev-minutes", type=float, default=20, help="time between dev scores (default 20)")
    parser.add_argument("--dev-texts", type=int, default=200, help="texts per data set in those dev scores (default 200)")
    parser.add_argument(
        "--precision", choices=["bfloat16", "float32"], default="bfloat16",
        help="of the matrix products while training (default bfloat16: twice as fast on CPUs with AVX-512 BF16 or AMX; float32 for those without)",
    )
    parser.add_argument("--device", default="cpu", help="where to train, as torch names it: cpu (default), cuda, cuda:1")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1; one process per model is faster than two threads)")
    parser.add_argument("--seed", type=int, default=1)
    add_runs_option(parser)
    add_data_option(parser)


def rate_at(progress: float) -> float:
    """Learning rate as a share of its peak: warm-up, then a cosine to nearly nothing."""
    if progress < WARM_UP:
        return max(0.02, progress / WARM_UP)
    share = min(1.0, (progress - WARM_UP) / (1 - WARM_UP))
    return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * share))


def mode_at(progress: float, recipe: Recipe) -> str:
    """Which quantiser mode a share of the steps has."""
    if progress < recipe.quantise_from - OBSERVE_SHARE:
        return "off"
    return "observe" if progress < recipe.quantise_from else "on"


def published_path(path: Path) -> Path:
    """A path as it is in the repository, or as RUN/FILE where it is outside."""
    full = path.resolve()
    return full.relative_to(REPOSITORY) if full.is_relative_to(REPOSITORY) else Path(*full.parts[-2:])


def optimiser_for(model: SpanClassifier, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with rates that fall with depth, and no weight decay on vectors."""
    layers = model.shape.layers
    groups = []
    for name, parameter in model.named_parameters():
        if name.startswith("head.") and "input_range" not in name:
            rate = recipe.head_learning_rate
        elif "input_range" in name:
            rate = 0.0  # until `set_range_rates`
        elif not name.startswith("encoder.layer."):
            rate = recipe.learning_rate * recipe.layer_decay**layers
        else:
            rate = recipe.learning_rate * recipe.layer_decay ** (layers - 1 - int(name.split(".")[2]))
        decay = 0.01 if parameter.dim() > 1 and not name.startswith("embeddings.") else 0.0
        groups.append({"name": name, "params": [parameter], "peak": rate, "lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6, fused=True)


def weighted_mean(losses: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Of a loss for each span, by what each counts."""
    return (losses * batch.weights).sum() / batch.weights.sum()


class Run:
    """A training run and everything that its checkpoint holds."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.recipe = options, RECIPES[options.model]
        if options.languages:
            self.recipe = dataclasses.replace(self.recipe, languages=tuple(options.languages))
        root = runs_folder(options)
        self.folder = root / (options.name or options.model)
        self.folder.mkdir(parents=True, exist_ok=True)
        prepared = root / "prepared" / options.model
        torch.manual_seed(options.seed)
        self.tokenizer = load_tokenizer(str(prepared / "base" / "tokenizer.json"))
        special = SpecialTokens.of(self.tokenizer)
        self.model = load_base(prepared / "base", special.sep, self.recipe.dropout)
        self.start()
        self.device = torch.device(options.device)
        self.model.to(self.device)
        self.model.embeddings.word_embeddings.requires_grad_(not self.recipe.frozen_embeddings)
        self.average = load_base(prepared / "base", special.sep, 0.0).eval().requires_grad_(False)
        self.average.to(self.device).load_state_dict(self.model.state_dict())
        self.optimiser = optimiser_for(self.model, self.recipe)
        groups = [group for group in read_groups(prepared / "train.jsonl.gz") if group.lang in self.recipe.languages]
        if not groups:
            raise SystemExit(f"{prepared}/train.jsonl.gz has no text in {' or '.join(self.recipe.languages)}: see --languages")
        learns_parallel = copies_of(self.recipe, PARALLEL) > 0
        chosen = options.labels if options.labels is not None else labels_for(options.model)
        self.labels = [path for path in chosen if learns_parallel or not is_carried(path)]
        self.soft_targets = add_labels(groups, [path for path in self.labels if not is_carried(path)])
        if learns_parallel:
            groups += balanced(carried_groups(Path(options.data), [path for path in self.labels if is_carried(path)]))
        self.aspect_words = read_aspect_words(prepared / ASPECT_WORDS)
        self.sampler = Sampler(groups, self.recipe, self.tokenizer, self.aspect_words, options.seed)
        self.step = self.tokens = self.averages = 0
        self.elapsed_s = 0.0
        self.mode = "off"
        self.stopping = False
        self._load()

    def start(self) -> None:
        """Give the prepared base other weights to begin with, where that is asked for."""
        start = self.options.start_from
        if start and start.suffix == ".pt":
            self.model.load_state_dict(torch.load(start, map_location="cpu", weights_only=True)["weights"])
        elif start:
            self.model.load_state_dict({name: torch.tensor(value) for name, value in read_weights(onnx.load(start / "model.onnx")).items()})

    def settings(self) -> dict:
        """What was chosen, beside the recipe, for the run's `config.json` and so for the model's manifest."""
        chosen = {name: getattr(self.options, name) for name in ("steps", "seed", "device", "threads", "precision")}
        # Without the folders of this machine, since the manifest is published.
        start = str(published_path(self.options.start_from)) if self.options.start_from else None
        return {**chosen, "start_from": start, "labels": [path.name for path in self.labels]}

    @property
    def progress(self) -> float:
        """Share of the steps that is done."""
        return self.step / self.options.steps

    def log(self, **fields) -> None:
        """One line in the log, and on stdout."""
        line = json.dumps({"time": time.strftime("%H:%M:%S"), "step": self.step, "minutes": round(self.elapsed_s / 60, 1), **fields})
        print(line, flush=True)
        with (self.folder / "log.jsonl").open("a") as out:
            out.write(line + "\n")

    def _load(self) -> None:
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            self._record_settings()
            self.log(event="start", class_weights=self.sampler.class_weights, soft_targets=self.soft_targets)
            return
        state = torch.load(path, map_location="cpu", weights_only=False)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        fresh = [(group["name"], group["peak"]) for group in self.optimiser.param_groups]
        self.optimiser.load_state_dict(state["optimiser"])
        for group, (name, peak) in zip(self.optimiser.param_groups, fresh):
            group.update(name=name, peak=peak)
        self.sampler.position = state["position"]
        self.step, self.tokens, self.averages = state["step"], state["tokens"], state["averages"]
        self.elapsed_s, self.mode = state["elapsed_s"], state["mode"]
        set_mode(self.model, self.mode)
        set_mode(self.average, "on" if self.mode == "on" else "off")
        if self.mode == "on":
            self.set_range_rates()
        torch.set_rng_state(state["random"])
        self._record_settings()
        self.log(event="resume", position=self.sampler.position)

    def _record_settings(self) -> None:
        """Write `config.json`: the settings, and in `history` what changed at which step."""
        path = self.folder / "config.json"
        settings = json.loads(json.dumps({**dataclasses.asdict(self.recipe), **self.settings()}))
        before = json.loads(path.read_text()) if path.exists() and self.step else {}
        history = before.pop("history", [])
        changed = {name: value for name, value in settings.items() if before.get(name) != value} if before else {}
        if changed:
            history.append({"step": self.step, "before": {name: before.get(name) for name in changed}, "after": changed})
        path.write_text(json.dumps({**settings, "history": history}, indent=2) + "\n")

    def save(self) -> None:
        """Write the checkpoint beside the old one, then take its place."""
        state = {
            "model": self.model.state_dict(), "average": self.average.state_dict(), "optimiser": self.optimiser.state_dict(),
            "position": dict(self.sampler.position), "step": self.step, "tokens": self.tokens, "averages": self.averages,
            "elapsed_s": self.elapsed_s, "mode": self.mode, "random": torch.get_rng_state(),
        }
        torch.save(state, self.folder / "checkpoint.tmp")
        os.replace(self.folder / "checkpoint.tmp", self.folder / "checkpoint.pt")
        self.export_average()

    def export_average(self) -> None:
        """The averaged weights alone, which calibrate and export read."""
        state = {"weights": self.average.state_dict(), "quantised": self.mode == "on", "step": self.step, "elapsed_s": self.elapsed_s, "tokens": self.tokens}
        torch.save(state, self.folder / "model.tmp")
        os.replace(self.folder / "model.tmp", self.folder / "model.pt")

    def update_average(self) -> None:
        """Exponential moving average of the weights, short at first."""
        self.averages += 1
        decay = min(AVERAGE_DECAY, self.averages / (self.averages + 10))
        with torch.no_grad():
            for ours, theirs in zip(self.average.parameters(), self.model.parameters()):
                ours.lerp_(theirs, 1 - decay)

    def switch_mode(self) -> None:
        """Turn the quantisers on when their share of the steps comes; they do not go back."""
        wanted = mode_at(self.progress, self.recipe)
        order = ("off", "observe", "on")
        if order.index(wanted) <= order.index(self.mode):
            return
        self.mode = wanted
        set_mode(self.model, wanted)
        if wanted == "on":
            self.smooth()
            self.set_range_rates()
            set_mode(self.average, "on")
            ranges = [m for m in self.model.modules() if isinstance(m, ActivationRange)]
            for ours, theirs in zip((m for m in self.average.modules() if isinstance(m, ActivationRange)), ranges):
                ours.load_state_dict(theirs.state_dict())
        self.log(event="quantisers", mode=wanted)

    @torch.no_grad()
    def smooth(self) -> None:
        """Even out the channels of what is quantised, in the weights, their average and the optimiser's moments."""
        for (activation, linear), (_, average) in zip(self.model.smoothed(), self.average.smoothed()):
            divisors = activation.smooth()
            for weight in (linear.weight, average.weight):
                weight.mul_(divisors)
            moments = self.optimiser.state[linear.weight]
            moments["exp_avg"].div_(divisors)
            moments["exp_avg_sq"].div_(divisors.square())

    def set_range_rates(self) -> None:
        """Each end of a range learns in steps of a share of the range's size."""
        sizes = {name: m.high.item() - m.low.item() for name, m in self.model.named_modules() if isinstance(m, ActivationRange)}
        for group in self.optimiser.param_groups:
            if "input_range" in group["name"]:
                group["peak"] = RANGE_RATE * sizes[group["name"].rpartition(".")[0]]

    def outputs_of(self, model: SpanClassifier, batch: Batch) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits [spans, 3] in float32, and the states of the layers."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.precision == "bfloat16"):
            states = model.states(batch.ids, batch.attention)
            return model.classify(states[-1], batch.span_row, batch.span_start, batch.span_end).float(), states

    @torch.no_grad()
    def float_logits_of(self, batch: Batch) -> torch.Tensor:
        """What the same weights say without the quantisers, under the same dropout."""
        set_mode(self.model, "off")
        with torch.random.fork_rng():
            logits, _ = self.outputs_of(self.model, batch)
        set_mode(self.model, self.mode)
        return logits

    def loss_of(self, batch: Batch, logits: torch.Tensor, states: list[torch.Tensor]) -> torch.Tensor:
        """Distance from the distributions to learn, plus that between twins.

        Twins must get the same answer: their loss is the symmetric divergence of Liang et al., 2021, "R-Drop".
        """
        loss = weighted_mean(functional.cross_entropy(logits, batch.wanted, reduction="none"), batch)
        if len(batch.twins) and self.recipe.consistency > 0:
            ours, theirs = (logits[batch.twins[:, side]].log_softmax(1) for side in (0, 1))
            divergences = ((ours.exp() - theirs.exp()) * (ours - theirs)).sum(1) / 2
            # By the weights of the twins, so that a span that only teachers judged counts as little here as there.
            loss = loss + self.recipe.consistency * (divergences * batch.weights[batch.twins[:, 0]]).sum() / batch.weights.sum()
        return loss

    def train_step(self, batch: Batch) -> float:
        """One update; returns the loss.

        Once the quantisers are on, what they make of a span is also drawn to what it is without them: what is shipped is then close to
        the float model in every label and not in the mean alone.
        """
        agrees = self.mode == "on" and self.recipe.agreement > 0
        in_float = self.float_logits_of(batch) if agrees else None
        logits, states = self.outputs_of(self.model, batch)
        loss = self.loss_of(batch, logits, states)
        if in_float is not None:
            divergences = functional.kl_div(logits.log_softmax(1), in_float.log_softmax(1), reduction="none", log_target=True)
            loss = loss + self.recipe.agreement * weighted_mean(divergences.sum(1), batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for n, p in self.model.named_parameters() if p.requires_grad and "input_range" not in n], 1.0)
        rate = rate_at(self.progress)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * rate
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1
        self.tokens += int(batch.attention.sum())
        if self.step % AVERAGE_EVERY == 0:
            self.update_average()
        return loss.item()

    def score_dev(self) -> None:
        """Dev figures of the averaged weights on the first texts of a few sets."""
        figures = {}
        for dataset in self.recipe.dev_sets:
            for path in sorted((Path(self.options.data) / "dev").glob(f"{dataset}.*")):
                scored = score_file(path, self.tokenizer, torch_runner(self.average), self.aspect_words, first_texts=self.options.dev_texts)
                matrix = confusion(scored.gold, scored.logits.argmax(axis=1))
                name = ".".join(path.name.split(".")[:2])
                figures[name] = [round(100 * accuracy(matrix), 1), round(100 * macro_f1(matrix), 1)]
        mean = sum(f1 for _, f1 in figures.values()) / len(figures)
        self.log(event="dev", mean_macro_f1=round(mean, 2), figures=figures)

    def train(self) -> None:
        """Until all steps are done or SIGTERM comes."""
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopping", True))
        self.model.train()
        saved = scored = self.elapsed_s
        loss_sum, loss_steps, token_mark, time_mark = 0.0, 0, self.tokens, self.elapsed_s
        last = time.monotonic()
        batches = iter(self.sampler)
        while not self.stopping and self.step < self.options.steps:
            self.switch_mode()
            loss_sum += self.train_step(next(batches).to(self.device))
            loss_steps += 1
            now = time.monotonic()
            self.elapsed_s += min(now - last, LONGEST_STEP_S)
            last = now
            if loss_steps == LOG_EVERY_STEPS:
                rate = (self.tokens - token_mark) / (self.elapsed_s - time_mark)
                self.log(loss=round(loss_sum / loss_steps, 4), progress=round(self.progress, 3), tokens_per_s=round(rate), epoch=self.sampler.position["epoch"])
                loss_sum, loss_steps, token_mark, time_mark = 0.0, 0, self.tokens, self.elapsed_s
            if self.elapsed_s - scored > 60 * self.options.dev_minutes:
                self.score_dev()
                scored = self.elapsed_s
                last = time.monotonic()
            if self.elapsed_s - saved > 60 * self.options.checkpoint_minutes:
                self.save()
                saved = self.elapsed_s
                last = time.monotonic()
        self.save()
        if not self.stopping:
            self.score_dev()


def set_up_torch(threads: int) -> None:
    """For training on a CPU."""
    torch.set_num_threads(threads)
    # Tiny gradients would otherwise be computed in microcode, many times slower.
    torch.set_flush_denormal(True)


def run(options: argparse.Namespace) -> None:
    """Train, or go on."""
    set_up_torch(options.threads)
    Run(options).train()
