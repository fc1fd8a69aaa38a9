//! Names with other signs between their letters: `McDonalds`, `AT & T`, `US` for `U.S.`, `klanten service`.
//!
//! The text is searched a second time, without spaces, hyphens, apostrophes, full stops and exclamation marks. Where the
//! letters of a name are found, the signs between them are compared with those of the name, place by place.

use super::edge;
use super::guard::{Guard, TextCase};
use super::normalize::{Normalized, is_dash};
use crate::languages::{Compounding, EVERYDAY_WORDS, LanguagePack};
use crate::span::Span;

/// A normalised text without the signs that may differ, and the way back.
#[derive(Debug, Default)]
pub(super) struct Squeezed {
    text: String,
    /// Behind each stretch that was left out: the place here, and the place in the normalised text.
    steps: Vec<(usize, usize)>,
}

impl Squeezed {
    pub(super) fn new(normalized: &str) -> Self {
        let mut squeezed = Self { text: String::with_capacity(normalized.len()), steps: Vec::new() };
        let mut is_behind_sign = false;
        for (at, character) in normalized.char_indices() {
            if is_sign(character) {
                is_behind_sign = true;
                continue;
            }
            if std::mem::take(&mut is_behind_sign) {
                squeezed.steps.push((squeezed.text.len(), at));
            }
            squeezed.text.push(character);
        }
        squeezed
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The normalised place of the character that starts at `at`.
    pub(super) fn start(&self, at: usize) -> usize {
        self.back(self.steps.partition_point(|&(place, _)| place <= at), at)
    }

    /// The normalised place behind the character that ends at `at`.
    pub(super) fn end(&self, at: usize) -> usize {
        self.back(self.steps.partition_point(|&(place, _)| place < at), at)
    }

    fn back(&self, steps: usize, at: usize) -> usize {
        let (place, normalized) = steps.checked_sub(1).map_or((0, 0), |last| self.steps[last]);
        normalized + (at - place)
    }
}

/// Whether a character is left out.
fn is_sign(character: char) -> bool {
    matches!(character, ' ' | '-' | '\'' | '.' | '!')
}

/// What stands between two letters: a set of kinds of signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Gap(u8);

impl Gap {
    const NONE: Self = Self(0);
    const SPACE: Self = Self(1);
    const DASH: Self = Self(2);
    const DOT: Self = Self(4);
    const APOSTROPHE: Self = Self(8);
    const MARK: Self = Self(16);
    const DOT_SPACE: Self = Self(4 | 1);

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Of the signs in a normalised text, and of the hyphens that are left out there.
    fn read(normalized: &str, original: &str) -> Self {
        let signs = normalized.chars().map(|sign| match sign {
            ' ' => Self::SPACE,
            '-' => Self::DASH,
            '.' => Self::DOT,
            '\'' => Self::APOSTROPHE,
            _ => Self::MARK,
        });
        let joined = if original.contains(is_dash) { Self::DASH.0 } else { 0 };
        Self(signs.fold(joined, |set, sign| set | sign.0))
    }
}

/// A name to be found with other signs.
#[derive(Debug)]
pub(super) struct LooseForm {
    /// Its letters, as they stand in a squeezed text.
    pub(super) letters: String,
    spelling: Spelling,
    /// For a name that is an acronym when its signs are left out.
    guard: Guard,
    is_name: bool,
    /// Whether it is a name by its capital, and no noun.
    needs_capital: bool,
    allows_vowel_s: bool,
}

impl LooseForm {
    /// `None` for a name of which no other spelling is looked for.
    pub(super) fn new(given: &str, pack: &LanguagePack) -> Option<Self> {
        let normalized = Normalized::new(given);
        let squeezed = Squeezed::new(normalized.as_str());
        let letters = squeezed.as_str().to_owned();
        let spelling = Spelling::read(given, &normalized, &squeezed, 0, letters.len())?;
        let count = spelling.letters.len();
        let plain: String = given.chars().filter(|next| next.is_alphanumeric()).collect();
        let has_lower = plain.contains(char::is_lowercase);
        let is_acronym = !has_lower && plain.contains(char::is_uppercase) && count <= LONGEST_ACRONYM;
        let has_gaps = spelling.gaps.iter().any(|&gap| gap != Gap::NONE) || letters.contains('&');
        let starts_with_sign = normalized.as_str().starts_with(['.', '-', '!']);
        let may_differ = has_gaps || count >= SHORTEST_PLAIN || (is_acronym && count >= 2);
        if !(2..=LONGEST_LOOSE).contains(&count) || !may_differ || starts_with_sign || plain.is_empty() {
            return None;
        }
        let nouns = pack.compounding.joined();
        Some(Self {
            guard: if is_acronym && !letters.contains('&') { Guard::for_entity(&plain) } else { Guard::Open },
            is_name: given.starts_with(char::is_uppercase),
            needs_capital: given.starts_with(char::is_uppercase)
                && !nouns.is_some_and(|nouns| nouns.is_made_of_nouns(&letters)),
            allows_vowel_s: matches!(pack.compounding, Compounding::Joined(_)),
            letters,
            spelling,
        })
    }
}

/// The letters of a name or of a place in a text, and what stands between them.
#[derive(Debug)]
struct Spelling {
    letters: Vec<Letter>,
    /// Before each letter, and behind the last.
    gaps: Vec<Gap>,
}

#[derive(Clone, Copy, Debug)]
struct Letter {
    folded: char,
    /// As it stands in the original.
    written: char,
}

impl Spelling {
    /// The letters `start..end` of a squeezed text; `None` where they begin or end inside a character.
    fn read(
        original: &str,
        normalized: &Normalized,
        squeezed: &Squeezed,
        start: usize,
        end: usize,
    ) -> Option<Self> {
        let text = squeezed.as_str();
        let mut letters = Vec::new();
        let mut gaps = Vec::new();
        // Behind the letter before: the place in the normalised text and in the original.
        let mut before: Option<(usize, usize)> = None;
        for (at, folded) in text[start..end].char_indices() {
            let from = squeezed.start(start + at);
            let to = squeezed.end(start + at + folded.len_utf8());
            let place = normalized.original_start(from);
            let gap = match (before, place) {
                (Some((behind, behind_place)), Some(place)) => {
                    let between = original.get(behind_place..place).unwrap_or("");
                    Gap::read(&normalized.as_str()[behind.min(from)..from], between)
                }
                // The first letter, or the second of a ligature.
                (None, Some(_)) | (Some(_), None) => Gap::NONE,
                (None, None) => return None,
            };
            gaps.push(gap);
            let written = place.and_then(|place| original[place..].chars().next());
            letters.push(Letter { folded, written: written.unwrap_or(folded) });
            let behind = normalized.original_end(to);
            before = Some((to, behind.or(before.map(|(_, place)| place))?));
        }
        let rest = &normalized.as_str()[before.map_or(0, |(behind, _)| behind)..];
        let signs = &rest[..rest.find(|next| !is_sign(next)).unwrap_or(rest.len())];
        gaps.push(Gap::read(signs, "").without(Gap::SPACE));
        Some(Self { letters, gaps })
    }

