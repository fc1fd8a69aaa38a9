//! The cases in `tests/data/`, which are written to be read and extended by someone who knows the languages
//! and no Rust.

use sentor_text::aggregate;
use sentor_text::language::{self, Language};
use sentor_text::masking::AspectWords;
use sentor_text::mention::{EntityMatcher, MatchForm};
use sentor_text::pronoun;
use sentor_text::segment;
use sentor_text::sentiment::Distribution;
use std::fmt::Write as _;

#[test]
fn golden_rules() {
    check("sentences-golden.txt", include_str!("../data/sentences-golden.txt"), sentence_case);
}

#[test]
fn sentences() {
    check("sentences.txt", include_str!("../data/sentences.txt"), sentence_case);
}

#[test]
fn mentions() {
    check("mentions.txt", include_str!("../data/mentions.txt"), mention_case);
}

#[test]
fn mentions_in_other_spellings() {
    check("spellings.txt", include_str!("../data/spellings.txt"), mention_case);
}

#[test]
fn names() {
    let aspects = AspectWords::parse("battery screen service staff food life bediening scherm");
    check("names.txt", include_str!("../data/names.txt"), |_, case| {
        let (kind, entity) = case.split_once(' ').expect("a case is a kind and an entity");
        let found = if aspects.is_name(entity.trim()) { "name" } else { "aspect" };
        (kind.to_owned(), found.to_owned())
    });
}

#[test]
fn pronouns() {
    check("pronouns.txt", include_str!("../data/pronouns.txt"), pronoun_case);
}

#[test]
fn languages() {
    check("languages.txt", include_str!("../data/languages.txt"), |_, case| {
        let (code, text) = case.split_once(" | ").expect("a case is a code and a text");
        let detected = language::detect(text);
        let sure = if detected.is_reliable() { "sure" } else { "guess" };
        (format!("{code} | {text}"), format!("{} {sure} | {text}", detected.code))
    });
}

#[test]
fn aggregation() {
    check("aggregation.txt", include_str!("../data/aggregation.txt"), |_, case| {
        let (question, answer) = case.split_once(" => ").expect("a case has an answer");
        let (step, parts) = question.split_once(": ").expect("a case begins with its step");
        let parts: Vec<(Distribution, usize)> = parts.split(", ").map(part).collect();
        let alone: Vec<Distribution> = parts.iter().map(|&(distribution, _)| distribution).collect();
        let found = match step {
            "sentence" => aggregate::sentence(&parts),
            "entity" => aggregate::entity(&alone),
            "implicit" => aggregate::implicit(&alone),
            "document" => aggregate::document(&parts),
            _ => panic!("no step is called {step}"),
        };
        let [negative, neutral, positive] = found.probabilities();
        (answer.to_owned(), format!("{negative:.2} {neutral:.2} {positive:.2}"))
    });
}

/// Parses three probabilities, and a length in tokens after an `x`.
fn part(text: &str) -> (Distribution, usize) {
    let (probabilities, tokens) = text.split_once(" x").unwrap_or((text, "1"));
    let number = |word: &str| word.parse().expect("probabilities are numbers");
    let weights: Vec<f64> = probabilities.split(' ').map(number).collect();
    let weights = weights.try_into().expect("there are three probabilities");
    (Distribution::from_weights(weights), tokens.parse().expect("a length is a number"))
}

/// Checks each case of a file and lists all failures. `judge` returns the expected and the actual result.
fn check(name: &str, file: &'static str, judge: impl Fn(Language, &str) -> (String, String)) {
    let mut failures = String::new();
    for (line, language, case) in cases(file) {
        let (expected, found) = judge(language, case);
        if found != expected {
            writeln!(failures, "{name}:{line}: {found}").expect("writing to a string does not fail");
        }
    }
    assert!(failures.is_empty(), "found instead:\n{failures}");
}

