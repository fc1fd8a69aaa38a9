//! What stands before the router: a request to score documents that its head refuses never comes to it.
//!
//! Under overload most requests are refused, and what a refusal costs is taken from those that are scored. The router's middleware is
//! for bodies and large answers, of which a refusal has neither.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::future::RouteFuture;
use futures_util::future::Either;
use hyper::body::Incoming;
use tower::Service as _;

use super::app::App;
use super::observe::{Record, RequestContext};
use super::router::{PREDICTS, Surface, router};
use super::{body, headers, predict};

/// The service of a listener.
#[derive(Clone)]
pub(super) struct Front {
    app: Arc<App>,
    router: Router,
    /// Whether documents are scored here.
    scores: bool,
}

impl Front {
    pub(super) fn new(app: Arc<App>, surface: Surface) -> Self {
        let scores = matches!(surface, Surface::Whole | Surface::Public);
        Self { router: router(Arc::clone(&app), surface), app, scores }
    }

    /// The path, if this is a request whose head is to be looked at here. A page of another origin hears of a refusal by
    /// headers that the router's middleware writes.
    fn scoring_path(&self, request: &Request<Incoming>) -> Option<&'static str> {
        let path = PREDICTS.into_iter().find(|path| *path == request.uri().path())?;
        let is_looked_at = self.scores
            && request.method() == Method::POST
            && !request.headers().contains_key(header::ORIGIN)
            && headers::limit(request.headers()).is_ok();
        is_looked_at.then_some(path)
    }

    /// The refusal of a request; what is not refused carries that to its handler.
    fn refusal(&self, path: &'static str, request: &mut Request<Incoming>) -> Option<Response> {
        let context = RequestContext::of(request.headers());
        match predict::admit(&self.app, request.uri(), request.headers(), &context) {
            Ok(admitted) => {
                request.extensions_mut().insert(context);
                request.extensions_mut().insert(Arc::new(admitted));
                None
            }
            Err(error) => {
                let record = Record::begin(Arc::clone(&self.app), context, Method::POST, Some(path.into()));
                Some(record.finish(headers::secure(error.into_response())))
            }
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Refused, RouteFuture<Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(path) = self.scoring_path(&request)
            && let Some(refusal) = self.refusal(path, &mut request)
        {
            let body = body::drain_on_drop(request.map(Body::new)).into_body();
            return Either::Left(Refused { answer: Some((refusal, body)) });
        }
        // A router is always ready.
        Either::Right(self.router.clone().call(request))
    }
}

/// A refusal on its way, and the body that nobody reads: hyper takes up what has come of it between the head and the answer, so
/// that here is the first moment to drop it without a task that waits for the rest.
pub(super) struct Refused {
    answer: Option<(Response, Body)>,
}

impl Future for Refused {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let (refusal, body) = self.answer.take().expect("a future that is done is not polled");
        drop(body);
        Poll::Ready(Ok(refusal))
    }
}
