//! The forms of an entity's name that are looked for: as given, and as others write it.

use super::guard::{Guard, TextCase};
use super::loose::LooseForm;
use super::normalize::{Normalized, has_accents, is_dash};
use crate::languages::{EVERYDAY_WORDS, LanguagePack, NameWords};

/// One form of a name.
#[derive(Debug)]
pub(super) struct Form {
    /// Whose form it is: the index of the entity.
    pub(super) entity: usize,
    /// As it is written, without white space at its ends.
    pub(super) given: String,
    /// As it stands in a normalised text.
    pub(super) folded: String,
    /// Umlauts written as two letters, or two letters written as an umlaut.
    pub(super) umlauts: Option<Umlauts>,
    pub(super) guard: Guard,
    /// A part of the caller's name: it counts only where it looks like a name.
    pub(super) is_part: bool,
    /// The legal form that was left off.
    pub(super) left_off: Option<String>,
    pub(super) has_letters: bool,
    /// Whether its last word is a noun, so that its plurals are no family names.
    pub(super) is_noun: bool,
    /// Its length in letters where it can be part of a compound that is written as one word; otherwise 0.
    pub(super) compound_letters: usize,
    /// How it is looked for with other signs between its letters; boxed, since many forms have none.
    pub(super) loose: Option<Box<LooseForm>>,
}

/// Another spelling of an umlaut.
#[derive(Debug)]
pub(super) struct Umlauts {
    pub(super) folded: String,
    /// Whether the letters found must have accents: `Zuerich` is found as `Zürich`, not as `zurich`.
    pub(super) need_accents: bool,
}

impl Form {
    /// All forms of a name: the given one first. A name without visible characters has none.
    pub(super) fn all(entity: usize, name: &str, pack: &LanguagePack) -> Vec<Self> {
        let name = name.trim();
        let first = Self::new(entity, name, false, pack);
        if first.folded.is_empty() {
            return Vec::new();
        }
        let mut forms = vec![first];
        for variant in variants(name, &pack.names) {
            let mut form = Self::new(entity, &variant.name, variant.is_part, pack);
            form.left_off = name.rsplit(' ').next().filter(|_| variant.is_part).and_then(legal_form);
            let is_known = forms.iter().any(|known| known.given == form.given);
            if !is_known && !form.folded.is_empty() {
                forms.push(form);
            }
        }
        forms
    }

    fn new(entity: usize, given: &str, is_part: bool, pack: &LanguagePack) -> Self {
        let normalized = Normalized::new(given);
        let folded = normalized.as_str().trim().to_owned();
        let guard = Guard::for_entity(given);
        let letters = folded.chars().count();
        let is_word = letters <= LONGEST_PART && folded.chars().all(char::is_alphabetic);
        let compound_letters = if is_word && !guard.is_cased() { letters } else { 0 };
        let last_word = folded.rsplit(' ').next().unwrap_or("");
        Self {
            entity,
            given: given.to_owned(),
            left_off: None,
            umlauts: Umlauts::of(given, &folded),
            guard,
            is_part,
            has_letters: folded.contains(char::is_alphabetic),
            is_noun: last_word.len() <= LONGEST_PART
                && pack.compounding.joined().is_some_and(|compounds| compounds.is_made_of_nouns(last_word)),
            compound_letters,
            loose: LooseForm::new(given, pack).map(Box::new),
            folded,
        }
    }

    /// Whether `found`, which has the letters of this form or begins with them, may be it by its case and accents.
    pub(super) fn admits(
        &self,
        found: &str,
        text_case: TextCase,
        is_in_tag: bool,
        pack: &LanguagePack,
    ) -> bool {
        self.guard.admits(found, text_case, is_in_tag)
            && self.admits_part(found, text_case)
            && (found.is_ascii() && self.given.is_ascii() || self.admits_accents(found, pack))
    }

    /// Whether `found` may be this form, as far as it is a part of a name.
    pub(super) fn admits_part(&self, found: &str, text_case: TextCase) -> bool {
        !self.is_part || self.looks_like_name(found, text_case)
    }

    /// Whether a part of a name with a capital has one here.
    fn looks_like_name(&self, found: &str, text_case: TextCase) -> bool {
        !self.given.starts_with(char::is_uppercase)
            || found.starts_with(char::is_uppercase)
            || (text_case == TextCase::Lower && self.folded.chars().count() >= SHORTEST_LOWER_PART)
    }

    /// Accents may be left out or added where that makes no other word: `cafe`, but not `een` for `één`. Some nouns are
    /// names with accents, which a capital shows: `Citroen`.
    fn admits_accents(&self, found: &str, pack: &LanguagePack) -> bool {
        let found_accents = has_accents(found) || found.contains('&');
        if found_accents == has_accents(&self.given) {
            return true;
        }
        let word = self.folded.as_str();
        if EVERYDAY_WORDS.contains(word) || pack.names.accents_tell.contains(&word) {
            return false;
        }
        let are_names = self.given.starts_with(char::is_uppercase) && found.starts_with(char::is_uppercase);
        are_names || !pack.names.accents_name.contains(&word)
    }
}

