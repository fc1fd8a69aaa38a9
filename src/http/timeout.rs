//! The time that a client allows for its answer.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};

use super::app::AppSettings;
use super::error::{ApiError, ErrorCode};

/// The header with the time that the client allows, in milliseconds.
pub(super) const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// The time that the header asks for, at most the configured maximum, or else the configured default.
pub(super) fn requested(headers: &HeaderMap, settings: &AppSettings) -> Result<Duration, ApiError> {
    let mut values = headers.get_all(REQUEST_TIMEOUT).iter();
    let Some(value) = values.next() else { return Ok(settings.request_timeout) };
    let millis = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok()).filter(|&ms| ms > 0);
    let (Some(millis), None) = (millis, values.next()) else {
        let message = format!("the header {REQUEST_TIMEOUT} must be a whole number of milliseconds above 0");
        return Err(ApiError::new(ErrorCode::BadRequest, message).detail("header", REQUEST_TIMEOUT.as_str()));
    };
    Ok(Duration::from_millis(millis).min(settings.request_timeout_max))
}
