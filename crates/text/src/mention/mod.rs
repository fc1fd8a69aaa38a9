//! Where a text mentions an entity.
//!
//! All entities of a document are looked for in one pass over a normalised text, and what is found is led
//! back to the exact bytes of the original. `docs/text.md` tells the rules, `tests/data/mentions.txt` shows
//! them at work.

mod compound;
mod edge;
mod guard;
mod inflect;
mod normalize;

use crate::language::Language;
use crate::span::Span;
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use guard::{Guard, TextCase};
use inflect::Endings;
use normalize::{Normalized, is_dash};

/// How a mention is like the entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchForm {
    /// It is the entity, as a word of its own. A possessive ending (`Apple's`, `Merkels beleid`) stays
    /// outside the span, and so does the title before a hyphen (`kabinet-Rutte`).
    Exact,
    /// It is a plural or diminutive: `camera's`, `batteries`, `batterijtje`. The span is the whole word.
    Inflected,
    /// It is part of a compound. Where a reader sees the parts meet (`iPhone-scherm`, `#iPhone15`) the span
    /// is the entity; where not (`batterijduur`) it is the whole word.
    Compound,
    /// It is a pronoun that stands for the entity. Only where a caller asks for that step; see
    /// [`crate::pronoun`].
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

/// One place where a text mentions an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mention {
    /// Index of the entity in the list that the matcher was made of.
    pub entity: usize,
    /// The bytes of the text that are the mention.
    pub span: Span,
    /// How it is like the entity.
    pub form: MatchForm,
}

/// Finds the mentions of a list of entities.
#[derive(Debug)]
pub struct EntityMatcher {
    entities: Vec<Entity>,
    patterns: Vec<Pattern>,
    /// Over the patterns' texts, in the same order; `None` where there are none.
    automaton: Option<AhoCorasick>,
    language: Language,
}

#[derive(Debug)]
struct Entity {
    /// As the caller wrote it, without white space at its ends.
    given: String,
    /// As it stands in a normalised text.
    folded: String,
    /// As it stands there with spaces for hyphens; empty where it has none.
    apart: String,
    guard: Guard,
    /// Its length in letters where it can be part of a compound that is written as one word; otherwise 0.
    compound_letters: usize,
}

#[derive(Debug)]
struct Pattern {
    entity: usize,
    kind: PatternKind,
}

#[derive(Debug)]
enum PatternKind {
    /// The entity itself, and the endings that it takes.
    Whole(Endings),
    /// A stem that is nothing without one of its endings.
    Stem(Endings),
    /// Several words written as one, as in `#GameOfThrones`.
    Squashed,
    /// What is joined by hyphens, written apart: `Coca Cola`.
    Apart,
}

