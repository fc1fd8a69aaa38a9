//! Authentication by key, scopes, and admission against the limits of a plan.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};

use super::app::App;
use super::error::{ApiError, ErrorCode};
use super::observe::RequestContext;
use crate::telemetry::KeyRefusal;
use sentor_store::clock::iso_8601;
use sentor_store::keys::{ApiKey, AuthError, KeyRecord, Scope};
use sentor_store::metering::{Admission, LimitError, RateLimitStatus};

/// Authenticates a key that must have the scope `scope`.
pub(super) fn require(
    app: &App,
    headers: &HeaderMap,
    scope: Scope,
    context: &RequestContext,
) -> Result<Arc<KeyRecord>, ApiError> {
    let record = authenticate(app, headers, context)?;
    require_scope(app, &record, scope)?;
    Ok(record)
}

/// Authenticates any key.
pub(super) fn authenticate(
    app: &App,
    headers: &HeaderMap,
    context: &RequestContext,
) -> Result<Arc<KeyRecord>, ApiError> {
    identify(app, headers, context)?.ok_or_else(|| {
        app.metrics.count_key_refusal(KeyRefusal::Missing);
        ApiError::new(ErrorCode::MissingKey, "no API key: send it in the header x-api-key")
    })
}

/// Rejects a key that lacks a scope.
pub(super) fn require_scope(app: &App, record: &KeyRecord, scope: Scope) -> Result<(), ApiError> {
    if record.scopes.contains(scope) {
        return Ok(());
    }
    app.metrics.count_key_refusal(KeyRefusal::Scope);
    let message = format!("this API key lacks the scope {}", scope.name());
    Err(ApiError::new(ErrorCode::InsufficientScope, message)
        .detail("required", scope.name())
        .detail("granted", record.scopes.names()))
}

/// Admits a request against the plan of its key, until the admission is dropped.
pub(super) fn admit(app: &App, key: &KeyRecord, context: &RequestContext) -> Result<Admission, ApiError> {
    let admission = app.services.meter.admit(key).map_err(|error| limit_error(app, key, error))?;
    context.update(|notes| notes.minute = Some(admission.rate_limit()));
    Ok(admission)
}

/// Admits a request that scores nothing, against the minute of its key.
pub(super) fn admit_query(
    app: &App,
    key: &KeyRecord,
    context: &RequestContext,
) -> Result<RateLimitStatus, ApiError> {
    let minute = app.services.meter.admit_query(key).map_err(|error| limit_error(app, key, error))?;
    context.update(|notes| notes.minute = Some(minute));
    Ok(minute)
}

fn limit_error(app: &App, key: &KeyRecord, error: LimitError) -> ApiError {
    app.metrics.count_key_refusal(KeyRefusal::from_limit_error(error));
    ApiError::from_limit(error, &key.plan, app.now())
}

/// Identifies the holder of the key, if one was sent. A rejected key is an error even on routes that need none.
pub(super) fn identify(
    app: &App,
    headers: &HeaderMap,
    context: &RequestContext,
) -> Result<Option<Arc<KeyRecord>>, ApiError> {
    let malformed = |error: ApiError| {
        let is_empty = error.code() == ErrorCode::MissingKey;
        app.metrics.count_key_refusal(if is_empty { KeyRefusal::Missing } else { KeyRefusal::Malformed });
        error
    };
    let Some(presented) = presented(headers).map_err(malformed)? else { return Ok(None) };
    let invalid = |message: String| ApiError::new(ErrorCode::InvalidKey, message);
    let key: ApiKey = presented
        .parse()
        .map_err(|error| malformed(invalid(format!("this is not a valid API key: {error}"))))?;
    let record = find_key(app, &key).map_err(|error| {
        app.metrics.count_key_refusal(KeyRefusal::from_auth_error(error));
        match error {
            AuthError::Unknown => invalid("this API key is not known here".to_owned()),
            AuthError::Expired { at } => {
                ApiError::new(ErrorCode::ExpiredKey, "API key has expired").detail("expires_at", iso_8601(at))
            }
            AuthError::Revoked { at } => ApiError::new(ErrorCode::RevokedKey, "API key has been revoked")
                .detail("revoked_at", iso_8601(at)),
            AuthError::Unreadable => ApiError::new(ErrorCode::RevokedKey, "API key has been revoked"),
            AuthError::StoreExchanged => {
                let message = "the store of keys is not available, so no key can be checked";
                ApiError::new(ErrorCode::NotReady, message).detail("reason", "keys").retry_after(5)
            }
        }
    })?;
    let minute = app.services.meter.minute(&record);
    context.update(|notes| {
        notes.key_id = Some(record.id.clone());
        notes.minute = minute;
        notes.plan = Some(record.plan.clone());
    });
    Ok(Some(record))
}

/// Looks up an active key in memory, and an unknown one in the store: another process may just have made it.
fn find_key(app: &App, key: &ApiKey) -> Result<Arc<KeyRecord>, AuthError> {
    let keys = &app.services.keys;
    match keys.authenticate(key, app.now()) {
        // The look-up reads the disk, at a bounded rate. Other tasks of this thread move to another thread meanwhile.
        Err(AuthError::Unknown) => tokio::task::block_in_place(|| keys.look_up(key, app.now())),
        outcome => outcome,
    }
}

/// Returns the text that was sent as a key. `x-api-key` has precedence over `Authorization`.
fn presented(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    if let Some(value) = single(headers, "x-api-key")? {
        return text(value).map(Some);
    }
    let Some(value) = single(headers, header::AUTHORIZATION.as_str())? else { return Ok(None) };
    // Another scheme is meant for another recipient, such as a proxy.
    match text(value)?.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(key.trim())),
        _ => Ok(None),
    }
}

/// Returns a header that may be sent once. Two of them are rejected, even with equal values: a proxy and the server
/// could read different ones.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h HeaderValue>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.count() {
        0 => Ok(first),
        more => {
            let message = format!("the header {name} was sent {} times; send it once", more + 1);
            Err(ApiError::new(ErrorCode::InvalidKey, message))
        }
    }
}

fn text(value: &HeaderValue) -> Result<&str, ApiError> {
    let text = value
        .to_str()
        .map_err(|_| ApiError::new(ErrorCode::InvalidKey, "the API key holds characters that no key has"))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(ApiError::new(ErrorCode::MissingKey, "the API key is empty"));
    }
    Ok(text)
}
