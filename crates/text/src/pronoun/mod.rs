//! Resolves pronouns to entities: "I love this phone. *It* never fails."
//!
//! This step is optional and off by default. It prefers precision over recall: a pronoun counts only if the same or the
//! previous sentence mentions one requested entity and nothing else that the pronoun could refer to. The words are in
//! each language's folder (`pronouns.txt`), the cases in `tests/data/pronouns.txt`, and the measured gain in
//! `docs/decisions/0042-pronouns-when-asked.md`.

mod kind;
mod lexicon;
mod scene;
mod words;

use std::collections::HashMap;

use crate::language::Language;
use crate::languages::{Gender, LanguagePack, PronounRules};
use crate::mention::{Found, MatchForm, Mention};
use crate::span::Span;
use kind::{Kind, is_doing};
pub(crate) use lexicon::Lexicon;
use lexicon::List;
use scene::{Antecedent, Mentioned, NAMED_WORDS, NameRun, NounPhrase, Number, Rivals, Scene};
use words::{SINGULAR_ENDINGS, Word, word_lists, words};

/// Returns `mentions` and the pronouns that refer to one of their entities, in order.
///
/// `sentences` tile the text, and `mentions` are sorted by start, as [`crate::mention`] returns them.
pub fn follow(text: &str, language: Language, sentences: &[Span], mentions: Vec<Mention>) -> Vec<Mention> {
    follow_first(text, language, sentences, Found { mentions, left_out: 0 }, usize::MAX).mentions
}

/// Like [`follow`], but adds pronouns only up to `most` mentions in all, and counts the others.
///
/// Takes time linear in the text and the mentions.
pub fn follow_first(text: &str, language: Language, sentences: &[Span], found: Found, most: usize) -> Found {
    let Found { mentions, left_out } = found;
    if mentions.is_empty() {
        return Found { mentions, left_out };
    }
    let namesakes = namesakes(&mentions);
    let mut alike: HashMap<usize, Vec<usize>> = HashMap::new();
    for (&entity, &first) in &namesakes {
        alike.entry(first).or_default().push(entity);
    }
    let mut reader = Reader {
        text,
        rules: &LanguagePack::for_language(language).pronouns,
        namesakes,
        alike,
        waiting: &mentions,
        words_read: 0,
        clauses_begun: 0,
        covered_until: 0,
        sexes: HashMap::new(),
        joints: Stretch::default(),
        letters: Stretch::default(),
        followed: Vec::new(),
        room: most.saturating_sub(mentions.len()),
        left_out,
    };
    let mut previous = Scene::default();
    for sentence in sentences {
        let scene = reader.read(*sentence, &previous);
        // An antecedent in another paragraph is too far away.
        let ends_paragraph = text[sentence.start..sentence.end]
            .chars()
            .rev()
            .take_while(|next| next.is_whitespace())
            .filter(|&next| next == '\n')
            .nth(1)
            .is_some();
        previous = if ends_paragraph { Scene::default() } else { scene };
    }
    let Reader { followed, left_out, .. } = reader;
    let mut all = mentions;
    all.extend(followed);
    all.sort_by_key(|mention| (mention.span.start, mention.entity));
    Found { mentions: all, left_out }
}

/// Maps each entity to the first one that is mentioned at the same places: a caller may list a name twice.
fn namesakes(mentions: &[Mention]) -> HashMap<usize, usize> {
    let mut places: HashMap<usize, Vec<Span>> = HashMap::new();
    for mention in mentions {
        places.entry(mention.entity).or_default().push(mention.span);
    }
    let mut entities: Vec<usize> = places.keys().copied().collect();
    entities.sort_unstable();
    let mut first_at: HashMap<&[Span], usize> = HashMap::new();
    let first = |&entity: &usize| (entity, *first_at.entry(&places[&entity]).or_insert(entity));
    entities.iter().map(first).collect()
}

/// Maximum distance from a pronoun to its antecedent, in words.
const MOST_WORDS_BACK: usize = 40;

struct Reader<'t> {
    text: &'t str,
    rules: &'static PronounRules,
    /// For each entity, the first one that is mentioned at the same places.
    namesakes: HashMap<usize, usize>,
    /// For each first entity, all that share its places.
    alike: HashMap<usize, Vec<usize>>,
    /// The mentions that are still to be read.
    waiting: &'t [Mention],
    words_read: usize,
    clauses_begun: usize,
    /// End of the last mention read, with everything attached to it.
    covered_until: usize,
    /// The gender of each entity that a pronoun has revealed.
    sexes: HashMap<usize, Kind>,
    /// The characters attached to the last mention read: apostrophes and hyphens, then letters.
    joints: Stretch,
    letters: Stretch,
    followed: Vec<Mention>,
    /// Number of further mentions that are kept.
    room: usize,
    left_out: usize,
}

