//! Prints figures, as JSON for programs and as tables for people.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use sentor_text::language::Language;
use sentor_text::segment::EndCounts;
use sentor_text::sentiment::Polarity;

use super::detection::{DetectionCounts, Group, Length};
use super::scores::{Confusion, Results, Sets};

/// Prints the results for targets. `with_places`: also the share found in their place.
pub(super) fn print_targets(sets: &Sets, with_places: bool, json: bool) -> io::Result<()> {
    let stdout = &mut io::stdout().lock();
    if json { write_json(stdout, &TargetsJson::from(sets)) } else { write_tables(stdout, sets, with_places) }
}

#[derive(Serialize)]
struct TargetsJson<'a> {
    sets: BTreeMap<&'a str, FiguresJson>,
    total: FiguresJson,
}

#[derive(Serialize)]
struct FiguresJson {
    targets: u64,
    accuracy: f64,
    macro_f1: f64,
    confusion: [[u64; 3]; 3],
    /// Only if mentions were searched.
    #[serde(flatten)]
    found: Option<FoundJson>,
}

#[derive(Serialize)]
struct FoundJson {
    in_place: f64,
    macro_f1_as_entity: f64,
}

impl<'a> From<&'a Sets> for TargetsJson<'a> {
    fn from(sets: &'a Sets) -> Self {
        let figures = sets.iter().map(|(name, results)| (name, FiguresJson::from(*results)));
        Self { sets: figures.collect(), total: sets.total().into() }
    }
}

impl From<Results> for FiguresJson {
    fn from(results: Results) -> Self {
        let all = results.all();
        Self {
            targets: all.targets(),
            accuracy: all.accuracy(),
            macro_f1: all.macro_f1(),
            confusion: all.rows(),
            found: found_figures(&results)
                .map(|(in_place, macro_f1_as_entity)| FoundJson { in_place, macro_f1_as_entity }),
        }
    }
}

/// The share of explicit targets that were found in their place, and macro-F1 by their entities' sentiment.
fn found_figures(results: &Results) -> Option<(f64, f64)> {
    results.found_share().zip(results.as_entity().map(|confusion| confusion.macro_f1()))
}

fn write_json(writer: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *writer, value)?;
    writeln!(writer)
}

/// One table with a row for each data set and kind, then the confusion matrices.
fn write_tables(writer: &mut impl Write, sets: &Sets, with_places: bool) -> io::Result<()> {
    let total = sets.total();
    let rows: Vec<(&str, Results)> =
        sets.iter().map(|(name, results)| (name, *results)).chain([("total", total)]).collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max("data set".len());

    write!(
        writer,
        "{:<width$}  {:<8}  {:>7}  {:>8}  {:>8}",
        "data set", "kind", "targets", "accuracy", "macro-F1"
    )?;
    writeln!(writer, "{}", if with_places { "  in place  as entity" } else { "" })?;
    for (name, results) in &rows {
        let kinds = [("explicit", results.explicit), ("implicit", results.implicit), ("both", results.all())];
        let both_kinds = results.explicit.targets() > 0 && results.implicit.targets() > 0;
        for (kind, figures) in kinds {
            if figures.targets() == 0 || (kind == "both" && !both_kinds) {
                continue;
            }
            let (accuracy, macro_f1) = (100.0 * figures.accuracy(), 100.0 * figures.macro_f1());
            write!(
                writer,
                "{name:<width$}  {kind:<8}  {:>7}  {accuracy:>8.2}  {macro_f1:>8.2}",
                figures.targets()
            )?;
            match found_figures(results) {
                Some((share, as_entity)) if kind == "explicit" => {
                    writeln!(writer, "  {:>8.2}  {:>9.2}", 100.0 * share, 100.0 * as_entity)?;
                }
                _ => writeln!(writer)?,
            }
        }
    }
    for (name, results) in &rows {
        writeln!(writer, "\n{name}: labels in rows, predictions in columns")?;
        write_confusion(writer, &results.all())?;
    }
    Ok(())
}

fn write_confusion(writer: &mut impl Write, confusion: &Confusion) -> io::Result<()> {
    write!(writer, "{:<10}", "")?;
    for polarity in Polarity::ALL {
        write!(writer, "{polarity:>10}")?;
    }
    writeln!(writer)?;
    for (polarity, row) in Polarity::ALL.iter().zip(confusion.rows()) {
        writeln!(writer, "  {polarity:<8}{:>10}{:>10}{:>10}", row[0], row[1], row[2])?;
    }
    Ok(())
}

#[derive(Serialize)]
struct DetectionJson<'a> {
    data_set: &'a str,
    lang: &'static str,
    words: &'static str,
    texts: u64,
    right: f64,
    confused: f64,
    third: f64,
    unknown: f64,
    warned: f64,
}

impl<'a> DetectionJson<'a> {
    fn new(data_set: &'a str, language: Language, length: Length, counts: &DetectionCounts) -> Self {
        Self {
            data_set,
            lang: language.code(),
            words: length.label(),
            texts: counts.texts,
            right: counts.share(counts.right),
            confused: counts.share(counts.confused),
            third: counts.share(counts.third),
            unknown: counts.share(counts.unknown),
            warned: counts.share(counts.warned),
        }
    }
}