    /// How many letters stand before `index` since the gap before.
    fn letters_before(&self, index: usize) -> usize {
        (1..index).rev().position(|place| self.gaps[place] != Gap::NONE).map_or(index, |steps| steps + 1)
    }

    /// How many letters follow from `index` on up to the next gap.
    fn letters_after(&self, index: usize) -> usize {
        let rest = index + 1..self.letters.len();
        rest.clone().position(|place| self.gaps[place] != Gap::NONE).unwrap_or(rest.len()) + 1
    }

    fn word(&self, from: usize, letters: usize) -> String {
        self.letters[from..from + letters].iter().map(|letter| letter.folded).collect()
    }

    fn word_before(&self, index: usize) -> String {
        let letters = self.letters_before(index);
        self.word(index - letters, letters)
    }

    fn word_after(&self, index: usize) -> String {
        self.word(index, self.letters_after(index))
    }
}

/// A text that is searched for names with other signs.
pub(super) struct LooseText<'t> {
    original: &'t str,
    normalized: &'t Normalized,
    squeezed: Squeezed,
    text_case: TextCase,
}

impl<'t> LooseText<'t> {
    pub(super) fn new(original: &'t str, normalized: &'t Normalized, text_case: TextCase) -> Self {
        Self { original, normalized, squeezed: Squeezed::new(normalized.as_str()), text_case }
    }

