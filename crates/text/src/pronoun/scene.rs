//! The possible antecedents that a sentence names.

use super::lexicon::List;
use super::words::{Ending, Looks, Word};

/// Maximum words after a determiner that belong to its noun phrase: `a very good screen`.
pub(super) const NAMED_WORDS: usize = 3;

/// The possible antecedents that a sentence has named so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scene {
    pub(super) mentioned: Mentioned,
    /// The last mention of an entity.
    pub(super) antecedent: Option<Antecedent>,
    pub(super) rivals: Rivals,
}

/// Which of the requested entities were mentioned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mentioned {
    #[default]
    None,
    One(usize),
    Several,
}

impl Mentioned {
    pub(super) fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, mentioned) | (mentioned, Self::None) => mentioned,
            (Self::One(one), Self::One(other)) if one == other => self,
            _ => Self::Several,
        }
    }
}

/// Number of other possible antecedents, by kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rivals {
    pub(super) names: usize,
    pub(super) things: usize,
    pub(super) people: usize,
    pub(super) several: usize,
}

/// A possible antecedent of a pronoun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Antecedent {
    pub(super) entity: usize,
    /// Whether it is a name without an article.
    pub(super) is_name: bool,
    /// Whether it is an @name, which usually belongs to a firm.
    pub(super) is_account: bool,
    pub(super) number: Number,
    /// Whether its article marks it as a Dutch neuter noun.
    pub(super) is_neuter: bool,
    /// Number of words before it in the text, and of clauses begun.
    pub(super) at: usize,
    pub(super) clause: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    One,
    Several,
    /// A place or a firm: "it" or "they".
    Either,
}

/// The noun phrase that a determiner began.
#[derive(Clone, Copy, Debug)]
pub(super) struct NounPhrase {
    pub(super) words_left: usize,
    pub(super) is_neuter: bool,
    pub(super) is_person: bool,
}

impl Scene {
    /// Counts the possible antecedent that a word adds. `run` is the state of the words right before it; returns that
    /// for the next word.
    pub(super) fn add_word(
        &mut self,
        word: &Word,
        is_first: bool,
        opened: &mut Option<NounPhrase>,
        run: NameRun,
    ) -> NameRun {
        let lists = word.lists;
        if lists.contains(List::Determiners) {
            self.close(opened.take());
            *opened = Some(NounPhrase {
                words_left: NAMED_WORDS,
                is_neuter: lists.contains(List::Neuter),
                is_person: false,
            });
            return NameRun::default();
        }
        if lists.contains(List::Plain) {
            self.close(opened.take());
            return NameRun::default();
        }
        let is_person = lists.contains(List::People);
        self.rivals.people += usize::from(is_person);
        self.rivals.several += usize::from(lists.contains(List::Several) || word.ending == Ending::Plural);
        if let Some(mut begun) = opened.take() {
            begun.words_left -= 1;
            begun.is_person |= is_person;
            if begun.words_left == 0 { self.close(Some(begun)) } else { *opened = Some(begun) }
        }
        // The capital of an everyday word at the start of a sentence means nothing.
        let is_everyday =
            is_first && (lists.contains(List::Everyday) || word.ending == Ending::Adverb || is_person);
        let is_name = word.looks != Looks::Plain && !is_everyday;
        self.rivals.names += usize::from(is_name);
        if !is_name && !is_person {
            return NameRun::default();
        }
        NameRun { names: run.names + usize::from(is_name), people: run.people + usize::from(is_person) }
    }

    /// Ends the noun phrase of a determiner. It counts as a thing, unless it stayed empty or named a person, who is
    /// counted already.
    pub(super) fn close(&mut self, opened: Option<NounPhrase>) {
        let is_thing = opened.is_some_and(|opened| opened.words_left < NAMED_WORDS && !opened.is_person);
        self.rivals.things += usize::from(is_thing);
    }
}

/// Capitals and titles in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NameRun {
    pub(super) names: usize,
    pub(super) people: usize,
}

impl Rivals {
    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            names: self.names + other.names,
            things: self.things + other.things,
            people: self.people + other.people,
            several: self.several + other.several,
        }
    }
}
