//! Texts without visible characters.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Whether a text has no visible character: only white space, control, format and zero-width characters.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|character| {
        character.is_whitespace()
            || character.is_control()
            || (!character.is_ascii() && is_invisible(character))
    })
}

fn is_invisible(character: char) -> bool {
    CodePointMapData::<GeneralCategory>::new().get(character) == GeneralCategory::Format
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_without_visible_characters_are_blank() {
        for text in [
            "",
            " \n\t",
            "\0\0",
            "\u{200b}\u{200d}",
            "\u{feff} \u{ad}",
            "\u{202e}\u{2066}",
            "\u{fe0f}",
            "\u{3164}",
            "\u{e0041}",
            "\u{85}\u{2028}",
        ] {
            assert!(is_blank(text), "{text:?}");
        }
        for text in [".", "\u{200b}a", "\u{301}", "😀", "é", "字"] {
            assert!(!is_blank(text), "{text:?}");
        }
    }
}
