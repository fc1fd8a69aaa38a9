"""Stage prepare: cut the base to the student's shape and group the training data by text."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from .data import EXCLUDED_PREFIXES, files, first_target, read_targets, training_groups, write_groups
from .names import ASPECT_WORDS, collect_aspect_words
from .paths import add_data_option, add_runs_option, runs_folder
from .recipes import RECIPES, Recipe, copies_of
from .rows import load_tokenizer
from .vocabulary import choose_pieces, cut_base, make_tokenizer

WORD_LISTS = (Path("/usr/share/dict/dutch"), Path("/usr/share/dict/british-english"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    parser.add_argument("model", choices=sorted(RECIPES), help="which recipe")
    parser.add_argument("--base", help="a Hugging Face folder or hub id to start from instead of the recipe's base")
    add_runs_option(parser)
    add_data_option(parser)


def base_folder(options: argparse.Namespace, default: str) -> Path:
    """The folder of the base: given, fetched, or a hub id that huggingface_hub resolves."""
    if not options.base:
        return runs_folder(options) / "bases" / default
    if Path(options.base).is_dir():
        return Path(options.base)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(options.base, allow_patterns=["*.json", "*.txt", "*.safetensors"]))


def fallback_share(full_path: Path, cut_path: Path, texts: list[str]) -> dict:
    """Shares of words of real text that get other (smaller) pieces after the cut, and [UNK]."""
    full, cut = load_tokenizer(str(full_path)), load_tokenizer(str(cut_path))
    words = Counter(word for text in texts for word in text.split())
    changed = unknown = total = 0
    for word, count in words.items():
        before = full.encode(word, add_special_tokens=False).tokens
        after = cut.encode(word, add_special_tokens=False).tokens
        total += count
        changed += count * (before != after)
        unknown += count * ("[UNK]" in after and "[UNK]" not in before)
    return {"words": total, "changed": changed / total, "unknown": unknown / total}


def sets_left_out(recipe: Recipe, data: Path) -> dict[str, str]:
    """Data sets of DATA/train that the recipe excludes, and why."""
    reasons = {}
    for name, _, path in files(data / "train"):
        first = first_target(path)
        if first is None:
            reasons[name] = "it has no target"
        elif name.startswith(EXCLUDED_PREFIXES):
            reasons[name] = "its terms allow research only, or its labels have no target"
        elif first["lang"] not in recipe.languages:
            reasons[name] = f"it is in {first['lang']}"
        elif copies_of(recipe, name) == 0:
            reasons[name] = "the recipe gives it no copies"
    return reasons


def run(options: argparse.Namespace) -> None:
    """Write RUNS/prepared/MODEL/{base/, train.jsonl.gz, aspect-words.txt, prepare.json}."""
    recipe = RECIPES[options.model]
    base = base_folder(options, recipe.base)
    out = runs_folder(options) / "prepared" / recipe.name
    out.mkdir(parents=True, exist_ok=True)

    groups = []
    left_out = sets_left_out(recipe, Path(options.data))
    for group in training_groups(Path(options.data)):
        group.targets = [t for t in group.targets if copies_of(recipe, t.dataset) > 0]
        if group.lang in recipe.languages and group.targets:
            groups.append(group)
    write_groups(groups, out / "train.jsonl.gz")
    (out / ASPECT_WORDS).write_text("".join(f"{word}\n" for word in collect_aspect_words(groups)), encoding="utf-8")
    report = {"groups": len(groups), "targets": sum(len(g.targets) for g in groups), "base": str(options.base or recipe.base), "left_out": left_out}

    pieces = None
    if recipe.pieces:
        full_pieces = [line.rstrip("\n") for line in (base / "vocab.txt").open(encoding="utf-8")]
        make_tokenizer(full_pieces, recipe.lowercase, out / "full-tokenizer.json")
        tokenizer = load_tokenizer(str(out / "full-tokenizer.json"))
        dutch = [g.text for g in groups if g.lang == "nl"]
        english = [g.text for g in groups if g.lang != "nl"]
        words = [path.read_text(encoding="utf-8").split() for path in WORD_LISTS]
        pieces = choose_pieces(tokenizer, dutch, english, words, recipe.pieces)
    cut_base(base, out / "base", pieces, list(recipe.layers), recipe.lowercase)
    if recipe.pieces:
        dev = [r["text"] for name, _, path in files(Path(options.data) / "dev") for r in read_targets(path) if r["lang"] == "nl"]
        report["pieces"] = len(pieces)
        report["dutch_dev_words"] = fallback_share(out / "full-tokenizer.json", out / "base" / "tokenizer.json", sorted(set(dev)))
        report["dutch_word_list"] = fallback_share(out / "full-tokenizer.json", out / "base" / "tokenizer.json", words[0])
    (out / "prepare.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
