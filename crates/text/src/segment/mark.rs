//! List marks, emoji and smileys.

use icu_properties::CodePointSetData;
use icu_properties::props::ExtendedPictographic;

/// The mark of an item in a numbered list: `2.`, `2)`, `2.)`, `b.`, `b)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListMark {
    number: u32,
    is_letter: bool,
    closing: Closing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    Stop,
    Bracket,
    Both,
}

impl ListMark {
    /// The mark of the next item.
    pub(super) fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }
}

/// The list mark that starts at `at` and is followed by white space.
pub(super) fn list_mark(text: &str, at: usize) -> Option<ListMark> {
    let rest = &text.as_bytes()[at..];
    let digits = rest.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
    let (number, length, is_letter) = match (digits, rest.first()) {
        (1..=2, _) => (
            rest[..digits].iter().fold(0, |number, byte| number * 10 + u32::from(byte - b'0')),
            digits,
            false,
        ),
        (0, Some(letter @ b'a'..=b'z')) => (u32::from(letter - b'a'), 1, true),
        _ => return None,
    };
    let (closing, width) = match rest[length..] {
        [b'.', b')', ..] => (Closing::Both, 2),
        [b'.', ..] => (Closing::Stop, 1),
        [b')', ..] => (Closing::Bracket, 1),
        _ => return None,
    };
    rest.get(length + width)?.is_ascii_whitespace().then_some(ListMark { number, is_letter, closing })
}

/// Whether a character is the mark of an item in a list.
pub(super) fn is_bullet(character: char) -> bool {
    matches!(character, '•' | '◦' | '▪' | '‣' | '⁃' | '●' | '○' | '■' | '►' | '✓' | '✔')
}

/// The length of the smiley that starts at `at` and stands alone.
pub(super) fn emoticon(text: &str, at: usize) -> Option<usize> {
    let rest = &text.as_bytes()[at..];
    if !matches!(rest.first()?, b':' | b';' | b'=' | b'<') {
        return None;
    }
    let nose = usize::from(matches!(rest.get(1), Some(b'-' | b'\'' | b'o' | b'^')));
    let mouth = rest.get(1 + nose)?;
    let is_heart = rest.starts_with(b"<3");
    if !is_heart
        && (rest[0] == b'<' || !matches!(mouth, b')' | b'(' | b'D' | b'P' | b'p' | b']' | b'[' | b'*'))
    {
        return None;
    }
    let repeated = rest[1 + nose..].iter().take_while(|byte| *byte == mouth).count();
    let length = 1 + nose + repeated;
    rest.get(length).is_none_or(u8::is_ascii_whitespace).then_some(length)
}

/// Whether a character is an emoji for a feeling or a thing (`©` and `™` are not).
pub(super) fn is_emoji(character: char) -> bool {
    character >= '\u{2190}' && CodePointSetData::new::<ExtendedPictographic>().contains(character)
}

/// Skips emoji and smileys with their modifiers, and the spaces between.
pub(super) fn skip_feelings(text: &str, mut at: usize) -> usize {
    loop {
        let spaces = text[at..].bytes().take_while(|&byte| byte == b' ').count();
        let Some(next) = text[at + spaces..].chars().next() else { return at };
        let is_part =
            matches!(next, '\u{fe00}'..='\u{fe0f}' | '\u{200d}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{20e3}');
        if is_emoji(next) || is_part || matches!(next, '\u{1f1e6}'..='\u{1f1ff}') {
            at += spaces + next.len_utf8();
        } else if let Some(length) = (spaces > 0).then(|| emoticon(text, at + spaces)).flatten() {
            at += spaces + length;
        } else {
            return at;
        }
    }
}
