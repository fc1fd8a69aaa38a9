//! The forms that a name or noun takes: plurals, genitives, diminutives.
//!
//! A form is a stem and an ending. The stem is the entity itself or what the spelling makes of it before a
//! vowel (`scherm`-en, `ball`-en, `telefon`-en, `prijz`-en, `batter`-ies).

use crate::language::Language;
use unicode_normalization::char::is_combining_mark;

/// A stem in normalised spelling and the endings that make a word of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stem {
    pub(super) text: String,
    pub(super) endings: Endings,
}

/// Endings, in lower case; an apostrophe in one is the ASCII one.
pub(super) type Endings = &'static [&'static str];

/// The endings of the unchanged entity (in normalised spelling), and the changed stems with theirs.
///
/// Only words inflect: an entity of two letters or that ends in a digit takes `s` at most, a letter
/// nothing.
pub(super) fn forms(entity: &str, language: Language) -> (Endings, Vec<Stem>) {
    let tail: Vec<char> = entity.chars().rev().take(4).collect();
    let irregular = irregular(entity, language);
    let [last, _, ..] = tail[..] else { return (&[], irregular) };
    // The last letter of `café` is a mark here.
    if !last.is_alphabetic() || tail.len() == 2 {
        let takes_s = last.is_alphanumeric() || is_combining_mark(last);
        return (if takes_s { &["s", "'s"] } else { &[] }, irregular);
    }
    let (endings, mut stems) = match language {
        Language::English => english(entity, &tail),
        Language::Dutch => dutch(entity, &tail),
    };
    stems.extend(irregular);
    (endings, stems)
}

/// The stems that no rule gives, of an entity whose last word has one.
fn irregular(entity: &str, language: Language) -> Vec<Stem> {
    let table = match language {
        Language::English => ENGLISH_IRREGULAR,
        Language::Dutch => DUTCH_IRREGULAR,
    };
    let mut stems: Vec<Stem> = table
        .iter()
        .filter_map(|&(singular, stem, endings)| {
            let before = entity.strip_suffix(singular)?;
            (before.is_empty() || before.ends_with(' '))
                .then(|| Stem { text: format!("{before}{stem}"), endings })
        })
        .collect();
    // snelheid: snelheden
    if let (Language::Dutch, Some(before)) = (language, entity.strip_suffix("heid")) {
        stems.push(Stem { text: format!("{before}hed"), endings: EN });
    }
    stems
}

/// Singular, stem and endings.
const ENGLISH_IRREGULAR: &[(&str, &str, Endings)] = &[
    ("child", "childr", EN),
    ("foot", "fee", &["t"]),
    ("goose", "gees", &["e"]),
    ("man", "me", &["n"]),
    ("mouse", "mic", &["e"]),
    ("person", "peopl", &["e"]),
    ("tooth", "teet", &["h"]),
    ("woman", "wome", &["n"]),
];

/// Singular, stem and endings: vowels that change or grow long, and plurals in -eren and -a.
const DUTCH_IRREGULAR: &[(&str, &str, Endings)] = &[
    ("bad", "bad", EN),
    ("blad", "blad", &["en", "eren"]),
    ("dag", "dag", EN),
    ("dak", "dak", EN),
    ("datum", "dat", &["a"]),
    ("ei", "ei", &["eren", "tje", "tjes"]),
    ("gat", "gat", EN),
    ("glas", "glaz", EN),
    ("glas", "glaasj", &["e", "es"]),
    ("god", "god", EN),
    ("kalf", "kalver", EN),
    ("kind", "kind", &["eren"]),
    ("koe", "koei", EN),
    ("lam", "lamm", &["eren"]),
    ("lid", "led", EN),
    ("lied", "lied", &["eren"]),
    ("museum", "muse", &["a"]),
    ("pad", "pad", EN),
    ("schip", "schep", EN),
    ("slot", "slot", EN),
    ("smid", "smed", EN),
    ("stad", "sted", EN),
    ("vat", "vat", EN),
    ("weg", "weg", EN),
];

fn english(entity: &str, tail: &[char]) -> (Endings, Vec<Stem>) {
    let stem = |cut: usize, endings| Stem { text: without_last(entity, cut).to_owned(), endings };
    match *tail {
        ['y', before, ..] if !is_vowel(before) => (&["s"], vec![stem(1, &["ies"])]),
        ['s' | 'x' | 'z' | 'o', ..] | ['h', 's' | 'c', ..] => (&["s", "es"], Vec::new()),
        ['e', 'f', ..] => (&["s"], vec![stem(2, &["ves"])]),
        ['f', ..] => (&["s"], vec![stem(1, &["ves"])]),
        _ => (&["s"], Vec::new()),
    }
}

