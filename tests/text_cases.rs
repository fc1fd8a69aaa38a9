//! The cases in `tests/data/`, which are written to be read and extended by someone who knows the languages
//! and no Rust.

use sentor::language::Language;
use sentor::segment;

/// The lines of a case file that are cases, with their language and line number. A heading `[nl]` changes
/// the language.
fn cases(file: &'static str) -> impl Iterator<Item = (usize, Language, &'static str)> {
    let mut language = Language::English;
    file.lines().enumerate().filter_map(move |(index, line)| {
        let line = line.trim_end();
        if let Some(code) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if let Some(named) = Language::parse(code) {
                language = named;
                return None;
            }
        }
        (!line.is_empty() && !line.starts_with('#')).then_some((index + 1, language, line))
    })
}

fn sentences_of(text: &str, language: Language) -> Vec<&str> {
    segment::sentences(text, language).iter().map(|sentence| sentence.slice(text).trim()).collect()
}

/// The text of a marked case and its sentences.
fn unmark(marked: &str) -> (String, Vec<String>) {
    let marked = marked.replace('⏎', "\n");
    let text = marked.replace("\n | ", "\n").replace(" | ", " ").replace('|', "");
    (text, marked.split('|').map(|sentence| sentence.trim().to_owned()).collect())
}

#[test]
fn golden_rules() {
    check_sentences("sentences-golden.txt", include_str!("data/sentences-golden.txt"));
}

/// Checks all cases of a file, so that one run shows all that fail.
fn check_sentences(name: &str, file: &'static str) {
    let mut failures = String::new();
    for (line, language, case) in cases(file) {
        let (reason, case) = match case.strip_prefix("not met: ") {
            Some(rest) => rest.split_once(" => ").map(|(reason, case)| (Some(reason), case)).expect("a reason ends in =>"),
            None => (None, case),
        };
        let (text, expected) = unmark(case);
        let found = sentences_of(&text, language);
        if found != expected {
            failures += &format!("{name}:{line}: {}\n", found.join(" | ").replace('\n', "⏎"));
        }
        let _ = reason;
    }
    assert!(failures.is_empty(), "{failures}");
}
