//! A key in answers and in the JSON of `sentor keys`.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::openapi::schemas;
use sentor_store::clock::iso_8601;
use sentor_store::keys::{ApiKey, KeyRecord};

/// Everything about a key, but not the key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyView {
    /// Identifies the key. It reveals nothing of the key.
    pub(crate) id: String,
    /// A name for people.
    name: String,
    /// The first characters of the key.
    prefix: String,
    /// `active`, `expired` or `revoked`.
    #[schema(value_type = schemas::KeyState)]
    state: &'static str,
    /// The plan with its limits.
    plan: String,
    /// The permissions.
    #[schema(value_type = Vec<schemas::Scope>)]
    scopes: Vec<&'static str>,
    /// The first key of its line of rotations: limits and usage are shared along the line.
    account: String,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    /// The key that a rotation put in its place.
    replaced_by: Option<String>,
}

/// A new key, the one time that it is shown.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewKeyView {
    /// The key.
    key: String,
    #[serde(flatten)]
    view: KeyView,
}

impl KeyView {
    pub(crate) fn new(record: &KeyRecord, now: Timestamp) -> Self {
        Self {
            id: record.id.to_string(),
            name: record.name.clone(),
            prefix: record.prefix.clone(),
            state: record.state(now).name(),
            plan: record.plan.clone(),
            scopes: record.scopes.names(),
            account: record.account.to_string(),
            created_at: iso_8601(record.created_at),
            expires_at: record.ends_at().map(iso_8601),
            last_used_at: record.last_used_at.map(iso_8601),
            revoked_at: record.revoked_at.map(iso_8601),
            replaced_by: record.replaced_by.as_ref().map(ToString::to_string),
        }
    }
}

impl NewKeyView {
    pub(crate) fn new(key: &ApiKey, record: &KeyRecord, now: Timestamp) -> Self {
        Self { key: key.expose().to_owned(), view: KeyView::new(record, now) }
    }
}
