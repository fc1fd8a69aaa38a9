//! `GET /metrics`: counters and histograms for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};

use super::app::{App, Services};
use super::auth;
use super::error::ApiError;
use super::observe::RequestContext;
use crate::telemetry::{Readings, StoreFailures, TEXT_FORMAT};
use sentor_store::keys::Scope;

/// `GET /metrics` with a key of the scope `metrics`.
#[utoipa::path(
    get, path = "/metrics", tag = "operation",
    summary = "Show the metrics",
    description = "Counters and histograms in the text format of Prometheus. Needs a key with the scope \
                   metrics. With the setting metrics_listen, they are also served on a listener of their own, \
                   without a key.",
    responses((status = 200, description = "The metrics.", body = String, content_type = "text/plain",
               example = "# TYPE sentor_documents_total counter\nsentor_documents_total{language=\"en\"} 12\n")),
)]
pub(super) async fn show_metrics(
    State(app): State<Arc<App>>,
    context: RequestContext,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    auth::require(&app, &headers, Scope::Metrics, &context)?;
    Ok(write(&app).await)
}

/// `GET /metrics` without a key, on a listener for metrics only; the operator controls who reaches it.
pub(super) async fn show_metrics_openly(State(app): State<Arc<App>>) -> Response {
    write(&app).await
}

async fn write(app: &App) -> Response {
    // Gauges that rarely change are read at each scrape.
    let analyzer = app.analyzer();
    app.metrics.set_models(&analyzer.as_ref().map(|analyzer| analyzer.models()).unwrap_or_default());
    let Services { keys, meter, .. } = &app.services;
    let jobs = match app.jobs() {
        Some(jobs) => jobs.readings(app.now()).await,
        None => None,
    };
    let readings = Readings {
        analyzer: analyzer.map(|analyzer| analyzer.statistics()).unwrap_or_default(),
        keys: keys.events(),
        store: StoreFailures {
            keys: !keys.is_following(),
            usage: meter.failing_since().is_some(),
            unreadable_keys: keys.unreadable_keys(),
        },
        jobs: jobs.unwrap_or_default(),
    };
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], app.metrics.encode(&readings)).into_response()
}
