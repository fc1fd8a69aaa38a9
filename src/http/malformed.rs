//! Bodies for the errors that hyper writes itself: requests that are not HTTP, or whose heads are too large, get a bare status
//! line before any handler sees them. Clients expect a body with every error, so this adds one on the way out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use uuid::Uuid;

use super::app::App;
use super::error::{ApiError, ErrorCode};

/// A connection on which every error has a body.
pub(super) struct ExplainRejections<I> {
    inner: I,
    app: Arc<App>,
    /// The bytes to send in place of hyper's bare error; otherwise empty.
    substitute: Vec<u8>,
    written: usize,
}

impl<I> ExplainRejections<I> {
    pub(super) fn new(inner: I, app: Arc<App>) -> Self {
        Self { inner, app, substitute: Vec::new(), written: 0 }
    }

    /// The error with a body, if `head` is a bare error of hyper's.
    fn explain(&self, head: &[u8]) -> Option<Vec<u8>> {
        let error = bare_error(head)?;
        let request_id = Uuid::now_v7().to_string();
        tracing::info!(request_id, error = error.code().name(), "request rejected before its head was read");
        self.app.metrics.count_rejection(error.code().name());
        let body = error.body(&request_id, "", self.app.now());
        let head = std::str::from_utf8(head).ok()?;
        let headers = format!(
            "content-length: {}\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
             x-content-type-options: nosniff\r\nx-request-id: {request_id}\r\n",
            body.len()
        );
        let mut answer = head.replacen(EMPTY, &headers, 1).into_bytes();
        answer.extend(body);
        Some(answer)
    }
}

const EMPTY: &str = "content-length: 0\r\n";

/// Returns the error of a bare status line. Answers of handlers have an identifier, so they are not bare.
fn bare_error(head: &[u8]) -> Option<ApiError> {
    let status_line = head.strip_prefix(b"HTTP/1.1 4")?;
    let text = std::str::from_utf8(head).ok().filter(|text| text.ends_with("\r\n\r\n"))?;
    if text.contains("x-request-id") || !text.contains(EMPTY) {
        return None;
    }
    match status_line.get(..2)? {
        b"00" => Some(ApiError::new(ErrorCode::BadRequest, "the request is not valid HTTP/1.1")),
        b"14" => Some(ApiError::new(ErrorCode::UriTooLong, "the path and query are too long")),
        b"31" => Some(ApiError::new(ErrorCode::HeadersTooLarge, "the headers are too many or too large")),
        _ => None,
    }
}

impl<I: Write + Unpin> Write for ExplainRejections<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.substitute.is_empty() {
            match self.explain(bytes) {
                Some(substitute) => self.substitute = substitute,
                None => return Pin::new(&mut self.inner).poll_write(context, bytes),
            }
        }
        let this = &mut *self;
        while this.written < this.substitute.len() {
            let rest = &this.substitute[this.written..];
            match ready!(Pin::new(&mut this.inner).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => this.written += count,
            }
        }
        this.substitute.clear();
        this.written = 0;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<I: Read + Unpin> Read for ExplainRejections<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_errors_are_recognised() {
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let code = bare_error(bare.as_bytes()).map(|error| error.code());
        assert_eq!(code, Some(ErrorCode::HeadersTooLarge));
        let own = "HTTP/1.1 404 Not Found\r\nx-request-id: 1\r\ncontent-length: 0\r\n\r\n";
        for other in [own, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 4", ""] {
            assert!(bare_error(other.as_bytes()).is_none(), "{other}");
        }
    }
}
