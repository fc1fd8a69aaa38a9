//! Decides whether a stop ends a sentence.

use super::opening::Opening;
use super::words::Abbreviation;
use super::{SentenceWords, mark};

/// A full stop, question mark, ellipsis or several of them, with the closing marks after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    start: usize,
    /// First byte after the stops themselves.
    stops_end: usize,
    /// First byte after closing quotes and brackets.
    closers_end: usize,
    /// First byte after the emoji that follow.
    pub(super) end: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One full stop.
    Full,
    /// Several full stops, or the character for three.
    Ellipsis,
    /// With an exclamation or question mark.
    Mark,
    /// A stop of a script without capitals.
    Plain,
}

/// Whether a character is a stop.
pub(super) fn is_stop(character: char) -> bool {
    matches!(
        character,
        '.' | '!'
            | '?'
            | '…'
            | '‼'
            | '⁇'
            | '⁈'
            | '⁉'
            | '。'
            | '．'
            | '！'
            | '？'
            | '｡'
            | '؟'
            | '۔'
            | '।'
    )
}

impl Stop {
    /// Reads the stop at `at`; `in_quotes` returns whether a straight double quote is open there.
    pub(super) fn read(text: &str, at: usize, in_quotes: impl FnOnce() -> bool) -> Self {
        let mut stops_end = at;
        let (mut dots, mut marks, mut ellipses, mut plain) = (0, 0, 0, 0);
        loop {
            let rest = &text[stops_end..];
            // Stops with spaces between them belong together: `. . .`, `Super ! !`
            let is_apart = stops_end > at
                && rest.strip_prefix(' ').is_some_and(|apart| {
                    apart.starts_with(is_stop) && !apart.chars().nth(1).is_some_and(is_word_or_stop)
                });
            let space = usize::from(is_apart);
            let Some(stop) = rest[space..].chars().next().filter(|&next| is_stop(next)) else { break };
            match stop {
                '.' => dots += 1,
                '…' => ellipses += 1,
                '!' | '?' | '‼' | '⁇' | '⁈' | '⁉' => marks += 1,
                _ => plain += 1,
            }
            stops_end += space + stop.len_utf8();
        }
        let kind = if plain > 0 {
            Kind::Plain
        } else if marks > 0 {
            Kind::Mark
        } else if dots == 1 && ellipses == 0 {
            Kind::Full
        } else {
            Kind::Ellipsis
        };
        let closers_end = skip_closers(text, stops_end, in_quotes);
        let end = mark::skip_feelings(text, closers_end);
        Self { start: at, stops_end, closers_end, end, kind }
    }

    /// Where to continue if the stop ends no sentence.
    pub(super) fn resume(self) -> usize {
        self.stops_end
    }

    /// Whether `sentence` ends with this stop.
    pub(super) fn ends_sentence(self, text: &str, sentence: &mut Opening, words: &SentenceWords) -> bool {
        let next = super::content_start(text, self.end);
        if next == text.len() {
            return false;
        }
        if self.kind == Kind::Plain {
            return true;
        }
        let content = sentence.content_before(text, self.start);
        let omits = self.kind == Kind::Ellipsis
            && content > sentence.start
            && text[..self.start].ends_with(['[', '(']);
        if content == self.start || omits {
            return false;
        }
        let white_space = &text[self.end..next];
        let before = word_before(text, sentence.start, self.start);
        if white_space.is_empty() {
            return self.ends_glued(text, before);
        }
        let breaks = white_space.bytes().filter(|&byte| byte == b'\n').count();
        if breaks > 1 {
            return true;
        }
        let follows = Following::read(text, next);
        match self.kind {
            Kind::Full => self.full_stop_ends(text, sentence, before, &follows, words),
            Kind::Ellipsis => {
                let is_long = self.dots(text) > 3 && is_informal(text, sentence.start);
                breaks > 0
                    || follows.case == Case::Sign
                    || (follows.starts_upper() && follows.word != "I")
                    || (follows.starts_lower() && is_long)
            }
            Kind::Mark => self.mark_ends(text, before, &follows, words),
            Kind::Plain => true,
        }
    }

    fn dots(self, text: &str) -> usize {
        text[self.start..self.stops_end].matches('.').count()
    }

