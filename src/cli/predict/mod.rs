//! `sentor predict`: texts in, scored documents out.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::builder::NonEmptyStringValueParser;
use indicatif::{ProgressBar, ProgressStyle};

use sentor_analysis::{DocumentError, MentionSource, Options, local_caller};
use sentor_text::language::LanguageChoice;

use super::flow::{self, Score, Scored};
use super::lines;
use super::{Exit, GlobalArgs, session};

mod batches;
pub(super) mod input;
mod output;

use input::{BadLine, Columns, Entry, InputFormat, Record};
use output::{Output, OutputFormat};

/// Score a text, or every document of a file or of standard input
///
/// INPUT is `-` for standard input, the path of a file, or else the text itself. A file may be gzipped and
/// may be larger than memory: results are printed while it is read, in its order.
///
/// JSON Lines: each line is an object with `doc` (or `text`), and optionally `doc_id` (or `id`) and a list
/// `entities`. CSV and TSV: a header row names the columns. Plain lines: each line is a document. Blank
/// lines are skipped. A document without an identifier has its line number as its identifier.
///
/// A line that cannot be read or scored is reported on standard error as `file:line: reason`. It ends the
/// run, unless --keep-going is given; the exit code is then 5, and the other lines' results are complete.
#[derive(Debug, clap::Args)]
pub(crate) struct PredictArgs {
    /// A text, the path of a file, or `-` for standard input (the default when that is not a terminal)
    #[arg(value_name = "INPUT")]
    input: Option<PathBuf>,

    /// A text to score, even if a file has that name
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["input", "input_format"])]
    text: Option<String>,

    /// Score toward NAME in every document, in addition to the document's own entities; repeatable
    #[arg(long = "entity", short = 'e', value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    entities: Vec<String>,

    /// Language of the texts; `auto` detects it for each document
    #[arg(long, short, value_name = "en|nl|auto", default_value = "en", value_parser = parse_language)]
    language: LanguageChoice,

    /// Count a pronoun as a mention of the one entity that it can refer to
    #[arg(long)]
    pronouns: bool,

    /// Output format [default: table on a terminal, jsonl otherwise]
    #[arg(long, short, value_name = "FORMAT")]
    format: Option<OutputFormat>,

    /// Input format [default: by the file's extension; else jsonl if the first line that is not blank begins with `{`,
    /// and lines if not]
    #[arg(long = "input", value_name = "FORMAT")]
    input_format: Option<InputFormat>,

    #[command(flatten)]
    columns: Columns,

    /// Continue after lines that cannot be read or scored
    #[arg(long, short)]
    keep_going: bool,
}

impl PredictArgs {
    fn mentions(&self) -> MentionSource {
        MentionSource::find(self.pronouns)
    }
}

/// Reads the value of `--language`.
pub(super) fn parse_language(name: &str) -> Result<LanguageChoice, String> {
    LanguageChoice::parse(name).ok_or_else(|| "the languages are en, nl and auto".to_owned())
}

/// Runs the command.
pub(crate) fn run(args: &PredictArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let source = Source::from_args(args)?;
    let stdout_is_terminal = io::stdout().is_terminal();
    let format =
        args.format.unwrap_or(if stdout_is_terminal { OutputFormat::Table } else { OutputFormat::Jsonl });
    let output = Output::new(format)?;
    let settings = session::settings(global)?;
    match source {
        Source::Text(text) => {
            let session = session::start(&settings)?;
            predict_text(session.0.as_ref(), text, args, output)
        }
        Source::File(path) => {
            // Opened before the models are loaded, so that a wrong path is reported at once.
            let progress = progress_bar(&path, stdout_is_terminal);
            let reader = lines::open(&path, &progress)?;
            let entries = input::entries(reader, &path, args.input_format, &args.columns)?;
            let session = session::start(&settings)?;
            let batches =
                batches::gather_batches(entries, args.entities.clone(), args.language, args.mentions());
            let scored = flow::score_in_order(Arc::clone(&session.0), batches);
            let run = Run { file: lines::name(&path), keep_going: args.keep_going, progress };
            run.write(scored, output)
        }
    }
}

