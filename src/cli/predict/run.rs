//! A run over a file or a stream: writes the results in order and reports the rows without one.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, bail};
use sentor_analysis::{DocumentAnalysis, DocumentError};
use sentor_files::BadRow;

use super::checkpoint::Checkpoint;
use super::input::{Entry, Record};
use super::interrupt::Interrupt;
use super::output::Output;
use super::progress::Bar;
use super::summary::counted;
use crate::cli::Exit;
use crate::cli::flow::Scored;

/// Context of errors of the output. `cli::run` treats a closed pipe, as in `… | head`, as success.
pub(super) const WRITE: &str = "failed to write the results";

/// A run.
pub(super) struct Run {
    /// The input's name.
    pub(super) file: String,
    pub(super) keep_going: bool,
    pub(super) quiet: bool,
    pub(super) bar: Bar,
    pub(super) interrupt: Interrupt,
    /// The output, where the run can be continued.
    pub(super) checkpoint_file: Option<PathBuf>,
    pub(super) started: Instant,
    pub(super) state: Checkpoint,
}

impl Run {
    /// Writes all results. Returns the exit code.
    pub(super) fn write(
        mut self,
        scored: impl Iterator<Item = Scored<Vec<Entry>>>,
        mut output: Output<impl Write + Send>,
    ) -> anyhow::Result<Exit> {
        let before = self.state.summary.documents;
        for batch in scored {
            let answers = batch.answers.with_context(|| format!("failed to score {}", self.file))?;
            let written = self.write_batch(batch.payload, answers, &mut output);
            output.flush().context(WRITE)?;
            if let Err(error) = written {
                self.bar.end();
                self.save()?;
                output.finish().context(WRITE)?;
                return Err(error);
            }
            self.save()?;
            let summary = &self.state.summary;
            self.bar.show(summary.documents - before, self.state.line, summary.bad_rows);
            if self.interrupt.is_asked() {
                return self.stop(output);
            }
        }
        self.bar.end();
        for notice in output.finish().context(WRITE)? {
            eprintln!("warning: {notice}");
        }
        if let Some(output) = &self.checkpoint_file {
            Checkpoint::remove(output);
        }
        let summary = &self.state.summary;
        if !self.quiet {
            eprint!("{}", summary.report(self.started.elapsed()));
        } else if summary.bad_rows > 0 {
            eprintln!("{}: {} left out", self.file, counted(summary.bad_rows, "bad row"));
        }
        Ok(if summary.bad_rows == 0 { Exit::Ok } else { Exit::SomeInputFailed })
    }

    fn write_batch(
        &mut self,
        entries: Vec<Entry>,
        answers: Vec<Result<DocumentAnalysis, DocumentError>>,
        output: &mut Output<impl Write + Send>,
    ) -> anyhow::Result<()> {
        let mut answers = answers.into_iter();
        for entry in entries {
            let result = match entry {
                Entry::Record(record) => match answers.next().context("an answer is missing")? {
                    Ok(analysis) => Ok((record, analysis)),
                    Err(error) => Err(bad_document(record, &error)),
                },
                Entry::Bad(bad) => Err(bad),
                Entry::Notice(notice) => {
                    if !self.quiet {
                        self.bar.print(&notice);
                    }
                    continue;
                }
                Entry::Broken(error) => return Err(error.context(format!("failed to read {}", self.file))),
            };
            match result {
                Ok((record, analysis)) => {
                    self.state.summary.add(&analysis);
                    self.state.line = record.line;
                    output.write(&record, &analysis).context(WRITE)?;
                }
                Err(bad) => {
                    if !self.keep_going {
                        bail!("{}:{bad} (--keep-going goes on after such rows)", self.file);
                    }
                    self.bar.print(&format!("{}:{bad}", self.file));
                    self.state.summary.bad_rows += 1;
                    self.state.line = bad.line;
                    output.write_bad(&bad).context(WRITE)?;
                }
            }
            self.state.entries += 1;
        }
        Ok(())
    }

    /// Saves the state of the run, if it can be continued.
    fn save(&mut self) -> anyhow::Result<()> {
        let Some(output) = &self.checkpoint_file else { return Ok(()) };
        let context = || format!("failed to write {}", Checkpoint::path(output).display());
        self.state.output_bytes = output.metadata().with_context(context)?.len();
        self.state.save(output).with_context(context)
    }

    /// Ends the run after Ctrl-C, and reports what is scored.
    fn stop(&self, output: Output<impl Write + Send>) -> anyhow::Result<Exit> {
        self.bar.end();
        output.finish().context(WRITE)?;
        let next = match &self.checkpoint_file {
            Some(output) => format!("; the same command with --resume goes on with {}", output.display()),
            None => String::new(),
        };
        let done = counted(self.state.summary.documents, "document");
        eprintln!("stopped: {done} scored, up to line {} of {}{next}", self.state.line, self.file);
        Ok(Exit::Interrupted)
    }
}

fn bad_document(record: Record, error: &DocumentError) -> BadRow {
    BadRow { line: record.line, column: None, reason: error.to_string(), row: record.row.map(Box::new) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cli::flow;
    use crate::cli::flow::tests::Fake;
    use crate::cli::predict::batches::gather_batches;
    use crate::cli::predict::input::{TableArgs, entries, open_source};
    use crate::cli::predict::output::{Layout, OutputFormat};
    use sentor_analysis::MentionSource;
    use sentor_files::Source;
    use sentor_text::language::LanguageChoice;

    fn run_over(input: &str, keep_going: bool) -> (anyhow::Result<Exit>, String) {
        let source = Source::from_reader(Box::new(std::io::Cursor::new(input.to_owned())), "docs.jsonl");
        let input = open_source(source, None, &TableArgs::default()).expect("the input has a known format");
        let entries = entries(input.documents, "docs.jsonl".to_owned(), vec!["ham".to_owned()], 0);
        let batches = gather_batches(entries, LanguageChoice::Auto, MentionSource::Find);
        let scored = flow::score_in_order(Arc::new(Fake::default()), batches);
        let mut written = Vec::new();
        let output = Output::new(OutputFormat::Jsonl, &mut written, Layout::default(), false)
            .expect("memory can be written");
        let run = Run {
            file: "docs.jsonl".to_owned(),
            keep_going,
            quiet: true,
            bar: Bar::hidden(),
            interrupt: Interrupt::default(),
            checkpoint_file: None,
            started: Instant::now(),
            state: Checkpoint::default(),
        };
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
}
