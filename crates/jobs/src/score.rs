//! Scores the rows of a chunk.

use std::fmt::Write as _;
use std::pin::Pin;
use std::time::Duration;

use sentor_analysis::results::document_result;
use sentor_analysis::{
    AnalysisError, Caller, Document, DocumentAnalysis, DocumentError, MentionSource, Options,
};
use sentor_store::jobs::ChunkOutcome;
use sentor_store::keys::KeyId;
use sentor_store::metering::Usage;
use sentor_text::language::Language;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::rows::{Content, InputRow};
use crate::spec::JobSpec;

/// Documents that a chunk has in the engine at a time: enough to fill batches, and little to wait for when the job is paused.
const GROUP: usize = 64;

/// How long to wait where the engine has too much to do, at least.
const MIN_WAIT: Duration = Duration::from_millis(50);

/// A future on the heap.
type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What jobs need of the server that runs them.
pub trait Host: Send + Sync {
    /// Whether the models are loaded.
    fn is_ready(&self) -> bool;

    /// Scores documents, as `Analyzer::analyze` does.
    fn score(
        &self,
        documents: Vec<Document>,
        options: Options,
    ) -> BoxFuture<'_, Result<Vec<Result<DocumentAnalysis, DocumentError>>, AnalysisError>>;

    /// Most rows of a job under a plan; `None` for no limit.
    fn max_rows(&self, plan: &str) -> Option<u64>;

    /// Counts rows toward the day and month of an account, before they are scored.
    ///
    /// # Errors
    ///
    /// A sentence that says which limit does not allow them. Nothing is counted then.
    fn charge(&self, account: &KeyId, plan: &str, rows: u64) -> Result<(), String>;

    /// Takes rows back that were counted and not scored.
    fn refund(&self, account: &KeyId, rows: u64);

    /// Adds what scored rows used, beside the rows themselves.
    fn add_usage(&self, account: &KeyId, usage: Usage);
}

/// A line of a job's error file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorLine {
    /// Number of the row, from 1.
    pub row: u64,
    /// Its line in the input.
    pub line: u64,
    /// Its identifier, where it could be read.
    pub doc_id: Option<String>,
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}

/// A scored chunk.
#[derive(Debug, Default)]
pub(crate) struct Scored {
    /// The results, as JSON Lines.
    pub(crate) results: Vec<u8>,
    /// The errors, as JSON Lines.
    pub(crate) errors: Vec<u8>,
    pub(crate) outcome: ChunkOutcome,
    pub(crate) usage: Usage,
    /// The first error, for a job that fails with it.
    pub(crate) first_error: Option<ErrorLine>,
}

impl Scored {
    /// Adds a row without scores.
    pub(crate) fn add_error(&mut self, row: u64, input: &InputRow, code: &str, message: &str) {
        let error = ErrorLine {
            row,
            line: input.line,
            doc_id: input.doc_id.clone(),
            code: code.to_owned(),
            message: message.to_owned(),
        };
        // Texts and numbers always serialise.
        let _ = serde_json::to_writer(&mut self.errors, &error);
        self.errors.push(b'\n');
        self.outcome.failed += 1;
        self.first_error.get_or_insert(error);
    }

    fn add_result(
        &mut self,
        row: u64,
        doc_id: &str,
        text: &str,
        analysis: &DocumentAnalysis,
        spec: &JobSpec,
    ) {
        let start = self.results.len();
        let result = document_result(Some(doc_id), text, analysis, spec.offset_unit());
        let _ = serde_json::to_writer(&mut self.results, &result);
        // The row's number becomes the first member of the object.
        let number = format!("{{\"row\":{row},");
        drop(self.results.splice(start..=start, number.into_bytes()));
        self.results.push(b'\n');
        self.outcome.succeeded += 1;
        self.usage.documents += 1;
        self.usage.tokens += count(analysis.tokens);
        self.usage.entities += count(analysis.entities.len());
        self.usage.characters += count(text.chars().count());
    }

