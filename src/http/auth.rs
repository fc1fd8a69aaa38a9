//! Who is asking, whether they may, and whether they may now.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};

use super::app::App;
use super::error::{ApiError, ErrorCode};
use super::observe::RequestContext;
use crate::telemetry::KeyRefusal;
use sentor_store::clock::iso_8601;
use sentor_store::keys::{self, ApiKey, KeyRecord, Scope};
use sentor_store::metering::{Admission, Refusal};

/// The holder of a key with the scope `scope`, or the refusal.
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

/// The holder of any key, or the refusal.
pub(super) fn authenticate(
    app: &App,
    headers: &HeaderMap,
    context: &RequestContext,
) -> Result<Arc<KeyRecord>, ApiError> {
    identify(app, headers, context)?.ok_or_else(|| {
        app.metrics.refuse_key(KeyRefusal::Missing);
        ApiError::new(ErrorCode::MissingKey, "no API key: send it in the header x-api-key")
    })
}

/// Refuses a key that lacks a scope.
pub(super) fn require_scope(app: &App, record: &KeyRecord, scope: Scope) -> Result<(), ApiError> {
    if record.scopes.contains(scope) {
        return Ok(());
    }
    app.metrics.refuse_key(KeyRefusal::Scope);
    let message = format!("this API key lacks the scope {}", scope.word());
    Err(ApiError::new(ErrorCode::InsufficientScope, message)
        .detail("required", scope.word())
        .detail("granted", record.scopes.words()))
}

/// Lets a request in against the plan of its key, until what is returned is dropped.
pub(super) fn admit(app: &App, key: &KeyRecord, context: &RequestContext) -> Result<Admission, ApiError> {
    let admission = app.services.meter.admit(key).map_err(|refusal| {
        app.metrics.refuse_key(KeyRefusal::of_limit(refusal));
        if refusal == Refusal::UnknownPlan {
            tracing::error!(
                request_id = &*context.id,
                plan = key.plan,
                "the plan of a key is not in the configuration; add [plans.NAME]"
            );
        }
        ApiError::of_limit(refusal, &key.plan, app.now())
    })?;
    context.note(|notes| notes.minute = Some(admission.standing()));
    Ok(admission)
}

/// The holder of the key, if one was sent. A key that does not let in is an error even where none is needed.
pub(super) fn identify(
    app: &App,
    headers: &HeaderMap,
    context: &RequestContext,
) -> Result<Option<Arc<KeyRecord>>, ApiError> {
    let malformed = |error: ApiError| {
        let is_empty = error.code() == ErrorCode::MissingKey;
        app.metrics.refuse_key(if is_empty { KeyRefusal::Missing } else { KeyRefusal::Malformed });
        error
    };
    let Some(presented) = presented(headers).map_err(malformed)? else { return Ok(None) };
    let invalid = |message: String| ApiError::new(ErrorCode::InvalidKey, message);
    let key: ApiKey = presented
        .parse()
        .map_err(|error| malformed(invalid(format!("this is not a valid API key: {error}"))))?;
    let record = app.services.keys.authenticate(&key, app.now()).map_err(|refusal| {
        app.metrics.refuse_key(KeyRefusal::of_key(refusal));
        match refusal {
            keys::Refusal::Unknown => invalid("this API key is not known here".to_owned()),
            keys::Refusal::Expired { at } => {
                ApiError::new(ErrorCode::ExpiredKey, "API key has expired").detail("expires_at", iso_8601(at))
            }
            keys::Refusal::Revoked { at } => ApiError::new(ErrorCode::RevokedKey, "API key has been revoked")
                .detail("revoked_at", iso_8601(at)),
        }
    })?;
    let minute = app.services.meter.minute(&record);
    context.note(|notes| {
        notes.key_id = Some(record.id.clone());
        notes.minute = minute;
        notes.plan = Some(record.plan.clone());
    });
    Ok(Some(record))
}

/// What was sent as a key. `x-api-key` counts more than `Authorization`.
fn presented(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    if let Some(value) = single(headers, "x-api-key")? {
        return text(value).map(Some);
    }
    let Some(value) = single(headers, header::AUTHORIZATION.as_str())? else { return Ok(None) };
    // Another scheme is for somebody else, such as a proxy on the way.
    match text(value)?.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(key.trim())),
        _ => Ok(None),
    }
}

/// A header that may stand once. Sent twice, even with equal values, it is a mistake that would show up
/// later as somebody else's key.
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