/// Context of errors of the output. `cli::run` treats a closed pipe, as in `… | head`, as success.
const WRITE: &str = "failed to write the results";

/// The input to score.
enum Source {
    Text(String),
    File(PathBuf),
}

impl Source {
    fn from_args(args: &PredictArgs) -> anyhow::Result<Self> {
        if let Some(text) = &args.text {
            return Ok(Self::Text(text.clone()));
        }
        let Some(input) = &args.input else {
            let is_piped = !io::stdin().is_terminal();
            anyhow::ensure!(is_piped, "there is nothing to score: give a text, a file or `-`");
            return Ok(Self::File(PathBuf::from(lines::STDIN)));
        };
        if input.as_os_str() == lines::STDIN || args.input_format.is_some() || input.exists() {
            return Ok(Self::File(input.clone()));
        }
        match input.to_str() {
            Some(text) if !looks_like_path(input) => Ok(Self::Text(text.to_owned())),
            _ => bail!("there is no file {}; use --text to score the words themselves", input.display()),
        }
    }
}

/// Whether the input names a missing file rather than a text: one word with the extension of a data file.
fn looks_like_path(input: &Path) -> bool {
    let has_blank = input.to_str().is_some_and(|text| text.contains(char::is_whitespace));
    let is_data = input.extension().and_then(|extension| extension.to_str()).is_some_and(|extension| {
        ["jsonl", "ndjson", "json", "csv", "tsv", "txt", "gz"].contains(&extension.to_lowercase().as_str())
    });
    !has_blank && (is_data || input.is_absolute())
}

/// Scores the one text of the command line.
fn predict_text(
    scorer: &impl Score,
    text: String,
    args: &PredictArgs,
    mut output: Output<impl io::Write>,
) -> anyhow::Result<Exit> {
    let record = Record { line: 1, doc_id: "1".to_owned(), text, entities: args.entities.clone() };
    let options = Options { language: args.language, caller: local_caller(), deadline: None };
    let answer = scorer.score(vec![record.document(args.mentions())], options)?.pop();
    let analysis = answer.context("the models gave no answer")?.map_err(|error| anyhow::anyhow!(error))?;
    output.write(&record, &analysis).and_then(|()| output.flush()).context(WRITE)?;
    Ok(Exit::Ok)
}

