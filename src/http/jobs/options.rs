//! Options of a submission: of the query where the body is the file, and else of the JSON body.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::Query;
use axum::http::Uri;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::JobService;
use crate::config::LimitsConfig;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::problems::Problems;
use sentor_jobs::{Columns, JobSpec, OnError};
use sentor_text::is_blank;

/// Most members of `metadata`, and most bytes of a name or a value.
const MAX_METADATA: (usize, usize) = (16, 512);

/// A submission as JSON, or the options of a query.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct SubmitBody {
    /// The documents, as in a request to score them.
    #[schema(value_type = Option<Vec<Object>>)]
    pub(super) docs: Option<Vec<Value>>,
    /// `en`, `nl` or `auto`.
    language: Option<String>,
    /// For every row, beside its own.
    entities: Vec<String>,
    pronouns: bool,
    /// `codepoint`, `utf8` or `utf16`.
    offsets: Option<String>,
    /// Names of the columns.
    columns: ColumnNames,
    /// `continue` or `fail`.
    on_error: Option<String>,
    /// `low`, `normal` or `high`.
    priority: Option<String>,
    /// Such as `24h`.
    expires_after: Option<String>,
    /// Such as `7d`.
    keep_results: Option<String>,
    metadata: BTreeMap<String, String>,
}

/// Names of the columns.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct ColumnNames {
    doc: Option<String>,
    doc_id: Option<String>,
    entities: Option<String>,
}

/// Options that are valid.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) spec: JobSpec,
    pub(super) priority: i64,
    pub(super) expires_after: SignedDuration,
    pub(super) keep_results: SignedDuration,
}

impl SubmitBody {
    /// Reads a query; `entity` can be given several times. An unknown parameter is an error, since an option that is ignored
    /// would come out hours later.
    pub(super) fn of_query(uri: &Uri) -> Result<Self, ApiError> {
        let bad = |message: String| ApiError::new(ErrorCode::BadRequest, message);
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| bad("the query cannot be read".to_owned()))?;
        let mut options = Self::default();
        for (name, value) in pairs {
            let place = match name.as_str() {
                "entity" => {
                    options.entities.push(value);
                    continue;
                }
                "pronouns" => {
                    options.pronouns = value.parse().map_err(|_| {
                        bad(format!("pronouns is {value:?}, but must be one of true, false"))
                            .detail("parameter", "pronouns")
                    })?;
                    continue;
                }
                "language" => &mut options.language,
                "offsets" => &mut options.offsets,
                "on_error" => &mut options.on_error,
                "priority" => &mut options.priority,
                "expires_after" => &mut options.expires_after,
                "keep_results" => &mut options.keep_results,
                "doc_column" => &mut options.columns.doc,
                "doc_id_column" => &mut options.columns.doc_id,
                "entities_column" => &mut options.columns.entities,
                _ => {
                    let shown: String = name.chars().take(40).collect();
                    let message = format!("there is no parameter {shown:?}");
                    return Err(bad(message).detail("parameter", shown));
                }
            };
            if place.replace(value).is_some() {
                return Err(bad(format!("the query parameter {name} stands twice")).detail("parameter", name));
            }
        }
        Ok(options)
    }

    /// Checks all options, and finds all that is wrong at once.
    pub(super) fn check(self, service: &JobService, limits: &LimitsConfig) -> Result<Checked, ApiError> {
        let mut problems = Problems::default();
        let mut choose = |name: &str, given: Option<String>, allowed: &[&str]| {
            let value = given.unwrap_or_else(|| allowed[0].to_owned());
            if !allowed.contains(&value.as_str()) {
                problems.add(name, format!("must be one of {}", allowed.join(", ")));
            }
            value
        };
        let language = choose("language", self.language, &["en", "nl", "auto"]);
        let offsets = choose("offsets", self.offsets, &["codepoint", "utf8", "utf16"]);
        let on_error = choose("on_error", self.on_error, &["continue", "fail"]);
        let priority = choose("priority", self.priority, &["normal", "low", "high"]);
        if self.entities.len() > limits.max_entities {
            let most = limits.max_entities;
            problems.add("entities", format!("holds {} entities, but may hold {most}", self.entities.len()));
        }
        for (index, entity) in self.entities.iter().enumerate() {
            if is_blank(entity) || entity.len() > limits.max_entity_bytes {
                let most = limits.max_entity_bytes;
                problems.add(&format!("entities[{index}]"), format!("must have 1 to {most} bytes"));
            }
        }
        let (most_members, most_bytes) = MAX_METADATA;
        let is_long = |text: &String| text.len() > most_bytes;
        if self.metadata.len() > most_members
            || self.metadata.iter().any(|(name, value)| is_long(name) || is_long(value))
        {
            let problem =
                format!("may have {most_members} members, with names and values of {most_bytes} bytes");
            problems.add("metadata", problem);
        }
        let mut duration = |name: &str, given: Option<String>, most: Duration| {
            let most = SignedDuration::try_from(most).unwrap_or(SignedDuration::MAX);
            let Some(text) = given else { return most };
            parse_duration(&text).filter(|duration| *duration <= most).unwrap_or_else(|| {
                let hours = most.as_hours();
                problems
                    .add(name, format!("must be a time such as 90s, 30m, 24h or 7d, of {hours}h at most"));
                most
            })
        };
        let expires_after = duration("expires_after", self.expires_after, service.expires_after);
        let keep_results = duration("keep_results", self.keep_results, service.keep_results);
        if !problems.is_empty() {
            return Err(ApiError::validation(&problems));
        }
        let ColumnNames { doc, doc_id, entities } = self.columns;
        let spec = JobSpec {
            language,
            entities: self.entities,
            pronouns: self.pronouns,
            offsets,
            columns: Columns { doc, doc_id, entities },
            on_error: if on_error == "fail" { OnError::Fail } else { OnError::Continue },
            metadata: self.metadata,
            ..JobSpec::default()
        };
        let priority = match priority.as_str() {
            "low" => -1,
            "high" => 1,
            _ => 0,
        };
        Ok(Checked { spec, priority, expires_after, keep_results })
    }
}

/// Parses a time such as `24h`.
fn parse_duration(text: &str) -> Option<SignedDuration> {
    let unit = text.chars().last()?;
    let number: i64 = text.strip_suffix(unit)?.parse().ok().filter(|number| *number >= 0)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(SignedDuration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800), ("0d", 0)] {
            assert_eq!(parse_duration(text), Some(SignedDuration::from_secs(seconds)), "{text}");
        }
        for text in ["", "7", "-1d", "d", "1w", "1.5h", "99999999999999999999d", "9223372036854775807d", "7é"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
