"""Reference cases: inputs and logits that the Rust encoder and engine must reproduce."""

from __future__ import annotations

import re

from tokenizers import Tokenizer

from .batches import pad_rows
from .names import hidden_places
from .rows import SpecialTokens, encode_row
from .scoring import Runner

# (text, mentions, implicit entities). A mention is found at its first place not taken yet.
ENGLISH = [
    ("The camera of the new Apple phone is superb, but Samsung's battery lasts longer.", ["camera", "Apple", "Samsung", "battery"], []),
    ("Great!", [], ["service"]),
    ("Terrible service and overpriced food; we will never come back.", ["service", "food"], ["price", "ambience"]),
    ("The staff was friendly. The room, however, smelled of smoke.", ["staff", "room"], ["location"]),
    ("Microsoft reported revenue of $62 billion for the quarter.", ["Microsoft", "revenue"], []),
    ("I don't think the screen is bad at all.", ["screen"], ["display quality"]),
    ("Never had a problem with this laptop, unlike my old Dell.", ["laptop", "Dell"], []),
    ("LOVE the keyboard 😍😍 but the fan noise... 👎", ["keyboard", "fan noise"], ["LAPTOP#GENERAL", "SUPPORT#QUALITY"]),
    ("check https://example.com/a?b=c&d=1 for the #iPhone deal @verizon", ["#iPhone", "@verizon"], []),
    ('He typed "[SEP]" and "[CLS]" and [MASK] into the box, and the app crashed.', ["app", "box"], ["[SEP]"]),
    ("Naïve café owner Zoë served a crème brûlée à la façon de Besançon.", ["Zoë", "crème brûlée"], ["dessert"]),
    ("NOT WORTH THE MONEY!!! WORST PURCHASE EVER", ["PURCHASE"], ["price", "PRICE", "Price"]),
    ("今天 Sony 的相机 works fine in 東京.", ["Sony", "相机"], ["Tokyo"]),
    ("The zero\u200bwidth space and the soft\u00adhyphen hide in Nokia\u200d phones.", ["Nokia"], ["phones"]),
    ("   leading and trailing spaces around Toyota   ", ["Toyota"], []),
    ("A line break\nbetween Ford and\r\nTesla\tand a tab.", ["Ford", "Tesla"], []),
    ("If the update had worked, Adobe would have been praised.", ["update", "Adobe"], []),
    ("Critics called the policy of Senator Brown a disaster; supporters hailed it as brave.", ["policy", "Senator Brown"], ["economy"]),
    ("meh", [], ["food", "service", "ambience", "price", "location", "drinks"]),
    ("Shares of Volkswagen fell 8% after the recall while BMW gained ground.", ["Volkswagen", "BMW"], ["cars"]),
    ("👍", [], ["product"]),
    ("🏳️‍🌈 Pride menu at Joe's: yum!", ["Joe's", "menu"], []),
    ("cant beleive how slugish teh websit is", ["websit"], ["website"]),
    ("The waiter—who was, to be fair, new—spilled wine on us; still, the pasta was divine.", ["waiter", "pasta"], ["SERVICE#GENERAL", "FOOD#QUALITY"]),
    ("Is the Pixel any good?", ["Pixel"], []),
    ("\"Unwatchable\", wrote the Guardian about the film; audiences disagreed.", ["Guardian", "film"], ["movie"]),
    ("Price: 5/10. Comfort: 9/10.", ["Price", "Comfort"], ["value_for_money"]),
    ("ﬁne ligatures and ＦＵＬＬＷＩＤＴＨ letters for Ｓｏｎｙ", ["Ｓｏｎｙ"], []),
    ("e\u0301clair with combining accents at Cafe\u0301 Noir was stale", ["e\u0301clair", "Cafe\u0301 Noir"], []),
    ("مرحبا Huawei שלום", ["Huawei"], ["هاتف"]),
]
DUTCH = [
    ("Geweldig product!", ["product"], []),
    ("Het eten was heerlijk, maar de bediening liet te wensen over.", ["eten", "bediening"], ["prijs"]),
    ("De camera van Apple is uitstekend; die van Samsung valt tegen.", ["camera", "Apple", "Samsung"], []),
    ("Mark Rutte presenteerde gisteren de begroting in Den Haag.", ["Mark Rutte", "begroting"], ["economie"]),
    ("Nooit meer! Slechte service en veel te duur.", ["service"], ["SERVICE#GENERAL", "RESTAURANT#PRICES"]),
    ("Ik vind de batterij helemaal niet slecht.", ["batterij"], ["BATTERY#OPERATION_PERFORMANCE"]),
    ("Werkloosheid daalt voor het derde kwartaal op rij", [], ["economie"]),
    ("Rabobank voorspelt flinke stijging hypotheekrente", ["Rabobank", "hypotheekrente"], ["economie"]),
    ("Zou Feyenoord dit jaar kampioen worden?", ["Feyenoord"], []),
    ("ZE ZIJN ECHT ONBESCHOFT BIJ DIE WINKEL 😡", ["WINKEL"], ["personeel", "PERSONEEL"]),
    ("Ik heb nog nooit zó'n mooie ervaring gehad in een café in Zeeuws-Vlaanderen; crème brûlée à volonté!", ["café", "crème brûlée"], ["sfeer"]),
    ("'s Avonds is het terras van hotel De Wereld gezellig druk.", ["terras", "hotel De Wereld"], ["ligging"]),
    ("Wat een topzaak 👍👍 wij komen zeker terug!", ["topzaak"], ["bediening", "eten", "prijs"]),
    ("De PvdA verwijt de VVD liegen en bedriegen.", ["PvdA", "VVD"], []),
    ("Als KPN de storing sneller had opgelost, waren klanten tevreden geweest.", ["KPN", "storing"], []),
    ("Zie https://voorbeeld.nl/pagina?x=1 en mail naar info@bedrijf.nl over #ING", ["#ING"], []),
    ('Hij typte "[SEP]" en [CLS] in het zoekveld en de app liep vast.', ["app", "zoekveld"], ["[SEP]"]),
    ("Prachtige kamers, vriendelijk personeel, alleen het ontbijt was matig.", ["kamers", "personeel", "ontbijt"], ["hotel"]),
    ("het valt niet mee om deze film uit te zitten", ["film"], []),
    ("‘Een schande’, zei Wilders over het besluit van Timmermans – maar Brussel is tevreden…", ["Wilders", "Timmermans", "Brussel"], ["politiek"]),
    ("Lekkâh hè, die patat van 't Hoekje!", ["patat", "'t Hoekje"], ["eten"]),
    ("Europese Commissie keurt overname goed", ["Europese Commissie"], []),
    ("今天 kocht ik een Sony in 東京.", ["Sony"], ["Tokio"]),
    ("zero\u200bbreedte en zacht\u00adstreepje bij Nokia\u200d-telefoons", ["Nokia"], ["telefoons"]),
    ("   spaties rond Philips   ", ["Philips"], []),
    ("Regel een over Ziggo\nregel twee over\tT-Mobile\r\neinde", ["Ziggo", "T-Mobile"], []),
    ("Matig.", [], ["eten", "service", "sfeer", "prijs", "ligging", "drankjes"]),
    ("The food was great, maar de wijn was zuur.", ["food", "wijn"], ["drinks"]),
    ("e\u0301e\u0301n keer en nooit weer bij Cafe\u0301 Zwart", ["Cafe\u0301 Zwart"], []),
    ("👎", [], ["product"]),
]
LONG = {
    "en": "The hotel stands a short walk from the station and has forty rooms on three floors. We booked for two nights. ",
    "nl": "Het hotel ligt op loopafstand van het station en telt veertig kamers op drie verdiepingen. We boekten twee nachten. ",
}