/// Prints the results of language detection.
pub(super) fn print_detection(groups: &BTreeMap<Group, DetectionCounts>, json: bool) -> io::Result<()> {
    let writer = &mut io::stdout().lock();
    let mut totals = BTreeMap::new();
    for ((_, language, length), counts) in groups {
        *totals.entry((*language, *length)).or_insert_with(DetectionCounts::default) += *counts;
    }
    let of_sets = groups
        .iter()
        .map(|((set, language, length), counts)| DetectionJson::new(set, *language, *length, counts));
    let of_all = totals
        .iter()
        .map(|((language, length), counts)| DetectionJson::new("total", *language, *length, counts));
    if json {
        let groups = [("groups", of_sets.collect::<Vec<_>>()), ("total", of_all.collect())];
        return write_json(writer, &BTreeMap::from(groups));
    }
    let width = groups.keys().map(|(name, ..)| name.chars().count()).max().unwrap_or(0).max("data set".len());
    write!(writer, "{:<width$}  {:<4}  {:<5}  {:>6}", "data set", "lang", "words", "texts")?;
    writeln!(
        writer,
        "  {:>6}  {:>8}  {:>6}  {:>7}  {:>6}",
        "right", "confused", "third", "unknown", "warned"
    )?;
    for row in of_sets.chain(of_all) {
        let DetectionJson { data_set, lang, words, texts, .. } = row;
        let [right, confused, third, unknown, warned] =
            [row.right, row.confused, row.third, row.unknown, row.warned].map(|share| 100.0 * share);
        write!(writer, "{data_set:<width$}  {lang:<4}  {words:<5}  {texts:>6}  {right:>6.2}")?;
        writeln!(writer, "  {confused:>8.2}  {third:>6.2}  {unknown:>7.2}  {warned:>6.2}")?;
    }
    Ok(())
}

#[derive(Serialize)]
struct SentencesJson<'a> {
    sets: BTreeMap<&'a str, EndsJson>,
}

#[derive(Serialize)]
struct EndsJson {
    precision: f64,
    recall: f64,
    f1: f64,
}

/// Prints the results for the ends of sentences.
pub(super) fn print_sentences(sets: &BTreeMap<String, EndCounts>, json: bool) -> io::Result<()> {
    let writer = &mut io::stdout().lock();
    if json {
        let figures =
            |ends: &EndCounts| EndsJson { precision: ends.precision(), recall: ends.recall(), f1: ends.f1() };
        let sets = sets.iter().map(|(name, ends)| (name.as_str(), figures(ends))).collect();
        return write_json(writer, &SentencesJson { sets });
    }
    let width = sets.keys().map(|name| name.chars().count()).max().unwrap_or(0).max("data set".len());
    writeln!(writer, "{:<width$}  {:>9}  {:>6}  {:>6}", "data set", "precision", "recall", "F1")?;
    for (name, ends) in sets {
        let [precision, recall, f1] = [ends.precision(), ends.recall(), ends.f1()].map(|share| 100.0 * share);
        writeln!(writer, "{name:<width$}  {precision:>9.2}  {recall:>6.2}  {f1:>6.2}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets() -> Sets {
        let mut sets = Sets::default();
        let results = sets.entry("b".to_owned());
        results.explicit.add(Polarity::Positive, Polarity::Positive);
        results.explicit.add(Polarity::Negative, Polarity::Neutral);
        results.add_found(Polarity::Positive, Polarity::Positive, true);
        results.add_found(Polarity::Negative, Polarity::Negative, false);
        sets.entry("a_longer_name".to_owned()).implicit.add(Polarity::Neutral, Polarity::Neutral);
        sets
    }

    #[test]
    fn json_has_the_documented_shape() {
        let json = serde_json::to_string(&TargetsJson::from(&sets())).expect("figures are JSON");
        insta::assert_snapshot!(json, @r#"{"sets":{"a_longer_name":{"targets":1,"accuracy":1.0,"macro_f1":1.0,"confusion":[[0,0,0],[0,1,0],[0,0,0]]},"b":{"targets":2,"accuracy":0.5,"macro_f1":0.5,"confusion":[[0,1,0],[0,0,0],[0,0,1]],"in_place":0.5,"macro_f1_as_entity":1.0}},"total":{"targets":3,"accuracy":0.6666666666666666,"macro_f1":0.5555555555555555,"confusion":[[0,1,0],[0,1,0],[0,0,1]],"in_place":0.5,"macro_f1_as_entity":1.0}}"#);
    }

    #[test]
    fn tables_line_up() {
        let mut written = Vec::new();
        write_tables(&mut written, &sets(), true).expect("memory can be written");
        insta::assert_snapshot!(String::from_utf8_lossy(&written), @r"
        data set       kind      targets  accuracy  macro-F1  in place  as entity
        a_longer_name  implicit        1    100.00    100.00
        b              explicit        2     50.00     50.00     50.00     100.00
        total          explicit        2     50.00     50.00     50.00     100.00
        total          implicit        1    100.00    100.00
        total          both            3     66.67     55.56

        a_longer_name: labels in rows, predictions in columns
                    negative   neutral  positive
          negative         0         0         0
          neutral          0         1         0
          positive         0         0         0

        b: labels in rows, predictions in columns
                    negative   neutral  positive
          negative         0         1         0
          neutral          0         0         0
          positive         0         0         1

        total: labels in rows, predictions in columns
                    negative   neutral  positive
          negative         0         1         0
          neutral          0         1         0
          positive         0         0         1
        ");
    }
}
