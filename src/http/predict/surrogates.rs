//! Halves of surrogate pairs in JSON: escapes such as `\\ud800` that are no character.

/// A body in which another escape replaces each half.
pub(super) struct Marked {
    pub(super) bytes: Vec<u8>,
    /// The character of the replacing escapes, which the body contains nowhere else.
    pub(super) marker: char,
}

/// Replaces each half of a surrogate pair. `None` if the body contains every character that could mark one.
pub(super) fn mark_halves(body: &[u8]) -> Option<Marked> {
    let marker = unused_character(body)?;
    let escape = format!("\\u{:04x}", u32::from(marker));
    let mut bytes = body.to_vec();
    let mut at = 0;
    while let Some(offset) = bytes[at..].iter().position(|byte| *byte == b'\\') {
        at += offset;
        at += match (code_unit(&bytes, at), code_unit(&bytes, at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                bytes[at..at + 6].copy_from_slice(escape.as_bytes());
                6
            }
            // The escaped character may be a backslash.
            _ => 2,
        };
        at = at.min(bytes.len());
    }
    Some(Marked { bytes, marker })
}

/// The UTF-16 code unit of the escape at `at`.
fn code_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u16::from_str_radix(digits, 16).ok()
}

/// Returns a noncharacter of Unicode that the body does not contain, escaped or not.
fn unused_character(body: &[u8]) -> Option<char> {
    let text = std::str::from_utf8(body).ok()?;
    let lower = text.to_ascii_lowercase();
    ('\u{fdd0}'..='\u{fdef}')
        .find(|marker| !lower.contains(*marker) && !lower.contains(&format!("{:04x}", u32::from(*marker))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_marked_and_pairs_are_not() {
        let cases = [
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud83d""#, r#""\ufdd0""#),
            (r#""\ude00\ud83d""#, r#""\ufdd0\ufdd0""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufdd0\ud83d\ude00""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\ud83d \uFDD0""#, r#""\ufdd1 \uFDD0""#),
            (r#""\"#, r#""\"#),
        ];
        for (body, expected) in cases {
            let marked = mark_halves(body.as_bytes()).expect("there are unused characters");
            assert_eq!(String::from_utf8_lossy(&marked.bytes), expected, "{body}");
        }
    }
}
