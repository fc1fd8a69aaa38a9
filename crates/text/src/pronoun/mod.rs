//! Which pronouns stand for an entity: "I love this phone. *It* never fails."
//!
//! An optional step, off unless a caller asks for it. It is careful rather than complete: a pronoun counts only
//! where the same or the previous sentence mentions one entity of the request and nothing else that the pronoun
//! could stand for. What it knows of the languages is in `src/pronoun/data/`, `tests/data/pronouns.txt` shows it at
//! work, and `docs/decisions/0042-pronouns-when-asked.md` tells what it is worth.

mod lexicon;

use crate::language::Language;
use crate::mention::{MatchForm, Mention};
use crate::span::Span;
use lexicon::{Lexicon, List, Lists};
use std::collections::HashMap;

/// `mentions`, and the pronouns that stand for one of the entities, as mentions of it; in the same order.
///
/// `sentences` tile the text, and `mentions` are sorted by where they start, as [`crate::mention`] gives them.
/// Takes time linear in the text.
pub fn follow(text: &str, language: Language, sentences: &[Span], mentions: Vec<Mention>) -> Vec<Mention> {
    if mentions.is_empty() {
        return mentions;
    }
    let namesakes = namesakes(&mentions);
    let mut alike: HashMap<usize, Vec<usize>> = HashMap::new();
    for (&entity, &first) in &namesakes {
        alike.entry(first).or_default().push(entity);
    }
    let mut reader = Reader {
        text,
        language,
        lexicon: Lexicon::of(language),
        namesakes,
        alike,
        waiting: &mentions,
        words_read: 0,
        clauses_begun: 0,
        covered_until: 0,
        sexes: HashMap::new(),
        followed: Vec::new(),
    };
    let mut previous = Scene::default();
    for sentence in sentences {
        let scene = reader.read(*sentence, &previous);
        // What stands in another paragraph is too far away.
        let ends_paragraph = text[sentence.start..sentence.end]
            .chars()
            .rev()
            .take_while(|next| next.is_whitespace())
            .filter(|&next| next == '\n')
            .nth(1)
            .is_some();
        previous = if ends_paragraph { Scene::default() } else { scene };
    }
    let followed = reader.followed;
    let mut all = mentions;
    all.extend(followed);
    all.sort_by_key(|mention| (mention.span.start, mention.entity));
    all
}

/// For each entity the first one that is mentioned at the same places: a caller may list a name twice.
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

/// A pronoun stands for nothing that was mentioned longer ago, in words.
const MOST_WORDS_BACK: usize = 40;

/// So many words after a determiner still belong to what it names: `a very good screen`.
const NAMED_WORDS: usize = 3;

/// So many words after a pronoun may show that it stands for nothing.
const WORDS_AHEAD: usize = 5;

/// What a sentence has told so far that a pronoun could stand for.
#[derive(Clone, Copy, Debug, Default)]
struct Scene {
    told: Told,
    /// The last mention of an entity.
    antecedent: Option<Antecedent>,
    rivals: Rivals,
}

/// Which of the requested entities were mentioned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    None,
    One(usize),
    Several,
}

impl Told {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, told) | (told, Self::None) => told,
            (Self::One(one), Self::One(other)) if one == other => self,
            _ => Self::Several,
        }
    }
}

/// How much else was named, by what a pronoun could take it for.
#[derive(Clone, Copy, Debug, Default)]
struct Rivals {
    names: usize,
    things: usize,
    people: usize,
    several: usize,
}

/// What a pronoun may stand for.
#[derive(Clone, Copy, Debug)]
struct Antecedent {
    entity: usize,
    /// Whether it is a name without an article.
    is_name: bool,
    /// Whether it is an @name, which is mostly a firm's.
    is_account: bool,
    number: Number,
    /// Whether its article says that it is a Dutch het-word.
    is_neuter: bool,
    /// How many words of the text came before it, and how many clauses began.
    at: usize,
    clause: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    One,
    Several,
    /// A place or a firm, which is "it" or "they".
    Either,
}