    pub(super) fn as_str(&self) -> &str {
        self.squeezed.as_str()
    }

    /// The span of the name at `start..end` of the squeezed text, if it is one with other signs than `form` has.
    pub(super) fn place(&self, form: &LooseForm, start: usize, end: usize) -> Option<Span> {
        let from = self.normalized.original_start(self.squeezed.start(start))?;
        let to = self.normalized.original_end(self.squeezed.end(end))?;
        let to = super::end_of_marks(self.original, to);
        if from >= to || !edge::is_word_edge(self.original, from) || !edge::is_word_edge(self.original, to) {
            return None;
        }
        let found = Spelling::read(self.original, self.normalized, &self.squeezed, start, end)?;
        let compared = Compared { form, found: &found, text: self.original, start: from };
        let differs = compared.signs_fit()?;
        let written = &self.original[from..to];
        if !differs || !form.guard.admits(written, self.text_case, false) {
            return None;
        }
        // The last full stop of `U.S.` belongs to it.
        let last = found.letters.len() - 1;
        let is_dotted = found.gaps[last].has(Gap::DOT) && found.letters_before(last) == 1;
        let stop = usize::from(is_dotted && self.original[to..].starts_with('.'));
        Some(Span::new(from, to + stop))
    }
}

/// A name and a place with the same letters.
struct Compared<'c> {
    form: &'c LooseForm,
    found: &'c Spelling,
    text: &'c str,
    start: usize,
}

