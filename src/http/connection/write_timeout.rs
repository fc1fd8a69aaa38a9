//! Ends a connection whose peer does not read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream on which a write fails once it has made no progress for some time. It sits below TLS, so it sees every byte.
pub(super) struct WriteTimeout<S> {
    inner: S,
    limit: Duration,
    /// Acts on the stream before a write fails.
    on_timeout: fn(&S),
    /// Runs while a write waits for the peer.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteTimeout<S> {
    pub(super) fn new(inner: S, limit: Duration, on_timeout: fn(&S)) -> Self {
        Self { inner, limit, on_timeout, timer: None }
    }

    /// Returns the outcome of a write, or an error if the peer has not read for too long.
    fn bound<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.timer = None;
            return outcome;
        }
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(context).map(|()| {
            (self.on_timeout)(&self.inner);
            let message = format!("the peer has not read for {} ms", limit.as_millis());
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.bound(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.bound(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(context);
        self.bound(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(context);
        self.bound(context, outcome)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[test]
    fn only_a_write_without_progress_fails() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            // The peer buffers 16 bytes and reads none.
            let (near, mut far) = tokio::io::duplex(16);
            let mut stream = WriteTimeout::new(near, Duration::from_millis(20), |_| {});
            stream.write_all(&[0; 16]).await.expect("the peer's buffer has room");
            let error = stream.write_all(&[0; 16]).await.expect_err("the peer does not read");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            let mut buffer = [0; 16];
            tokio::io::AsyncReadExt::read_exact(&mut far, &mut buffer).await.expect("the bytes are there");
            stream.write_all(&[0; 16]).await.expect("progress ends the wait");
        });
    }
}
