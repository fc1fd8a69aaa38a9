//! Refusals: the one place where an error becomes a status and a body.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::headers::unix_seconds;
use super::problems::Problems;
use sentor_analysis::{AnalysisError, DocumentError};
use sentor_store::StoreError;
use sentor_store::clock::iso_8601;
use sentor_store::metering::{Limit, LimitError, RateLimitStatus};

/// Every way to refuse a request; `docs/errors.md` has a section for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The body is not JSON, or a parameter cannot be.
    BadRequest,
    /// No key was sent.
    MissingKey,
    /// What was sent is no key that was issued.
    InvalidKey,
    /// The key's time is over.
    ExpiredKey,
    /// The key was taken back.
    RevokedKey,
    /// The key is for something else.
    InsufficientScope,
    /// The key's day or month is used up.
    QuotaExceeded,
    /// The configuration has no plan of the key's name.
    UnknownPlan,
    /// There is nothing at this path.
    NotFound,
    /// There is something at this path, but not for this method.
    MethodNotAllowed,
    /// The body did not arrive in time.
    RequestTimeout,
    /// What is asked does not fit the state of what it is asked of.
    Conflict,
    /// The body is too large.
    PayloadTooLarge,
    /// The path and query are too long.
    UriTooLong,
    /// The body is of another type or compression than can be read.
    UnsupportedMediaType,
    /// The body is JSON, and says what cannot be.
    ValidationError,
    /// The key's minute is used up, or too many of its requests are running.
    RateLimitExceeded,
    /// The headers are too many or too large.
    HeadersTooLarge,
    /// The server failed.
    ServerError,
    /// The server has more work than it can do in time.
    Overloaded,
    /// The server cannot score yet, or no longer.
    NotReady,
}

impl ErrorCode {
    /// All of them, in the order of their status.
    pub const ALL: [ErrorCode; 21] = [
        Self::BadRequest,
        Self::MissingKey,
        Self::InvalidKey,
        Self::ExpiredKey,
        Self::RevokedKey,
        Self::InsufficientScope,
        Self::QuotaExceeded,
        Self::UnknownPlan,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Conflict,
        Self::PayloadTooLarge,
        Self::UriTooLong,
        Self::UnsupportedMediaType,
        Self::ValidationError,
        Self::RateLimitExceeded,
        Self::HeadersTooLarge,
        Self::ServerError,
        Self::Overloaded,
        Self::NotReady,
    ];