/// What a pronoun asks of what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// `it`, `het`: a thing.
    It,
    /// `its`: a thing.
    Its,
    /// `he`; `hij`, which may be a thing as well.
    He,
    /// `she`.
    She,
    /// `they`.
    They,
    /// `die`: whatever was named.
    ThatOne,
}

/// What a determiner began.
#[derive(Clone, Copy, Debug)]
struct Opened {
    words_left: usize,
    is_neuter: bool,
    is_person: bool,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    span: Span,
    lists: Lists,
    looks: Looks,
    ending: Ending,
    /// Whether a mark that divides clauses stands before it.
    follows_mark: bool,
}

/// What makes a word look like a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looks {
    Plain,
    Capital,
    /// Part of a tag or an @name.
    Tag,
}

/// What the end of a word tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// In s, as plurals are, and in Dutch also in en.
    Plural,
    /// In ly, as English adverbs are.
    Adverb,
    Other,
}

struct Reader<'t> {
    text: &'t str,
    language: Language,
    lexicon: &'static Lexicon,
    /// The first entity of those that are mentioned at the same places, for each.
    namesakes: HashMap<usize, usize>,
    /// All that share their places with a first one.
    alike: HashMap<usize, Vec<usize>>,
    /// The mentions that were not read yet.
    waiting: &'t [Mention],
    words_read: usize,
    clauses_begun: usize,
    /// Up to where the text belongs to mentions.
    covered_until: usize,
    /// Who was called he or she.
    sexes: HashMap<usize, Sort>,
    followed: Vec<Mention>,
}

