//! Checks a request's head before its body is read, and rejects requests that need no handler.
//!
//! An overloaded server rejects most requests, and each rejection takes time from the requests that it scores. This
//! layer is outside the router, so a rejection costs no routing and no compression.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::http::{Method, Version, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::Either;
use tower::{Layer, Service};

use super::app::App;
use super::error::{ApiError, ErrorCode};
use super::observe::RequestContext;
use super::router::{ListenerRole, PREDICTS};
use super::{headers, predict};

/// Adds [`CheckHead`] to a service.
#[derive(Clone)]
pub(super) struct CheckHeadLayer {
    app: Arc<App>,
    role: ListenerRole,
}

impl CheckHeadLayer {
    pub(super) fn new(app: Arc<App>, role: ListenerRole) -> Self {
        Self { app, role }
    }
}

impl<S> Layer<S> for CheckHeadLayer {
    type Service = CheckHead<S>;

    fn layer(&self, inner: S) -> CheckHead<S> {
        CheckHead { inner, app: Arc::clone(&self.app), role: self.role }
    }
}

/// Rejects requests by their heads. A request to score documents that passes carries its [`predict::Admitted`].
#[derive(Clone)]
pub(super) struct CheckHead<S> {
    inner: S,
    app: Arc<App>,
    role: ListenerRole,
}

impl<S> CheckHead<S> {
    fn check(&self, request: &mut Request) -> Result<(), ApiError> {
        headers::limit(request.headers())?;
        check_host(request)?;
        collapse_slashes(request);
        if let Some(path) = self.scoring_path(request) {
            let context = RequestContext::from_extensions(request.extensions())?;
            context.update(|notes| notes.route = Some(path.into()));
            let admitted = predict::admit(&self.app, request.uri(), request.headers(), &context)?;
            request.extensions_mut().insert(Arc::new(admitted));
        }
        Ok(())
    }

    /// The route of a request to score documents.
    fn scoring_path(&self, request: &Request) -> Option<&'static str> {
        let is_scored = self.role.scores() && request.method() == Method::POST;
        PREDICTS.into_iter().find(|path| is_scored && *path == request.uri().path())
    }
}

/// Rejects HTTP/1.1 without a host, or with more than one: proxies and servers could interpret such a request
/// differently.
fn check_host(request: &Request) -> Result<(), ApiError> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if request.version() != Version::HTTP_11 || hosts == 1 {
        return Ok(());
    }
    let message = format!("the request has {hosts} Host headers, but must have one");
    Err(ApiError::new(ErrorCode::BadRequest, message).detail("header", "host"))
}

/// Removes doubled and trailing slashes from a path of the API, which some clients send when they join a base URL and a
/// path.
fn collapse_slashes(request: &mut Request) {
    let path = request.uri().path();
    if !(path.contains("//") || path.ends_with('/')) {
        return;
    }
    let mut segments = path.split('/').filter(|segment| !segment.is_empty()).peekable();
    if segments.peek() != Some(&"api") {
        return;
    }
    let mut collapsed = segments.fold(String::new(), |path, segment| path + "/" + segment);
    if let Some(query) = request.uri().query() {
        collapsed = collapsed + "?" + query;
    }
    // A part of a valid path and query is valid.
    if let Ok(uri) = collapsed.parse() {
        *request.uri_mut() = uri;
    }
}

impl<S: Service<Request, Response = Response, Error = Infallible>> Service<Request> for CheckHead<S> {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response, Infallible>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.check(&mut request) {
            Ok(()) => Either::Right(self.inner.call(request)),
            // The body is dropped here. hyper has buffered what arrived with the head, so dropping drains it without a task.
            Err(error) => Either::Left(ready(Ok(error.into_response()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn slashes_of_the_api_are_collapsed() {
        let cases = [
            ("/api//predicts", "/api/predicts"),
            ("/api/predicts/?language=nl", "/api/predicts?language=nl"),
            ("//api/predicts//health/", "/api/predicts/health"),
            ("/api/predicts?a=//", "/api/predicts?a=//"),
            ("/", "/"),
            ("/docs//errors", "/docs//errors"),
        ];
        for (path, expected) in cases {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = path.parse().expect("a valid path");
            collapse_slashes(&mut request);
            assert_eq!(request.uri().to_string(), expected);
        }
    }
}
