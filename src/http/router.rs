//! Every route and all middleware, on one page.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use hyper::body::Incoming;
use tower::{Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::{CompressionLayer, Predicate as _, predicate};

use super::app::App;
use super::error::{ApiError, ErrorCode};
use super::head::CheckHeadLayer;
use super::observe::{self, ObserveLayer};
use super::{
    admin, body, demo, embeddings, files, headers, health, jobs, metrics, openapi, pages, predict, topics,
    usage,
};

/// Smallest answer to compress; a smaller one fits into one packet anyway.
const COMPRESS_FROM_BYTES: u64 = 1024;

/// Paths that score documents; sentor-ml 1.0 calls the second, and an older JavaScript client the third.
pub(super) const PREDICTS: [&str; 3] = ["/api/predicts", "/api/ml/predict", "/api/predict"];

/// Paths that clients call, for the hint to one that leaves out `/api`.
const API_PATHS: [&str; 9] = [
    PREDICTS[0],
    PREDICTS[1],
    PREDICTS[2],
    "/api/predicts/cluster",
    "/api/predicts/topic-name",
    "/api/predicts/health",
    "/api/health",
    "/api/usage",
    "/api/jobs",
];

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerRole {
    /// Everything.
    All,
    /// Everything but the admin interface.
    Public,
    /// The admin interface, and `/livez`.
    Admin,
    /// Metrics without a key, and `/livez`.
    Metrics,
    /// Health probes only: the connections for everything else are taken.
    Probes,
}

impl ListenerRole {
    /// Whether the listener scores documents.
    pub(super) fn scores(self) -> bool {
        matches!(self, Self::All | Self::Public)
    }
}

/// The service of a listener: all middleware that a request passes before it is routed.
pub(super) fn service(
    app: Arc<App>,
    role: ListenerRole,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
    // The outermost first.
    ServiceBuilder::new()
        // Identifies, logs and counts each request, and writes the bodies of errors.
        .layer(ObserveLayer::new(Arc::clone(&app)))
        // Adds the headers that browsers need for security, to rejections too.
        .map_response(|response: Response<_>| headers::secure(response.map(Body::new)))
        // Turns a panic into a 500 for that request only; the panic hook logs it.
        .layer(CatchPanicLayer::custom(|_| ApiError::server().into_response()))
        // Answers preflight requests, which carry no key.
        .layer(from_fn_with_state(Arc::clone(&app), headers::apply_cors))
        // Reads an unread body to its end, so that the client sees its answer.
        .map_request(body::drain_on_drop)
        // Rejects by the head: its size, and for documents the key, the plan, the query and the queue.
        .layer(CheckHeadLayer::new(Arc::clone(&app), role))
        // Logs of handlers name their request.
        .layer(observe::SpanLayer)
        .service(router(app, role))
}

/// The routes of a listener, with the middleware that acts after routing.
fn router(app: Arc<App>, role: ListenerRole) -> Router {
    let middleware = ServiceBuilder::new().map_request(observe::record_route).layer(
        CompressionLayer::new().compress_when(
            predicate::DefaultPredicate::new().and(predicate::SizeAbove::new(COMPRESS_FROM_BYTES)),
        ),
    );
    let routes = match role {
        ListenerRole::All => public_routes().merge(admin_routes(&app)),
        ListenerRole::Public => public_routes(),
        ListenerRole::Admin => admin_routes(&app),
        ListenerRole::Probes => health_routes().fallback(reject_beyond_connections),
        ListenerRole::Metrics => Router::new().route("/metrics", get(metrics::show_metrics_openly)),
    };
    let routes = match role {
        ListenerRole::Probes => routes,
        _ => routes.fallback(reject_unknown),
    };
    routes
        .route("/livez", get(health::show_liveness))
        .method_not_allowed_fallback(reject_method)
        .layer(middleware)
        .with_state(app)
}

fn public_routes() -> Router<Arc<App>> {
    Router::new()
        .route(PREDICTS[0], post(predict::predict_documents))
        .route(PREDICTS[1], post(predict::predict_documents))
        .route(PREDICTS[2], post(predict::predict_documents))
        .route("/api/predicts/cluster", post(topics::cluster_documents))
        .route("/api/predicts/topic-name", post(topics::name_topic))
        .route("/v1/embeddings", post(embeddings::create_embeddings))
        .route("/api/files/read", post(files::read_file))
        .route("/api/files/workbook", post(files::write_workbook))
        .route("/api/demo", get(demo::show_demo))
        .route("/api/usage", get(usage::show_usage))
        .route("/api/jobs", get(jobs::list_jobs).post(jobs::submit_job))
        .route("/api/jobs/{id}", get(jobs::show_job).delete(jobs::delete_job))
        .route("/api/jobs/{id}/events", get(jobs::follow_job))
        .route("/api/jobs/{id}/results", get(jobs::read_results))
        .route("/api/jobs/{id}/errors", get(jobs::read_errors))
        .route("/api/jobs/{id}/pause", post(jobs::pause_job))
        .route("/api/jobs/{id}/resume", post(jobs::resume_job))
        .route("/api/jobs/{id}/cancel", post(jobs::cancel_job))
        .merge(health_routes())
        .route("/metrics", get(metrics::show_metrics))
        .route("/openapi.json", get(openapi::show_openapi))
        .route("/", get(pages::show_start))
        .route("/web/{name}", get(pages::show_asset))
        .route("/docs", get(pages::show_manual))
        .route("/docs/{name}", get(pages::show_manual_page))
}

fn health_routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/predicts/health", get(health::show_health))
        .route("/api/health", get(health::show_health))
        .route("/readyz", get(health::show_readiness))
}

fn admin_routes(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/api/admin/keys", get(admin::list_keys).post(admin::create_key))
        .route("/api/admin/keys/{id}", get(admin::show_key))
        .route("/api/admin/keys/{id}/rotate", post(admin::rotate_key))
        .route("/api/admin/keys/{id}/revoke", post(admin::revoke_key))
        // Innermost, so that it sees the caller and the error.
        .route_layer(from_fn_with_state(Arc::clone(app), admin::audit_rejections))
}

/// Rejects a path that has no route: with a page, where a browser asks for one.
async fn reject_unknown(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if pages::wants_page(&method, &uri, &headers) {
        return pages::missing(&uri);
    }
    reject_path(method, uri).await.into_response()
}

/// Rejects a path that has no route.
pub(super) async fn reject_path(method: Method, uri: Uri) -> ApiError {
    let path = uri.path();
    let message = format!("there is nothing at {method} {}", shortened(path));
    // A common mistake: a base URL without /api.
    let Some(meant) = API_PATHS.into_iter().find(|known| known.strip_prefix("/api") == Some(path)) else {
        return ApiError::new(ErrorCode::NotFound, message);
    };
    ApiError::new(
        ErrorCode::NotFound,
        format!("{message}; did you mean {meant}? A client's base URL ends in /api"),
    )
    .detail("did_you_mean", meant)
}

/// Rejects all but health probes on a connection beyond the limit.
async fn reject_beyond_connections() -> ApiError {
    let message = "as many connections are open as the server allows; try again";
    ApiError::new(ErrorCode::Overloaded, message).retry_after(1)
}

/// Rejects a method that the path does not accept.
async fn reject_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not accept {method}; the header Allow lists what it accepts", uri.path());
    ApiError::new(ErrorCode::MethodNotAllowed, message)
}

/// The first 100 characters of a path. The HTTP parser made sure that it is ASCII.
fn shortened(path: &str) -> &str {
    path.get(..100).unwrap_or(path)
}
