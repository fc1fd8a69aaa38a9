//! One identifier, one log line and one count for each request, and the bodies of errors.

use std::borrow::Cow;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use pin_project_lite::pin_project;
use serde_json::json;
use tower::{Layer, Service};
use tracing::instrument::Instrumented;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::app::App;
use super::error::ApiError;
use super::headers;
use crate::telemetry::{FinishedSpan, InFlight, Phase, RequestOutcome, TraceContext};
use sentor_store::keys::KeyId;
use sentor_store::metering::RateLimitStatus;

/// The header of a request's identifier, in requests and answers.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header of a request's trace, in requests and answers.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header in which a proxy says what it removed from the start of the path.
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Longest such prefix.
const MAX_PREFIX: usize = 128;

/// Longest identifier that is accepted from a client.
const MAX_REQUEST_ID: usize = 128;

/// The identity and the notes of a request.
#[derive(Clone, Debug)]
pub(super) struct RequestContext {
    /// Printable ASCII, so that it fits into a header.
    pub(super) id: Arc<str>,
    pub(super) trace: TraceContext,
    /// The path below which a proxy serves this server, for links; mostly empty.
    prefix: Arc<str>,
    pub(super) started: Instant,
    notes: Arc<Mutex<Notes>>,
}

/// Fields that middleware and handlers add to a request's log line; never a text or a key.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The route as the router writes it; `None` where no route matches.
    pub(super) route: Option<Cow<'static, str>>,
    pub(super) key_id: Option<KeyId>,
    pub(super) plan: Option<String>,
    /// The rate limit status of the key's minute, for the answer's headers.
    pub(super) minute: Option<RateLimitStatus>,
    pub(super) language: Option<&'static str>,
    pub(super) documents: Option<usize>,
    pub(super) characters: Option<usize>,
    pub(super) tokens: Option<usize>,
    /// The completed phases.
    pub(super) phases: Vec<EndedPhase>,
    pub(super) error: Option<&'static str>,
}

/// A completed phase of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndedPhase {
    phase: Phase,
    started: Instant,
    duration: Duration,
}

impl RequestContext {
    /// Creates the context of a new request.
    fn new(headers: &HeaderMap) -> Self {
        let id = sane_id(headers).map_or_else(|| Uuid::now_v7().to_string().into(), Arc::from);
        let trace = TraceContext::follow(headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()));
        let prefix = sane_prefix(headers).unwrap_or_default().into();
        Self { id, trace, prefix, started: Instant::now(), notes: Arc::default() }
    }

    /// Records a phase that began at `started` and ends now.
    pub(super) fn end_phase(&self, phase: Phase, started: Instant) {
        let duration = started.elapsed();
        self.update(|notes| notes.phases.push(EndedPhase { phase, started, duration }));
    }

    /// The context that [`Observe`] put into a request's extensions.
    pub(super) fn from_extensions(extensions: &Extensions) -> Result<Self, ApiError> {
        extensions.get().cloned().ok_or_else(ApiError::server)
    }

    /// Updates or reads the notes of the request.
    pub(super) fn update<T>(&self, add: impl FnOnce(&mut Notes) -> T) -> T {
        add(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Handlers receive the context that [`Observe`] made.
impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::from_extensions(&parts.extensions)
    }
}

fn sane_id(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(REQUEST_ID).iter();
    let id = values.next().filter(|_| values.next().is_none())?.to_str().ok()?;
    let is_sane =
        !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_sane.then_some(id)
}

/// The path prefix that a proxy removed, without a slash at its end. It is answered in a link, so it must be a plain path.
fn sane_prefix(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(FORWARDED_PREFIX).iter();
    let prefix = values.next().filter(|_| values.next().is_none())?.to_str().ok()?.trim_end_matches('/');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    let is_sane = prefix.starts_with('/')
        && !prefix.contains("//")
        && prefix.len() <= MAX_PREFIX
        && prefix.bytes().all(is_plain);
    is_sane.then_some(prefix)
}

/// Adds [`Observe`] to a service.
#[derive(Clone)]
pub(super) struct ObserveLayer {
    app: Arc<App>,
}

impl ObserveLayer {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe { inner, app: Arc::clone(&self.app) }
    }
}

/// Identifies each request, writes the body of an error, and logs one line, even if the client disconnects.
#[derive(Clone)]
pub(super) struct Observe<S> {
    inner: S,
    app: Arc<App>,
}

impl<S, B> Service<Request<B>> for Observe<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    B: hyper::body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = ObserveFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        let context = RequestContext::new(request.headers());
        request.extensions_mut().insert(context.clone());
        let record = Record::begin(Arc::clone(&self.app), context, request.method().clone());
        ObserveFuture { future: self.inner.call(request), record: Some(record) }
    }
}

pin_project! {
    /// A request that is being answered, and its record.
    pub(super) struct ObserveFuture<F> {
        #[pin]
        future: F,
        record: Option<Record>,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for ObserveFuture<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.future.poll(context))?;
        Poll::Ready(Ok(match this.record.take() {
            Some(record) => record.finish(response),
            None => response,
        }))
    }
}

/// Puts a request's handler into a span of its own, so that its log lines name the request.
#[derive(Clone, Copy)]
pub(super) struct SpanLayer;

impl<S> Layer<S> for SpanLayer {
    type Service = InSpan<S>;

