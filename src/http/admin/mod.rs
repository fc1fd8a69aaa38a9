//! `/api/admin/keys`: makes, lists, rotates and revokes keys over HTTP, with the scope `admin`.
//!
//! A change and its audit entry are one transaction, which ends even if the client hangs up. Refused calls are audited too.

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

use super::app::{App, Services};
use super::error::{ApiError, ErrorCode};
use super::observe::RequestContext;
use super::query::{Parameters, bad_parameter};
use super::{auth, blocking, body};
use request::{CreateKey, RotateKey};
use sentor_analysis::Caller;
use sentor_store::audit::{Actor, RefusedCall};
use sentor_store::keys::{ApiKey, KeyAdmin, KeyId, KeyRecord, Scope};
use sentor_store::{Store, StoreError};
pub(crate) use view::{KeyView, NewKeyView};

/// Default number of keys in a page.
const PAGE: usize = 100;

/// Largest number of keys in a page.
const MAX_PAGE: usize = 1000;

/// A part of all keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyPage {
    /// The oldest first.
    keys: Vec<KeyView>,
    /// The parameter `after` for the next part; null at the end.
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
    let page = in_store(&app, move |store| store.page(after.as_ref(), limit)).await?;
    for row in &page.unreadable {
        tracing::warn!(
            key_id = row.id.as_str(),
            problem = row.problem,
            "a listing leaves out an unreadable key"
        );
    }
    let now = app.now();
    let keys = page.records.iter().map(|record| KeyView::new(record, now)).collect();
    Ok(Json(KeyPage { keys, next: page.next.map(|id| id.to_string()) }))
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
    body::check_headers(&parts.headers, body_limit_bytes(&app))?;
    let caller = Caller::from(admin.account.as_str());
    let (bytes, _held) = body::read(&parts.headers, body, body_limit_bytes(&app), &app, &caller).await?;
    let now = app.now();
    let new = CreateKey::parse(&bytes)?.check(&app.services.meter.plans(), now)?;
    let (key, record) =
        change(&app, &admin, &context, move |keys| keys.create(new, &mut rand::rng())).await?;
    Ok((StatusCode::CREATED, Json(NewKeyView::new(&key, &record, now))))
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
    Ok(Json(KeyView::new(&record, app.now())))
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
    let caller = Caller::from(admin.account.as_str());
    let (bytes, _held) = body::read(&parts.headers, body, body_limit_bytes(&app), &app, &caller).await?;
    let now = app.now();
    let until = RotateKey::parse(&bytes)?.old_expires_at(now)?;
    let id = parse_id(&id)?;
    let (key, record) =
        change(&app, &admin, &context, move |keys| keys.rotate(&id, until, &mut rand::rng())).await?;
    Ok((StatusCode::CREATED, Json(NewKeyView::new(&key, &record, now))))
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
    let id = parse_id(&id)?;
    let record = change(&app, &admin, &context, move |keys| keys.revoke(&id)).await?;
    Ok(Json(KeyView::new(&record, app.now())))
}

/// Audits refused calls. Of the path, the line has only the route and an identifier, which are no secret.
pub(super) async fn audit_rejections(
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
        let key_id = context.update(|notes| notes.key_id.clone());
        app.services.audit.refused(RefusedCall {
            caller: key_id.as_ref(),
            request_id: &context.id,
            method: method.as_str(),
            route: route.as_str(),
            id: id.as_ref(),
            code: error.code().name(),
        });
    }
    response
}

/// Returns the record of a key in any state.
pub(super) async fn find_key(app: &App, id: KeyId) -> Result<KeyRecord, ApiError> {
    in_store(app, move |store| store.record(&id)).await
}

/// Reads the store on a thread that may block.
async fn in_store<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let store = Arc::clone(&app.services.store);
    Ok(blocking(move || work(store.as_ref())).await??)
}

/// A change of keys, as far as the ring must know it.
trait Changed: Send + 'static {
    fn record(&self) -> &KeyRecord;
}

impl Changed for KeyRecord {
    fn record(&self) -> &KeyRecord {
        self
    }
}

impl Changed for (ApiKey, KeyRecord) {
    fn record(&self) -> &KeyRecord {
        &self.1
    }
}

/// Changes keys on a thread that may block. The change runs to its end even if the client hangs up, and counts at once.
async fn change<T: Changed>(
    app: &App,
    admin: &KeyRecord,
    context: &RequestContext,
    work: impl FnOnce(KeyAdmin<'_>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let Services { store, keys, audit, clock, .. } = app.services.clone();
    let (admin, request_id) = (admin.id.clone(), Arc::clone(&context.id));
    let outcome = blocking(move || {
        let actor = Actor::Key { id: Some(&admin), request_id: &request_id };
        let changed = work(KeyAdmin::new(store.as_ref(), &clock, actor))?;
        audit.changed();
        if let Err(error) = keys.refresh() {
            // The change is committed, so it is no failure of this request.
            tracing::warn!(%error, "cannot read the store after a change of keys: the change counts all the same");
            keys.put(changed.record().clone());
        }
        Ok::<_, StoreError>(changed)
    });
    Ok(outcome.await??)
}

/// Largest body of an admin request; a connection thread parses it.
fn body_limit_bytes(app: &App) -> usize {
    const MAX_ADMIN_BODY_BYTES: usize = 64 * 1024;
    app.settings().limits.body_limit_bytes.min(MAX_ADMIN_BODY_BYTES)
}

/// Parses an identifier in a path or query.
pub(super) fn parse_id(text: &str) -> Result<KeyId, ApiError> {
    let message =
        "there is no such key; identifiers are as listings show them, and are not the keys themselves";
    KeyId::parse(text).ok_or_else(|| ApiError::new(ErrorCode::NotFound, message))
}
