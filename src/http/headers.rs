//! Headers of every answer, limits on those of a request, and CORS.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;
use tower::{Layer as _, ServiceExt as _};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::app::App;
use super::error::{ApiError, ErrorCode};
use sentor_store::metering::RateLimitStatus;

/// Adds the security headers: no cache keeps an answer, and no browser sniffs its type or runs it.
pub(super) fn secure(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Maximum bytes of all names and values together. hyper reads in pieces and accepts some larger heads.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Rejects headers whose total size is too large.
pub(super) fn limit(headers: &HeaderMap) -> Result<(), ApiError> {
    let sizes = headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    let size: usize = sizes.sum();
    if size <= MAX_HEADER_BYTES {
        return Ok(());
    }
    let message = format!("the headers are {size} bytes, and may be {MAX_HEADER_BYTES}");
    Err(ApiError::new(ErrorCode::HeadersTooLarge, message).detail("limit_bytes", MAX_HEADER_BYTES))
}

const RATE_LIMIT: [HeaderName; 4] = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
    HeaderName::from_static("x-ratelimit-used"),
];

/// The number for "no limit": the largest that all clients can represent, since they expect a number.
const NO_LIMIT: u64 = i32::MAX as u64;

/// Adds the rate limit headers of the caller's minute.
pub(super) fn add_rate_limit(headers: &mut HeaderMap, minute: RateLimitStatus) {
    let remaining = minute.remaining().unwrap_or(NO_LIMIT.saturating_sub(minute.used));
    let values = [minute.limit.unwrap_or(NO_LIMIT), remaining, unix_seconds(minute.reset), minute.used];
    for (name, value) in RATE_LIMIT.into_iter().zip(values) {
        headers.insert(name, HeaderValue::from(value));
    }
}

/// Whole seconds since 1970, rounded up, so that a client that waits until then has waited long enough.
pub(super) fn unix_seconds(moment: Timestamp) -> u64 {
    let seconds = moment.as_second() + i64::from(moment.subsec_nanosecond() > 0);
    u64::try_from(seconds).unwrap_or(0)
}

/// Adds CORS headers and answers preflight requests, by the current settings.
pub(super) async fn apply_cors(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(cors) = cors(&app.settings().cors_origins) else { return next.run(request).await };
    match cors.layer(next).oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The CORS middleware for pages of `origins`; `None` if there are none.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    let request_id = HeaderName::from_static("x-request-id");
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                HeaderName::from_static("x-api-key"),
                super::timeout::REQUEST_TIMEOUT,
                request_id.clone(),
            ])
            .expose_headers(
                RATE_LIMIT.into_iter().chain([request_id, header::RETRY_AFTER]).collect::<Vec<_>>(),
            ),
    )
}
