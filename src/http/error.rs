//! Turns errors into a status and a body. No other file does.

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

/// Defines [`ErrorCode`] from one table: the variant, its name on the wire, and its status.
macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:ident;)*) => {
        /// Every reason to reject a request; `docs/errors.md` has a section for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
        }

        impl ErrorCode {
            /// All of them, in the order of their status.
            pub const ALL: &[ErrorCode] = &[$(Self::$variant,)*];

            /// Its name on the wire.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Its status.
            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$variant => StatusCode::$status,)*
                }
            }
        }
    };
}

error_codes! {
    /// The body is not JSON, or a parameter or header has a wrong value.
    BadRequest = "bad_request", BAD_REQUEST;
    /// The request has no key.
    MissingKey = "missing_key", UNAUTHORIZED;
    /// The key was never issued.
    InvalidKey = "invalid_key", UNAUTHORIZED;
    /// The key has expired.
    ExpiredKey = "expired_key", UNAUTHORIZED;
    /// The key was revoked.
    RevokedKey = "revoked_key", UNAUTHORIZED;
    /// The key lacks the scope.
    InsufficientScope = "insufficient_scope", FORBIDDEN;
    /// The key's quota of the day or month is used up.
    QuotaExceeded = "quota_exceeded", FORBIDDEN;
    /// The configuration has no plan of the key's name.
    UnknownPlan = "unknown_plan", FORBIDDEN;
    /// The path has no route, or the resource does not exist.
    NotFound = "not_found", NOT_FOUND;
    /// The path has a route, but not for this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED;
    /// The body did not arrive in time.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT;
    /// The resource is in a state that does not allow the change.
    Conflict = "conflict", CONFLICT;
    /// The request is larger than a limit.
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE;
    /// The path and query are too long.
    UriTooLong = "uri_too_long", URI_TOO_LONG;
    /// The body has a type or compression that the server does not read.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE;
    /// The body is JSON with wrong content.
    ValidationError = "validation_error", UNPROCESSABLE_ENTITY;
    /// The key's requests of the last minute are used up, or too many of its requests are in flight.
    RateLimitExceeded = "rate_limit_exceeded", TOO_MANY_REQUESTS;
    /// The headers are too many or too large.
    HeadersTooLarge = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE;
    /// The server failed.
    ServerError = "server_error", INTERNAL_SERVER_ERROR;
    /// The server has more work than it can do in time.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE;
    /// The server cannot score yet, or no longer.
    NotReady = "not_ready", SERVICE_UNAVAILABLE;
}

/// The rejection of a request. As a response it is a bare status that carries this value; `ApiError::write` adds the body,
/// which needs the request's identifier.
#[derive(Clone, Debug)]
pub struct ApiError {
    code: ErrorCode,
    message: String,
    details: Map<String, Value>,
    retry_after_seconds: Option<u64>,
}

impl ApiError {
    /// An error with a sentence for people.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Map::new(), retry_after_seconds: None }
    }

    /// A fault of the server; the log has the cause.
    pub fn server() -> Self {
        Self::new(ErrorCode::ServerError, "the server failed; the log has the cause under this request_id")
    }

    /// Adds a detail for programs.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the seconds after which to retry.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// Its code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Whether it has a time to retry.
    pub(super) fn has_retry_after(&self) -> bool {
        self.retry_after_seconds.is_some()
    }

    /// Returns the part of the body that replaces a result under `partial=true`.
    pub(super) fn summary(&self) -> ErrorSummary<'_> {
        ErrorSummary {
            code: self.code.name(),
            message: &self.message,
            status: self.code.status().as_u16(),
            details: &self.details,
        }
    }

    /// Returns the body as JSON. `prefix` is the path below which a proxy serves this server; mostly it is empty.
    pub(super) fn body(&self, request_id: &str, prefix: &str, now: Timestamp) -> Vec<u8> {
        let body = ErrorBody {
            detail: &self.message,
            status_code: self.code.status().as_u16().to_string(),
            retry_after: self.retry_after_seconds,
            error: FullError {
                summary: self.summary(),
                request_id,
                timestamp: iso_8601(now),
                documentation_url: format!("{prefix}/docs/errors#{}", self.code.name()),
            },
        };
        // Texts and numbers always serialize.
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The whole response.
    pub(super) fn write(&self, request_id: &str, prefix: &str, now: Timestamp) -> Response {
        let status = self.code.status();
        let body = self.body(request_id, prefix, now);
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

/// An error. The top-level members repeat `error`, since some clients read one and some the other.
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorBody<'a> {
    /// For people.
    detail: &'a str,
    /// The status as text.
    #[schema(pattern = "^[45][0-9][0-9]$")]
    status_code: String,
    /// Seconds after which a retry may succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    error: FullError<'a>,
}

/// The error in full.
#[derive(Serialize, ToSchema)]
struct FullError<'a> {
    #[serde(flatten)]
    summary: ErrorSummary<'a>,
    /// The request's identifier in the server's log.
    request_id: &'a str,
    #[schema(format = DateTime)]
    timestamp: String,
    /// The page of this server that explains it.
    documentation_url: String,
}

