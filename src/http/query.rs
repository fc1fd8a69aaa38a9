//! The query parameters of a request.

use std::str::FromStr;

use axum::extract::Query;
use axum::http::Uri;

use super::error::{ApiError, ErrorCode};
use sentor_text::language::LanguageChoice;
use sentor_text::span::OffsetUnit;

/// The query of a predict request. Unknown parameters are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PredictQuery {
    /// `None` if the body decides.
    pub(super) language: Option<LanguageChoice>,
    /// Whether documents are scored even if others cannot be.
    pub(super) partial: bool,
    pub(super) offsets: OffsetUnit,
    /// Whether pronouns with one possible entity count as its mentions.
    pub(super) pronouns: bool,
    /// Whether aspects and names that the text judges without being asked are returned too.
    pub(super) discover: bool,
}

/// The parameters of a query; each may be given once.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn parse(uri: &Uri) -> Result<Self, ApiError> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let Query(pairs) =
            pairs.map_err(|_| ApiError::new(ErrorCode::BadRequest, "the query cannot be read"))?;
        Ok(Self(pairs))
    }

    /// Returns the value of a parameter, if it is given.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.0.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
        let first = values.next();
        if values.next().is_some() {
            let message = format!("the query parameter {name} stands twice");
            return Err(ApiError::new(ErrorCode::BadRequest, message).detail("parameter", name));
        }
        Ok(first)
    }

    /// Returns the value of a boolean parameter; `false` if it is not given.
    pub(super) fn switch(&self, name: &str) -> Result<bool, ApiError> {
        parse_value(self.text(name)?.unwrap_or("false"), name, &["true", "false"], |text| text.parse().ok())
    }

    /// Returns the value of a parameter, parsed as a `T`.
    pub(super) fn read<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, ApiError> {
        let read = |text: &str| text.parse().map_err(|_| bad_parameter(name, text, expected));
        self.text(name)?.map(read).transpose()
    }
}

impl PredictQuery {
    pub(super) fn parse(uri: &Uri) -> Result<Self, ApiError> {
        let parameters = Parameters::parse(uri)?;
        Ok(Self {
            language: parameters.text("language")?.map(parse_language).transpose()?,
            partial: parameters.switch("partial")?,
            offsets: parse_value(
                parameters.text("offsets")?.unwrap_or("codepoint"),
                "offsets",
                &["codepoint", "utf8", "utf16"],
                OffsetUnit::parse,
            )?,
            pronouns: parameters.switch("pronouns")?,
            discover: parameters.switch("discover")?,
        })
    }
}

/// Parses a language of the query or the body.
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
        bad_parameter(name, text, &format!("one of {}", allowed.join(", ")))
            .detail("allowed", allowed.to_vec())
    })
}

/// The error for a wrong value of a parameter.
pub(super) fn bad_parameter(name: &str, value: &str, expected: &str) -> ApiError {
    let shown: String = value.chars().take(40).collect();
    let message = format!("{name} is {shown:?}, but must be {expected}");
    ApiError::new(ErrorCode::BadRequest, message).detail("parameter", name)
}