impl Compared<'_> {
    /// Whether any sign differs; `None` where one differs that makes another name of it.
    fn signs_fit(&self) -> Option<bool> {
        let mut differs = false;
        let mut parted = 0;
        for index in 1..self.found.letters.len() {
            let (given, found) = (self.form.spelling.gaps[index], self.found.gaps[index]);
            if given == found {
                continue;
            }
            differs = true;
            if !self.gap_fits(index, given.without(Gap::MARK), found.without(Gap::MARK)) {
                return None;
            }
            parted += usize::from(given == Gap::NONE && found == Gap::SPACE && !self.is_beside_and(index));
        }
        // `Inc.` and `Yahoo!` may lose their last sign.
        let last = self.form.spelling.gaps[self.found.letters.len()];
        let loses_sign = last.has(Gap(Gap::DOT.0 | Gap::MARK.0 | Gap::APOSTROPHE.0))
            && last != self.found.gaps[self.found.letters.len()];
        (parted <= 1).then_some(differs || loses_sign)
    }

    fn gap_fits(&self, index: usize, given: Gap, found: Gap) -> bool {
        let (form, text) = (&self.form.spelling, self.found);
        let is_loose = |gap: Gap| gap.without(Gap::SPACE) == Gap::NONE;
        if given == found || (is_loose(given) && is_loose(found) && self.is_beside_and(index)) {
            return true;
        }
        let is_joint = |gap: Gap| [Gap::NONE, Gap::SPACE, Gap::DASH].contains(&gap);
        if is_joint(given) && is_joint(found) && (given == Gap::DASH || found == Gap::DASH) {
            return true;
        }
        let singles = |spelling: &Spelling| {
            spelling.letters_before(index) == 1 && spelling.letters[index - 1].written.is_alphabetic()
        };
        match (given, found) {
            (Gap::APOSTROPHE, Gap::NONE) => !self.is_trap(index),
            (Gap::NONE, Gap::APOSTROPHE) => self.may_add_apostrophe(index),
            (Gap::APOSTROPHE, Gap::SPACE) | (Gap::SPACE, Gap::APOSTROPHE) => singles(form) || singles(text),
            _ if given.without(Gap::APOSTROPHE) == Gap::SPACE
                && found.without(Gap::APOSTROPHE) == Gap::SPACE =>
            {
                true
            }
            (Gap::DOT_SPACE, Gap::SPACE) => form.letters_before(index) <= LONGEST_ABBREVIATION,
            (Gap::SPACE, Gap::DOT_SPACE) => {
                let word = text.word_before(index);
                ABBREVIATIONS.contains(&word.as_str()) || super::form::is_legal_form(&word) || singles(text)
            }
            // `J.R.R.`, `JRR`, `J. R. R.`
            _ if given.has(Gap::DOT) && singles(form) && is_stop_or_space(found) => {
                form.letters_after(index) == 1 || found.has(Gap::SPACE) || self.is_hump(index)
            }
            _ if found.has(Gap::DOT) && singles(text) && is_stop_or_space(given) => {
                let is_capital = text.letters[index - 1].written.is_uppercase();
                is_capital || given.has(Gap(Gap::DOT.0 | Gap::SPACE.0))
            }
            (Gap::DOT, Gap::NONE | Gap::SPACE) => form.letters.len() >= SHORTEST_ADDRESS,
            (Gap::NONE, Gap::DOT) => DOMAINS.contains(&text.word_after(index).as_str()),
            (Gap::SPACE, Gap::NONE) => self.may_join(index),
            (Gap::NONE, Gap::SPACE) => self.may_part(index),
            _ => false,
        }
    }

    fn is_beside_and(&self, index: usize) -> bool {
        self.found.letters[index - 1].folded == '&' || self.found.letters[index].folded == '&'
    }

    /// Whether the word without the apostrophe is another one: `were` for `we're`.
    fn is_trap(&self, index: usize) -> bool {
        let word = format!("{}{}", self.found_word_start(index), self.found.word_after(index));
        EVERYDAY_WORDS.contains(word.as_str()) || APOSTROPHE_TRAPS.contains(&word.as_str())
    }

    fn found_word_start(&self, index: usize) -> String {
        self.found.word_before(index)
    }

    /// `McDonald's` for `McDonalds`, `foto's` for `fotos`, `O'Brien` for `OBrien`; but not `Jan's` for `Jans`.
    fn may_add_apostrophe(&self, index: usize) -> bool {
        let (before, after) = (self.found.word_before(index), self.found.word_after(index));
        if before.chars().count() == 1 {
            return self.form.is_name;
        }
        let is_long = self.form.spelling.letters.len() >= SHORTEST_PLAIN;
        let is_vowel_s = self.form.allows_vowel_s && before.ends_with(['a', 'i', 'o', 'u', 'y']);
        after == "s"
            && is_long
            && (is_vowel_s
                || (self.form.is_name
                    && !FIRST_NAMES.contains(&before.as_str())
                    && !EVERYDAY_WORDS.contains(before.as_str())))
    }

    /// Two words written as one.
    fn may_join(&self, index: usize) -> bool {
        let letters = &self.found.letters;
        let form = &self.form.spelling;
        let is_tag = edge::is_in_tag(self.text, self.start);
        let meets_digit = letters[index - 1].folded.is_alphabetic() != letters[index].folded.is_alphabetic();
        let (before, after) = (form.word_before(index), form.word_after(index));
        let are_everyday =
            EVERYDAY_WORDS.contains(before.as_str()) && EVERYDAY_WORDS.contains(after.as_str());
        let is_long =
            letters.len() >= SHORTEST_JOINED && before.chars().count() >= 2 && after.chars().count() >= 2;
        is_tag || meets_digit || self.is_hump(index) || (is_long && !are_everyday)
    }

    /// One word written as two.
    fn may_part(&self, index: usize) -> bool {
        let (form, text) = (self.form, self.found);
        let (before, after) = (text.word_before(index), text.word_after(index));
        let parts = [before.as_str(), after.as_str()];
        let left = text.letters[index - 1];
        let right = text.letters[index];
        if left.folded.is_alphabetic() != right.folded.is_alphabetic() {
            let is_number =
                right.folded.is_numeric() && text.letters_after(index) == text.letters.len() - index;
            return is_number
                && before.chars().count() >= 2
                && (!form.is_name || text.letters[0].written.is_uppercase());
        }
        let has_hump = form.spelling.letters[index].written.is_uppercase()
            && form.spelling.letters[index - 1].written.is_lowercase();
        let are_plain = parts.iter().all(|part| !EVERYDAY_WORDS.contains(part));
        if has_hump {
            return right.written.is_uppercase() || are_plain;
        }
        let is_long =
            text.letters.len() >= SHORTEST_JOINED && parts.iter().all(|part| part.chars().count() >= 3);
        let has_looks = !form.needs_capital || text.letters[0].written.is_uppercase();
        let is_word_pair = parts.iter().any(|part| !EVERYDAY_WORDS.contains(part));
        is_long && has_looks && is_word_pair
    }

    /// Whether a capital shows where two words meet.
    fn is_hump(&self, index: usize) -> bool {
        let letters = &self.found.letters;
        let (before, here) = (letters[index - 1].written, letters[index].written);
        let next_is_lower = letters.get(index + 1).is_some_and(|next| next.written.is_lowercase());
        here.is_uppercase() && (before.is_lowercase() || next_is_lower)
    }
}

