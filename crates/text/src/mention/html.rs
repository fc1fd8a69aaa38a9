//! Character references of HTML that stand in texts by mistake: `&amp;`, `&eacute;`, `&#39;`.

/// The character that a reference at the beginning of `text` stands for, and the length of the reference in bytes.
pub(super) fn reference(text: &str) -> Option<(char, usize)> {
    let inside = text.strip_prefix('&')?;
    let near = &inside.as_bytes()[..inside.len().min(LONGEST_REFERENCE)];
    let end = near.iter().position(|&byte| byte == b';')?;
    let name = &inside[..end];
    let character = match name.strip_prefix('#') {
        Some(number) => match number.strip_prefix(['x', 'X']) {
            Some(digits) => char::from_u32(u32::from_str_radix(digits, 16).ok()?)?,
            None => char::from_u32(number.parse().ok()?)?,
        },
        None => named(name)?,
    };
    (!character.is_control()).then_some((character, end + 2))
}

/// In bytes, without `&`. Bounds the time spent at each `&`.
const LONGEST_REFERENCE: usize = 10;

fn named(name: &str) -> Option<char> {
    if let Some(&(_, sign)) = SIGNS.iter().find(|(known, _)| *known == name) {
        return Some(sign);
    }
    // `eacute`: a letter and its accent.
    let letter = name.chars().next().filter(char::is_ascii_alphabetic)?;
    let &(_, mark) = ACCENTS.iter().find(|(accent, _)| *accent == &name[1..])?;
    unicode_normalization::char::compose(letter, mark)
}

const SIGNS: [(&str, char); 24] = [
    ("amp", '&'),
    ("AMP", '&'),
    ("quot", '"'),
    ("apos", '\''),
    ("lt", '<'),
    ("gt", '>'),
    ("nbsp", '\u{a0}'),
    ("shy", '\u{ad}'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("ndash", '–'),
    ("mdash", '—'),
    ("hellip", '…'),
    ("euro", '€'),
    ("pound", '£'),
    ("szlig", 'ß'),
    ("aelig", 'æ'),
    ("AElig", 'Æ'),
    ("oslash", 'ø'),
    ("Oslash", 'Ø'),
    ("reg", '®'),
    ("trade", '™'),
];

const ACCENTS: [(&str, char); 7] = [
    ("acute", '\u{301}'),
    ("grave", '\u{300}'),
    ("circ", '\u{302}'),
    ("uml", '\u{308}'),
    ("tilde", '\u{303}'),
    ("cedil", '\u{327}'),
    ("ring", '\u{30a}'),
];

#[cfg(test)]
mod tests {
    use super::reference;

    #[test]
    fn references_are_read_and_other_signs_left() {
        for (text, expected) in [
            ("&amp;T", Some(('&', 5))),
            ("&eacute;s", Some(('é', 8))),
            ("&Ccedil;", Some(('Ç', 8))),
            ("&#39;s", Some(('\'', 5))),
            ("&#x2019;", Some(('’', 8))),
            ("&T", None),
            ("& co;", None),
            ("&#0;", None),
            ("&é;", None),
            ("&;", None),
            ("&amp", None),
        ] {
            assert_eq!(reference(text), expected, "{text}");
        }
    }
}
