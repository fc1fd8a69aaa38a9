"""What each model is made of. A run's `config.json` and the model's manifest record the recipe used."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Recipe:
    """Base, data mixture and training settings of one model."""

    name: str
    languages: tuple[str, ...]
    base: str
    layers: tuple[int, ...]
    lowercase: bool
    # Kept vocabulary pieces; 0 keeps all.
    pieces: int
    # Copies of a text per epoch, by data set or by its longest prefix here ("memd_").
    copies: dict[str, float]
    # Learning rates of the top layer and of the head; each layer below is multiplied by the decay.
    learning_rate: float = 1e-4
    head_learning_rate: float = 5e-4
    layer_decay: float = 0.9
    batch_tokens: int = 1500
    max_tokens: int = 144
    # Class weights are (mean class mass / class mass) ** class_balance.
    class_balance: float = 0.35
    label_smoothing: float = 0.05
    # Where teachers have labelled a target too: how much their mean counts against its own label.
    soft_share: float = 0.7
    # Of texts, those whose names are hidden, as all are when the model serves.
    hidden_share: float = 0.9
    dropout: float = 0.1
    # The word embeddings stay as they came: of a large table, few rows are met often enough to learn from.
    frozen_embeddings: bool = False
    # Share of the time budget after which fake quantisation is on; above 1 for what is never shipped.
    quantise_from: float = 0.7
    # What the divergence of int8 from float counts against the loss, in that part.
    agreement: float = 10.0
    dev_sets: tuple[str, ...] = field(default_factory=tuple)


ENGLISH = Recipe(
    name="sentor-en",
    languages=("en",),
    base="minilm-l6-h384-uncased",
    layers=(0, 1, 2, 3, 4, 5),
    lowercase=True,
    pieces=0,
    copies={
        "mams_atsa": 1.2, "mams_acsa": 0.6, "newsmtsc": 1.3, "mad_tsc_en": 1.0, "sentfin": 0.6, "finentity": 1.0,
        "twitter14_dong": 1.3, "twitter15": 0.6, "twitter17": 0.6, "twitter_mitchell13": 0.8, "se17t4_topic": 0.6,
        "sanders_tweets": 0.6, "se14_rest": 2.0, "se14_laptop": 2.0, "se14_rest_cat": 0.7, "se15_rest": 0.8,
        "se16_rest_en": 0.8, "se15_laptop": 0.5, "se16_laptop": 0.5, "mpqa_targeted": 0.7, "sentivent": 0.2,
        "fiqa_": 0.6, "se17t5_headlines": 0.5, "opener_news_en": 0.7, "opener_hotel_en": 0.3, "sentihood": 0.3,
        "tsa_md": 0.5, "acos_laptop": 0.5, "memd_laptop": 0.5, "memd_restaurant": 0.4, "memd_": 0.15, "dmaste_": 0.15,
        "oats_": 0.15, "mabsa_en_sight": 1.0, "mabsa_en_phone": 0.3, "airline_tweets": 0.1, "brand_tweets_sxsw": 0.2, "crd": 0.3,
    },
    dev_sets=("se14_rest", "se14_laptop", "twitter14_dong", "mams_atsa", "newsmtsc", "mad_tsc_en"),
)

DUTCH = Recipe(
    name="sentor-nl",
    languages=("nl", "en"),
    base="bert-base-multilingual-cased",
    layers=(0, 1, 2, 3, 4, 5),
    lowercase=False,
    pieces=32_000,
    copies={
        "mad_tsc_nl": 2.5, "se16_rest_nl": 3.0, "se16_rest_nl_textlevel": 0.3, "ecosent_nl": 1.0, "se16_phones_nl": 0.8,
        "opener_news_nl": 1.0, "mabsa_nl_sight": 0.5, "mabsa_nl_": 0.35, "mabsa_nl_restaurant": 0.6, "xabsa_smt_nl": 0.5,
        "mad_tsc_en": 0.8, "newsmtsc": 0.5, "mams_atsa": 0.3, "se14_rest": 0.3, "se14_laptop": 0.2, "se16_rest_en": 0.2,
        "opener_news_en": 0.5, "parallel": 0.5, "sentfin": 0.05, "twitter14_dong": 0.05, "finentity": 0.1, "mpqa_targeted": 0.1,
    },
    learning_rate=7e-5,
    batch_tokens=1000,
    frozen_embeddings=True,
    dev_sets=("mad_tsc_nl", "se16_rest_nl", "ecosent_nl"),
)

TEACHERS = (
    replace(ENGLISH, name="teacher-en", base="bert-base-uncased", layers=tuple(range(12)), learning_rate=5e-5, hidden_share=0.5, quantise_from=2.0),
    replace(DUTCH, name="teacher-nl", layers=tuple(range(12)), learning_rate=5e-5, hidden_share=0.5, quantise_from=2.0),
)

SHIPPED = {recipe.name: recipe for recipe in (ENGLISH, DUTCH)}
RECIPES = SHIPPED | {recipe.name: recipe for recipe in TEACHERS}


def copies_of(recipe: Recipe, dataset: str) -> float:
    """Copies per epoch of a data set's texts: its own entry, else the longest matching prefix ending in `_`."""
    if dataset in recipe.copies:
        return recipe.copies[dataset]
    prefixes = [p for p in recipe.copies if p.endswith("_") and dataset.startswith(p)]
    return recipe.copies[max(prefixes, key=len)] if prefixes else 0.0
