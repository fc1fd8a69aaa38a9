//! What a caller asks of a job.

use std::collections::BTreeMap;

use sentor_store::jobs::JobId;
use sentor_text::language::{Language, LanguageChoice};
use sentor_text::span::OffsetUnit;
use serde::{Deserialize, Serialize};

/// Makes the identifier of a new job. Identifiers sort by time.
pub fn new_job_id() -> JobId {
    JobId::new(format!("job_{}", uuid::Uuid::now_v7().simple()))
}

/// The options of a job, as the store keeps them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobSpec {
    /// Format of the input.
    pub format: InputFormat,
    /// `en`, `nl` or `auto`.
    pub language: String,
    /// Entities for every row, beside its own.
    pub entities: Vec<String>,
    /// Whether pronouns with one possible entity count as its mentions.
    pub pronouns: bool,
    /// What `start` and `end` count: `codepoint`, `utf8` or `utf16`.
    pub offsets: String,
    /// Names of the input's columns or members.
    pub columns: Columns,
    /// What a row that cannot be scored does to the job.
    pub on_error: OnError,
    /// The caller's own notes.
    pub metadata: BTreeMap<String, String>,
}

impl Default for JobSpec {
    fn default() -> Self {
        Self {
            format: InputFormat::default(),
            language: Language::English.code().to_owned(),
            entities: Vec::new(),
            pronouns: false,
            offsets: "codepoint".to_owned(),
            columns: Columns::default(),
            on_error: OnError::default(),
            metadata: BTreeMap::new(),
        }
    }
}

impl JobSpec {
    /// The options as the store keeps them.
    pub fn to_json(&self) -> String {
        // Texts, lists and maps of texts always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`JobSpec::to_json`] wrote. Members that a later version adds are ignored.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    pub(crate) fn language_choice(&self) -> LanguageChoice {
        LanguageChoice::parse(&self.language).unwrap_or(LanguageChoice::Fixed(Language::English))
    }

    pub(crate) fn offset_unit(&self) -> OffsetUnit {
        OffsetUnit::parse(&self.offsets).unwrap_or_default()
    }
}

/// Names of the columns or members that hold what a document has; `None` for the usual names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Columns {
    /// The text.
    pub doc: Option<String>,
    /// The identifier.
    pub doc_id: Option<String>,
    /// The entities.
    pub entities: Option<String>,
}

/// Formats of inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputFormat {
    /// A JSON object on each line.
    #[default]
    Jsonl,
}

/// What a row that cannot be scored does to its job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// It has a line in the error file, and the job goes on.
    #[default]
    Continue,
    /// The job fails.
    Fail,
}
