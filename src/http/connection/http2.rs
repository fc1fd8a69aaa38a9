//! Detects HTTP/2 connections that are open but unused.
//!
//! hyper pings an idle peer. But a peer that has not sent its preface, or that answers pings and neither sends requests
//! nor reads answers, would stay forever. Each connection therefore counts its open requests, and records when an
//! answer last made progress.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::http::Request;
use hyper::service::Service;
use pin_project_lite::pin_project;

/// The open requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Activity {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// Requests whose answers are not yet sent.
    open: usize,
    /// The time since which there are none.
    idle_since: Instant,
    /// The answers being sent, and when each last made progress.
    answers: Vec<(u64, Instant)>,
    next_answer: u64,
}

/// Why a connection makes no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standstill {
    /// It has had no open request for this time.
    Idle(Duration),
    /// Its peer has not read some answer for this time.
    Stalled(Duration),
}

impl Activity {
    pub(super) fn begin() -> Self {
        let now = Instant::now();
        let state = State { open: 0, idle_since: now, answers: Vec::new(), next_answer: 0 };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Returns what the connection waits for, if not for this server.
    pub(super) fn standstill(&self, now: Instant) -> Option<Standstill> {
        self.update(|state| {
            if state.open == 0 {
                return Some(Standstill::Idle(now.saturating_duration_since(state.idle_since)));
            }
            let oldest = state.answers.iter().map(|&(_, progress)| progress).min()?;
            Some(Standstill::Stalled(now.saturating_duration_since(oldest)))
        })
    }

    fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An open request; it ends when the last byte of its answer is handed over, or the stream ends.
#[derive(Debug)]
struct OpenRequest {
    activity: Activity,
    answer: Option<u64>,
}

impl OpenRequest {
    fn begin(activity: &Activity) -> Self {
        activity.update(|state| state.open += 1);
        Self { activity: activity.clone(), answer: None }
    }

    /// Records that the peer took a part of the answer, or may take the first one now.
    fn progress(&mut self) {
        let now = Instant::now();
        let answer = &mut self.answer;
        self.activity.update(|state| {
            let Some(id) = *answer else {
                *answer = Some(state.next_answer);
                state.answers.push((state.next_answer, now));
                state.next_answer += 1;
                return;
            };
            if let Some((_, progress)) = state.answers.iter_mut().find(|(known, _)| *known == id) {
                *progress = now;
            }
        });
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let answer = self.answer;
        self.activity.update(|state| {
            state.open -= 1;
            state.answers.retain(|(id, _)| Some(*id) != answer);
            if state.open == 0 {
                state.idle_since = Instant::now();
            }
        });
    }
}

/// A service that records the life of its requests in an [`Activity`].
#[derive(Clone)]
pub(super) struct Watched<S> {
    pub(super) inner: S,
    pub(super) activity: Activity,
}

impl<S> Service<Request<Incoming>> for Watched<S>
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
{
    type Response = hyper::http::Response<WatchedBody>;
    type Error = Infallible;
    type Future = WatchedFuture<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let open = Some(OpenRequest::begin(&self.activity));
        WatchedFuture { future: self.inner.call(request), open }
    }
}

pin_project! {
    /// A request that is being answered.
    pub(super) struct WatchedFuture<F> {
        #[pin]
        future: F,
        open: Option<OpenRequest>,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for WatchedFuture<F> {
    type Output = Result<hyper::http::Response<WatchedBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.future.poll(context))?;
        let mut open = this.open.take();
        if let Some(open) = &mut open {
            open.progress();
        }
        Poll::Ready(Ok(response.map(|body| WatchedBody { body, open })))
    }
}

/// The body of an answer. hyper asks for a part when the peer's window has room for it.
pub(super) struct WatchedBody {
    body: Body,
    open: Option<OpenRequest>,
}

impl hyper::body::Body for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(open) = &mut self.open {
            open.progress();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_idle_stalled_or_active() {
        let activity = Activity::begin();
        let later = || Instant::now() + Duration::from_mins(1);
        let minute = |standstill| match standstill {
            Some(Standstill::Idle(idle)) => (true, idle >= Duration::from_mins(1)),
            Some(Standstill::Stalled(stalled)) => (false, stalled >= Duration::from_mins(1)),
            None => (false, false),
        };
        assert_eq!(minute(activity.standstill(later())), (true, true), "no request has come");
        let mut first = OpenRequest::begin(&activity);
        assert_eq!(activity.standstill(later()), None, "the server works on it");
        first.progress();
        let begun = later();
        assert_eq!(minute(activity.standstill(begun)), (false, true), "the peer does not read");
        let second = OpenRequest::begin(&activity);
        first.progress();
        assert!(matches!(activity.standstill(begun), Some(Standstill::Stalled(_))));
        drop(first);
        assert_eq!(activity.standstill(later()), None, "the server works on the second");
        drop(second);
        assert_eq!(minute(activity.standstill(later())), (true, true));
    }
}
