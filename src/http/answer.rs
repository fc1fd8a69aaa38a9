//! Answers that may be large. They are written on background threads, and their bytes count against a budget until they
//! are sent.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Request, Response, header};
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, SizeHint};
use sentor_analysis::{Caller, background};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_http::compression::CompressionLayer;

use super::error::ApiError;

/// From this size on, a body is parsed and an answer written on a background thread. Less takes a fraction of a
/// millisecond, and handing it over would take as long.
pub(super) const OFF_THREAD_BYTES: usize = 64 * 1024;

/// Maximum part of an answer that a connection buffers at once. The end of an answer is therefore known to within this
/// many bytes.
const PIECE_BYTES: usize = 32 * 1024;

/// Runs `work` on a background thread if it is large, and else at once.
pub(super) async fn off_thread<T: Send + 'static>(
    is_large: bool,
    caller: &Caller,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    if !is_large {
        return Ok(work());
    }
    let span = tracing::Span::current();
    // The panic hook logs a panic, inside this request's span.
    background::run(caller, move || span.in_scope(work)).await.map_err(|_| ApiError::server())
}

/// Builds an answer of JSON. `held` is dropped when it is sent.
pub(super) fn json<T: Send + Unpin + 'static>(bytes: Compressed, held: T) -> Response<Body> {
    let Compressed { bytes, headers } = bytes;
    let mut response = Response::new(Body::new(HeldBody { bytes, _held: held }));
    *response.headers_mut() = headers;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The bytes of an answer, and the headers that say how they are compressed.
pub(super) struct Compressed {
    bytes: Bytes,
    headers: HeaderMap,
}

impl Compressed {
    /// Bytes that the router's middleware may compress.
    pub(super) fn plain(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into(), headers: HeaderMap::new() }
    }

    /// Compresses bytes as the headers of the request accept it. The router's middleware does the same on a connection
    /// thread, piece by piece.
    pub(super) fn as_accepted(bytes: Vec<u8>, request_headers: &HeaderMap) -> Self {
        let bytes = Bytes::from(bytes);
        let mut request = Request::new(());
        for value in request_headers.get_all(header::ACCEPT_ENCODING) {
            request.headers_mut().append(header::ACCEPT_ENCODING, value.clone());
        }
        let plain = bytes.clone();
        let service = CompressionLayer::new().layer(service_fn(move |_: Request<()>| {
            ready(Ok::<_, Infallible>(Response::new(Full::new(plain.clone()))))
        }));
        // Everything is in memory, so nothing blocks.
        let Some(Ok(response)) = service.oneshot(request).now_or_never() else {
            return Self { bytes, headers: HeaderMap::new() };
        };
        let (mut parts, body) = response.into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        match body.collect().now_or_never() {
            Some(Ok(collected)) => Self { bytes: collected.to_bytes(), headers: parts.headers },
            _ => Self { bytes, headers: HeaderMap::new() },
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// A body in pieces. It holds a value until the last piece is taken or the connection ends.
struct HeldBody<T> {
    bytes: Bytes,
    _held: T,
}

impl<T: Unpin> hyper::body::Body for HeldBody<T> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.bytes.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.bytes.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_held_value_is_released_after_the_last_piece() {
        let held = Arc::new(());
        let bytes = Compressed::plain(vec![b' '; 2 * PIECE_BYTES + 1]);
        let mut body = json(bytes, Arc::clone(&held)).into_body();
        let mut lengths = Vec::new();
        while let Some(Some(Ok(frame))) = body.frame().now_or_never() {
            assert_eq!(Arc::strong_count(&held), 2);
            lengths.extend(frame.into_data().map(|data| data.len()));
        }
        assert_eq!(lengths, [PIECE_BYTES, PIECE_BYTES, 1]);
        drop(body);
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn bytes_are_compressed_as_accepted() {
        let text = vec![b'a'; 1 << 20];
        for (accepted, encoding) in [("gzip;q=1, br;q=0.1", Some("gzip")), ("identity", None), ("x", None)] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            let answer = Compressed::as_accepted(text.clone(), &headers);
            let told = answer.headers.get(header::CONTENT_ENCODING);
            assert_eq!(told.and_then(|value| value.to_str().ok()), encoding);
            assert_eq!(answer.len() < 100_000, encoding.is_some());
        }
    }
}