impl EntityMatcher {
    /// A matcher for `entities` in texts of `language`. An entity without visible characters is never found.
    #[expect(clippy::missing_panics_doc, reason = "it would take two gigabytes of entities")]
    pub fn new<S: AsRef<str>>(entities: &[S], language: Language) -> Self {
        let entities: Vec<Entity> = entities.iter().map(|entity| Entity::new(entity.as_ref())).collect();
        let mut patterns = Vec::new();
        let mut texts: Vec<String> = Vec::new();
        for (index, entity) in entities.iter().enumerate().filter(|(_, entity)| !entity.folded.is_empty()) {
            let mut add = |text: String, kind| {
                texts.push(text);
                patterns.push(Pattern { entity: index, kind });
            };
            let (endings, stems) = inflect::forms(&entity.folded, language);
            add(
                entity.folded.clone(),
                PatternKind::Whole(if entity.guard.is_cased() { ACRONYM } else { endings }),
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
        Self { entities, patterns, automaton, language }
    }

    /// All mentions in `text`, sorted by where they start, then by entity.
    ///
    /// Mentions of one entity do not overlap each other; those of different entities may (`Apple` in
    /// `Apple Watch`), and an entity that is listed twice has its mentions twice.
    pub fn find(&self, text: &str) -> Vec<Mention> {
        let Some(automaton) = &self.automaton else { return Vec::new() };
        let normalized = Normalized::new(text);
        let look = Look { text, text_case: TextCase::of(text), language: self.language };
        let found = automaton.find_overlapping_iter(normalized.as_str()).filter_map(|found| {
            let start = normalized.original_start(found.start())?;
            let end = normalized.original_end(found.end())?;
            let pattern = &self.patterns[found.pattern().as_usize()];
            let (span, form) = look.judge(&self.entities[pattern.entity], &pattern.kind, start, end)?;
            Some(Mention { entity: pattern.entity, span, form })
        });
        let mut mentions: Vec<Mention> = Vec::new();
        let mut most = MOST_UNSORTED;
        for mention in found {
            mentions.push(mention);
            if mentions.len() >= most {
                self.keep_apart(&mut mentions);
                most = MOST_UNSORTED.max(2 * mentions.len());
            }
        }
        self.keep_apart(&mut mentions);
        mentions
    }

    /// Sorts mentions and drops those that overlap an earlier one of the same entity. At one place, the
    /// plainest form and then the longest is kept.
    fn keep_apart(&self, mentions: &mut Vec<Mention>) {
        mentions.sort_unstable_by_key(|mention| {
            (mention.span.start, mention.entity, mention.form, usize::MAX - mention.span.end)
        });
        let mut free_from = vec![0; self.entities.len()];
        mentions.retain(|mention| {
            let is_free = mention.span.start >= free_from[mention.entity];
            if is_free {
                free_from[mention.entity] = mention.span.end;
            }
            is_free
        });
    }
}

/// Entity lists are as short-lived as a document, so for few patterns the automaton that is quickest to build
/// is used. It walks a list to each of the patterns that end at one byte, and so takes quadratic time where
/// hundreds of entities are the ends of each other.
fn automaton_kind(patterns: usize) -> AhoCorasickKind {
    if patterns <= MOST_LISTED { AhoCorasickKind::NoncontiguousNFA } else { AhoCorasickKind::ContiguousNFA }
}

const MOST_LISTED: usize = 32;

/// How many mentions are gathered before those that overlap are dropped. Bounds the memory that entities
/// take that lie inside each other; ordinary documents never come near.
const MOST_UNSORTED: usize = 1 << 18;

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
        let guard = Guard::of(given);
        let letters = folded.chars().count();
        let is_word = letters <= LONGEST_PART && folded.chars().all(char::is_alphabetic);
        let compound_letters = if is_word && !guard.is_cased() { letters } else { 0 };
        Self { given: given.to_owned(), folded, apart, guard, compound_letters }
    }
}

/// A text that is being searched.
struct Look<'t> {
    text: &'t str,
    text_case: TextCase,
    language: Language,
}