    /// The table: what each is called, and its status.
    fn row(self) -> (&'static str, StatusCode) {
        match self {
            Self::BadRequest => ("bad_request", StatusCode::BAD_REQUEST),
            Self::MissingKey => ("missing_key", StatusCode::UNAUTHORIZED),
            Self::InvalidKey => ("invalid_key", StatusCode::UNAUTHORIZED),
            Self::ExpiredKey => ("expired_key", StatusCode::UNAUTHORIZED),
            Self::RevokedKey => ("revoked_key", StatusCode::UNAUTHORIZED),
            Self::InsufficientScope => ("insufficient_scope", StatusCode::FORBIDDEN),
            Self::QuotaExceeded => ("quota_exceeded", StatusCode::FORBIDDEN),
            Self::UnknownPlan => ("unknown_plan", StatusCode::FORBIDDEN),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::RequestTimeout => ("request_timeout", StatusCode::REQUEST_TIMEOUT),
            Self::Conflict => ("conflict", StatusCode::CONFLICT),
            Self::PayloadTooLarge => ("payload_too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::UriTooLong => ("uri_too_long", StatusCode::URI_TOO_LONG),
            Self::UnsupportedMediaType => ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::ValidationError => ("validation_error", StatusCode::UNPROCESSABLE_ENTITY),
            Self::RateLimitExceeded => ("rate_limit_exceeded", StatusCode::TOO_MANY_REQUESTS),
            Self::HeadersTooLarge => ("headers_too_large", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Self::ServerError => ("server_error", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Overloaded => ("overloaded", StatusCode::SERVICE_UNAVAILABLE),
            Self::NotReady => ("not_ready", StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    /// What it is called on the wire.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Its status.
    pub fn status(self) -> StatusCode {
        self.row().1
    }
}

/// A refusal. As a response it is only marked as such; `ApiError::write` gives it its body, for which it
/// takes the request's identifier.
#[derive(Clone, Debug)]
pub struct ApiError {
    code: ErrorCode,
    message: String,
    details: Map<String, Value>,
    retry_after_seconds: Option<u64>,
}

impl ApiError {
    /// A refusal with a sentence for people.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Map::new(), retry_after_seconds: None }
    }

    /// The server's own failure, of which the log tells more.
    pub fn server() -> Self {
        Self::new(ErrorCode::ServerError, "the server failed; the log tells why under this request_id")
    }

    /// Adds a detail for programs.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// What it is called on the wire.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Whether it says when to try again.
    pub(super) fn waits(&self) -> bool {
        self.retry_after_seconds.is_some()
    }

    /// The part of the body that also stands in place of a result under `partial=true`.
    pub(super) fn summary(&self) -> ErrorSummary<'_> {
        ErrorSummary {
            code: self.code.name(),
            message: &self.message,
            status: self.code.status().as_u16(),
            details: &self.details,
        }
    }

    /// The body, as JSON.
    pub(super) fn body(&self, request_id: &str, now: Timestamp) -> Vec<u8> {
        let body = ErrorBody {
            detail: &self.message,
            status_code: self.code.status().as_u16().to_string(),
            retry_after: self.retry_after_seconds,
            error: FullError {
                summary: self.summary(),
                request_id,
                timestamp: iso_8601(now),
                documentation_url: format!("/docs/errors#{}", self.code.name()),
            },
        };
        // Texts and numbers always serialise.
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The whole response.
    pub(super) fn write(&self, request_id: &str, now: Timestamp) -> Response {
        let status = self.code.status();
        let body = self.body(request_id, now);
        let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"sentor\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A refusal. What stands at the top says the same as `error`: some clients read the one, some the other.
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorBody<'a> {
    /// For people.
    detail: &'a str,
    /// The status as text.
    #[schema(pattern = "^[45][0-9][0-9]$")]
    status_code: String,
    /// Seconds until it is worth trying again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    error: FullError<'a>,
}

/// All that is known of a refusal.
#[derive(Serialize, ToSchema)]
struct FullError<'a> {
    #[serde(flatten)]
    summary: ErrorSummary<'a>,
    /// Names the request in the server's log.
    request_id: &'a str,
    #[schema(format = DateTime)]
    timestamp: String,
    /// Where this server explains it.
    documentation_url: String,
}

/// Why something was refused.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ErrorSummary<'a> {
    /// For programs: it stays as it is.
    code: &'static str,
    /// For people: it may change.
    message: &'a str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What the message says, for programs.
    #[schema(value_type = Object)]
    details: &'a Map<String, Value>,
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSuchKey(id) => {
                Self::new(ErrorCode::NotFound, format!("there is no key {id}")).detail("id", id.as_str())
            }
            StoreError::NotActive { id, state } => {
                let message = format!("the key {id} is {state}, and such a key has no successor");
                Self::new(ErrorCode::Conflict, message).detail("state", state)
            }
            StoreError::Replaced { id, successor } => {
                let message =
                    format!("the key {id} already has a successor, {successor}: rotate or revoke that one");
                Self::new(ErrorCode::Conflict, message)
                    .detail("state", "replaced")
                    .detail("replaced_by", successor.as_str())
            }
            error => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "the store failed");
                Self::server()
            }
        }
    }
}

impl From<AnalysisError> for ApiError {
    fn from(error: AnalysisError) -> Self {
        match error {
            AnalysisError::Overloaded { retry_after } => {
                Self::new(ErrorCode::Overloaded, "the server has more work than it can do in time; try again")
                    .retry_after(whole_seconds(retry_after))
            }
            AnalysisError::DeadlinePassed => Self::new(
                ErrorCode::Overloaded,
                "the work was not done within the request timeout; send fewer documents, allow more time with the header \
                 x-request-timeout-ms, or try again later",
            )
            .retry_after(1),
            AnalysisError::NoModel(language) => {
                let message = format!("no model for language {} is loaded", language.code());
                Self::new(ErrorCode::NotReady, message).detail("language", language.code()).retry_after(30)
            }
            AnalysisError::ShuttingDown => {
                Self::new(ErrorCode::NotReady, "the server is shutting down").retry_after(5)
            }
        }
    }
}

