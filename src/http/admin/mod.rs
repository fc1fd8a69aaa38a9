//! `/api/admin/keys`: making, listing, rotating and revoking keys over HTTP, with the scope `admin`.
//!
//! Every change, and every refused call, is a line of the audit log.

mod request;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;
use super::error::{ApiError, ErrorCode};
use super::observe::RequestContext;
use super::query::{Parameters, bad_parameter};
use super::{auth, blocking, body};
use request::{CreateKey, RotateKey};
use sentor_store::Store;
use sentor_store::audit::{Actor, Event};
use sentor_store::keys::{KeyId, KeyRecord, Scope, StoreError, rotate};
pub(crate) use view::{KeyView, NewKeyView};

/// Keys in a listing, unless asked for more or fewer.
const PAGE: usize = 100;

/// Most keys in a listing.
const MAX_PAGE: usize = 1000;

/// A part of all keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyPage {
    /// The oldest first.
    keys: Vec<KeyView>,
    /// What the parameter `after` takes for the next part; null at the end.
    next: Option<String>,
}

/// `GET /api/admin/keys`: the oldest first.
#[utoipa::path(
    get, path = "/api/admin/keys", tag = "admin",
    summary = "List keys",
    params(
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 1000,
         description = "Keys in the answer at most; 100 unless said otherwise."),
        ("after" = Option<String>, Query, description = "The identifier after which the answer starts."),
    ),
    responses((status = 200, description = "A part of all keys, the oldest first.", body = KeyPage)),
)]
pub(super) async fn list_keys(
    State(app): State<Arc<App>>,
    context: RequestContext,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<KeyPage>, ApiError> {
    auth::require(&app, &headers, Scope::Admin, &context)?;
    let parameters = Parameters::parse(&uri)?;
    let expected = format!("a whole number from 1 to {MAX_PAGE}");
    let limit: usize = parameters.read("limit", &expected)?.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(bad_parameter("limit", &limit.to_string(), &expected));
    }
    let after = parameters.text("after")?.map(parse_id).transpose()?;
    let records = in_store(&app, |store| store.records()).await?;
    let start = match after {
        Some(id) => match records.iter().position(|record| record.id == id) {
            Some(index) => index + 1,
            None => return Err(StoreError::NoSuchKey(id).into()),
        },
        None => 0,
    };
    let page = records.get(start..).unwrap_or_default();
    let now = app.now();
    let keys: Vec<KeyView> = page.iter().take(limit).map(|record| KeyView::of(record, now)).collect();
    let next = if page.len() > limit { keys.last().map(|key| key.id.clone()) } else { None };
    Ok(Json(KeyPage { keys, next }))
}

/// `POST /api/admin/keys`: the answer is the one time that the key is shown.
#[utoipa::path(
    post, path = "/api/admin/keys", tag = "admin",
    summary = "Make a key",
    description = "The answer is the one time that the key itself is shown.",
    request_body(content = CreateKey, content_type = "application/json",
                 example = json!({"name": "webshop", "scopes": ["predict"]})),
    responses((status = 201, description = "The key, and all about it.", body = NewKeyView)),
)]
pub(super) async fn create_key(
    State(app): State<Arc<App>>,
    context: RequestContext,
    request: Request,
) -> Result<(StatusCode, Json<NewKeyView>), ApiError> {
    let (parts, body) = request.into_parts();
    let admin = auth::require(&app, &parts.headers, Scope::Admin, &context)?;
    body::check_headers(&parts.headers, app.settings.limits.body_limit_bytes)?;
    let (bytes, _held) = body::read(&parts.headers, body, &app).await?;
    let now = app.now();
    let new = CreateKey::parse(&bytes)?.check(app.services.meter.plans(), now)?;
    let (key, record) = new.generate(now, &mut rand::rng());
    let stored = record.clone();
    in_store(&app, move |store| store.insert(&stored)).await?;
    note(&app, &admin, &context, Event::KeyCreated(&record));
    Ok((StatusCode::CREATED, Json(NewKeyView::of(&key, &record, now))))
}

