//! A key as listings show it; also what `sentor keys` prints as JSON.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::openapi::words;
use sentor_store::clock::iso_8601;
use sentor_store::keys::{ApiKey, KeyRecord};

/// All about a key, but not the key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyView {
    /// Names it, and tells nothing of it.
    pub(crate) id: String,
    /// For people.
    name: String,
    /// Its first characters.
    prefix: String,
    /// `active`, `expired` or `revoked`.
    #[schema(value_type = words::KeyState)]
    state: &'static str,
    /// Which limits hold for it.
    plan: String,
    /// What it may do.
    #[schema(value_type = Vec<words::Scope>)]
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
}

/// A new key, the one time that it can be seen.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewKeyView {
    /// The key itself.
    key: String,
    #[serde(flatten)]
    view: KeyView,
}

impl KeyView {
    pub(crate) fn of(record: &KeyRecord, now: Timestamp) -> Self {
        Self {
            id: record.id.to_string(),
            name: record.name.clone(),
            prefix: record.prefix.clone(),
            state: record.state(now).word(),
            plan: record.plan.clone(),
            scopes: record.scopes.words(),
            account: record.account.to_string(),
            created_at: iso_8601(record.created_at),
            expires_at: record.expires_at.map(iso_8601),
            last_used_at: record.last_used_at.map(iso_8601),
            revoked_at: record.revoked_at.map(iso_8601),
        }
    }
}

impl NewKeyView {
    pub(crate) fn of(key: &ApiKey, record: &KeyRecord, now: Timestamp) -> Self {
        Self { key: key.expose().to_owned(), view: KeyView::of(record, now) }
    }
}
