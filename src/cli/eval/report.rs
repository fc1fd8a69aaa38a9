//! Printing figures, as JSON for programs and as tables for people.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use crate::segment::EndCounts;
use crate::sentiment::Polarity;

use super::scores::{Confusion, Results, Sets};

/// Prints what was measured on targets. `with_places`: also how many were found in their place.
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
}

impl<'a> From<&'a Sets> for TargetsJson<'a> {
    fn from(sets: &'a Sets) -> Self {
        let figures = sets.iter().map(|(name, results)| (name, FiguresJson::from(results.all())));
        Self { sets: figures.collect(), total: sets.total().all().into() }
    }
}

impl From<Confusion> for FiguresJson {
    fn from(confusion: Confusion) -> Self {
        Self {
            targets: confusion.targets(),
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_f1(),
            confusion: confusion.rows(),
        }
    }
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
    writeln!(writer, "{}", if with_places { "  in place" } else { "" })?;
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
            match results.found_share() {
                Some(share) if kind == "explicit" => writeln!(writer, "  {:>8.2}", 100.0 * share)?,
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
struct SentencesJson<'a> {
    sets: BTreeMap<&'a str, EndsJson>,
}

#[derive(Serialize)]
struct EndsJson {
    precision: f64,
    recall: f64,
    f1: f64,
}

/// Prints what was measured on the ends of sentences.
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
        let results = sets.of("b".to_owned());
        results.explicit.add(Polarity::Positive, Polarity::Positive);
        results.explicit.add(Polarity::Negative, Polarity::Neutral);
        results.add_place(true);
        sets.of("a_longer_name".to_owned()).implicit.add(Polarity::Neutral, Polarity::Neutral);
        sets
    }

    #[test]
    fn json_has_the_documented_shape() {
        let json = serde_json::to_string(&TargetsJson::from(&sets())).expect("figures are JSON");
        insta::assert_snapshot!(json, @r#"{"sets":{"a_longer_name":{"targets":1,"accuracy":1.0,"macro_f1":1.0,"confusion":[[0,0,0],[0,1,0],[0,0,0]]},"b":{"targets":2,"accuracy":0.5,"macro_f1":0.5,"confusion":[[0,1,0],[0,0,0],[0,0,1]]}},"total":{"targets":3,"accuracy":0.6666666666666666,"macro_f1":0.5555555555555555,"confusion":[[0,1,0],[0,1,0],[0,0,1]]}}"#);
    }

    #[test]
    fn tables_line_up() {
        let mut written = Vec::new();
        write_tables(&mut written, &sets(), true).expect("memory can be written");
        insta::assert_snapshot!(String::from_utf8_lossy(&written), @r"
        data set       kind      targets  accuracy  macro-F1  in place
        a_longer_name  implicit        1    100.00    100.00
        b              explicit        2     50.00     50.00    100.00
        total          explicit        2     50.00     50.00    100.00
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
