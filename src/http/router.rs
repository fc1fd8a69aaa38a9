//! Every route and all middleware, on one page.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, Uri};
use axum::middleware::{from_fn_with_state, map_request};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use tower::ServiceBuilder;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::{CompressionLayer, Predicate as _, predicate};

use super::app::App;
use super::error::{ApiError, ErrorCode};
use super::{admin, body, headers, health, metrics, observe, openapi, pages, predict, usage};

/// Smallest answer that is compressed; smaller ones fit into one packet anyway.
const COMPRESS_FROM_BYTES: u64 = 1024;

/// Where documents are scored; the second is sentor-ml 1.0's.
pub(super) const PREDICTS: [&str; 2] = ["/api/predicts", "/api/ml/predict"];

/// What a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Everything.
    Whole,
    /// Everything but the admin interface.
    Public,
    /// The admin interface, and whether the process is alive.
    Admin,
    /// The metrics without a key, and whether the process is alive.
    Metrics,
}

/// The service of a listener.
pub(super) fn router(app: Arc<App>, surface: Surface) -> Router {
    // The outermost first.
    let middleware = ServiceBuilder::new()
        // Identifies and logs each request, whatever happens further in, and writes refusals' bodies.
        .layer(from_fn_with_state(Arc::clone(&app), observe::observe))
        // Answers say how browsers must treat them, refusals too.
        .map_response(headers::secure)
        // A page of another origin asks first; that question carries no key.
        .layer(option_layer(headers::cors(&app.settings.cors_origins)))
        // Headers are for a key and a few words.
        .layer(map_request(limit_headers))
        // What a client does not send to its end is read to its end, so that it sees its answer.
        .map_request(body::drain_on_drop)
        // A large answer is packed as the client likes it.
        .layer(CompressionLayer::new().compress_when(
            predicate::DefaultPredicate::new().and(predicate::SizeAbove::new(COMPRESS_FROM_BYTES)),
        ))
        // A bug in a handler is an error of that request only; the panic hook logs it.
        .layer(CatchPanicLayer::custom(|_| ApiError::server().into_response()));

    let routes = match surface {
        Surface::Whole => public_routes().merge(admin_routes(&app)),
        Surface::Public => public_routes(),
        Surface::Admin => admin_routes(&app),
        Surface::Metrics => Router::new().route("/metrics", get(metrics::show_metrics_openly)),
    };
    routes
        .route("/livez", get(health::show_liveness))
        .fallback(refuse_path)
        .method_not_allowed_fallback(refuse_method)
        .layer(middleware)
        .with_state(app)
}

fn public_routes() -> Router<Arc<App>> {
    Router::new()
        .route(PREDICTS[0], post(predict::predict_documents))
        .route(PREDICTS[1], post(predict::predict_documents))
        .route("/api/usage", get(usage::show_usage))
        .route("/api/predicts/health", get(health::show_health))
        .route("/api/health", get(health::show_health))
        .route("/readyz", get(health::show_readiness))
        .route("/metrics", get(metrics::show_metrics))
        .route("/openapi.json", get(openapi::show_openapi))
        .route("/", get(pages::show_start))
        .route("/web/{name}", get(pages::show_asset))
        .route("/docs", get(pages::show_manual))
        .route("/docs/{name}", get(pages::show_manual_page))
}

fn admin_routes(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/api/admin/keys", get(admin::list_keys).post(admin::create_key))
        .route("/api/admin/keys/{id}", get(admin::show_key))
        .route("/api/admin/keys/{id}/rotate", post(admin::rotate_key))
        .route("/api/admin/keys/{id}/revoke", post(admin::revoke_key))
        // Inside everything else, so that it sees who called and what was refused.
        .route_layer(from_fn_with_state(Arc::clone(app), admin::audit_refusals))
}

async fn limit_headers(request: Request) -> Result<Request, ApiError> {
    headers::limit(request.headers()).map(|()| request)
}

/// There is nothing there.
pub(super) async fn refuse_path(method: Method, uri: Uri) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("there is nothing at {method} {}", shortened(uri.path())))
}

async fn refuse_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not take {method}; the header Allow names what it does", uri.path());
    ApiError::new(ErrorCode::MethodNotAllowed, message)
}

/// A path is echoed to help with a slip, not to fill a log. It is ASCII, as the HTTP parser made sure.
fn shortened(path: &str) -> &str {
    path.get(..100).unwrap_or(path)
}