    fn full_stop_ends(
        self,
        text: &str,
        sentence: &mut Opening,
        before: &str,
        follows: &Following<'_>,
        words: &SentenceWords,
    ) -> bool {
        let closed = self.closers_end > self.stops_end;
        if (closed && follows.starts_lower()) || follows.is_and {
            return false;
        }
        let lower = before.to_lowercase();
        let is_first = self.start - sentence.first_word_before(text, self.start) == before.len();
        let sentence = sentence.start;
        if is_first && (before.chars().all(|c| c.is_ascii_digit()) || before.len() == 1) && !before.is_empty()
        {
            return false;
        }
        // A list that begins in the line: `Twee films: 1. De lift`; but `Cijfer: 8. Lekker gegeten.`
        if before == "1" && text[sentence..self.start - 1].trim_end().ends_with(':') {
            return false;
        }
        // Capitals that look like a title may be another word: `bij ING. Meer`, `vitamine C. Dat`.
        let is_capitals = before.len() != 2 && before.chars().all(char::is_uppercase);
        // Compounds of abbreviations such as `ordernr.`
        let known = if lower.ends_with("nr") { "nr" } else { &lower };
        match words.abbreviation(known) {
            Some(Abbreviation::Inside) if is_capitals => return Self::may_end(follows, words),
            Some(Abbreviation::Inside) => return false,
            Some(Abbreviation::BeforeNumber) if follows.case == Case::Digit => return false,
            Some(Abbreviation::BeforeNumber) if follows.starts_lower() => return is_informal(text, sentence),
            Some(Abbreviation::Either) => return Self::may_end(follows, words),
            Some(Abbreviation::BeforeCapital) => {
                return follows.starts_upper() || Self::may_end(follows, words);
            }
            _ => {}
        }
        if is_initials(before) {
            // `J. De Cuyper`: a particle before a name does not begin a new sentence. `Vak A. Het is druk` has no name.
            let is_particle =
                before.len() == 1 && PARTICLES.contains(&follows.word) && follows.has_name_behind;
            return !is_particle && Self::may_end(follows, words);
        }
        match follows.case {
            Case::Upper | Case::Digit | Case::Sign | Case::Other => true,
            // A new sentence without its capital, after a word, a telephone number or a closing bracket.
            Case::Lower => {
                let is_word = |next: char| next.is_alphabetic() || matches!(next, '-' | '\'' | '’');
                let is_mixed = before.contains(is_word) && !before.contains(['.', ',']);
                // `lid 2 sub b. van de wet`
                let is_letter = before.chars().count() == 1 && !is_informal(text, sentence);
                (is_mixed && !is_letter)
                    || text[..self.start].ends_with([')', '"', '”'])
                    || (before.ends_with(char::is_numeric) && is_informal(text, sentence))
            }
        }
    }

    /// Whether a sentence ends after an abbreviation that can be its last word.
    fn may_end(follows: &Following<'_>, words: &SentenceWords) -> bool {
        match follows.case {
            Case::Upper => words.is_starter(&follows.word.to_lowercase()),
            Case::Sign | Case::Other => true,
            Case::Lower | Case::Digit => false,
        }
    }

    fn mark_ends(self, text: &str, before: &str, follows: &Following<'_>, words: &SentenceWords) -> bool {
        let closed = self.closers_end > self.stops_end;
        if (closed && follows.starts_lower()) || follows.is_and {
            return false;
        }
        if before.is_empty() && text[..self.start].ends_with(':') {
            return false;
        }
        if NAMES_WITH_MARK.contains(&before) {
            return Self::may_end(follows, words);
        }
        follows.case != Case::Other
    }

    /// Decides without white space after the stop: a missing space, or a stop inside a name, number or URL.
    fn ends_glued(self, text: &str, before: &str) -> bool {
        let rest = &text[self.end..text.ceil_char_boundary((self.end + NEAR_BYTES).min(text.len()))];
        let earlier = &text[text.floor_char_boundary(self.start.saturating_sub(NEAR_BYTES))..self.start];
        let token = [
            earlier.rsplit(char::is_whitespace).next().unwrap_or(""),
            rest.split(char::is_whitespace).next().unwrap_or(""),
        ];
        if token.iter().any(|part| part.contains(['@', '/', '=', '\\', '_'])) || token[0].starts_with("www.")
        {
            return false;
        }
        let mut following = rest.chars();
        let (Some(first), second) = (following.next(), following.next()) else { return false };
        let begins_word = first.is_uppercase()
            && second.is_none_or(|second| {
                second.is_lowercase() || second.is_whitespace() || second == '\'' || second == '’'
            });
        let after_word = before.chars().count() > 1
            && before.chars().all(char::is_alphabetic)
            && before.chars().skip(1).all(char::is_lowercase);
        match self.kind {
            Kind::Full | Kind::Ellipsis => {
                begins_word && after_word && !DOMAINS.contains(&Following::read(text, self.end).word)
            }
            Kind::Mark => first.is_alphabetic() && before.chars().all(char::is_alphabetic),
            Kind::Plain => true,
        }
    }
}

/// The text after a stop and white space.
#[derive(Clone, Copy, Debug)]
pub(super) struct Following<'t> {
    /// The first word, without leading quotes and brackets; empty if there is none.
    word: &'t str,
    case: Case,
    /// Whether the word behind it has a capital.
    has_name_behind: bool,
    /// Whether `&` comes first: `Com. & Adm.`
    is_and: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Upper,
    Lower,
    Digit,
    /// An @name, a hashtag, an address, a letter without case, an emoji.
    Sign,
    /// A dash, a comma, nothing.
    Other,
}

