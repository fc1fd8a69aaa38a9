"""Source and terms of each data set, as stated in its public repository."""

# Longest matching prefix wins.
TERMS = {
    "newsmtsc": ("fhamborg/NewsMTSC", "MIT-style"),
    "mad_tsc": ("EvanDufraisse/MAD_TSC", "MIT"),
    "mams": ("siat-nlp/MAMS-for-ABSA", "Apache-2.0"),
    "sentfin": ("pyRis/SEntFiN", "MIT"),
    "finentity": ("yixuantt/FinEntity", "ODC-BY"),
    "dmaste": ("NJUNLP/DMASTE", "MIT"),
    "tsa_md": ("IBM/yaso-tsa", "Apache-2.0, CDLA-Sharing"),
    "ecosent_nl": ("vanatteveldt/ecosent", "MIT"),
    "xabsa_smt_nl": ("IsakZhang/XABSA", "Apache-2.0"),
    "twitter14_dong": ("bluemonk482/tdparse", "MIT repository"),
    "fiqa": ("elinsky/fiqa", "MIT repository, data terms not stated"),
    "se17t5_headlines": ("cwayad/companySentimentAnalysis", "MIT repository, data terms not stated"),
    "sentihood": ("HSLCY/ABSA-BERT-pair", "MIT repository, data terms not stated"),
    "airline_tweets": ("AyushDhatwalia/Twitter-Airline-Sentiment", "GPL-3 repository, data terms its own"),
    "mpqa_targeted": ("jerbarnes/multitask_negation_for_targeted_sentiment", "GPL-3 repository, data terms its own"),
    "se14": ("SemEval 2014 task 4", "none stated; used for research"),
    "se15": ("SemEval 2015 task 12", "none stated; used for research"),
    "se16": ("SemEval 2016 task 5", "none stated; used for research"),
    "se17t4": ("SemEval 2017 task 4", "none stated; used for research"),
    "memd": ("NUSTM/MEMD-ABSA", "none stated"),
    "acos_laptop": ("NUSTM/ACOS", "none stated"),
    "oats": ("RiTUAL-UH/OATS-ABSA", "none stated"),
    "mabsa": ("swaggy66/M-ABSA", "none stated; Dutch is machine-translated"),
    "opener": ("cltl/OpeNER_corpus", "none stated"),
    "sentivent": ("GillesJ/sentivent", "none stated"),
    "twitter15": ("jefferyYu/TomBERT", "none stated"),
    "twitter17": ("jefferyYu/TomBERT", "none stated"),
    "twitter_mitchell13": ("lixin4ever/E2E-TBSA", "none stated"),
    "sanders_tweets": ("zfz/twitter_corpus", "none stated"),
    "brand_tweets_sxsw": ("AlvinKN/Phase4Project", "none stated"),
    "crd": ("davidsbatista", "none stated"),
    "written_": ("composed for this project, not collected from people", "the project's own licence"),
    "translated_mams": ("MAMS (siat-nlp/MAMS-for-ABSA), translated for this project", "Apache-2.0"),
    "translated_news": ("NewsMTSC (fhamborg/NewsMTSC), translated for this project", "MIT-style"),
    "translated_dmaste": ("DMASTE (NJUNLP/DMASTE), translated for this project", "MIT"),
    "translated_rest": ("SemEval 2014 task 4, translated for this project", "none stated; used for research"),
    "translated_laptop": ("SemEval 2014 task 4, translated for this project", "none stated; used for research"),
    "translated_memd": ("NUSTM/MEMD-ABSA, translated for this project", "none stated"),
    "translated_mixed": ("several of the sets above, translated for this project", "those of the sets"),
    "parallel": ("Helsinki-NLP/OPUS-MT-testsets, PhilipMay/stsb-multi-mt", "CC BY-SA 4.0; Tatoeba CC BY 2.0 FR; the texts of STSb have terms of their own"),
}


def terms_of(dataset: str) -> tuple[str, str]:
    """(source, stated terms) of a data set."""
    prefixes = [prefix for prefix in TERMS if dataset.startswith(prefix)]
    if not prefixes:
        raise KeyError(f"the terms of {dataset} are not known; it must not be trained on")
    return TERMS[max(prefixes, key=len)]
