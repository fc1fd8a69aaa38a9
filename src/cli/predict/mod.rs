//! `sentor predict`: texts in, scored documents out.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use clap::builder::NonEmptyStringValueParser;

use sentor_analysis::{MentionSource, Options, local_caller};
use sentor_text::language::LanguageChoice;

use super::flow::{self, Score};
use super::lines;
use super::{Exit, GlobalArgs, session};

mod batches;
mod checkpoint;
pub(super) mod input;
mod interrupt;
mod output;
mod progress;
mod run;
mod summary;
mod terminal;

use checkpoint::Checkpoint;
use input::{Input, InputFormat, Record, TableArgs};
use interrupt::Interrupt;
use output::{Layout, LayoutName, Output, OutputFormat};
use progress::Bar;
use run::{Run, WRITE};

/// Score a text, or every document of a file or of standard input
///
/// INPUT is `-` for standard input, the path of a file, or else the text itself. A file is CSV with any delimiter, JSON Lines, a JSON
/// list, plain lines, an Excel workbook (.xlsx) or Parquet, in any usual encoding, and may be packed with gzip or zstd. It may be
/// larger than memory: results are printed while it is read, in its order.
///
/// Standard error names the delimiter, the encoding and the columns that are used, and each row that cannot be read or scored, as
/// `file:line: reason`. Such a row ends the run, unless --keep-going is given; the exit code is then 5. CSV, Excel and Parquet output
/// keeps such a row, with the reason in the column `error`.
///
/// CSV, Excel and Parquet output has all columns of the input, with those of the results beside them.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct PredictArgs {
    /// A text, the path of a file, or `-` for standard input (the default when that is not a terminal)
    #[arg(value_name = "INPUT")]
    input: Option<PathBuf>,

    /// A text to score, even if a file has that name or it begins with a dash
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["input", "input_format"], allow_hyphen_values = true)]
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

    /// Output format [default: by the extension of --output; else table on a terminal, jsonl otherwise]
    #[arg(long, short, value_name = "FORMAT")]
    format: Option<OutputFormat>,

    /// Where the entities of a document stand in CSV, Excel and Parquet: a row for each, or columns for each
    #[arg(long, value_name = "LAYOUT", default_value = "long")]
    layout: LayoutName,

    /// Write to a file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Continue the unfinished run of the output file (CSV and JSON Lines)
    #[arg(long, requires = "output")]
    resume: bool,

    /// Input format [default: by the content and the file's extension]
    #[arg(long = "input", value_name = "FORMAT")]
    input_format: Option<InputFormat>,

    /// Continue after rows that cannot be read or scored
    #[arg(long, short)]
    keep_going: bool,

    /// Print no notes about the file and no counts at the end
    #[arg(long, short)]
    quiet: bool,

    #[command(flatten)]
    table: TableArgs,
}

impl PredictArgs {
    fn mentions(&self) -> MentionSource {
        MentionSource::find(self.pronouns)
    }

    fn output_format(&self, stdout_is_terminal: bool) -> OutputFormat {
        let by_name = || OutputFormat::by_name(self.output.as_ref()?.to_str()?);
        let is_shown = stdout_is_terminal && self.output.is_none();
        let usual = if is_shown { OutputFormat::Table } else { OutputFormat::Jsonl };
        self.format.or_else(by_name).unwrap_or(usual)
    }

    /// The flags that the output depends on.
    fn fingerprint(&self, format: OutputFormat) -> String {
        let language = match self.language {
            LanguageChoice::Auto => "auto",
            LanguageChoice::Fixed(language) => language.code(),
        };
        format!(
            "{format:?}, {:?}, language {language}, entities {:?}, pronouns {}, {:?}, input {:?}",
            self.layout, self.entities, self.pronouns, self.table, self.input_format
        )
    }
}

/// Reads the value of `--language`.
pub(super) fn parse_language(name: &str) -> Result<LanguageChoice, String> {
    LanguageChoice::parse(name).ok_or_else(|| "the languages are en, nl and auto".to_owned())
}

/// Runs the command.
pub(crate) fn run(args: &PredictArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let source = InputSource::from_args(args)?;
    let format = args.output_format(io::stdout().is_terminal());
    match source {
        InputSource::Text(text) => {
            let session = session::start(&session::settings(global)?)?;
            let sink = open_sink(args, format, None)?;
            let output = Output::new(format, sink, Layout::of_text(), false)?.coloured(wants_colours(args));
            predict_text(session.0.as_ref(), text, args, output)
        }
        InputSource::File(path) => predict_file(&path, format, args, global),
    }
}