    /// Completes the counts, and names the objects. The name of an object follows from its content: two attempts either
    /// write the same object, or two that do not disturb each other.
    pub(crate) fn finish(&mut self, first_row: u64, rows: u64) {
        let digest = |content: &[u8]| hexadecimal(&Sha256::digest(content));
        let name = |folder: &str, digest: &str| {
            format!("{folder}/{first_row:012}-{rows}-{}.jsonl.zst", &digest[..16])
        };
        let sha256 = digest(&self.results);
        self.outcome.result_object = (!self.results.is_empty()).then(|| name("results", &sha256));
        self.outcome.error_object = (!self.errors.is_empty()).then(|| name("errors", &digest(&self.errors)));
        self.outcome.result_bytes = self.results.len() as u64;
        self.outcome.result_sha256 = sha256;
    }
}

/// Why a chunk was not scored.
#[derive(Debug)]
pub(crate) enum ScoreError {
    /// No model speaks the job's language: no chunk of the job can be scored.
    NoModel(Language),
    /// The server is about to stop.
    ShuttingDown,
    /// Anything else.
    Other(AnalysisError),
}

/// Scores rows, the first of which has the number `first_row`, counted from 0.
pub(crate) async fn score_rows(
    host: &dyn Host,
    spec: &JobSpec,
    caller: &Caller,
    first_row: u64,
    rows: Vec<InputRow>,
) -> Result<Scored, ScoreError> {
    let mut scored = Scored::default();
    let mut number = first_row;
    let options = Options { language: spec.language_choice(), caller: caller.clone(), deadline: None };
    let total = rows.len() as u64;
    for group in rows.chunks(GROUP) {
        let documents = group.iter().filter_map(|row| match &row.content {
            Content::Document { text, entities } => Some(Document {
                text: text.clone(),
                entities: entities.clone(),
                mentions: MentionSource::find(spec.pronouns),
                ..Document::default()
            }),
            Content::Bad { .. } => None,
        });
        let mut answers = score_group(host, documents.collect(), &options).await?.into_iter();
        for row in group {
            number += 1;
            match &row.content {
                Content::Bad { problem } => scored.add_error(number, row, "bad_row", problem),
                Content::Document { text, .. } => match answers.next() {
                    Some(Ok(analysis)) => {
                        let doc_id = row.doc_id.as_deref().unwrap_or_default();
                        scored.add_result(number, doc_id, text, &analysis, spec);
                    }
                    Some(Err(error)) => scored.add_error(number, row, code(&error), &error.to_string()),
                    None => scored.add_error(number, row, "server_error", "there was no answer"),
                },
            }
        }
    }
    scored.finish(first_row, total);
    Ok(scored)
}

/// Scores documents, and waits while the engine has too much to do.
async fn score_group(
    host: &dyn Host,
    documents: Vec<Document>,
    options: &Options,
) -> Result<Vec<Result<DocumentAnalysis, DocumentError>>, ScoreError> {
    if documents.is_empty() {
        return Ok(Vec::new());
    }
    loop {
        match host.score(documents.clone(), options.clone()).await {
            Ok(answers) => return Ok(answers),
            Err(AnalysisError::Overloaded { retry_after }) => {
                tokio::time::sleep(retry_after.max(MIN_WAIT)).await;
            }
            // A job has no deadline of its own for a group.
            Err(AnalysisError::DeadlinePassed) => tokio::time::sleep(MIN_WAIT).await,
            Err(AnalysisError::NoModel(language)) => return Err(ScoreError::NoModel(language)),
            Err(AnalysisError::ShuttingDown) => return Err(ScoreError::ShuttingDown),
            Err(error) => return Err(ScoreError::Other(error)),
        }
    }
}

/// Writes bytes as hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

fn code(error: &DocumentError) -> &'static str {
    match error {
        DocumentError::Blank | DocumentError::TooManyTokens { .. } | DocumentError::MentionOutside { .. } => {
            "validation_error"
        }
        DocumentError::Model => "server_error",
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
