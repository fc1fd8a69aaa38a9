//! The entities and other things that a sentence names.

use super::lexicon::List;
use super::words::{Ending, Looks, Word};

/// So many words after a determiner still belong to what it names: `a very good screen`.
pub(super) const NAMED_WORDS: usize = 3;

/// What a sentence has named so far that a pronoun could stand for.
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

/// How much else was named, by what a pronoun could take it for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rivals {
    pub(super) names: usize,
    pub(super) things: usize,
    pub(super) people: usize,
    pub(super) several: usize,
}

/// What a pronoun may stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Antecedent {
    pub(super) entity: usize,
    /// Whether it is a name without an article.
    pub(super) is_name: bool,
    /// Whether it is an @name, which is mostly a firm's.
    pub(super) is_account: bool,
    pub(super) number: Number,
    /// Whether its article says that it is a Dutch het-word.
    pub(super) is_neuter: bool,
    /// How many words of the text came before it, and how many clauses began.
    pub(super) at: usize,
    pub(super) clause: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    One,
    Several,
    /// A place or a firm, which is "it" or "they".
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
    /// Counts what a word adds that a pronoun could stand for. `run` is what stood right before it; gives what stands
    /// right before the next.
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
        // The first word of a sentence has its capital for nothing, if it is an everyday one.
        let is_everyday =
            is_first && (lists.contains(List::Everyday) || word.ending == Ending::Adverb || is_person);
        let is_name = word.looks != Looks::Plain && !is_everyday;
        self.rivals.names += usize::from(is_name);
        if !is_name && !is_person {
            return NameRun::default();
        }
        NameRun { names: run.names + usize::from(is_name), people: run.people + usize::from(is_person) }
    }

    /// Ends what a determiner began: a thing of its own, unless nothing came of it or a person, who is counted.
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