def locate(text: str, surfaces: list[str]) -> list[list[int]]:
    """Code-point spans of the surfaces, each at its first place that is not taken."""
    spans: list[list[int]] = []
    for surface in surfaces:
        starts = [m.start() for m in re.finditer(re.escape(surface), text)]
        free = [s for s in starts if [s, s + len(surface)] not in spans]
        spans.append([free[0], free[0] + len(surface)])
    return spans


def sentence_spans(text: str) -> list[list[int]]:
    """A plain split after `.!?` and spaces; references need borders, not good ones."""
    ends = [m.end() for m in re.finditer(r"[.!?]+\s+", text)]
    ends = [*ends, len(text)] if not ends or ends[-1] < len(text) else ends
    pieces = zip([0, *ends[:-1]], ends)
    return [[start, end] for start, end in pieces if text[start:end].strip()]


def cases_of(lang: str) -> list[tuple[str, list[str], list[str]]]:
    """The hand-written cases, two long ones, and one that packs several texts."""
    cases = ENGLISH if lang == "en" else DUTCH
    long_text = LONG[lang] * 4 + ("The shower was cold." if lang == "en" else "De douche was koud.")
    surface = "shower" if lang == "en" else "douche"
    packed = " ".join(text for text, _, _ in cases[2:6])
    mentions = [m for _, ms, _ in cases[2:6] for m in ms]
    return [*cases, (long_text, [surface], ["hotel", "station"]), (LONG[lang] * 12, [], ["hotel"]), (packed, mentions, [])]


def make_cases(tokenizer: Tokenizer, lang: str, run: Runner, aspect_words: frozenset[str] | None) -> list[dict]:
    """Every case with its ids, spans (sentences, mentions, implicit) and the logits of a run of its row alone."""
    special = SpecialTokens.of(tokenizer)
    cases = []
    for text, surfaces, implicit in cases_of(lang):
        mentions, sentences = locate(text, surfaces), sentence_spans(text)
        named = [(text[start:end], (start, end)) for start, end in mentions]
        hidden = hidden_places(text, named, aspect_words)
        row, found = encode_row(tokenizer, special, text, [tuple(s) for s in sentences + mentions], implicit, hidden)
        if not all(found):
            raise ValueError(f"a span of {text!r} has no token")
        logits = run(*pad_rows([row], special.pad))
        cases.append({
            "text": text, "mentions": mentions, "sentences": sentences, "hidden": [list(s) for s in hidden], "implicit": implicit,
            "input_ids": row.ids, "spans": [list(s) for s in row.spans],
            "logits": [[round(float(v), 6) for v in values] for values in logits],
        })
    return cases