impl Reader<'_> {
    /// Reads a sentence to its end.
    fn read(&mut self, sentence: Span, previous: &Scene) -> Scene {
        let words = self.words(sentence);
        let mut scene = Scene::default();
        let mut opened: Option<Opened> = None;
        // What stands right before the next word and is part of a name that follows: `President Obama`.
        let mut run = Run::default();
        for (index, word) in words.iter().enumerate() {
            if word.follows_mark || index == 0 {
                scene.close(opened.take());
                run = Run::default();
            }
            if word.follows_mark || index == 0 || word.lists.has(List::Joiners) {
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
                scene.told = scene.told.and(Told::One(entity));
                scene.antecedent = Some(antecedent);
                let (end, begun) = self.attached(mention);
                self.covered_until = self.covered_until.max(end);
                opened = begun;
            }
            self.words_read += 1;
            if word.span.start < self.covered_until {
                continue;
            }
            if let Some(sort) = self.sort(&words, index) {
                scene.close(opened.take());
                if let Some(antecedent) = self.meant(sort, &words, index, previous, &scene) {
                    self.take(word.span, antecedent);
                    let (at, clause) = (self.words_read, self.clauses_begun);
                    scene.told = scene.told.and(Told::One(antecedent.entity));
                    scene.antecedent = Some(Antecedent { at, clause, ..antecedent });
                    run = Run::default();
                    continue;
                }
            }
            run = scene.note(word, index == 0, &mut opened, run);
        }
        scene.close(opened);
        // A mention without a letter has no word to stand at.
        while let Some((mention, rest)) = self.waiting.split_first() {
            if mention.span.start >= sentence.end {
                break;
            }
            self.waiting = rest;
            let entity = self.namesakes[&mention.entity];
            scene.told = scene.told.and(Told::One(entity));
            scene.antecedent = Some(self.antecedent(mention, entity, None));
            self.covered_until = self.covered_until.max(mention.span.end);
        }
        scene
    }

    fn words(&self, sentence: Span) -> Vec<Word> {
        let text = sentence.slice(self.text);
        let mut words: Vec<Word> = Vec::new();
        let mut end = 0;
        while let Some(length) = text[end..].find(char::is_alphanumeric) {
            let start = end + length;
            let gap = &text[end..start];
            let rest = &text[start..];
            end = start + rest.find(|next: char| !next.is_alphanumeric()).unwrap_or(rest.len());
            let word = &text[start..end];
            let folded = word.to_lowercase();
            let lists = self.lexicon.lists(&folded);
            let is_capital = word.starts_with(char::is_uppercase);
            let may_be_plural = !is_capital && folded.len() > 3 && !lists.has(List::Plain);
            let ends = |endings: &[&str]| endings.iter().any(|ending| folded.ends_with(ending));
            let in_s = ends(&["s"]) && !ends(&["ss", "us", "is"]);
            let looks = match is_capital {
                _ if gap.ends_with(['#', '@']) => Looks::Tag,
                true => Looks::Capital,
                false => Looks::Plain,
            };
            let ending = if may_be_plural && (in_s || (self.language == Language::Dutch && ends(&["en"]))) {
                Ending::Plural
            } else if self.language == Language::English && ends(&["ly"]) {
                Ending::Adverb
            } else {
                Ending::Other
            };
            words.push(Word {
                span: Span::new(sentence.start + start, sentence.start + end),
                lists,
                looks,
                ending,
                follows_mark: gap.contains(|next| !is_inside_clause(next)),
            });
        }
        words
    }

    fn antecedent(&self, mention: &Mention, entity: usize, opened: Option<Opened>) -> Antecedent {
        let found = mention.span.slice(self.text);
        let last = found.rsplit(|next: char| !next.is_alphanumeric()).find(|word| !word.is_empty());
        let last = last.unwrap_or_default().to_lowercase();
        let in_s = last.len() > 3
            && last.ends_with('s')
            && !["ss", "us", "is"].iter().any(|end| last.ends_with(end));
        let is_capital = found.starts_with(|first: char| !first.is_lowercase());
        let number = if self.lexicon.lists(&last).has(List::Several) {
            Number::Either
        } else if is_capital && opened.is_none() {
            // A name in s is mostly one; a name is a firm as well as a person.
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

    /// Where a mention ends with all that is written to it, and what of another thing's name that began:
    /// of `Apple's phone` the phone comes next, and of `Apple-telefoon` it was there.
    fn attached(&self, mention: &Mention) -> (usize, Option<Opened>) {
        let end = mention.span.end;
        let rest = &self.text[end..];
        let joint = rest.find(|next| !matches!(next, '\'' | '’' | '-' | '‑')).unwrap_or(rest.len());
        let word = rest[joint..].find(|next: char| !next.is_alphanumeric()).unwrap_or(rest.len() - joint);
        if word == 0 {
            return (end, None);
        }
        let is_possessive = matches!(&rest[..joint + word], "'s" | "’s" | "s");
        let words_left = if is_possessive { NAMED_WORDS } else { NAMED_WORDS - 1 };
        (end + joint + word, Some(Opened { words_left, is_neuter: false, is_person: false }))
    }

    /// What the word asks for as a pronoun; `None` for what is none, or stands for nothing.
    fn sort(&self, words: &[Word], index: usize) -> Option<Sort> {
        let word = &words[index];
        let before = index.checked_sub(1).map(|before| word_lists(words, before)).unwrap_or_default();
        let after = word_lists(words, index + 1);
        let begins_clause = index == 0 || word.follows_mark || before.has(List::Joiners);
        let lists = word.lists;
        let is_english = self.language == Language::English;
        if lists.has(List::It) {
            let is_meant = if is_english {
                !is_empty_it(words, index)
            } else {
                begins_clause && is_dutch_it(words, index)
            };
            return is_meant.then_some(Sort::It);
        }
        if lists.has(List::Its) {
            return Some(Sort::Its);
        }
        if lists.has(List::He) {
            return Some(Sort::He);
        }
        if lists.has(List::His) {
            return before.has(List::Prepositions).then_some(Sort::He);
        }
        if lists.has(List::She) {
            // Dutch `mijn haar` is hair.
            return (is_english || !before.has(List::Determiners)).then_some(Sort::She);
        }
        if lists.has(List::SheOrThey) {
            let (verb, inverted) = (after, before);
            return if verb.has(List::Generic) {
                None
            } else if verb.has(List::Plural) || (inverted.has(List::Plural) && !begins_clause) {
                Some(Sort::They)
            } else if verb.has(List::Singular) || (inverted.has(List::Singular) && !begins_clause) {
                Some(Sort::She)
            } else {
                None
            };
        }
        if lists.has(List::They) {
            return Some(Sort::They);
        }
        let points = lists.has(List::ThatOne) && index == 0;
        (points && after.has_any(&[List::Verbs, List::Singular])).then_some(Sort::ThatOne)
    }

    /// What a pronoun stands for, if that is plain.
    fn meant(
        &self,
        sort: Sort,
        words: &[Word],
        index: usize,
        previous: &Scene,
        scene: &Scene,
    ) -> Option<Antecedent> {
        let Told::One(_) = previous.told.and(scene.told) else { return None };
        let (antecedent, rivals) = match scene.antecedent {
            Some(antecedent) => (antecedent, scene.rivals),
            None => (previous.antecedent?, previous.rivals.and(scene.rivals)),
        };
        let is_near = self.words_read - antecedent.at <= MOST_WORDS_BACK;
        let is_plain = is_near && self.suits(sort, antecedent, rivals);
        // `Obama met him` is about someone else, `Obama lost his job` is not.
        let is_object = word_lists(words, index).has(List::Objects)
            && words.get(index + 1).is_none_or(|next| next.follows_mark || next.lists.has(List::Plain));
        if is_object && scene.antecedent.is_some() && antecedent.clause == self.clauses_begun {
            return None;
        }
        // A firm does things; what `it` is, after the name of a person, is mostly what was told of them.
        let is_told_of = sort != Sort::It || !antecedent.is_name || is_doing(words, index);
        (is_plain && is_told_of).then_some(antecedent)
    }

    fn suits(&self, sort: Sort, antecedent: Antecedent, rivals: Rivals) -> bool {
        let Antecedent { entity, is_name, is_account, number, is_neuter, .. } = antecedent;
        let Rivals { names, things, people, several } = rivals;
        let called = self.sexes.get(&entity);
        let is_dutch = self.language == Language::Dutch;
        if names > 0 {
            return false;
        }
        match sort {
            Sort::It if is_dutch => is_neuter && number != Number::Several && things == 0,
            Sort::It | Sort::Its => number != Number::Several && things == 0 && called.is_none(),
            Sort::He if is_dutch && !is_name => {
                !is_neuter && number != Number::Several && things == 0 && people == 0
            }
            Sort::He | Sort::She => {
                is_name && !is_account && people == 0 && called.is_none_or(|&called| called == sort)
            }
            Sort::They => {
                number != Number::One && called.is_none() && things == 0 && people == 0 && several == 0
            }
            Sort::ThatOne => !is_neuter && number != Number::Several && things == 0 && people == 0,
        }
    }

    /// Counts a pronoun as a mention of all namesakes.
    fn take(&mut self, span: Span, antecedent: Antecedent) {
        let sort = self.lexicon.lists(&span.slice(self.text).to_lowercase());
        if antecedent.is_name && sort.has_any(&[List::He, List::His]) {
            self.sexes.insert(antecedent.entity, Sort::He);
        } else if antecedent.is_name && sort.has(List::She) {
            self.sexes.insert(antecedent.entity, Sort::She);
        }
        let alike = self.alike.get(&antecedent.entity).into_iter().flatten();
        let as_mention = |&entity: &usize| Mention { entity, span, form: MatchForm::Pronoun };
        self.followed.extend(alike.map(as_mention));
    }
}

impl Scene {
    /// Counts what a word adds that a pronoun could stand for. `run` is what stood right before it; gives what stands
    /// right before the next.
    fn note(&mut self, word: &Word, is_first: bool, opened: &mut Option<Opened>, run: Run) -> Run {
        let lists = word.lists;
        if lists.has(List::Determiners) {
            self.close(opened.take());
            *opened = Some(Opened {
                words_left: NAMED_WORDS,
                is_neuter: lists.has(List::Neuter),
                is_person: false,
            });
            return Run::default();
        }
        if lists.has(List::Plain) {
            self.close(opened.take());
            return Run::default();
        }
        let is_person = lists.has(List::People);
        self.rivals.people += usize::from(is_person);
        self.rivals.several += usize::from(lists.has(List::Several) || word.ending == Ending::Plural);
        if let Some(mut begun) = opened.take() {
            begun.words_left -= 1;
            begun.is_person |= is_person;
            if begun.words_left == 0 { self.close(Some(begun)) } else { *opened = Some(begun) }
        }
        // The first word of a sentence has its capital for nothing, if it is an everyday one.
        let is_everyday =
            is_first && (lists.has(List::Everyday) || word.ending == Ending::Adverb || is_person);
        let is_name = word.looks != Looks::Plain && !is_everyday;
        self.rivals.names += usize::from(is_name);
        if !is_name && !is_person {
            return Run::default();
        }
        Run { names: run.names + usize::from(is_name), people: run.people + usize::from(is_person) }
    }

    /// Ends what a determiner began: a thing of its own, unless nothing came of it or a person, who is counted.
    fn close(&mut self, opened: Option<Opened>) {
        let is_thing = opened.is_some_and(|opened| opened.words_left < NAMED_WORDS && !opened.is_person);
        self.rivals.things += usize::from(is_thing);
    }
}

/// Capitals and titles in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    names: usize,
    people: usize,
}

