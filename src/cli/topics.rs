//! `sentor topics`: what the documents of a file are about.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::predict::input::{self, Entry, InputFormat, Record, TableArgs};
use super::table::table;
use super::{Exit, GlobalArgs, lines, session};
use crate::topics::{Grouped, Topic, language_of_most, plan_name};
use sentor_analysis::{Analyzer, local_caller};
use sentor_text::language::Language;
use sentor_topics::Member;

/// Show what the documents of a file are about
///
/// Groups the documents by subject, and prints a name, the size and the telling words of each group. The file is read as
/// by `sentor predict`. The same documents give the same groups, in any order.
#[derive(Debug, clap::Args)]
pub(crate) struct TopicsArgs {
    /// The path of a file, or `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Number of groups [default: found from the documents]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    clusters: Option<u32>,

    /// Language of the documents: en or nl [default: that of most of them]
    #[arg(long, value_name = "LANGUAGE", value_parser = ["en", "nl"])]
    language: Option<String>,

    /// Print JSON Lines in place of a table: one line for each document, with its group
    #[arg(long)]
    json: bool,

    /// Format of the file [default: by its name or its first line]
    #[arg(long, value_enum)]
    input_format: Option<InputFormat>,

    #[command(flatten)]
    table: TableArgs,
}

/// Runs the command.
pub(crate) fn run(args: &TopicsArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let records = read(args)?;
    if records.is_empty() {
        bail!("{} has no documents", lines::name(&args.file));
    }
    let settings = session::settings(global)?;
    let session = session::start(&settings)?;
    let analyzer = session.0.as_ref();
    let language = match &args.language {
        Some(code) => Language::parse(code).context("the language is en or nl")?,
        None => language_of_most(records.iter().map(|record| record.text.as_str())),
    };
    let owned: Vec<String> = records.iter().map(|record| record.text.clone()).collect();
    let embedded = analyzer.embed_blocking(&owned, language, &local_caller())?;
    let vectors: Option<Vec<&[f32]>> = embedded.vectors.iter().map(Option::as_deref).collect();
    let vectors = vectors.context("the embedding model failed on a document")?;
    let texts: Vec<&str> = owned.iter().map(String::as_str).collect();
    let clusters = args.clusters.and_then(|count| usize::try_from(count).ok());
    let grouped = Grouped::of(&texts, &vectors, clusters, language);
    let names = names(analyzer, &records, &grouped, language)?;
    if args.json { print_lines(&records, &grouped, &names) } else { print_table(&grouped, &names) }?;
    Ok(Exit::Ok)
}

fn read(args: &TopicsArgs) -> anyhow::Result<Vec<Record>> {
    let documents = input::open(&args.file, args.input_format, &args.table)?.documents;
    let mut records = Vec::new();
    for entry in input::entries(documents, lines::name(&args.file), Vec::new(), 0) {
        match entry {
            Entry::Record(record) => records.push(record),
            Entry::Notice(notice) => {
                // Nothing is left to do where stderr is gone.
                let _ = writeln!(anstream::stderr(), "{notice}");
            }
            Entry::Bad(bad) => bail!("{}:{bad}", lines::name(&args.file)),
            Entry::Broken(error) => return Err(error),
        }
    }
    Ok(records)
}

/// The name of each group.
fn names(
    analyzer: &Analyzer,
    records: &[Record],
    grouped: &Grouped,
    language: Language,
) -> anyhow::Result<Vec<String>> {
    let groups = grouped.clustering.clusters.iter().zip(&grouped.top_words);
    let name = |(cluster, words): (&sentor_topics::Cluster, &Vec<String>)| {
        let documents = cluster.members.iter();
        let topic = Topic {
            documents: documents
                .map(|member| (records[member.document].text.clone(), Some(member.probability)))
                .collect(),
            top_words: words.clone(),
            left_out: Vec::new(),
            language,
        };
        let planned = plan_name(topic);
        let embedded = analyzer.embed_blocking(&planned.texts(), language, &local_caller())?;
        Ok(planned.name(&embedded.vectors))
    };
    groups.map(name).collect()
}

fn print_table(grouped: &Grouped, names: &[String]) -> anyhow::Result<()> {
    let total: usize = grouped.clustering.clusters.iter().map(|cluster| cluster.members.len()).sum();
    let outliers = grouped.clustering.outliers.len();
    let share = |size: usize| format!("{:.0} %", 100.0 * size as f64 / (total + outliers).max(1) as f64);
    let mut rows = vec![["topic", "documents", "share", "words"].map(str::to_owned)];
    for ((cluster, words), name) in grouped.clustering.clusters.iter().zip(&grouped.top_words).zip(names) {
        let size = cluster.members.len();
        let words = words.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        rows.push([name.clone(), size.to_string(), share(size), words]);
    }
    if outliers > 0 {
        rows.push(["(none of these)".to_owned(), outliers.to_string(), share(outliers), String::new()]);
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(table(&rows).as_bytes())?;
    stdout.flush()?;
    if stdout.is_terminal() {
        let _ = writeln!(anstream::stderr(), "--json lists the documents of each topic");
    }
    Ok(())
}

fn print_lines(records: &[Record], grouped: &Grouped, names: &[String]) -> anyhow::Result<()> {
    let mut places: Vec<Option<(i64, &str, &Member)>> = vec![None; records.len()];
    let numbered = grouped.clustering.clusters.iter().zip(names).zip(0..);
    for ((cluster, name), number) in numbered {
        for member in &cluster.members {
            places[member.document] = Some((number, name, member));
        }
    }
    for member in &grouped.clustering.outliers {
        places[member.document] = Some((-1, "", member));
    }
    let mut stdout = io::stdout().lock();
    for (record, place) in records.iter().zip(places) {
        let Some((cluster_id, topic, member)) = place else { continue };
        let line = json!({
            "doc_id": record.doc_id, "cluster_id": cluster_id, "topic": topic,
            "cluster_probability": (member.probability * 10_000.0).round() / 10_000.0,
        });
        writeln!(stdout, "{line}")?;
    }
    stdout.flush()?;
    Ok(())
}