impl<'t> Following<'t> {
    pub(super) fn read(text: &'t str, at: usize) -> Self {
        let near = &text[at..text.ceil_char_boundary((at + NEAR_BYTES).min(text.len()))];
        let mut rest = near.trim_start_matches(is_opener);
        // 's Ochtends, 't Is: the capital is on the word after the clitic.
        if near.starts_with(['\'', '’', '‘']) {
            let clitic = rest.strip_prefix(['s', 't', 'n', 'k', 'm']).and_then(|rest| rest.strip_prefix(' '));
            rest = clitic.unwrap_or(rest);
        }
        let end = rest
            .find(|next: char| !(next.is_alphanumeric() || matches!(next, '\'' | '’')))
            .unwrap_or(rest.len());
        let word = &rest[..end];
        let has_name_behind = rest[end..].trim_start_matches(' ').starts_with(char::is_uppercase);
        let is_and = rest.starts_with('&');
        let case = match rest.chars().next() {
            Some('@' | '#') => Case::Sign,
            _ if rest.starts_with("http") || rest.starts_with("www.") => Case::Sign,
            Some(first) if first.is_uppercase() => Case::Upper,
            Some(first) if first.is_lowercase() => Case::Lower,
            Some(first) if first.is_numeric() => Case::Digit,
            Some(first) if first.is_alphabetic() || mark::is_emoji(first) => Case::Sign,
            _ => Case::Other,
        };
        Self { word, case, has_name_behind, is_and }
    }

    pub(super) fn starts_upper(&self) -> bool {
        self.case == Case::Upper
    }

    pub(super) fn starts_lower(&self) -> bool {
        self.case == Case::Lower
    }
}

/// Words in a surname that also begin sentences.
const PARTICLES: [&str; 8] = ["De", "Den", "Der", "Het", "In", "Op", "Van", "Voor"];

/// Top-level domains, also with a capital: `Newsfeed.Com`.
const DOMAINS: [&str; 10] = ["Be", "Co", "Com", "Eu", "Io", "Js", "Net", "Nl", "Org", "Uk"];

/// Company and product names that end in a mark.
const NAMES_WITH_MARK: [&str; 4] = ["Yahoo", "Jeopardy", "Joomla", "Yum"];

/// The word before the stop at `stop`, with the full stops inside it: `d.w.z`, `U.S`, `1.234,50`.
fn word_before(text: &str, sentence: usize, stop: usize) -> &str {
    let before = &text[sentence.min(stop)..stop];
    let start = before
        .char_indices()
        .rev()
        .take(LONGEST_WORD)
        .take_while(|&(_, c)| {
            c.is_alphanumeric() || matches!(c, '.' | '-' | '\'' | '’' | '&' | '/' | ',' | '°' | '$')
        })
        .last()
        .map_or(before.len(), |(at, _)| at);
    before[start..].trim_start_matches(['.', '-', '\'', '’', '/', ','])
}

const LONGEST_WORD: usize = 32;

/// Maximum bytes examined around a stop. Bounds the time for each.
const NEAR_BYTES: usize = 160;

/// Whether the sentence that starts at `sentence` begins in lower case: then the next one may too.
fn is_informal(text: &str, sentence: usize) -> bool {
    Following::read(text, sentence).starts_lower()
}

/// One letter, or letters with stops between: `J`, `J.R.R`.
fn is_initials(word: &str) -> bool {
    word.split('.').all(|part| {
        let mut characters = part.chars();
        characters.next().is_some_and(char::is_uppercase) && characters.next().is_none()
    })
}

fn is_word_or_stop(character: char) -> bool {
    character.is_alphanumeric() || is_stop(character)
}

pub(super) fn is_opener(character: char) -> bool {
    matches!(
        character,
        '"' | '\''
            | '“'
            | '‘'
            | '’'
            | '„'
            | '‚'
            | '«'
            | '‹'
            | '('
            | '['
            | '{'
            | '*'
            | '_'
            | '-'
            | '–'
            | '—'
            | '>'
            | ','
            | '`'
            | '¿'
            | '¡'
    )
}

/// Skips the quotes, brackets and note numbers that belong to the preceding sentence.
fn skip_closers(text: &str, mut at: usize, in_quotes: impl FnOnce() -> bool) -> usize {
    let stops_end = at;
    loop {
        let rest = &text[at..];
        let Some(next) = rest.chars().next() else { return at };
        let is_closer = matches!(next, ')' | ']' | '}' | '»' | '›' | '”' | '’' | '"' | '\'' | '*');
        if is_closer {
            at += next.len_utf8();
        } else if rest.starts_with(" )") {
            at += 2;
        } else if rest.starts_with(" ''") && rest[3..].chars().next().is_none_or(char::is_whitespace) {
            at += 3;
        } else if let Some(note) = note_length(rest) {
            at += note;
        } else {
            break;
        }
    }
    // A quote after a space closes an open one: `" Dat was mijn geluk. "`.
    let is_apart = at == stops_end
        && text[at..].starts_with(" \"")
        && text[at + 2..].chars().next().is_none_or(char::is_whitespace);
    if is_apart && in_quotes() { at + 2 } else { at }
}

/// The length of a note number in brackets, `[12]`.
fn note_length(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('[')?;
    let digits = inside.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0 && inside[digits..].starts_with(']')).then_some(digits + 2)
}