impl Rivals {
    fn and(self, other: Self) -> Self {
        Self {
            names: self.names + other.names,
            things: self.things + other.things,
            people: self.people + other.people,
            several: self.several + other.several,
        }
    }
}

/// Characters between words that do not divide clauses.
fn is_inside_clause(next: char) -> bool {
    next.is_whitespace()
        || matches!(next, '\'' | '’' | '-' | '‑' | '#' | '@' | '_' | '*' | '"' | '“' | '”' | '&' | '.')
}

/// The lists of a word; none where there is no such word.
fn word_lists(words: &[Word], index: usize) -> Lists {
    words.get(index).map(|word| word.lists).unwrap_or_default()
}

/// The first word after a pronoun, and those after that in the same clause.
fn ahead(words: &[Word], index: usize) -> Option<(&Word, impl Iterator<Item = Lists> + Clone)> {
    let ahead = &words[index + 1..words.len().min(index + 2 + WORDS_AHEAD)];
    let (verb, rest) = ahead.split_first().filter(|(verb, _)| !verb.follows_mark)?;
    Some((verb, rest.iter().take_while(|word| !word.follows_mark).map(|word| word.lists)))
}

/// Whether an English "it" stands for the weather, the time, or what follows it.
fn is_empty_it(words: &[Word], index: usize) -> bool {
    let Some((verb, mut rest)) = ahead(words, index) else { return false };
    let before = index.checked_sub(1).map(|before| word_lists(words, before)).unwrap_or_default();
    let is_verb = verb.lists.has(List::EmptyVerbs);
    let goes_on = rest.clone().any(|next| next.has(List::EmptyContinuations));
    verb.lists.has(List::EmptyAlone)
        || (is_verb && (goes_on || rest.any(|next| next.has(List::EmptyNouns))))
        || (before.has(List::EmptyBefore) && (goes_on || verb.lists.has(List::EmptyContinuations)))
}

/// Whether a Dutch "het" before a verb says something about what was named.
fn is_dutch_it(words: &[Word], index: usize) -> bool {
    let Some((verb, mut rest)) = ahead(words, index) else { return false };
    verb.lists.has(List::NeuterVerbs) && !rest.any(|next| next.has(List::EmptyContinuations))
}

/// Whether an "it" begins a clause and does something.
fn is_doing(words: &[Word], index: usize) -> bool {
    let before = index.checked_sub(1).map(|before| word_lists(words, before)).unwrap_or_default();
    let begins_clause = index == 0 || words[index].follows_mark || before.has(List::Joiners);
    let Some((next, mut rest)) = ahead(words, index) else { return false };
    let verb = if next.lists.has(List::Adverbs) { rest.next() } else { Some(next.lists) };
    begins_clause && verb.is_some_and(|verb| !verb.has_any(&[List::EmptyVerbs, List::Plain]))
}