fn predict_file(
    path: &Path,
    format: OutputFormat,
    args: &PredictArgs,
    global: &GlobalArgs,
) -> anyhow::Result<Exit> {
    // Files are opened before the models are loaded, so that a wrong path is reported at once.
    let Input { documents, progress, length, rows } = input::open(path, args.input_format, &args.table)?;
    let file = lines::name(path);
    if !args.quiet {
        for notice in documents.take_notices() {
            eprintln!("{}", input::notice_line(&file, &notice));
        }
    }
    let layout = layout(path, &documents, args)?;
    let begun = begun(path, format, args)?;
    let sink = open_sink(args, format, begun.as_ref())?;
    let settings = session::settings(global)?;
    let session = session::start(&settings)?;
    let done = begun.as_ref().map_or(0, |checkpoint| checkpoint.entries);
    let entries = input::entries(documents, file.clone(), args.entities.clone(), done);
    let batches = batches::gather_batches(entries, args.language, args.mentions());
    let scored = flow::score_in_order(Arc::clone(&session.0), batches);
    let output = Output::new(format, sink, layout, begun.is_some())?.coloured(wants_colours(args));
    let is_shown = io::stderr().is_terminal() && !(args.output.is_none() && io::stdout().is_terminal());
    let bar = Bar::new(is_shown, progress, rows.map_or(length, |_| None), rows);
    let checkpoint_file =
        args.output.clone().filter(|_| format.is_appendable() && path.as_os_str() != lines::STDIN);
    let run = Run {
        file,
        keep_going: args.keep_going,
        quiet: args.quiet,
        bar,
        interrupt: Interrupt::listen(),
        checkpoint_file,
        started: Instant::now(),
        state: match begun {
            Some(checkpoint) => checkpoint,
            None => fresh(path, format, args)?,
        },
    };
    run.write(scored, output)
}

/// The state of a run that begins.
fn fresh(path: &Path, format: OutputFormat, args: &PredictArgs) -> anyhow::Result<Checkpoint> {
    let is_stream = path.as_os_str() == lines::STDIN;
    let input = if is_stream { (lines::name(path), 0) } else { input::identity(path)? };
    Ok(Checkpoint { input, options: args.fingerprint(format), ..Checkpoint::default() })
}

/// The unfinished run that `--resume` goes on with.
fn begun(path: &Path, format: OutputFormat, args: &PredictArgs) -> anyhow::Result<Option<Checkpoint>> {
    let Some(output) = &args.output else { return Ok(None) };
    let found = Checkpoint::load(output)?;
    if !args.resume {
        // A run over a file that was mended since begins anew.
        let is_same = match &found {
            Some(found) => path.as_os_str() == lines::STDIN || found.input == input::identity(path)?,
            None => false,
        };
        ensure!(
            !is_same,
            "{} holds an unfinished run: --resume goes on with it; delete {} to begin anew",
            output.display(),
            Checkpoint::path(output).display()
        );
        return Ok(None);
    }
    ensure!(
        format.is_appendable() && path.as_os_str() != lines::STDIN,
        "--resume works for a file that is scored into CSV or JSON Lines; Excel, Parquet and standard input begin anew each time"
    );
    let Some(found) = found else {
        ensure!(
            !output.exists(),
            "{} holds no unfinished run: either it is complete, or another program wrote it",
            output.display()
        );
        return Ok(None);
    };
    found.check(&fresh(path, format, args)?, output)?;
    Ok(Some(found))
}

/// Opens the output; cuts off what an interrupted run wrote after its last complete batch.
fn open_sink(
    args: &PredictArgs,
    format: OutputFormat,
    begun: Option<&Checkpoint>,
) -> anyhow::Result<Box<dyn Write + Send>> {
    let Some(path) = &args.output else {
        let is_binary = matches!(format, OutputFormat::Xlsx | OutputFormat::Parquet);
        ensure!(
            !(is_binary && io::stdout().is_terminal()),
            "a terminal cannot show this format; name a file with --output"
        );
        return Ok(Box::new(io::stdout()));
    };
    let context = || format!("failed to open {}", path.display());
    if let Some(input) = &args.input
        && let (Ok(input), Ok(output)) = (input.canonicalize(), path.canonicalize())
    {
        ensure!(input != output, "{} is the input; name another file for the output", path.display());
    }
    let Some(begun) = begun else { return Ok(Box::new(File::create(path).with_context(context)?)) };
    let file = OpenOptions::new().append(true).open(path).with_context(context)?;
    let length = file.metadata().with_context(context)?.len();
    ensure!(
        length >= begun.output_bytes,
        "{} is shorter than the run left it; delete {} to begin anew",
        path.display(),
        Checkpoint::path(path).display()
    );
    file.set_len(begun.output_bytes).with_context(context)?;
    Ok(Box::new(file))
}