impl Look<'_> {
    /// Whether the letters of an entity at `start..end` are a mention of it, of which span and in which form.
    fn judge(
        &self,
        entity: &Entity,
        kind: &PatternKind,
        start: usize,
        end: usize,
    ) -> Option<(Span, MatchForm)> {
        let span = (start < end).then(|| Span::new(start, end))?;
        let starts_word = edge::is_word_edge(self.text, start);
        // Most of what is found of a short entity lies inside a word; it goes before anything dearer is asked.
        if !starts_word
            && !edge::is_visible_cut(self.text, start, true)
            && !self.may_be_in_compound(entity, SHORTEST_HEAD)
        {
            return None;
        }
        let ends_word = edge::is_word_edge(self.text, end);
        match kind {
            PatternKind::Stem(endings) => {
                if !starts_word || ends_word {
                    return None;
                }
                self.inflected(entity, span, endings)
            }
            PatternKind::Apart => {
                let is_whole = starts_word && ends_word;
                let has_looks = entity.guard.admits(span.slice(self.text), self.text_case, false);
                (is_whole && has_looks).then_some((span, MatchForm::Exact))
            }
            PatternKind::Squashed => {
                let is_one_word = starts_word && ends_word;
                (is_one_word && self.is_squashed(span)).then_some((span, MatchForm::Exact))
            }
            PatternKind::Whole(endings) => {
                let has_looks = || {
                    let is_in_tag = entity.guard.is_cased() && edge::is_in_tag(self.text, start);
                    entity.guard.admits(span.slice(self.text), self.text_case, is_in_tag)
                };
                match (starts_word, ends_word) {
                    (true, true) if has_looks() => Some(self.whole_word(entity, span, endings)),
                    (true, false) if has_looks() => self
                        .genitive(entity, span)
                        .or_else(|| self.inflected(entity, span, endings))
                        .or_else(|| self.visible_part(entity, span))
                        .or_else(|| self.modifier(entity, span)),
                    (false, true) if has_looks() => {
                        self.visible_part(entity, span).or_else(|| self.head(entity, span, end))
                    }
                    (false, false) if has_looks() => self.visible_part(entity, span).or_else(|| {
                        let (inflected, _) = self.inflected(entity, span, endings)?;
                        self.head(entity, span, inflected.end)
                    }),
                    _ => None,
                }
            }
        }
    }

    /// The entity with a word edge on both sides.
    fn whole_word(&self, entity: &Entity, span: Span, endings: Endings) -> (Span, MatchForm) {
        if self.language == Language::Dutch {
            if let Some(plural) = self.apostrophe_plural(entity, span, endings) {
                return (plural, MatchForm::Inflected);
            }
            if self.is_hyphenated(span) {
                return (span, MatchForm::Compound);
            }
        }
        (span, MatchForm::Exact)
    }

    /// The word with an apostrophe and an ending after the entity (`foto's`, `baby'tje`), unless that is the
    /// genitive of a name (`Obama's`).
    fn apostrophe_plural(&self, entity: &Entity, span: Span, endings: Endings) -> Option<Span> {
        let apostrophe = self.text[span.end..].chars().next().filter(|&next| is_apostrophe(next))?;
        let are_names = is_name(&entity.given) && is_name(span.slice(self.text));
        if are_names && !self.follows_counter(span) {
            return None;
        }
        let after = span.end + apostrophe.len_utf8();
        let end = edge::word_end(self.text, after)?;
        let ending = format!("'{}", fold_word(&self.text[after..end]));
        let is_ending = endings.contains(&ending.as_str()) || DIMINUTIVE.contains(&ending.as_str());
        is_ending.then(|| Span::new(span.start, end))
    }

    /// A Dutch name with a genitive `s` written to it, before what is owned: `Merkels beleid`. After an
    /// article or a number, or before a verb, the same letters are a plural: `twee Samsungs`.
    fn genitive(&self, entity: &Entity, span: Span) -> Option<(Span, MatchForm)> {
        if self.language != Language::Dutch || !is_name(&entity.given) || !is_name(span.slice(self.text)) {
            return None;
        }
        let owned =
            self.text[span.end..].strip_prefix("s ")?.split(|next: char| !next.is_alphanumeric()).next()?;
        let is_genitive = !owned.is_empty() && !VERBS.contains(&owned) && !self.follows_counter(span);
        is_genitive.then_some((span, MatchForm::Exact))
    }

    /// Whether a word that wants a plural stands before the entity: `twee Samsungs`.
    fn follows_counter(&self, span: Span) -> bool {
        let before = self.text[..span.start].strip_suffix(' ').unwrap_or("");
        let before = &before[before.floor_char_boundary(before.len().saturating_sub(LONGEST_COUNTER))..];
        let word = before.rsplit(|last: char| !last.is_alphanumeric()).next().unwrap_or("");
        COUNTERS.contains(&&*fold_word(word))
    }

    /// Whether a hyphen joins the entity to a word of which it is a part. A name after a title is not
    /// (`kabinet-Rutte`).
    fn is_hyphenated(&self, span: Span) -> bool {
        let mut before = self.text[..span.start].chars().rev();
        let mut after = self.text[span.end..].chars();
        let joins = |dash: Option<char>, letter: Option<char>| {
            dash.is_some_and(is_dash) && letter.is_some_and(char::is_alphabetic)
        };
        joins(after.next(), after.next())
            || (!is_name(span.slice(self.text)) && joins(before.next(), before.next()))
    }

    /// The word that begins with the span and goes on with one of the endings.
    ///
    /// Dutch family names differ by such an ending (`Rutte` and `Rutten`, `Jans` and `Jansen`), so a name
    /// has no plural in n.
    fn inflected(&self, entity: &Entity, span: Span, endings: Endings) -> Option<(Span, MatchForm)> {
        let end = edge::word_end(self.text, span.end)?;
        let ending = fold_word(&self.text[span.end..end]);
        let are_names = is_name(&entity.given) && is_name(span.slice(self.text));
        if self.language == Language::Dutch && are_names && ending.ends_with('n') {
            return None;
        }
        endings.contains(&ending.as_str()).then(|| (Span::new(span.start, end), MatchForm::Inflected))
    }

    /// The entity as a part that a reader sees in a word.
    fn visible_part(&self, entity: &Entity, span: Span) -> Option<(Span, MatchForm)> {
        let found = span.slice(self.text);
        if entity.guard.is_cased() || found.chars().all(|character| !character.is_alphabetic()) {
            return None;
        }
        // `YouTube` is no mention of a `tube`: a hump counts in tags and where the caller wrote it like that.
        let humps = edge::is_in_tag(self.text, span.start)
            || (found == entity.given && found.starts_with(char::is_uppercase));
        let is_cut = |at| edge::is_word_edge(self.text, at) || edge::is_visible_cut(self.text, at, humps);
        (is_cut(span.start) && is_cut(span.end)).then_some((span, MatchForm::Compound))
    }

    /// The Dutch compound that begins with the entity.
    fn modifier(&self, entity: &Entity, span: Span) -> Option<(Span, MatchForm)> {
        self.may_be_in_compound(entity, SHORTEST_MODIFIER).then_some(())?;
        let end = edge::word_end(self.text, span.end)?;
        compound::is_modifier(&entity.folded, &fold_word(&self.text[span.end..end]))
            .then(|| (Span::new(span.start, end), MatchForm::Compound))
    }

    /// The Dutch compound that ends with the entity, and an ending of its own up to `end`.
    fn head(&self, entity: &Entity, span: Span, end: usize) -> Option<(Span, MatchForm)> {
        self.may_be_in_compound(entity, SHORTEST_HEAD).then_some(())?;
        let start = edge::word_start(self.text, span.start)?;
        compound::is_head(&fold_word(&self.text[start..span.start]), &entity.folded)
            .then(|| (Span::new(start, end), MatchForm::Compound))
    }

    fn may_be_in_compound(&self, entity: &Entity, shortest: usize) -> bool {
        self.language == Language::Dutch && entity.compound_letters >= shortest
    }

    /// Whether a word stands for several: it is in a tag, or a hyphen or a capital shows where they meet.
    fn is_squashed(&self, span: Span) -> bool {
        let found = span.slice(self.text);
        let has_hump =
            || found.chars().zip(found.chars().skip(1)).any(|(a, b)| a.is_lowercase() && b.is_uppercase());
        found.contains(is_dash) || has_hump() || edge::is_in_tag(self.text, span.start)
    }
}

