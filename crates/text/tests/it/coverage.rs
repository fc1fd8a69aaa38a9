//! Measures the share of labelled targets that are found as an exact mention at their place.
//!
//! Needs data that is not in the repository, so it runs only on request:
//!
//! ```sh
//! TRAINING_DATA=DATA cargo test --release --test text_coverage -- --ignored --nocapture
//! ```
//!
//! reads `DATA/train/*.explicit.jsonl.gz` and `DATA/dev/*.explicit.jsonl.gz` and prints a line for each set;
//! with `SENTOR_MISSES=1` also every target that was missed, with what was found there instead.

use flate2::read::GzDecoder;
use sentor_text::language::Language;
use sentor_text::mention::{EntityMatcher, MatchForm, Mention};
use sentor_text::span::{OffsetMap, OffsetUnit, Span};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;

#[derive(Deserialize)]
struct Target {
    text: String,
    entity: String,
    start: usize,
    end: usize,
    lang: String,
}

#[derive(Default)]
struct Counts {
    targets: usize,
    exact: usize,
    in_place: usize,
    /// Missed at its place, but mentioned elsewhere in the text.
    elsewhere: usize,
}

#[test]
#[ignore = "needs the labelled data"]
fn gold_targets_are_found() {
    let data =
        PathBuf::from(std::env::var("TRAINING_DATA").expect("TRAINING_DATA names the folder of the data"));
    let shows_misses = std::env::var_os("SENTOR_MISSES").is_some();
    let mut sets: BTreeMap<String, Counts> = BTreeMap::new();
    for split in ["train", "dev"] {
        let entries = std::fs::read_dir(data.join(split)).expect("the folder of a split can be read");
        for path in entries.map(|entry| entry.expect("a folder's entry can be read").path()) {
            let name = path.file_name().expect("a folder's entry has a name").to_string_lossy().into_owned();
            let Some(set) = name.strip_suffix(".explicit.jsonl.gz") else { continue };
            let counts = sets.entry(set.to_owned()).or_default();
            let lines = BufReader::new(GzDecoder::new(File::open(&path).expect("a data file can be opened")));
            for line in lines.lines() {
                let line = line.expect("a line can be read");
                let target: Target = serde_json::from_str(&line).expect("a line is a target");
                let found = counts.add(&target);
                if let Some(found) = found.filter(|_| shows_misses) {
                    println!("{set}\t{}\t{}\t{}", target.entity, shown(&target, &found), target.text);
                }
            }
        }
    }
    println!("{:24} {:>8} {:>8} {:>10} {:>10}", "data set", "targets", "exact %", "in place %", "elsewhere");
    for (set, counts) in sets {
        println!(
            "{set:24} {:8} {:8.2} {:10.2} {:10}",
            counts.targets,
            100.0 * counts.exact as f64 / counts.targets as f64,
            100.0 * counts.in_place as f64 / counts.targets as f64,
            counts.elsewhere
        );
    }
}

impl Counts {
    /// Counts a target. Returns the mentions found at its place, unless one is exact.
    fn add(&mut self, target: &Target) -> Option<Vec<Mention>> {
        let language = Language::parse(&target.lang).expect("a target is English or Dutch");
        let map = OffsetMap::new(&target.text, OffsetUnit::CodePoint);
        let byte = |units| map.to_bytes(units).expect("a target lies in its text");
        // Some labels have white space at their ends; mentions never do.
        let place = Span::new(byte(target.start), byte(target.end)).trim(&target.text);
        let found = EntityMatcher::new(&[&target.entity], language).find(&target.text);
        self.targets += 1;
        let at_place = found.iter().find(|mention| mention.span == place);
        self.in_place += usize::from(at_place.is_some());
        if at_place.is_some_and(|mention| mention.form == MatchForm::Exact) {
            self.exact += 1;
            return None;
        }
        self.elsewhere += usize::from(at_place.is_none() && !found.is_empty());
        Some(found)
    }
}

fn shown(target: &Target, found: &[Mention]) -> String {
    let shown =
        found.iter().map(|mention| format!("{}:{}", mention.form.label(), mention.span.slice(&target.text)));
    shown.collect::<Vec<_>>().join(", ")
}
