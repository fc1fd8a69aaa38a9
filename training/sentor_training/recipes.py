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
    batch_tokens: int = 750
    max_tokens: int = 144
    # Class weights are (mean class mass / class mass) ** class_balance.
    class_balance: float = 0.35
    label_smoothing: float = 0.05
    # Where teachers have labelled a target too: how much their mean counts against its own label.
    soft_share: float = 0.4
    # Share of texts whose names are all hidden, as those of asked entities are when the model serves. In the others each is with even chance.
    hidden_share: float = 0.75
    # Share of rows that come with a twin: the same row with no name hidden, and perhaps another mark at the end.
    twin_share: float = 0.0
    # What the divergence of twins counts against the loss.
    consistency: float = 1.0
    # None: a text is met once or twice, so there is little to overfit, and drawing it takes a tenth of the time.
    dropout: float = 0.0
    # The word embeddings stay as they came: few rows of a large table are met often enough to learn from, and with the
    # table left alone a step of half the tokens costs half as much.
    frozen_embeddings: bool = True
    # Share of the steps after which int8 is imitated; above 1 for models that are never shipped.
    quantise_from: float = 0.8
    # What the divergence of int8 from float counts against the loss, in that part.
    agreement: float = 10.0
    dev_sets: tuple[str, ...] = field(default_factory=tuple)


# Texts composed for what models still got wrong; each set once or twice an epoch, the weakest phenomena more often.
WRITTEN_ENGLISH = {
    "written_": 1.5, "written_phenomena_en": 2.0, "written_compare_en": 3.0, "written_irony_en": 3.0, "written_implicit_en": 2.5,
}
WRITTEN_DUTCH = {
    "written_": 1.4, "written_phenomena_nl": 2.0, "written_compare_nl": 3.0, "written_irony_nl": 3.0, "written_implicit_nl": 3.0,
    "written_posts_nl": 3.0, "written_pairs_nl": 1.6, "translated_": 1.3,
}

ENGLISH = Recipe(
    name="sentor-en",
    languages=("en",),
    base="bge-small-en-v1.5",
    layers=tuple(range(12)),
    lowercase=True,
    pieces=0,
    copies={
        "mams_atsa": 3.0, "mams_acsa": 1.0, "newsmtsc": 1.0, "mad_tsc_en": 0.8, "sentfin": 0.3, "finentity": 0.6,
        "twitter14_dong": 1.0, "twitter15": 0.3, "twitter17": 0.3, "twitter_mitchell13": 0.5, "se17t4_topic": 0.4,
        "sanders_tweets": 0.4, "se14_rest": 2.0, "se14_laptop": 2.0, "se14_rest_cat": 0.5, "se15_rest": 0.6,
        "se16_rest_en": 0.6, "se15_laptop": 0.4, "se16_laptop": 0.4, "mpqa_targeted": 0.4, "sentivent": 0.1,
        "fiqa_": 0.4, "se17t5_headlines": 0.3, "opener_news_en": 0.5, "opener_hotel_en": 0.2, "sentihood": 0.2,
        "tsa_md": 0.4, "acos_laptop": 0.3, "memd_laptop": 0.3, "memd_restaurant": 0.3, "memd_": 0.1, "dmaste_": 0.1,
        "oats_": 0.1, "mabsa_en_sight": 0.6, "mabsa_en_phone": 0.2, "airline_tweets": 0.1, "brand_tweets_sxsw": 0.1, "crd": 0.2,
        **WRITTEN_ENGLISH,
    },
    learning_rate=1.2e-4,
    layer_decay=0.92,
    twin_share=0.15,
    dev_sets=(
        "se14_rest", "se14_laptop", "twitter14_dong", "mams_atsa", "newsmtsc", "mad_tsc_en",
        "written_pairs_en", "written_talk_en", "written_consumer_en", "written_fact_en",
    ),
)

DUTCH = Recipe(
    name="sentor-nl",
    languages=("nl", "en"),
    base="multilingual-e5-small",
    layers=tuple(range(12)),
    lowercase=False,
    pieces=32_000,
    copies={
        "mad_tsc_nl": 2.0, "se16_rest_nl": 3.5, "se16_rest_nl_textlevel": 0.3, "ecosent_nl": 1.0, "se16_phones_nl": 0.8,
        "opener_news_nl": 1.0, "mabsa_nl_": 0.35, "mabsa_nl_restaurant": 0.6, "xabsa_smt_nl": 0.4, "parallel": 0.25,
        "mad_tsc_en": 0.3, "newsmtsc": 0.3, "mams_atsa": 0.3, "mams_acsa": 0.15, "se14_rest": 0.3, "se14_laptop": 0.2, "se16_rest_en": 0.2,
        "opener_news_en": 0.3, "twitter14_dong": 0.05, "finentity": 0.1, "mpqa_targeted": 0.1,
        **WRITTEN_DUTCH, **{f"written_{kind}_en": 0.3 for kind in (
            "consumer", "public", "talk", "pairs", "idiom", "long", "fact", "work", "posts", "phenomena", "compare", "irony", "implicit",
        )},
    },
    learning_rate=1.2e-4,
    layer_decay=0.92,
    twin_share=0.15,
    dev_sets=(
        "mad_tsc_nl", "se16_rest_nl", "ecosent_nl",
        "written_pairs_nl", "written_talk_nl", "written_consumer_nl", "written_public_nl", "translated_news_nl",
    ),
)

# Reads the student's pieces, so its labels need no mapping. Weights of 768 learn at a lower rate than the student's.
TEACHERS = (
    replace(ENGLISH, name="teacher-mpnet", base="mpnet-base", learning_rate=5e-5, layer_decay=0.9, quantise_from=2.0),
)

SHIPPED = {recipe.name: recipe for recipe in (ENGLISH, DUTCH)}
RECIPES = SHIPPED | {recipe.name: recipe for recipe in TEACHERS}


def copies_of(recipe: Recipe, dataset: str) -> float:
    """Copies per epoch of a data set's texts: its own entry, else the longest matching prefix ending in `_`."""
    if dataset in recipe.copies:
        return recipe.copies[dataset]
    prefixes = [p for p in recipe.copies if p.endswith("_") and dataset.startswith(p)]
    return recipe.copies[max(prefixes, key=len)] if prefixes else 0.0
