//! Finds the mentions of entities in a text.
//!
//! One pass over the normalised text finds all entities of a document. Each match is mapped back to the exact bytes of
//! the original. `docs/text.md` has the rules, `tests/data/mentions.txt` the cases.

mod classify;
mod compound;
mod edge;
mod guard;
mod inflect;
mod normalize;

use crate::language::Language;
use crate::languages::LanguagePack;
use crate::span::Span;
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use classify::Classifier;
pub(crate) use compound::Compounds;
use guard::Guard;
pub use inflect::inflected_forms;
pub(crate) use inflect::{Endings, Stem, is_vowel, without_last};
use normalize::{Normalized, is_dash};

/// How a mention matches the entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchForm {
    /// The entity as a separate word. The span excludes a possessive ending (`Apple's`, `Merkels beleid`) and a title
    /// before a hyphen (`kabinet-Rutte`).
    Exact,
    /// A plural or diminutive: `camera's`, `batteries`, `batterijtje`. The span is the whole word.
    Inflected,
    /// Part of a compound. With a visible boundary between the parts (`iPhone-scherm`, `#iPhone15`), the span is the
    /// entity; otherwise (`batterijduur`) the whole word.
    Compound,
    /// A pronoun that refers to the entity. Only if the caller asks for it; see [`crate::pronoun`].
    Pronoun,
}

impl MatchForm {
    /// The label on the wire.
    pub fn label(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Inflected => "inflected",
            Self::Compound => "compound",
            Self::Pronoun => "pronoun",
        }
    }
}

/// A mention of an entity in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mention {
    /// Index of the entity in the matcher's list.
    pub entity: usize,
    /// Place of the mention in the text.
    pub span: Span,
    /// How it matches the entity.
    pub form: MatchForm,
}

/// The first mentions of a text.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Sorted by where they start, then by entity.
    pub mentions: Vec<Mention>,
    /// Number of further mentions.
    pub left_out: usize,
}

impl Found {
    /// Sorts the mentions, drops those that overlap an earlier one of the same entity, and keeps the first `most` and
    /// the first of each entity. Of mentions with one start, the plainest form wins, then the longest.
    ///
    /// `left_out_until` has for each entity the end of its last omitted mention. A mention that overlaps it does not
    /// count.
    fn keep_apart(&mut self, most: usize, left_out_until: &mut [usize]) {
        self.mentions.sort_unstable_by_key(|mention| {
            (mention.span.start, mention.entity, mention.form, usize::MAX - mention.span.end)
        });
        let mut free_from = vec![0; left_out_until.len()];
        self.mentions.retain(|mention| {
            let is_free = mention.span.start >= free_from[mention.entity];
            if is_free {
                free_from[mention.entity] = mention.span.end;
            }
            is_free
        });
        if self.mentions.len() <= most {
            return;
        }
        let mut is_kept = vec![false; left_out_until.len()];
        let mut number = 0;
        self.mentions.retain(|mention| {
            number += 1;
            let is_first = !std::mem::replace(&mut is_kept[mention.entity], true);
            if number <= most || is_first {
                return true;
            }
            let until = &mut left_out_until[mention.entity];
            if mention.span.start >= *until {
                self.left_out += 1;
                *until = mention.span.end;
            }
            false
        });
    }
}

/// Finds the mentions of a list of entities.
#[derive(Debug)]
pub struct EntityMatcher {
    entities: Vec<Entity>,
    patterns: Vec<Pattern>,
    /// Searches for the texts of `patterns`, in the same order; `None` if there are none.
    automaton: Option<AhoCorasick>,
    pack: &'static LanguagePack,
}

#[derive(Debug)]
struct Entity {
    /// The entity as the caller wrote it, trimmed.
    given: String,
    /// Its normalised form.
    folded: String,
    /// Its normalised form with spaces in place of hyphens; empty if it has no hyphens.
    apart: String,
    guard: Guard,
    has_letters: bool,
    /// Its length in letters if it can be part of a compound that is written as one word; otherwise 0.
    compound_letters: usize,
}

