//! Keeps spreadsheets from evaluating text of a CSV file as a formula.
//!
//! `web/table.js` has the same rule for the page's downloads; `tests/reference/formula_cells.json` holds both to it.

use std::borrow::Cow;

/// Characters that begin a formula, in all the widths that spreadsheets accept.
const FORMULA_STARTS: [char; 12] = ['=', '+', '-', '@', '＝', '＋', '－', '＠', '﹦', '﹢', '﹣', '﹫'];

/// Characters after which a spreadsheet may begin a new cell despite the file's quotes: one that expects another
/// separator than the comma ignores quotes inside a line.
const SEPARATORS: [char; 4] = [';', '\t', '\r', '\n'];

/// Puts an apostrophe before each place of a field where a spreadsheet may begin a formula. Numbers stay numbers.
pub fn guard_formulas(field: &str) -> Cow<'_, str> {
    let mut guarded = String::new();
    let mut copied = 0;
    let mut start = 0;
    loop {
        let rest = &field[start..];
        let piece = &rest[..rest.find(SEPARATORS).unwrap_or(rest.len())];
        let is_blank_start = start == 0 && field.starts_with(['\t', '\r', '\n']);
        if is_blank_start || (starts_formula(piece) && !is_number(piece)) {
            guarded.push_str(&field[copied..start]);
            guarded.push('\'');
            copied = start;
        }
        // Separators are single bytes.
        start += piece.len() + 1;
        if start > field.len() {
            break;
        }
    }
    if guarded.is_empty() {
        return Cow::Borrowed(field);
    }
    guarded.push_str(&field[copied..]);
    Cow::Owned(guarded)
}

fn starts_formula(piece: &str) -> bool {
    piece.trim_start_matches('"').starts_with(FORMULA_STARTS)
}

/// Whether the text is a decimal number, with a sign, a fraction and an exponent or without.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_decimal = !text.starts_with(['+', '-'])
        && text.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    is_decimal && text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_guarded_as_the_table_of_cases_says() {
        let cases: Vec<[String; 2]> =
            serde_json::from_str(include_str!("../../../tests/reference/formula_cells.json"))
                .expect("the cases are pairs of texts");
        assert!(cases.len() > 20);
        for [field, guarded] in &cases {
            assert_eq!(guard_formulas(field), *guarded, "{field:?}");
        }
    }
}