impl Umlauts {
    fn of(given: &str, folded: &str) -> Option<Self> {
        let lower = given.to_lowercase();
        if lower.contains(['ä', 'ö', 'ü']) {
            let written = lower.replace('ä', "ae").replace('ö', "oe").replace('ü', "ue");
            return Some(Self { folded: Normalized::new(&written).as_str().to_owned(), need_accents: false });
        }
        let is_name = given.starts_with(char::is_uppercase) && folded.len() >= SHORTEST_UMLAUT_NAME;
        let written =
            ["ae", "oe", "ue"].into_iter().find(|pair| folded.contains(pair)).filter(|_| is_name)?;
        Some(Self { folded: folded.replace(written, &written[..1]), need_accents: true })
    }
}

/// Another way to write a name.
struct Variant {
    name: String,
    is_part: bool,
}

/// Other ways to write `name`: without its article or legal form, with `&` for `and`, with `Saint` for `St.`
fn variants(name: &str, words: &NameWords) -> Vec<Variant> {
    let mut variants = Vec::new();
    let mut add = |name: String, is_part| variants.push(Variant { name, is_part });
    if name.contains(is_dash) {
        add(name.replace(is_dash, " "), false);
    }
    if let Some(rest) = without_article(name, words) {
        add(rest.to_owned(), true);
        if let Some(rest) = without_legal_form(rest) {
            add(rest.to_owned(), true);
        }
    }
    if let Some(rest) = without_legal_form(name) {
        add(rest.to_owned(), true);
    }
    let tokens: Vec<&str> = name.split_whitespace().collect();
    let replaced = |index: usize, by: &str| {
        let mut tokens = tokens.clone();
        tokens[index] = by;
        tokens.join(" ")
    };
    for (index, token) in tokens.iter().enumerate().take(MOST_TOKENS) {
        let is_inside = index > 0 && index + 1 < tokens.len();
        if is_inside && *token == "&" {
            add(replaced(index, words.and), false);
        } else if is_inside && token.eq_ignore_ascii_case(words.and) {
            add(replaced(index, "&"), false);
        }
        let before_name = tokens.get(index + 1).is_some_and(|next| next.starts_with(char::is_uppercase));
        if !before_name {
            continue;
        }
        for (short, long) in words.written_out {
            if token.trim_end_matches('.').eq_ignore_ascii_case(short)
                && token.starts_with(char::is_uppercase)
            {
                add(replaced(index, long), false);
            } else if token == long {
                let mut shortened = (*short).to_owned();
                shortened[..1].make_ascii_uppercase();
                add(replaced(index, &shortened), false);
            }
        }
    }
    variants
}

/// The name without an article before it, unless only the article tells it from a word: `De Jong`, `The Who`.
fn without_article<'n>(name: &'n str, words: &NameWords) -> Option<&'n str> {
    let (article, rest) = name.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    let lower = article.to_lowercase();
    if !words.articles.contains(&lower.as_str()) || rest.chars().count() < 2 {
        return None;
    }
    let is_title = article.starts_with(char::is_uppercase) && rest.starts_with(char::is_uppercase);
    let only_articles_tell = is_title && EVERYDAY_WORDS.contains(rest.to_lowercase().as_str());
    (!only_articles_tell).then_some(rest)
}

/// The name without a legal form behind it: `Fenwick` for `Fenwick B.V.`
fn without_legal_form(name: &str) -> Option<&str> {
    let (rest, last) = name.trim_end().rsplit_once(char::is_whitespace)?;
    let rest = rest.trim_end().trim_end_matches(',');
    (is_legal_form(last) && rest.chars().count() > 2).then_some(rest)
}

/// Whether a word is the legal form of a firm, with or without full stops.
pub(super) fn is_legal_form(word: &str) -> bool {
    legal_form(word).is_some()
}

/// The letters of a legal form, in lower case.
pub(super) fn legal_form(word: &str) -> Option<String> {
    let letters: String = word.chars().filter(|&next| next != '.').flat_map(char::to_lowercase).collect();
    LEGAL_FORMS.contains(&letters.as_str()).then_some(letters)
}

const LEGAL_FORMS: [&str; 17] = [
    "ag",
    "bv",
    "bvba",
    "corp",
    "gmbh",
    "inc",
    "incorporated",
    "llc",
    "llp",
    "ltd",
    "nv",
    "plc",
    "sa",
    "srl",
    "vof",
    "vzw",
    "corporation",
];

/// No longer word is part of a compound.
const LONGEST_PART: usize = 48;

/// Longer names have no variants of their later words.
const MOST_TOKENS: usize = 8;

/// A shorter part of a name is too often a word in a text without capitals.
const SHORTEST_LOWER_PART: usize = 4;

/// In bytes.
const SHORTEST_UMLAUT_NAME: usize = 5;