fn is_stop_or_space(gap: Gap) -> bool {
    gap.without(Gap::DOT_SPACE) == Gap::NONE
}

/// In letters. No longer name is looked for with other signs.
const LONGEST_LOOSE: usize = 48;
const LONGEST_ACRONYM: usize = 5;
/// A shorter word without signs has one spelling.
const SHORTEST_PLAIN: usize = 5;
/// Shorter words that are written as one or as two are too often others.
const SHORTEST_JOINED: usize = 7;
const SHORTEST_ADDRESS: usize = 5;
const LONGEST_ABBREVIATION: usize = 5;

/// What may have a full stop before a name.
const ABBREVIATIONS: [&str; 28] = [
    "bros", "capt", "co", "col", "dhr", "dr", "drs", "ds", "ft", "gen", "gov", "ing", "ir", "jr", "lt",
    "mevr", "mr", "mrs", "ms", "mt", "mw", "prof", "rep", "sen", "sgt", "sr", "st", "vol",
];

const DOMAINS: [&str; 10] = ["ai", "com", "eu", "io", "js", "net", "nl", "org", "tv", "uk"];

/// Words of their own, beside the everyday ones, that are also a contraction or a name without its apostrophe.
const APOSTROPHE_TRAPS: [&str; 15] = [
    "cant", "hell", "hells", "id", "ill", "lays", "lets", "sheds", "shell", "wed", "well", "wells", "were",
    "whore", "wont",
];

/// First names that are also family names with an `s`: `William's` is not `Williams`.
const FIRST_NAMES: [&str; 44] = [
    "adam", "alan", "andrew", "anthony", "anton", "bart", "daniel", "david", "edward", "evan", "frank",
    "gerrit", "gilbert", "hendrik", "henry", "jacob", "jan", "jean", "jeffrey", "jenkin", "john", "klaas",
    "maarten", "marten", "martin", "matthew", "michael", "neil", "owen", "peter", "philip", "pieter",
    "richard", "robert", "roger", "samuel", "simon", "stephen", "steven", "thomas", "walter", "willem",
    "william", "wim",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_led_back() {
        let squeezed = Squeezed::new("a. b' - cd");
        assert_eq!(squeezed.as_str(), "abcd");
        assert_eq!([0, 1, 2, 3].map(|at| squeezed.start(at)), [0, 3, 8, 9]);
        assert_eq!([1, 2, 3, 4].map(|at| squeezed.end(at)), [1, 4, 9, 10]);
    }
}
