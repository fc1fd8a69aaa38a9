//! The query of a predict request.

use axum::extract::Query;
use axum::http::Uri;

use super::error::{ApiError, ErrorCode};
use crate::language::LanguageChoice;
use crate::text::OffsetUnit;

/// What the query asks for. Parameters that are not known are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PredictQuery {
    /// `None` leaves it to the body.
    pub(super) language: Option<LanguageChoice>,
    /// Whether a document that cannot be scored leaves the others their results.
    pub(super) partial: bool,
    pub(super) offsets: OffsetUnit,
}

impl PredictQuery {
    pub(super) fn parse(uri: &Uri) -> Result<Self, ApiError> {
        let bad = |message: String| ApiError::new(ErrorCode::BadRequest, message);
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| bad("the query cannot be read".to_owned()))?;
        let single = |name: &str| {
            let mut values = pairs.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
            let first = values.next();
            match values.next() {
                None => Ok(first),
                Some(_) => {
                    Err(bad(format!("the query parameter {name} stands twice")).detail("parameter", name))
                }
            }
        };
        Ok(Self {
            language: single("language")?.map(parse_language).transpose()?,
            partial: parse_value(
                single("partial")?.unwrap_or("false"),
                "partial",
                &["true", "false"],
                |text| text.parse().ok(),
            )?,
            offsets: parse_value(
                single("offsets")?.unwrap_or("codepoint"),
                "offsets",
                &["codepoint", "utf8", "utf16"],
                OffsetUnit::parse,
            )?,
        })
    }
}

/// Reads the language, which may stand in the query or in the body.
pub(super) fn parse_language(text: &str) -> Result<LanguageChoice, ApiError> {
    parse_value(text, "language", &["en", "nl", "auto"], LanguageChoice::parse)
}

fn parse_value<T>(
    text: &str,
    name: &str,
    allowed: &[&str],
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, ApiError> {
    parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        let message = format!("{name} is {shown:?}, but must be one of {}", allowed.join(", "));
        ApiError::new(ErrorCode::BadRequest, message)
            .detail("parameter", name)
            .detail("allowed", allowed.to_vec())
    })
}
