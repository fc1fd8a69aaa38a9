//! Compounds that are written as one word: `batterijduur` mentions a `batterij`, `bankroet` does not mention a `bank`.

use std::collections::HashSet;

use crate::languages::data_lines;

/// The nouns of a language that compounds are made of, and how they are joined.
#[derive(Debug)]
pub(crate) struct Compounds {
    nouns: HashSet<&'static str>,
    /// Words that resemble compounds but are none.
    lookalikes: HashSet<&'static str>,
    links: &'static [&'static str],
    suffixes: &'static [&'static str],
}

impl Compounds {
    /// Parses two files with one word a line. `links` are the letters allowed between the parts. `suffixes` are nouns
    /// that are usually suffixes at the end of a longer word.
    pub(crate) fn parse(
        nouns: &'static str,
        lookalikes: &'static str,
        links: &'static [&'static str],
        suffixes: &'static [&'static str],
    ) -> Self {
        let (nouns, lookalikes) = (data_lines(nouns).collect(), data_lines(lookalikes).collect());
        Self { nouns, lookalikes, links, suffixes }
    }

    /// Whether `rest` after `entity` (both in lower case) makes a compound with the entity as its modifier:
    /// `batterij-duur`, `service-s-kosten`.
    pub(super) fn is_modifier(&self, entity: &str, rest: &str) -> bool {
        let word = format!("{entity}{rest}");
        !self.lookalikes.contains(word.as_str())
            && self.links.iter().filter_map(|link| rest.strip_prefix(link)).any(|noun| self.is_noun(noun))
    }

    /// Whether `rest` before `entity` makes a compound with the entity as its head: `telefoon-batterij`,
    /// `bedrijf-s-wagen`. A short head needs a longer noun before it: `kaassaus`, but not `oordeel`.
    pub(super) fn is_head(&self, rest: &str, entity: &str) -> bool {
        let word = format!("{rest}{entity}");
        let fits =
            |first: &str| self.is_noun(first) && (entity.len() > SHORT_HEAD || first.len() >= SHORT_HEAD);
        !self.suffixes.contains(&entity)
            && !self.lookalikes.contains(word.as_str())
            && self.links.iter().filter_map(|link| rest.strip_suffix(link)).any(fits)
    }

    /// Whether a word in lower case is a noun, or a compound of two.
    pub(super) fn is_made_of_nouns(&self, word: &str) -> bool {
        self.nouns.contains(word)
            || word.char_indices().skip(SHORTEST_NOUN).any(|(at, _)| {
                let (first, last) = word.split_at(at);
                last.len() > SHORT_HEAD && self.is_noun(last) && self.is_head(first, last)
            })
    }

    fn is_noun(&self, word: &str) -> bool {
        word.len() >= SHORTEST_NOUN && self.nouns.contains(word)
    }
}

/// In bytes.
const SHORT_HEAD: usize = 4;
const SHORTEST_NOUN: usize = 3;