#[derive(Debug)]
struct Pattern {
    entity: usize,
    kind: PatternKind,
}

#[derive(Debug)]
enum PatternKind {
    /// The entity itself, with its possible endings.
    Whole(Endings),
    /// A stem that is a word only with one of its endings.
    Stem(Endings),
    /// Several words written as one, as in `#GameOfThrones`.
    Squashed,
    /// Words usually joined by hyphens, written apart: `Coca Cola`.
    Apart,
}

impl EntityMatcher {
    /// Builds a matcher for `entities` in texts of `language`. An entity without visible characters is never found.
    #[expect(clippy::missing_panics_doc, reason = "it would take two gigabytes of entities")]
    pub fn new<S: AsRef<str>>(entities: &[S], language: Language) -> Self {
        let pack = LanguagePack::for_language(language);
        let entities: Vec<Entity> = entities.iter().map(|entity| Entity::new(entity.as_ref())).collect();
        let mut patterns = Vec::new();
        let mut texts: Vec<String> = Vec::new();
        for (index, entity) in entities.iter().enumerate().filter(|(_, entity)| !entity.folded.is_empty()) {
            let mut add = |text: String, kind| {
                texts.push(text);
                patterns.push(Pattern { entity: index, kind });
            };
            let (endings, stems) = inflect::forms(&entity.folded, &pack.inflection);
            add(
                entity.folded.clone(),
                PatternKind::Whole(if entity.guard.is_cased() { ACRONYM_ENDINGS } else { endings }),
            );
            if !entity.guard.is_cased() {
                for stem in stems {
                    add(stem.text, PatternKind::Stem(stem.endings));
                }
            }
            if entity.folded.contains(' ') {
                add(entity.folded.replace(' ', ""), PatternKind::Squashed);
            }
            if !entity.apart.is_empty() {
                add(entity.apart.clone(), PatternKind::Apart);
            }
        }
        let automaton = (!texts.is_empty()).then(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::Standard)
                .kind(Some(automaton_kind(texts.len())))
                .build(&texts)
                .expect("patterns of one request are far below the automaton's limit of 2^31 states")
        });
        Self { entities, patterns, automaton, pack }
    }

    /// Returns all mentions in `text`, sorted by start, then by entity.
    ///
    /// Mentions of one entity never overlap; those of different entities may (`Apple` in `Apple Watch`). An entity that
    /// is listed twice has each mention twice.
    pub fn find(&self, text: &str) -> Vec<Mention> {
        self.find_first(text, usize::MAX, || true).unwrap_or_default().mentions
    }

    /// Like [`EntityMatcher::find`], but keeps only the first `most` mentions and the first of each entity, and counts
    /// the others.
    ///
    /// Every occurrence of an entity's letters is examined: up to the number of entities for each byte of the text.
    /// `keep_going` is called every thousand occurrences; once it returns `false`, the result is `None`.
    pub fn find_first(&self, text: &str, most: usize, mut keep_going: impl FnMut() -> bool) -> Option<Found> {
        let Some(automaton) = &self.automaton else { return Some(Found::default()) };
        let normalized = Normalized::new(text);
        let classifier = Classifier::new(text, self.pack);
        let mut found = Found::default();
        let mut left_out_until = vec![0; self.entities.len()];
        let mut room = MOST_UNSORTED;
        for (number, place) in automaton.find_overlapping_iter(normalized.as_str()).enumerate() {
            if number % PLACES_BETWEEN_CHECKS == 0 && !keep_going() {
                return None;
            }
            let mention = (|| {
                let start = normalized.original_start(place.start())?;
                let end = normalized.original_end(place.end())?;
                let Pattern { entity, kind } = &self.patterns[place.pattern().as_usize()];
                let (span, form) = classifier.classify(&self.entities[*entity], kind, start, end)?;
                Some(Mention { entity: *entity, span, form })
            })();
            found.mentions.extend(mention);
            if found.mentions.len() >= room {
                found.keep_apart(most, &mut left_out_until);
                room = MOST_UNSORTED.max(2 * found.mentions.len());
            }
        }
        found.keep_apart(most, &mut left_out_until);
        Some(found)
    }
}

