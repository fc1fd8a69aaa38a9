//! One identifier and one log line for each request, and its errors' bodies.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;
use uuid::Uuid;

use super::app::App;
use super::error::ApiError;
use super::headers;
use crate::keys::KeyId;
use crate::metering::Standing;

/// Identifies a request, in and out.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest identifier that is taken over from a client.
const MAX_REQUEST_ID: usize = 128;

/// What is known of the request being answered.
#[derive(Clone, Debug)]
pub(super) struct RequestContext {
    /// Printable ASCII, so that it fits into a header.
    pub(super) id: Arc<str>,
    pub(super) started: Instant,
    notes: Arc<Mutex<Notes>>,
}

/// What the handler tells the log of a request; never a text or a key.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    pub(super) key_id: Option<KeyId>,
    /// How far the key's minute is used; the answer's headers say so.
    pub(super) minute: Option<Standing>,
    pub(super) language: Option<&'static str>,
    pub(super) documents: Option<usize>,
    pub(super) characters: Option<usize>,
    pub(super) tokens: Option<usize>,
    pub(super) error: Option<&'static str>,
}

impl RequestContext {
    fn of(headers: &HeaderMap) -> Self {
        let id = sane_id(headers).map_or_else(|| Uuid::now_v7().to_string().into(), Arc::from);
        Self { id, started: Instant::now(), notes: Arc::default() }
    }

    /// What is known so far.
    pub(super) fn notes(&self) -> Notes {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds to what the log line will say.
    pub(super) fn note(&self, add: impl FnOnce(&mut Notes)) {
        add(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Handlers take the context that [`observe`] made.
impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get().cloned().ok_or_else(ApiError::server)
    }
}

fn sane_id(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(REQUEST_ID).iter();
    let id = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let is_sane =
        !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_sane.then_some(id)
}

/// Names the request, logs one line when it is over, also where the client went away, and writes the body
/// of a refusal.
pub(super) async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let context = RequestContext::of(request.headers());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let mut line =
        LogLine { context: context.clone(), method: request.method().clone(), route, status: None };
    request.extensions_mut().insert(context.clone());
    let span = tracing::info_span!("request", request_id = %context.id);
    let mut response = next.run(request).instrument(span).await;
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        context.note(|notes| notes.error = Some(error.code().name()));
        let mut written = error.write(&context.id, app.now());
        // What the router said of the path, such as Allow, stays; the marker's own length does not.
        response.headers_mut().remove(axum::http::header::CONTENT_LENGTH);
        for (name, value) in response.headers() {
            written.headers_mut().append(name, value.clone());
        }
        response = written;
    }
    // The identifier is printable ASCII, so this always succeeds.
    if let Ok(id) = HeaderValue::from_str(&context.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    if let Some(minute) = context.notes().minute {
        headers::add_rate_limit(response.headers_mut(), minute);
    }
    line.status = Some(response.status());
    response
}

/// Logs when it is dropped: a request whose client went away is dropped in the middle.
struct LogLine {
    context: RequestContext,
    method: Method,
    route: Option<String>,
    /// `None` while there is no answer.
    status: Option<StatusCode>,
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let notes = self.context.notes();
        let duration_ms = (self.context.started.elapsed().as_secs_f64() * 1e5).round() / 100.0;
        let outcome = if self.status.is_some() { "request answered" } else { "client went away" };
        tracing::info!(
            request_id = &*self.context.id,
            method = self.method.as_str(),
            route = self.route.as_deref().unwrap_or("unmatched"),
            status = self.status.map(|status| status.as_u16()),
            duration_ms,
            key_id = notes.key_id.as_ref().map(KeyId::as_str),
            language = notes.language,
            documents = notes.documents,
            characters = notes.characters,
            tokens = notes.tokens,
            error = notes.error,
            "{outcome}"
        );
    }
}