    fn layer(&self, inner: S) -> InSpan<S> {
        InSpan { inner }
    }
}

/// Runs a service within a request's span.
#[derive(Clone)]
pub(super) struct InSpan<S> {
    inner: S,
}

impl<S: Service<Request>> Service<Request> for InSpan<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Instrumented<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let context = request.extensions().get::<RequestContext>();
        let span = context.map_or_else(Span::none, |RequestContext { id, trace, .. }| {
            tracing::info_span!("request", request_id = %id, trace_id = %trace.trace_id)
        });
        self.inner.call(request).instrument(span)
    }
}

/// Records the route that the router found for a request.
pub(super) fn record_route<B>(request: Request<B>) -> Request<B> {
    let extensions = request.extensions();
    if let (Some(context), Some(path)) = (extensions.get::<RequestContext>(), extensions.get::<MatchedPath>())
    {
        context.update(|notes| {
            notes.route.get_or_insert_with(|| path.as_str().to_owned().into());
        });
    }
    request
}

/// Logs and counts a request when it is dropped. If the client disconnects, that is before the answer.
struct Record {
    app: Arc<App>,
    context: RequestContext,
    began_at: Timestamp,
    method: Method,
    /// `None` while there is no answer.
    status: Option<StatusCode>,
    _in_flight: InFlight,
}

impl Record {
    fn begin(app: Arc<App>, context: RequestContext, method: Method) -> Self {
        let (began_at, in_flight) = (app.now(), app.metrics.begin_request());
        Self { app, context, began_at, method, status: None, _in_flight: in_flight }
    }

    /// Adds the headers of every answer, and to an error its body.
    fn finish(mut self, mut response: Response) -> Response {
        let Self { app, context, .. } = &self;
        if let Some(error) = response.extensions_mut().remove::<ApiError>() {
            context.update(|notes| notes.error = Some(error.code().name()));
            app.metrics.count_rejection(error.code().name());
            let mut written = error.write(&context.id, &context.prefix, app.now());
            // Headers of the router, such as Allow, stay. The length of the bare status is removed.
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
        if let Some(minute) = context.update(|notes| notes.minute) {
            headers::add_rate_limit(response.headers_mut(), minute);
        }
        // Digits and dashes are a valid header.
        if let Ok(traceparent) = HeaderValue::from_str(&context.trace.traceparent()) {
            response.headers_mut().insert(TRACEPARENT, traceparent);
        }
        self.status = Some(response.status());
        response
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // The request is over, so the notes are final.
        let notes = self.context.update(std::mem::take);
        let duration = self.context.started.elapsed();
        let route = notes.route.as_deref().unwrap_or("unmatched");
        let status = self.status.map(|status| status.as_u16());
        let phase_ms = |phase: Phase| {
            notes.phases.iter().find(|ended| ended.phase == phase).map(|ended| milliseconds(ended.duration))
        };
        let outcome = if status.is_some() { "request answered" } else { "client went away" };
        tracing::info!(
            request_id = &*self.context.id,
            trace_id = %self.context.trace.trace_id,
            method = self.method.as_str(),
            route,
            status,
            duration_ms = milliseconds(duration),
            receive_ms = phase_ms(Phase::Receive),
            score_ms = phase_ms(Phase::Score),
            write_ms = phase_ms(Phase::Write),
            key_id = notes.key_id.as_ref().map(KeyId::as_str),
            language = notes.language,
            documents = notes.documents,
            characters = notes.characters,
            tokens = notes.tokens,
            error = notes.error,
            "{outcome}"
        );
        for ended in &notes.phases {
            self.app.metrics.record_phase(ended.phase, ended.duration);
        }
        let plan = notes.plan.as_deref();
        let method = self.method.as_str();
        self.app.metrics.record_request(RequestOutcome { route, method, status, plan, duration });
        if let Some(exporter) = self.app.exporter() {
            exporter.export(self.spans(route, status, duration, &notes));
        }
    }
}

impl Record {
    /// The request and its phases as spans of its trace, with the attribute names of OpenTelemetry.
    fn spans(
        &self,
        route: &str,
        status: Option<u16>,
        duration: Duration,
        notes: &Notes,
    ) -> Vec<FinishedSpan> {
        let known = [
            ("http.request.method", Some(json!(self.method.as_str()))),
            ("http.route", Some(json!(route))),
            ("http.response.status_code", status.map(|status| json!(status))),
            ("error.type", notes.error.map(|error| json!(error))),
            ("sentor.request_id", Some(json!(&*self.context.id))),
            ("sentor.documents", notes.documents.map(|documents| json!(documents))),
            ("sentor.tokens", notes.tokens.map(|tokens| json!(tokens))),
        ];
        let request = FinishedSpan {
            context: self.context.trace,
            name: format!("{} {route}", self.method),
            is_server: true,
            start: self.began_at,
            duration,
            attributes: known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
            has_failed: status.is_some_and(|status| status >= 500),
        };
        let phases = notes.phases.iter().map(|ended| {
            let offset = ended.started.saturating_duration_since(self.context.started);
            // A request does not run for thousands of years.
            let start = self.began_at.checked_add(offset).unwrap_or(self.began_at);
            request.child(ended.phase.label(), start, ended.duration)
        });
        let mut spans: Vec<FinishedSpan> = phases.collect();
        spans.insert(0, request);
        spans
    }
}

/// Milliseconds, rounded to hundredths.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 100.0
}