fn dutch(entity: &str, tail: &[char]) -> (Endings, Vec<Stem>) {
    let stem = |cut: usize, then: &[char], endings| {
        let mut text = without_last(entity, cut).to_owned();
        text.extend(then);
        Stem { text, endings }
    };
    match *tail {
        // bediende-n, service-s, groente-tje; industrie-ën, knie-ën, zee-ën, porie-n > poriën
        ['e', 'i', ..] => (&["s", "n", "ën", "tje", "tjes"], vec![stem(1, &[], &["ën"])]),
        ['e', 'e', ..] => (&["s", "en", "ën", "tje", "tjes"], Vec::new()),
        ['e', ..] => (AFTER_E, Vec::new()),
        // camera's, cameraatje; foto's, fotootje; menu's, menuutje; baby's, baby'tje
        [vowel @ ('a' | 'o' | 'u'), before, ..] if !is_vowel(before) => {
            (&["s", "'s"], vec![stem(0, &[vowel], &["tje", "tjes"])])
        }
        ['i', before, ..] if !is_vowel(before) => (&["s", "'s", "etje", "etjes"], Vec::new()),
        ['y', before, ..] if !is_vowel(before) => (&["s", "'s", "'tje", "'tjes"], Vec::new()),
        // batterij-en, batterij-tje, cadeau-s, cadeau-tje, vrouw-en
        ['j', 'i', ..] | ['w' | 'i' | 'u' | 'o' | 'a', ..] => (AFTER_VOWEL, Vec::new()),
        // winkelwagen-s, restaurant-je
        // telefoon: telefonen, telefoontje; huis (after ui): huizen; brief: brieven
        [last, second, third, ..] if !is_vowel(last) && second == third && "aeou".contains(second) => {
            let mut stems = vec![stem(2, &[last], EN)];
            stems.extend(voiced(last).map(|voiced| stem(2, &[voiced], EN)));
            (AFTER_CONSONANT, stems)
        }
        [last, second, third, ..] if !is_vowel(last) && is_vowel(second) && is_vowel(third) => {
            (AFTER_CONSONANT_EN, voiced(last).map(|voiced| stem(1, &[voiced], EN)).into_iter().collect())
        }
        // prijs: prijzen
        [last, 'j', 'i', ..] if !is_vowel(last) => {
            (AFTER_CONSONANT_EN, voiced(last).map(|voiced| stem(1, &[voiced], EN)).into_iter().collect())
        }
        // bal: ballen, balletje; kamer: kamers, kamertje; artikel: artikelen
        [last, second, ..] if !is_vowel(last) && is_vowel(second) => {
            let doubled = stem(0, &[last], &["en", "etje", "etjes"]);
            let long = entity.chars().filter(|&letter| is_vowel(letter)).count() > 1;
            let mut stems = vec![doubled];
            if last == 'g' && second == 'i' {
                stems.push(stem(1, &[], &["kje", "kjes"]));
            }
            (if long { AFTER_CONSONANT_EN } else { AFTER_CONSONANT }, stems)
        }
        // koning: koninkje; scherm-pje, kaart-je, grens: grenzen
        ['g', 'n', ..] => (AFTER_CONSONANT_EN, vec![stem(1, &[], &["kje", "kjes"])]),
        [last, ..] => {
            (AFTER_CONSONANT_EN, voiced(last).map(|voiced| stem(1, &[voiced], EN)).into_iter().collect())
        }
        [] => (&[], Vec::new()),
    }
}

const EN: Endings = &["en"];
const AFTER_E: Endings = &["s", "n", "tje", "tjes"];
const AFTER_VOWEL: Endings = &["s", "'s", "en", "tje", "tjes"];
const AFTER_CONSONANT: Endings = &["s", "je", "jes", "tje", "tjes", "pje", "pjes", "etje", "etjes"];
const AFTER_CONSONANT_EN: Endings = &["s", "en", "je", "jes", "tje", "tjes", "pje", "pjes", "etje", "etjes"];

fn voiced(consonant: char) -> Option<char> {
    match consonant {
        's' => Some('z'),
        'f' => Some('v'),
        _ => None,
    }
}

fn is_vowel(letter: char) -> bool {
    matches!(letter, 'a' | 'e' | 'i' | 'o' | 'u' | 'y')
}

/// `entity` without its last `count` characters.
fn without_last(entity: &str, count: usize) -> &str {
    let end = if count == 0 {
        entity.len()
    } else {
        entity.char_indices().rev().nth(count - 1).map_or(0, |(at, _)| at)
    };
    &entity[..end]
}