/// The endings of what is written in capitals: `TVs`, `tv's`.
const ACRONYM: Endings = &["s", "'s"];

/// The diminutive of what is spelled out: `sms'je`, `cd'tje`.
const DIMINUTIVE: Endings = &["'je", "'jes", "'tje", "'tjes"];

/// Shorter entities begin too many words that are no compounds of them.
const SHORTEST_MODIFIER: usize = 4;

/// Shorter entities end too many words that are no compounds of them (`advies` and `vis`).
const SHORTEST_HEAD: usize = 4;

/// No longer word is part of a compound.
const LONGEST_PART: usize = 48;

/// Before a name in `s`, these make it a plural.
const COUNTERS: [&str; 22] = [
    "alle", "beide", "de", "deze", "die", "drie", "een", "enkele", "geen", "haar", "hun", "meer", "mijn",
    "nieuwe", "onze", "oude", "twee", "uw", "veel", "vier", "vijf", "zijn",
];

/// More bytes than any of them has.
const LONGEST_COUNTER: usize = 16;

/// After a name in `s`, these make it a plural.
const VERBS: [&str; 10] =
    ["gaan", "hadden", "hebben", "kosten", "kunnen", "moeten", "waren", "worden", "zijn", "zullen"];

fn is_name(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_uppercase)
}

fn is_apostrophe(character: char) -> bool {
    matches!(character, '\'' | '’' | '‘' | '`' | 'ʼ' | '´')
}

/// A word in lower case and composed form, as word lists and endings have it.
fn fold_word(word: &str) -> String {
    use unicode_normalization::UnicodeNormalization;
    word.chars()
        .filter(|&character| !normalize::is_ignorable(character))
        .nfc()
        .flat_map(char::to_lowercase)
        .collect()
}