/// An automaton lives as long as a document, so for few patterns the kind that is fastest to build is used. At each
/// byte it walks a list of all patterns that end there, which takes quadratic time if hundreds of entities are suffixes
/// of each other.
fn automaton_kind(patterns: usize) -> AhoCorasickKind {
    if patterns <= MOST_LISTED { AhoCorasickKind::NoncontiguousNFA } else { AhoCorasickKind::ContiguousNFA }
}

const MOST_LISTED: usize = 32;

/// Number of mentions gathered before overlapping ones are dropped. Bounds the memory for entities that contain each
/// other; ordinary documents have far fewer.
const MOST_UNSORTED: usize = 1 << 18;

/// Occurrences examined between two calls of `keep_going`: a tenth of a millisecond.
const PLACES_BETWEEN_CHECKS: usize = 1 << 10;

impl Entity {
    fn new(given: &str) -> Self {
        let given = given.trim();
        let normalized = Normalized::new(given);
        let folded = normalized.as_str().trim().to_owned();
        let apart = if given.contains(is_dash) {
            Normalized::new(&given.replace(is_dash, " ")).as_str().trim().to_owned()
        } else {
            String::new()
        };
        let guard = Guard::for_entity(given);
        let letters = folded.chars().count();
        let is_word = letters <= LONGEST_PART && folded.chars().all(char::is_alphabetic);
        let compound_letters = if is_word && !guard.is_cased() { letters } else { 0 };
        let has_letters = folded.contains(char::is_alphabetic);
        Self { given: given.to_owned(), folded, apart, guard, has_letters, compound_letters }
    }
}

/// The endings of acronyms: `TVs`, `tv's`.
const ACRONYM_ENDINGS: Endings = &["s", "'s"];

/// Longer entities are not looked for in compounds.
const LONGEST_PART: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, entities: &[&str], most: usize) -> (Vec<(usize, usize)>, usize) {
        let matcher = EntityMatcher::new(entities, Language::English);
        let found = matcher.find_first(text, most, || true).expect("nobody stops it");
        (found.mentions.iter().map(|mention| (mention.entity, mention.span.start)).collect(), found.left_out)
    }

    #[test]
    fn the_first_mentions_are_kept_and_the_others_counted() {
        assert_eq!(found("ab ab cd ab ab", &["ab", "cd"], 9).1, 0);
        assert_eq!(found("ab ab cd ab ab", &["ab", "cd"], 3), (vec![(0, 0), (0, 3), (1, 6)], 2));
    }

    #[test]
    fn every_entity_keeps_its_first_mention() {
        assert_eq!(found("ab ab ab cd ab cd", &["ab", "cd"], 2), (vec![(0, 0), (0, 3), (1, 9)], 3));
    }

    #[test]
    fn mentions_beyond_the_gathered_ones_are_counted_too() {
        let text = "ab ".repeat(MOST_UNSORTED + 10);
        let (mentions, left_out) = found(&text, &["ab"], 5);
        assert_eq!((mentions.len(), left_out), (5, MOST_UNSORTED + 5));
    }

    #[test]
    fn a_search_can_be_stopped() {
        let matcher = EntityMatcher::new(&["a"], Language::English);
        let mut questions = 0;
        let found = matcher.find_first(&"a ".repeat(10 * PLACES_BETWEEN_CHECKS), usize::MAX, || {
            questions += 1;
            questions < 3
        });
        assert!(found.is_none());
        assert_eq!(questions, 3);
    }
}