impl ApiError {
    /// The refusal of a request that the plan `plan` does not let in.
    pub(super) fn of_limit(refusal: LimitError, plan: &str, now: Timestamp) -> Self {
        let waiting = |error: Self, standing: RateLimitStatus| {
            let wait = Duration::try_from(standing.reset.duration_since(now)).unwrap_or_default();
            let seconds = whole_seconds(wait);
            error
                .detail("limit", standing.limit)
                .detail("remaining", standing.remaining())
                .detail("reset", unix_seconds(standing.reset))
                .detail("retry_after", seconds)
                .retry_after(seconds)
        };
        let error = match refusal {
            LimitError::Minute(standing) => {
                let most = standing.limit.unwrap_or_default();
                let message = format!("rate limit exceeded: the plan {plan} allows {most} a minute");
                waiting(Self::new(ErrorCode::RateLimitExceeded, message), standing).detail("window", "minute")
            }
            LimitError::Concurrent { limit } => {
                let message = format!("rate limit exceeded: the plan {plan} allows {limit} at once");
                // When one of them will be over, nobody can tell.
                let standing = RateLimitStatus { limit: Some(limit), used: limit, reset: now };
                waiting(Self::new(ErrorCode::RateLimitExceeded, message), standing)
                    .detail("window", "concurrent")
            }
            LimitError::Quota(quota, standing) => {
                let (word, most) = (quota.name(), standing.limit.unwrap_or_default());
                let message = format!("quota exceeded: the plan {plan} allows {most} a {word}");
                waiting(Self::new(ErrorCode::QuotaExceeded, message), standing)
                    .detail("window", word)
                    .detail("resets_at", iso_8601(standing.reset))
            }
            LimitError::UnknownPlan => {
                let message = format!("the plan {plan} of this API key is not set up on this server");
                Self::new(ErrorCode::UnknownPlan, message)
            }
        };
        error.detail("plan", plan)
    }

    /// The refusal of a request that is larger than the plan `plan` allows.
    pub(super) fn larger_than_plan(what: Limit, found: u64, most: u64, plan: &str) -> Self {
        let noun = if what == Limit::DocumentsPerCall { "documents" } else { "characters" };
        let message = format!(
            "the request holds {found} {noun}, but the plan {plan} allows {most} in one; send it in parts"
        );
        Self::new(ErrorCode::PayloadTooLarge, message)
            .detail(what.name(), most)
            .detail(noun, found)
            .detail("plan", plan)
    }

    /// Whether the server is at fault rather than the request.
    pub(super) fn is_server_fault(&self) -> bool {
        self.code.status().is_server_error()
    }

    /// A refusal that lists what is wrong with the content.
    pub(super) fn validation(problems: &Problems) -> Self {
        let listed: Vec<Value> = problems
            .listed()
            .iter()
            .map(|problem| serde_json::json!({"path": problem.path, "problem": problem.problem}))
            .collect();
        let error = Self::new(ErrorCode::ValidationError, problems.summary()).detail("fields", listed);
        match problems.unlisted() {
            0 => error,
            more => error.detail("more", more),
        }
    }

    /// The refusal of the document at `index`.
    pub(super) fn of_document(error: &DocumentError, index: usize) -> Self {
        match error {
            DocumentError::Blank | DocumentError::MentionOutside { .. } => {
                Self::validation(&Problems::only(&format!("docs[{index}].doc"), error.to_string()))
            }
            DocumentError::Model => Self::new(
                ErrorCode::ServerError,
                format!("docs[{index}]: {error}; the log tells why under this request_id"),
            )
            .detail("document", index),
        }
    }
}

/// Rounded up, for a client that waits as told must not come too early; at least 1.
fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up() {
        for (milliseconds, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(milliseconds)), seconds);
        }
    }

    #[test]
    fn codes_are_listed_by_status() {
        let statuses: Vec<u16> = ErrorCode::ALL.iter().map(|code| code.status().as_u16()).collect();
        assert!(statuses.is_sorted());
    }
}