fn wants_colours(args: &PredictArgs) -> bool {
    args.output.is_none() && anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

/// The columns of the output.
fn layout(path: &Path, documents: &sentor_files::Documents, args: &PredictArgs) -> anyhow::Result<Layout> {
    /// Each entity takes three columns, of which Excel has 16,384.
    const MOST_WIDE: usize = 500;

    let columns = documents.columns();
    let used = [Some(&columns.text), columns.id.as_ref(), columns.entities.as_ref()];
    let wide = match args.layout {
        LayoutName::Long => None,
        LayoutName::Wide => {
            let mut names = Vec::new();
            if path.as_os_str() != lines::STDIN {
                names = input::entities_of(path, args.input_format, &args.table, MOST_WIDE)?;
            }
            let new: Vec<_> = args.entities.iter().filter(|name| !names.contains(name)).cloned().collect();
            names.extend(new);
            ensure!(
                !names.is_empty(),
                "--layout wide needs entities: name them with --entity, or in a column of a file"
            );
            Some(names)
        }
    };
    Ok(Layout {
        caller: documents.table().columns().to_vec(),
        id_column: columns.id.clone(),
        used: used.into_iter().flatten().cloned().collect(),
        wide,
    })
}

/// The input to score.
enum InputSource {
    Text(String),
    File(PathBuf),
}

impl InputSource {
    fn from_args(args: &PredictArgs) -> anyhow::Result<Self> {
        if let Some(text) = &args.text {
            return Ok(Self::Text(text.clone()));
        }
        let Some(input) = &args.input else {
            let is_piped = !io::stdin().is_terminal();
            ensure!(is_piped, "there is nothing to score: give a text, a file or `-`");
            return Ok(Self::File(PathBuf::from(lines::STDIN)));
        };
        if input.as_os_str() == lines::STDIN || args.input_format.is_some() || input.exists() {
            return Ok(Self::File(input.clone()));
        }
        match input.to_str() {
            Some(text) if !looks_like_path(text) => Ok(Self::Text(text.to_owned())),
            _ => bail!("there is no file {}; use --text to score the words themselves", input.display()),
        }
    }
}

/// Whether the input names a missing file rather than a text: a single word, or words that end as data files do.
fn looks_like_path(text: &str) -> bool {
    const EXTENSIONS: [&str; 12] =
        ["jsonl", "ndjson", "json", "csv", "tsv", "txt", "gz", "zst", "xlsx", "xls", "parquet", "ods"];

    let is_word = !text.trim().contains(char::is_whitespace);
    let extension = text.rsplit_once('.').map(|(_, extension)| extension.to_lowercase());
    let is_data = extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()));
    // "I like report.csv" is a text; "reviews 2026.csv" and "./my reviews/a.csv" are not.
    is_word || (is_data && (text.split_whitespace().count() < 3 || text.contains(['/', '\\'])))
}

/// Scores the one text of the command line.
fn predict_text(
    scorer: &impl Score,
    text: String,
    args: &PredictArgs,
    mut output: Output<impl Write + Send>,
) -> anyhow::Result<Exit> {
    let record = Record {
        line: 1,
        doc_id: "1".to_owned(),
        text,
        entities: args.entities.clone(),
        warnings: Vec::new(),
        row: None,
    };
    let options = Options { language: args.language, caller: local_caller(), deadline: None };
    let answer = scorer.score(vec![record.document(args.mentions())], options)?.pop();
    let analysis = answer.context("the models gave no answer")?.map_err(|error| anyhow::anyhow!(error))?;
    output.write(&record, &analysis).context(WRITE)?;
    output.finish().context(WRITE)?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_an_error_and_not_a_text() {
        for path in
            ["reviews.jsonl", "/data/reviews", "x.csv.gz", "reviews", "my reviews.csv", "./a b c/d e.xlsx"]
        {
            assert!(looks_like_path(path), "{path}");
        }
        for text in ["Great product.", "I like report.csv", "this or/and that", "Wat een zooi!"] {
            assert!(!looks_like_path(text), "{text}");
        }
    }
}