/// The reason of an error.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ErrorSummary<'a> {
    /// For programs: it does not change.
    code: &'static str,
    /// For people: it may change.
    message: &'a str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// The message's facts, for programs.
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
            StoreError::Unreadable { id, problem } => {
                tracing::error!(key_id = id.as_str(), problem, "a key's row in the store cannot be read");
                let message = format!("the row of the key {id} is unreadable, and the key counts as revoked");
                Self::new(ErrorCode::Conflict, message).detail("state", "unreadable")
            }
            StoreError::Replaced { id, successor } => {
                let message =
                    format!("the key {id} already has a successor, {successor}: rotate or revoke that one");
                Self::new(ErrorCode::Conflict, message)
                    .detail("state", "replaced")
                    .detail("replaced_by", successor.as_str())
            }
            error @ StoreError::Backend(_) => {
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
            AnalysisError::AnswerTooLarge { bytes, most } => Self::answer_too_large(bytes, most),
            AnalysisError::TooManyTokens { most, .. } => Self::new(
                ErrorCode::PayloadTooLarge,
                format!(
                    "the documents and their entities together come to more than {most} model tokens; send them in several \
                     requests"
                ),
            )
            .detail("max_tokens", most),
            AnalysisError::TooLong { needed } => Self::new(
                ErrorCode::Overloaded,
                format!(
                    "the work would take at least {} ms, which is longer than the request timeout; send fewer documents, \
                     or allow more time with the header x-request-timeout-ms",
                    needed.as_millis()
                ),
            )
            .detail("needed_ms", millis(needed))
            .retry_after(1),
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
            AnalysisError::NoEmbeddingModel(language) => {
                let code = language.code();
                let message = format!(
                    "no embedding model for language {code} is on this server; its operator can set embed_{code}"
                );
                Self::new(ErrorCode::NotReady, message).detail("language", code).retry_after(30)
            }
            AnalysisError::EmbeddingModel(name) => {
                let message = format!("the embedding model {name} cannot be used; the server's log says why");
                Self::new(ErrorCode::NotReady, message).retry_after(30)
            }
            AnalysisError::ShuttingDown => {
                Self::new(ErrorCode::NotReady, "the server is shutting down").retry_after(5)
            }
        }
    }
}

impl ApiError {
    /// The error for a request beyond a limit of the plan `plan`.
    pub(super) fn from_limit(refusal: LimitError, plan: &str, now: Timestamp) -> Self {
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
                // The end of a request in flight is unknown.
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

    /// The error for a request that is larger than the plan `plan` allows.
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

    /// The error for a request whose answer would be larger than the server sends.
    pub(super) fn answer_too_large(bytes: usize, most: usize) -> Self {
        let message = format!(
            "the answer would be about {bytes} bytes, but the server sends {most} at one time; send the request in parts"
        );
        Self::new(ErrorCode::PayloadTooLarge, message).detail("max_answer_bytes", most)
    }

    /// Whether the server is at fault, not the request.
    pub(super) fn is_server_fault(&self) -> bool {
        self.code.status().is_server_error()
    }

    /// The error that lists the problems of a request's content.
    pub(super) fn validation(problems: &Problems<'_>) -> Self {
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

    /// The error of the document at `index`.
    pub(super) fn from_document(error: &DocumentError, index: usize) -> Self {
        match error {
            DocumentError::Blank | DocumentError::MentionOutside { .. } => {
                Self::validation(&Problems::only(&format!("docs[{index}].doc"), error.to_string()))
            }
            DocumentError::TooManyTokens { .. } => {
                Self::validation(&Problems::only(&format!("docs[{index}]"), error.to_string()))
            }
            DocumentError::Model => Self::new(
                ErrorCode::ServerError,
                format!("docs[{index}]: {error}; the log has the cause under this request_id"),
            )
            .detail("document", index),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Rounds up to at least 1, so that a client that waits this long is not too early.
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
