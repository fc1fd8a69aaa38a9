//! Health, liveness and readiness.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;
use super::auth;
use super::error::ApiError;
use super::observe::RequestContext;
use super::openapi::schemas;
use super::readiness;
use sentor_analysis::ModelStatus;
use sentor_store::clock::iso_8601;
use sentor_text::language::Language;

/// The answer to health checks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `healthy`, or `degraded` while a language has no model.
    #[schema(value_type = schemas::HealthStatus)]
    status: &'static str,
    /// Of the server.
    version: &'static str,
    #[schema(format = DateTime)]
    timestamp: String,
    /// `unavailable`: no language model names topics.
    llm_status: &'static str,
    #[schema(value_type = schemas::HealthModels)]
    models: BTreeMap<&'static str, Option<ModelHealth>>,
    store: StoreHealth,
}

/// The state of the store. Scoring continues if the store fails, so the server is not `degraded`.
#[derive(Debug, Serialize, ToSchema)]
struct StoreHealth {
    /// `ok`, or `failing`: keys are those of the last successful read.
    keys: &'static str,
    /// `ok`, or `failing`: usage is in memory only.
    usage: &'static str,
}

/// A loaded model.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelHealth {
    name: String,
    version: String,
    /// `span` or `pair`.
    signature: &'static str,
    /// Whether a warm-up run has succeeded.
    ready: bool,
}

/// `GET /api/health`: needs no key and rejects a wrong one, since some clients test their key here.
#[utoipa::path(
    get, path = "/api/health", tag = "health",
    summary = "Show how the server is",
    description = "Needs no key; a wrong one is refused, so a client can test its key here.",
    responses((status = 200, description = "The state of the server.", body = Health)),
    security((), ("api_key" = []), ("bearer" = [])),
)]
pub(super) async fn show_health(
    State(app): State<Arc<App>>,
    context: RequestContext,
    headers: HeaderMap,
) -> Result<Json<Health>, ApiError> {
    auth::identify(&app, &headers, &context)?;
    let loaded = models(&app);
    let models: BTreeMap<_, _> = Language::ALL
        .into_iter()
        .map(|language| {
            let model = loaded.iter().find(|model| model.languages.contains(&language.code()));
            let health = model.map(|model| ModelHealth {
                name: model.name.clone(),
                version: model.version.clone(),
                signature: model.signature,
                ready: model.ready,
            });
            (language.code(), health)
        })
        .collect();
    let is_healthy = models.values().all(|model| model.as_ref().is_some_and(|model| model.ready));
    let word = |is_ok| if is_ok { "ok" } else { "failing" };
    Ok(Json(Health {
        status: if is_healthy { "healthy" } else { "degraded" },
        version: env!("CARGO_PKG_VERSION"),
        timestamp: iso_8601(app.now()),
        llm_status: "unavailable",
        models,
        store: StoreHealth {
            keys: word(app.services.keys.is_following()),
            usage: word(app.services.meter.failing_since().is_none()),
        },
    }))
}

/// The state of the server.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    /// `alive` or `ready`.
    status: &'static str,
}

/// `GET /livez`: the process answers.
#[utoipa::path(
    get, path = "/livez", tag = "health",
    summary = "Tell whether the process answers",
    responses((status = 200, description = "It does.", body = Status, example = json!({"status": "alive"}))),
    security(()),
)]
pub(super) async fn show_liveness() -> Json<Status> {
    Json(Status { status: "alive" })
}

/// `GET /readyz`: documents can be scored, and usage can be stored.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    summary = "Tell whether requests should be sent here",
    description = "They should where a model is ready, the engine's queue moves, the keys in memory follow the \
                   store, its threads live, and the store can be written. If not, details.reason of the refusal is \
                   models, workers, queue, keys, threads or store.",
    responses((status = 200, description = "They should.", body = Status, example = json!({"status": "ready"}))),
    security(()),
)]
pub(super) async fn show_readiness(State(app): State<Arc<App>>) -> Result<Json<Status>, ApiError> {
    readiness::check(&app).await?;
    Ok(Json(Status { status: "ready" }))
}

fn models(app: &App) -> Vec<ModelStatus> {
    app.analyzer().map(|analyzer| analyzer.models()).unwrap_or_default()
}
