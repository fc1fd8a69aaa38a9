//! Finds the mentions of entities in a text.
//!
//! One pass over the normalised text finds all entities of a document. Each match is mapped back to the exact bytes of
//! the original. `docs/text.md` has the rules, `tests/data/mentions.txt` the cases.

mod classify;
mod compound;
mod edge;
mod form;
mod guard;
mod html;
mod inflect;
mod loose;
mod near;
mod normalize;

use crate::language::Language;
use crate::languages::LanguagePack;
use crate::span::Span;
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use classify::Classifier;
pub(crate) use compound::Compounds;
use form::Form;
use guard::TextCase;
pub use inflect::inflected_forms;
pub(crate) use inflect::{Endings, Stem, is_vowel, without_last};
use loose::LooseText;
pub use near::near_spellings;
use normalize::{Normalized, is_mark};

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
    /// How many entities there are.
    entities: usize,
    /// The names of all entities, each in its forms.
    forms: Vec<Form>,
    patterns: Vec<Pattern>,
    /// Searches for the texts of `patterns`, in the same order; `None` if there are none.
    automaton: Option<AhoCorasick>,
    /// The forms that are looked for with other signs.
    loose_forms: Vec<usize>,
    /// Over their letters, in the same order.
    loose_automaton: Option<AhoCorasick>,
    pack: &'static LanguagePack,
}

#[derive(Debug)]
struct Pattern {
    form: usize,
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
    /// With its umlauts spelled in another way.
    Umlauts {
        /// Whether the letters found must have accents.
        need_accents: bool,
    },
}

impl EntityMatcher {
    /// Builds a matcher for `entities` in texts of `language`. An entity without visible characters is never found.
    pub fn new<S: AsRef<str>>(entities: &[S], language: Language) -> Self {
        Self::with_aliases(entities.iter().map(|name| [name.as_ref()]), language)
    }

    /// Builds a matcher for entities that each have several names. A mention of any name is a mention of the entity.
    pub fn with_aliases<'n, N: IntoIterator<Item = &'n str>>(
        entities: impl IntoIterator<Item = N>,
        language: Language,
    ) -> Self {
        let pack = LanguagePack::for_language(language);
        let mut number = 0;
        let mut forms: Vec<Form> = Vec::new();
        for (index, names) in entities.into_iter().enumerate() {
            number = index + 1;
            forms.extend(names.into_iter().flat_map(|name| Form::all(index, name, pack)));
        }
        let mut patterns = Vec::new();
        let mut texts: Vec<String> = Vec::new();
        for (index, form) in forms.iter().enumerate() {
            let mut add = |text: String, kind| {
                texts.push(text);
                patterns.push(Pattern { form: index, kind });
            };
            let (endings, stems) = inflect::forms(&form.folded, &pack.inflection);
            add(
                form.folded.clone(),
                PatternKind::Whole(if form.guard.is_cased() { ACRONYM_ENDINGS } else { endings }),
            );
            if !form.guard.is_cased() {
                for stem in stems {
                    add(stem.text, PatternKind::Stem(stem.endings));
                }
            }
            if form.folded.contains(' ') {
                add(form.folded.replace(' ', ""), PatternKind::Squashed);
            }
            if let Some(umlauts) = &form.umlauts {
                let need_accents = umlauts.need_accents;
                add(umlauts.folded.clone(), PatternKind::Umlauts { need_accents });
            }
        }
        let loose_forms: Vec<usize> = (0..forms.len()).filter(|&form| forms[form].loose.is_some()).collect();
        let letters: Vec<&str> =
            forms.iter().filter_map(|form| form.loose.as_ref()).map(|loose| loose.letters.as_str()).collect();
        Self {
            entities: number,
            automaton: automaton(&texts),
            loose_automaton: automaton(&letters),
            forms,
            patterns,
            loose_forms,
            pack,
        }
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
    /// Every occurrence of a name's letters is examined: up to twice the number of names for each byte of the text.
    /// `keep_going` is called every thousand occurrences; once it returns `false`, the result is `None`.
    pub fn find_first(&self, text: &str, most: usize, keep_going: impl FnMut() -> bool) -> Option<Found> {
        let Some(automaton) = &self.automaton else { return Some(Found::default()) };
        let normalized = Normalized::new(text);
        let text_case = TextCase::find(text);
        let classifier = Classifier::new(text, text_case, self.pack);
        let mut search = Search::new(self.entities, most, keep_going);
        for place in automaton.find_overlapping_iter(normalized.as_str()) {
            search.pass_place()?;
            search.found.mentions.extend((|| {
                let start = normalized.original_start(place.start())?;
                let end = end_of_marks(text, normalized.original_end(place.end())?);
                let Pattern { form, kind } = &self.patterns[place.pattern().as_usize()];
                let form = &self.forms[*form];
                let (span, match_form) = classifier.classify(form, kind, start, end)?;
                Some(Mention { entity: form.entity, span, form: match_form })
            })());
            search.make_room();
        }
        if let Some(automaton) = &self.loose_automaton {
            let loose_text = LooseText::new(text, &normalized, text_case);
            for place in automaton.find_overlapping_iter(loose_text.as_str()) {
                search.pass_place()?;
                let form = &self.forms[self.loose_forms[place.pattern().as_usize()]];
                search.found.mentions.extend((|| {
                    let span = loose_text.place(form.loose.as_deref()?, place.start(), place.end())?;
                    form.admits_part(span.slice(text), text_case).then_some(())?;
                    Some(Mention { entity: form.entity, span, form: MatchForm::Exact })
                })());
                search.make_room();
            }
        }
        Some(search.finish())
    }
}

/// The mentions of one text as far as they are found.
struct Search<K> {
    found: Found,
    most: usize,
    left_out_until: Vec<usize>,
    /// How many mentions are gathered before those that overlap are dropped.
    room: usize,
    places: usize,
    keep_going: K,
}

impl<K: FnMut() -> bool> Search<K> {
    fn new(entities: usize, most: usize, keep_going: K) -> Self {
        let (found, left_out_until) = (Found::default(), vec![0; entities]);
        Self { found, most, left_out_until, room: MOST_UNSORTED, places: 0, keep_going }
    }

    /// Counts a place that is looked at; `None` where the search is to stop.
    fn pass_place(&mut self) -> Option<()> {
        self.places += 1;
        (self.places % PLACES_BETWEEN_CHECKS != 1 || (self.keep_going)()).then_some(())
    }

    fn make_room(&mut self) {
        if self.found.mentions.len() >= self.room {
            self.found.keep_apart(self.most, &mut self.left_out_until);
            self.room = MOST_UNSORTED.max(2 * self.found.mentions.len());
        }
    }

    fn finish(mut self) -> Found {
        self.found.keep_apart(self.most, &mut self.left_out_until);
        self.found
    }
}

/// Where the marks end that stick to the character before `at`.
fn end_of_marks(text: &str, at: usize) -> usize {
    let marks = text[at..].chars().take_while(|&next| is_mark(next));
    at + marks.map(char::len_utf8).sum::<usize>()
}

/// An automaton over `patterns`; `None` where there are none.
fn automaton(patterns: &[impl AsRef<[u8]>]) -> Option<AhoCorasick> {
    (!patterns.is_empty()).then(|| {
        AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(automaton_kind(patterns.len())))
            .build(patterns)
            .expect("patterns of one request are far below the automaton's limit of 2^31 states")
    })
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

/// The endings of acronyms: `TVs`, `tv's`.
const ACRONYM_ENDINGS: Endings = &["s", "'s"];

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
