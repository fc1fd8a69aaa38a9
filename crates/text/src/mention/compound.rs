//! Dutch compounds that are written as one word: `batterijduur` speaks of a `batterij`, `bankroet` of no
//! `bank`.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Whether `rest` after `entity` (both in lower case) makes a compound with the entity as its modifier:
/// `batterij-duur`, `service-s-kosten`.
pub(super) fn is_modifier(entity: &str, rest: &str) -> bool {
    let word = format!("{entity}{rest}");
    !WORDS.no_compounds.contains(word.as_str())
        && LINKS.iter().filter_map(|link| rest.strip_prefix(link)).any(is_noun)
}

/// Whether `rest` before `entity` makes a compound with the entity as its head: `telefoon-batterij`,
/// `bedrijf-s-wagen`. A short head needs a longer noun before it: `kaassaus`, but not `oordeel`.
pub(super) fn is_head(rest: &str, entity: &str) -> bool {
    let word = format!("{rest}{entity}");
    !SUFFIXES.contains(&entity)
        && !WORDS.no_compounds.contains(word.as_str())
        && LINKS
            .iter()
            .filter_map(|link| rest.strip_suffix(link))
            .any(|first| is_noun(first) && (entity.len() > SHORT_HEAD || first.len() >= SHORT_HEAD))
}

const SHORT_HEAD: usize = 4;

/// Nouns that are also suffixes: `natuurlijk` and `waardering` have no such head.
const SUFFIXES: [&str; 7] = ["baar", "heid", "lijk", "loos", "maal", "rijk", "ring"];

/// What may stand between the two parts.
const LINKS: [&str; 6] = ["", "s", "e", "en", "n", "er"];

struct Words {
    nouns: HashSet<&'static str>,
    no_compounds: HashSet<&'static str>,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let lines = |text: &'static str| {
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    };
    Words {
        nouns: lines(include_str!("data/nl-nouns.txt")),
        no_compounds: lines(include_str!("data/nl-no-compounds.txt")),
    }
});

fn is_noun(word: &str) -> bool {
    word.len() >= 3 && WORDS.nouns.contains(word)
}