/// Returns the cases of a file, with their line number and language. A heading `[nl]` changes the language.
fn cases(file: &'static str) -> impl Iterator<Item = (usize, Language, &'static str)> {
    let mut language = Language::English;
    file.lines().enumerate().filter_map(move |(index, line)| {
        let heading =
            line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).and_then(Language::parse);
        language = heading.unwrap_or(language);
        let is_case = heading.is_none() && !line.is_empty() && !line.starts_with('#');
        is_case.then_some((index + 1, language, line))
    })
}

/// `|` marks where one sentence ends and the next begins, `⏎` a line break. `not met: reason =>` before a published case
/// marks a known deviation.
fn sentence_case(language: Language, case: &str) -> (String, String) {
    let marked = match case.strip_prefix("not met: ") {
        Some(rest) => rest.split_once(" => ").expect("a reason ends in =>").1,
        None => case,
    };
    let text = marked.replace('⏎', "\n").replace("\n | ", "\n").replace(" | ", " ").replace('|', "");
    let expected: Vec<&str> = marked.split('|').map(|sentence| sentence.trim_matches([' ', '⏎'])).collect();
    let found = segment::sentences(&text, language);
    let found: Vec<String> =
        found.iter().map(|sentence| sentence.slice(&text).trim().replace('\n', "⏎")).collect();
    (expected.join(" | "), found.join(" | "))
}

/// The entity, ` | `, and a text in which its mentions are marked: `[exact]`, `{inflected}`, `<compound>`.
fn mention_case(language: Language, case: &str) -> (String, String) {
    let (entity, marked) = case.split_once(" | ").expect("a case is an entity and a text");
    let marked =
        marked.replace('⏎', "\n").replace("⍽", "\u{a0}").replace('¬', "\u{ad}").replace("◌", "\u{301}");
    let text = marked.replace(['[', ']', '{', '}', '<', '>'], "");
    let mut found = String::new();
    let mut end = 0;
    for mention in EntityMatcher::new(&[entity], language).find(&text) {
        let [open, close] = match mention.form {
            MatchForm::Exact => ["[", "]"],
            MatchForm::Inflected => ["{", "}"],
            MatchForm::Compound => ["<", ">"],
            MatchForm::Pronoun => unreachable!("nobody asked for pronouns"),
        };
        found.extend([&text[end..mention.span.start], open, mention.span.slice(&text), close]);
        end = mention.span.end;
    }
    found.push_str(&text[end..]);
    (format!("{entity} | {marked}"), format!("{entity} | {found}"))
}

/// The entities with `;` between them, ` | `, and a text in which the pronouns that are followed are marked: `[it]`, or
/// `[it=phone]` where there are several entities.
fn pronoun_case(language: Language, case: &str) -> (String, String) {
    let (entities, marked) = case.split_once(" | ").expect("a case is a list of entities and a text");
    let names: Vec<&str> = entities.split("; ").collect();
    let marked = marked.trim().replace('⏎', "\n");
    let mut text = String::new();
    for (index, part) in marked.split(['[', ']']).enumerate() {
        // Every second part was in brackets.
        text.push_str(if index % 2 == 1 { part.split('=').next().unwrap_or(part) } else { part });
    }
    let mentions = EntityMatcher::new(&names, language).find(&text);
    let followed = pronoun::follow(&text, language, &segment::sentences(&text, language), mentions);
    let mut found = String::new();
    let mut end = 0;
    for mention in followed.iter().filter(|mention| mention.form == MatchForm::Pronoun) {
        if mention.span.start < end {
            continue;
        }
        let name = if names.len() > 1 { format!("={}", names[mention.entity]) } else { String::new() };
        found.extend([&text[end..mention.span.start], "[", mention.span.slice(&text), &name, "]"]);
        end = mention.span.end;
    }
    found.push_str(&text[end..]);
    (format!("{entities} | {marked}"), format!("{entities} | {found}"))
}