/// `GET /api/admin/keys/{id}`.
#[utoipa::path(
    get, path = "/api/admin/keys/{id}", tag = "admin",
    summary = "Show a key",
    params(("id" = String, Path, description = "Its identifier.")),
    responses((status = 200, description = "All about the key.", body = KeyView)),
)]
pub(super) async fn show_key(
    State(app): State<Arc<App>>,
    context: RequestContext,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<KeyView>, ApiError> {
    auth::require(&app, &headers, Scope::Admin, &context)?;
    let record = find_key(&app, parse_id(&id)?).await?;
    Ok(Json(KeyView::of(&record, app.now())))
}

/// `POST /api/admin/keys/{id}/rotate`: makes a key that takes the place of another.
#[utoipa::path(
    post, path = "/api/admin/keys/{id}/rotate", tag = "admin",
    summary = "Make a key that takes the place of another",
    description = "The old key works on for the overlap, and both share limits and usage.",
    params(("id" = String, Path, description = "The old key's identifier.")),
    request_body(content = Option<RotateKey>, content_type = "application/json",
                 example = json!({"overlap_seconds": 86400})),
    responses((status = 201, description = "The new key, and all about it.", body = NewKeyView)),
)]
pub(super) async fn rotate_key(
    State(app): State<Arc<App>>,
    context: RequestContext,
    Path(id): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<NewKeyView>), ApiError> {
    let (parts, body) = request.into_parts();
    let admin = auth::require(&app, &parts.headers, Scope::Admin, &context)?;
    let (bytes, _held) = body::read(&parts.headers, body, &app).await?;
    let now = app.now();
    let until = RotateKey::parse(&bytes)?.old_expires_at(now)?;
    let id = parse_id(&id)?;
    let old = id.clone();
    let (key, record) = in_store(&app, move |store| rotate(store, &id, until, now, &mut rand::rng())).await?;
    note(&app, &admin, &context, Event::KeyRotated { old: &old, new: &record });
    Ok((StatusCode::CREATED, Json(NewKeyView::of(&key, &record, now))))
}

/// `POST /api/admin/keys/{id}/revoke`: the key is refused from now on.
#[utoipa::path(
    post, path = "/api/admin/keys/{id}/revoke", tag = "admin",
    summary = "Take a key back",
    params(("id" = String, Path, description = "Its identifier.")),
    responses((status = 200, description = "All about the key, revoked.", body = KeyView)),
)]
pub(super) async fn revoke_key(
    State(app): State<Arc<App>>,
    context: RequestContext,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<KeyView>, ApiError> {
    let admin = auth::require(&app, &headers, Scope::Admin, &context)?;
    let (id, now) = (parse_id(&id)?, app.now());
    let record = in_store(&app, move |store| store.revoke(&id, now)).await?;
    note(&app, &admin, &context, Event::KeyRevoked(&record));
    Ok(Json(KeyView::of(&record, now)))
}

/// Writes a line for each call that is refused, whoever made it. Of its path it has what is known to be no secret.
pub(super) async fn audit_refusals(
    State(app): State<Arc<App>>,
    route: MatchedPath,
    context: RequestContext,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    let id = request.uri().path().split('/').nth(4).and_then(KeyId::parse);
    let response = next.run(request).await;
    if let Some(error) = response.extensions().get::<ApiError>() {
        let key_id = context.note(|notes| notes.key_id.clone());
        let actor = Actor::Key { id: key_id.as_ref(), request_id: &context.id };
        let event = Event::AdminRefused {
            method: method.as_str(),
            route: route.as_str(),
            id: id.as_ref(),
            code: error.code().name(),
        };
        app.services.audit.write(app.now(), actor, event);
    }
    response
}

/// The record of a key, whatever its state.
pub(super) async fn find_key(app: &App, id: KeyId) -> Result<KeyRecord, ApiError> {
    in_store(app, move |store| store.record(&id)).await
}

/// Works with the store where that may take its time, and lets what changed count at once.
async fn in_store<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let (store, keys) = (Arc::clone(&app.services.store), Arc::clone(&app.services.keys));
    let outcome = blocking(move || {
        let value = work(store.as_ref())?;
        keys.refresh()?;
        Ok::<_, StoreError>(value)
    });
    Ok(outcome.await??)
}

fn note(app: &App, admin: &KeyRecord, context: &RequestContext, event: Event<'_>) {
    let actor = Actor::Key { id: Some(&admin.id), request_id: &context.id };
    app.services.audit.write(app.now(), actor, event);
}

/// The identifier in a path or query.
pub(super) fn parse_id(text: &str) -> Result<KeyId, ApiError> {
    let message =
        "there is no such key; identifiers are as listings show them, and are not the keys themselves";
    KeyId::parse(text).ok_or_else(|| ApiError::new(ErrorCode::NotFound, message))
}
