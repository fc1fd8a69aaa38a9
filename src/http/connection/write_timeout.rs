//! Ends a connection whose peer does not read, or hardly does.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A peer must read this many bytes in the time limit, or all that there is; over HTTP/2 a piece of an answer is as large. With
/// the default of 30 seconds that is a kilobyte a second, which is slower than any network that a client would use.
const PART_BYTES: usize = 32 * 1024;

/// A stream on which a write fails once writes have waited too long for the peer to read [`PART_BYTES`]. So a peer that reads a
/// byte now and then gains nothing. It sits below TLS, so it sees every byte.
pub(super) struct WriteTimeout<S> {
    inner: S,
    /// Acts on the stream before a write fails.
    on_timeout: fn(&S),
    pace: Pace,
    /// Since when a write has waited for the peer, and when it fails.
    wait: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// How quickly a peer reads.
#[derive(Debug)]
struct Pace {
    /// Longest time that writes may wait for the peer to read [`PART_BYTES`].
    limit: Duration,
    /// What the peer has read of the part under way.
    read_bytes: usize,
    /// How long writes have waited for that.
    waited: Duration,
}

impl Pace {
    /// Notes that the peer made room for so many bytes after a wait.
    fn note(&mut self, bytes: usize, wait: Duration) {
        self.waited += wait;
        self.read_bytes += bytes;
        if self.read_bytes >= PART_BYTES {
            (self.read_bytes, self.waited) = (0, Duration::ZERO);
        }
    }

    /// How long the next write may wait.
    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.waited)
    }
}

impl<S> WriteTimeout<S> {
    pub(super) fn new(inner: S, limit: Duration, on_timeout: fn(&S)) -> Self {
        let pace = Pace { limit, read_bytes: 0, waited: Duration::ZERO };
        Self { inner, on_timeout, pace, wait: None }
    }

    /// Passes on the outcome of a write of `bytes`, or fails it if the peer has read too little for too long.
    fn bound<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = &outcome {
            let wait = self.wait.take().map_or(Duration::ZERO, |(since, _)| since.elapsed());
            self.pace.note(result.as_ref().map_or(0, bytes), wait);
            return outcome;
        }
        let left = self.pace.left();
        let (_, timer) = self.wait.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        timer.as_mut().poll(context).map(|()| {
            (self.on_timeout)(&self.inner);
            let message = format!("the peer has read less than {PART_BYTES} bytes in {:?}", self.pace.limit);
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
        self.bound(context, outcome, |count| *count)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.bound(context, outcome, |count| *count)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(context);
        self.bound(context, outcome, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(context);
        self.bound(context, outcome, |()| 0)
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn a_part_must_be_read_within_the_limit() {
        let second = Duration::from_secs(1);
        let mut pace = Pace { limit: 10 * second, read_bytes: 0, waited: Duration::ZERO };
        for _ in 0..9 {
            pace.note(1, second);
        }
        assert_eq!(pace.left(), second, "a byte a second is no progress");
        pace.note(PART_BYTES, second / 2);
        assert_eq!(pace.left(), 10 * second, "a part is");
        for _ in 0..100 {
            pace.note(PART_BYTES / 4, second);
            assert!(pace.left() >= 7 * second, "a slow peer is served");
        }
        pace.note(0, 20 * second);
        assert_eq!(pace.left(), Duration::ZERO);
    }

    #[test]
    fn a_write_fails_where_the_peer_reads_nothing_or_a_byte_now_and_then() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        for reads in [false, true] {
            runtime.block_on(async {
                let (near, mut far) = tokio::io::duplex(16);
                let mut stream = WriteTimeout::new(near, Duration::from_millis(200), |_| {});
                stream.write_all(&[0; 16]).await.expect("the peer's buffer has room");
                let reader = tokio::spawn(async move {
                    loop {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        if reads && far.read_u8().await.is_err() {
                            return;
                        }
                    }
                });
                let error =
                    stream.write_all(&vec![0; PART_BYTES]).await.expect_err("the peer does not read on");
                assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{reads}");
                reader.abort();
            });
        }
    }
}