/// A cached run of characters of one kind, so that many mentions in one long word do not each read it to its end.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    start: usize,
    end: usize,
}

impl Stretch {
    /// Returns the end of the run of such characters from `at` on.
    fn end_from(&mut self, text: &str, at: usize, is_part: impl Fn(char) -> bool) -> usize {
        if !(self.start..=self.end).contains(&at) {
            let rest = &text[at..];
            let length = rest.find(|next| !is_part(next)).unwrap_or(rest.len());
            *self = Self { start: at, end: at + length };
        }
        self.end
    }
}

impl Reader<'_> {
    /// Reads a sentence to its end.
    fn read(&mut self, sentence: Span, previous: &Scene) -> Scene {
        let words = words(self.text, sentence, self.rules);
        let mut scene = Scene::default();
        let mut opened: Option<NounPhrase> = None;
        // Capitals and titles right before the next word, which may be part of a name: `President Obama`.
        let mut run = NameRun::default();
        for (index, word) in words.iter().enumerate() {
            if word.follows_mark || index == 0 {
                scene.close(opened.take());
                run = NameRun::default();
            }
            if word.follows_mark || index == 0 || word.lists.contains(List::Joiners) {
                self.clauses_begun += 1;
            }
            while let Some((mention, rest)) = self.waiting.split_first() {
                if mention.span.start >= word.span.end {
                    break;
                }
                self.waiting = rest;
                let entity = self.namesakes[&mention.entity];
                let antecedent = self.antecedent(mention, entity, opened.take());
                let title = std::mem::take(&mut run);
                scene.rivals.names -= title.names;
                scene.rivals.people -= title.people;
                scene.mentioned = scene.mentioned.merge(Mentioned::One(entity));
                scene.antecedent = Some(antecedent);
                let (end, begun) = self.attached(mention);
                self.covered_until = self.covered_until.max(end);
                opened = begun;
            }
            self.words_read += 1;
            if word.span.start < self.covered_until {
                continue;
            }
            if let Some(kind) = kind::classify(&words, index, self.rules) {
                scene.close(opened.take());
                if let Some(antecedent) = self.resolve(kind, &words, index, previous, &scene) {
                    self.add_pronoun(word.span, antecedent);
                    let (at, clause) = (self.words_read, self.clauses_begun);
                    scene.mentioned = scene.mentioned.merge(Mentioned::One(antecedent.entity));
                    scene.antecedent = Some(Antecedent { at, clause, ..antecedent });
                    run = NameRun::default();
                    continue;
                }
            }
            run = scene.add_word(word, index == 0, &mut opened, run);
        }
        scene.close(opened);
        // A mention without a letter is at no word.
        while let Some((mention, rest)) = self.waiting.split_first() {
            if mention.span.start >= sentence.end {
                break;
            }
            self.waiting = rest;
            let entity = self.namesakes[&mention.entity];
            scene.mentioned = scene.mentioned.merge(Mentioned::One(entity));
            scene.antecedent = Some(self.antecedent(mention, entity, None));
            self.covered_until = self.covered_until.max(mention.span.end);
        }
        scene
    }

    fn antecedent(&self, mention: &Mention, entity: usize, opened: Option<NounPhrase>) -> Antecedent {
        let found = mention.span.slice(self.text);
        let last = found.rsplit(|next: char| !next.is_alphanumeric()).find(|word| !word.is_empty());
        let last = last.unwrap_or_default().to_lowercase();
        let in_s =
            last.len() > 3 && last.ends_with('s') && !SINGULAR_ENDINGS.iter().any(|end| last.ends_with(end));
        let is_capital = found.starts_with(|first: char| !first.is_lowercase());
        let number = if self.rules.lexicon.lists(&last).contains(List::Several) {
            Number::Either
        } else if is_capital && opened.is_none() {
            // A name that ends in s is usually singular. A name can be a firm or a person.
            Number::Either
        } else if in_s || mention.form == MatchForm::Inflected {
            Number::Several
        } else {
            Number::One
        };
        Antecedent {
            entity,
            is_name: is_capital && opened.is_none(),
            is_account: found.starts_with('@') || self.text[..mention.span.start].ends_with('@'),
            number,
            is_neuter: opened.is_some_and(|opened| opened.is_neuter),
            at: self.words_read,
            clause: self.clauses_begun,
        }
    }

    /// Returns the end of a mention with everything attached to it, and the noun phrase that it begins: in `Apple's
    /// phone` the noun follows, in `Apple-telefoon` it is already complete.
    fn attached(&mut self, mention: &Mention) -> (usize, Option<NounPhrase>) {
        let end = mention.span.end;
        let joint = self.joints.end_from(self.text, end, |next| matches!(next, '\'' | '’' | '-' | '‑'));
        let word = self.letters.end_from(self.text, joint, char::is_alphanumeric);
        if word == joint {
            return (end, None);
        }
        let is_possessive = matches!(&self.text[end..word], "'s" | "’s" | "s");
        let words_left = if is_possessive { NAMED_WORDS } else { NAMED_WORDS - 1 };
        (word, Some(NounPhrase { words_left, is_neuter: false, is_person: false }))
    }

    /// Returns the antecedent of a pronoun, if it is unambiguous.
    fn resolve(
        &self,
        kind: Kind,
        words: &[Word],
        index: usize,
        previous: &Scene,
        scene: &Scene,
    ) -> Option<Antecedent> {
        let Mentioned::One(_) = previous.mentioned.merge(scene.mentioned) else { return None };
        let (antecedent, rivals) = match scene.antecedent {
            Some(antecedent) => (antecedent, scene.rivals),
            None => (previous.antecedent?, previous.rivals.merge(scene.rivals)),
        };
        let is_near = self.words_read - antecedent.at <= MOST_WORDS_BACK;
        let is_plain = is_near && self.agrees(kind, antecedent, rivals);
        // `Obama met him` is about someone else, `Obama lost his job` is not.
        let is_object = word_lists(words, index).contains(List::Objects)
            && words.get(index + 1).is_none_or(|next| next.follows_mark || next.lists.contains(List::Plain));
        if is_object && scene.antecedent.is_some() && antecedent.clause == self.clauses_begun {
            return None;
        }
        // A firm acts; after the name of a person, `it` usually refers to the event.
        let is_told_of = kind != Kind::It || !antecedent.is_name || is_doing(words, index);
        (is_plain && is_told_of).then_some(antecedent)
    }

    fn agrees(&self, kind: Kind, antecedent: Antecedent, rivals: Rivals) -> bool {
        let Antecedent { entity, is_name, is_account, number, is_neuter, .. } = antecedent;
        let Rivals { names, things, people, several } = rivals;
        let called = self.sexes.get(&entity);
        let has_grammatical_gender = self.rules.gender == Gender::Grammatical;
        if names > 0 {
            return false;
        }
        match kind {
            Kind::It if has_grammatical_gender => is_neuter && number != Number::Several && things == 0,
            Kind::It | Kind::Its => number != Number::Several && things == 0 && called.is_none(),
            Kind::He if has_grammatical_gender && !is_name => {
                !is_neuter && number != Number::Several && things == 0 && people == 0
            }
            Kind::He | Kind::She => {
                is_name && !is_account && people == 0 && called.is_none_or(|&called| called == kind)
            }
            Kind::They => {
                number != Number::One && called.is_none() && things == 0 && people == 0 && several == 0
            }
            Kind::ThatOne => !is_neuter && number != Number::Several && things == 0 && people == 0,
        }
    }

    /// Counts a pronoun as a mention of all namesakes.
    fn add_pronoun(&mut self, span: Span, antecedent: Antecedent) {
        let lists = self.rules.lexicon.lists(&span.slice(self.text).to_lowercase());
        if antecedent.is_name && lists.contains_any(&[List::He, List::His]) {
            self.sexes.insert(antecedent.entity, Kind::He);
        } else if antecedent.is_name && lists.contains(List::She) {
            self.sexes.insert(antecedent.entity, Kind::She);
        }
        let alike = self.alike.get(&antecedent.entity).map_or(&[][..], Vec::as_slice);
        let (kept, left_out) = alike.split_at(alike.len().min(self.room));
        let as_mention = |&entity: &usize| Mention { entity, span, form: MatchForm::Pronoun };
        self.followed.extend(kept.iter().map(as_mention));
        self.room -= kept.len();
        self.left_out += left_out.len();
    }
}