/// Returns a bar for a file and a spinner for a stream, hidden if stderr is no terminal or results go to one.
fn progress_bar(path: &Path, stdout_is_terminal: bool) -> ProgressBar {
    if stdout_is_terminal || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = if path.as_os_str() == lines::STDIN {
        "{spinner} {msg}, {elapsed}"
    } else {
        "{bar:30} {binary_bytes}/{binary_total_bytes}, {msg}, {elapsed}, {eta} left"
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(0).with_style(style).with_message("0 documents");
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A run over a file or a stream.
struct Run {
    file: String,
    keep_going: bool,
    progress: ProgressBar,
}

impl Run {
    /// Writes the results in order and reports the lines without one.
    fn write(
        &self,
        scored: impl Iterator<Item = Scored<Vec<Entry>>>,
        mut output: Output<impl io::Write>,
    ) -> anyhow::Result<Exit> {
        let mut documents = 0_u64;
        let mut bad_lines = 0_u64;
        for batch in scored {
            let answers = batch.answers.with_context(|| format!("failed to score {}", self.file))?;
            let mut answers = answers.into_iter();
            for entry in batch.payload {
                let result = match entry {
                    Entry::Record(record) => match answers.next().context("an answer is missing")? {
                        Ok(analysis) => Ok((record, analysis)),
                        Err(error) => Err(bad_document(&record, &error)),
                    },
                    Entry::Bad(bad) => Err(bad),
                    Entry::Broken(error) => {
                        output.flush().context(WRITE)?;
                        return Err(error.context(format!("failed to read {}", self.file)));
                    }
                };
                match result {
                    Ok((record, analysis)) => {
                        documents += 1;
                        output.write(&record, &analysis).context(WRITE)?;
                    }
                    Err(bad) if self.keep_going => {
                        bad_lines += 1;
                        self.report(&bad);
                    }
                    Err(bad) => {
                        output.flush().context(WRITE)?;
                        bail!("{}:{bad} (--keep-going goes on after such lines)", self.file);
                    }
                }
            }
            self.progress.set_message(format!("{documents} documents, {bad_lines} bad lines"));
            output.flush().context(WRITE)?;
        }
        output.flush().context(WRITE)?;
        self.progress.finish_and_clear();
        if bad_lines == 0 {
            return Ok(Exit::Ok);
        }
        eprintln!("{documents} documents scored, {bad_lines} bad lines left out");
        Ok(Exit::SomeInputFailed)
    }

    fn report(&self, bad: &BadLine) {
        self.progress.suspend(|| eprintln!("{}:{bad}", self.file));
    }
}

fn bad_document(record: &Record, error: &DocumentError) -> BadLine {
    BadLine { line: record.line, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flow::tests::Fake;

    fn run_over(input: &str, keep_going: bool) -> (anyhow::Result<Exit>, String) {
        let path = Path::new("docs.jsonl");
        let columns = Columns::default();
        let reader = Box::new(io::Cursor::new(input.to_owned()));
        let entries = input::entries(reader, path, None, &columns).expect("the input has a known format");
        let language = LanguageChoice::Auto;
        let batches = batches::gather_batches(entries, vec!["ham".to_owned()], language, MentionSource::Find);
        let scored = flow::score_in_order(Arc::new(Fake::default()), batches);
        let mut written = Vec::new();
        let output = Output::with_writer(OutputFormat::Jsonl, &mut written).expect("memory can be written");
        let run = Run { file: "docs.jsonl".to_owned(), keep_going, progress: ProgressBar::hidden() };
        let exit = run.write(scored, output);
        (exit, String::from_utf8(written).expect("JSON is UTF-8"))
    }

    fn doc_ids(output: &str) -> Vec<String> {
        let value = |line| serde_json::from_str::<serde_json::Value>(line).expect("each line is JSON");
        output.lines().map(|line| value(line)["doc_id"].as_str().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn results_keep_the_order_of_the_lines() {
        let lines: Vec<_> = (0..500).map(|n| format!("{{\"doc\": \"good {n}\", \"doc_id\": {n}}}")).collect();
        let input = lines.join("\n");
        let (exit, output) = run_over(&input, false);
        assert!(exit.is_ok_and(|exit| exit == Exit::Ok));
        assert!(doc_ids(&output).into_iter().eq((0..500).map(|n| n.to_string())));
    }

    #[test]
    fn a_bad_line_ends_the_run_after_the_lines_before_it() {
        let (exit, output) = run_over("{\"doc\": \"good\"}\n{\"dok\": \"x\"}\n{\"doc\": \"good\"}\n", false);
        let message = exit.expect_err("the second line is bad").to_string();
        assert!(message.starts_with("docs.jsonl:2: missing field `doc`"), "{message}");
        assert_eq!(doc_ids(&output), ["1"]);
    }

    #[test]
    fn bad_lines_are_left_out_with_keep_going() {
        let (exit, output) = run_over("{\"doc\": \" \"}\n\nnot json\n{\"doc\": \"good\"}", true);
        assert!(exit.is_ok_and(|exit| exit == Exit::SomeInputFailed));
        assert_eq!(doc_ids(&output), ["4"]);
    }

    #[test]
    fn a_missing_file_is_an_error_and_not_a_text() {
        for path in ["reviews.jsonl", "/data/reviews", "x.csv.gz"] {
            assert!(looks_like_path(Path::new(path)), "{path}");
        }
        for text in ["Great", "Great product.", "I like report.csv", "either/or", "Geweldig!"] {
            assert!(!looks_like_path(Path::new(text)), "{text}");
        }
    }
}
