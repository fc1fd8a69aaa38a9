//! Serves one connection: encryption, protocol, and timeouts of its peer.

mod http2;
mod share;
mod write_timeout;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2 as hyper_http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower::Service;

use super::app::App;
use super::malformed::ExplainRejections;
use super::router::{self, ListenerRole};
use super::server::{Stop, Timeouts};
use super::tls;
use http2::{Activity, Standstill, Watched};
pub(super) use share::AddressShares;
use write_timeout::WriteTimeout;

/// Maximum size of a head, larger than any accepted path. hyper's default of 400 KiB, on each of two thousand
/// connections, would take a good part of a small machine's memory.
const MAX_HEAD_BYTES: usize = 128 * 1024;

/// Timeout for a head on a connection for probes: there are few, so a silent one must soon make room.
const PROBE_HEADER_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for an idle HTTP/2 peer to confirm that its connection closes.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// The requests that a connection accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// All routes of its listener.
    Any,
    /// Health probes only: all places for other requests are taken.
    Probes,
}

/// The state that all connections of an endpoint share.
pub(super) struct Server<S> {
    pub(super) app: Arc<App>,
    any: Protocols<S>,
    probes: Protocols<S>,
    write_timeout: Duration,
}

/// Both versions of HTTP, and the service behind them.
struct Protocols<S> {
    service: TowerToHyperService<S>,
    http1: http1::Builder,
    http2: hyper_http2::Builder<TokioExecutor>,
    /// Timeout for a handshake, for a head, and between two requests.
    header_timeout: Duration,
}

/// Why a connection ended early.
pub(super) type ConnectionError = Box<dyn std::error::Error + Send + Sync>;

/// Makes the server of an endpoint.
pub(super) fn server(
    app: Arc<App>,
    role: ListenerRole,
    timeouts: Timeouts,
) -> Server<
    impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static,
> {
    let Timeouts { header_timeout, write_timeout, .. } = timeouts;
    let any = Protocols::new(router::service(Arc::clone(&app), role), header_timeout, true);
    let probes = router::service(Arc::clone(&app), ListenerRole::Probes);
    let probes = Protocols::new(probes, header_timeout.min(PROBE_HEADER_TIMEOUT), false);
    Server { app, any, probes, write_timeout }
}

impl<S> Protocols<S> {
    fn new(service: S, header_timeout: Duration, keep_alive: bool) -> Self {
        let mut http1 = http1::Builder::new();
        http1.timer(TokioTimer::new()).header_read_timeout(header_timeout);
        http1.max_buf_size(MAX_HEAD_BYTES).keep_alive(keep_alive);
        let mut http2 = hyper_http2::Builder::new(TokioExecutor::new());
        http2.timer(TokioTimer::new()).keep_alive_interval(header_timeout);
        Self { service: TowerToHyperService::new(service), http1, http2, header_timeout }
    }
}

impl<S> Server<S>
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>,
    S: Clone + Send + 'static,
{
    /// Serves a connection to its end.
    pub(super) async fn serve(
        &self,
        stream: TcpStream,
        purpose: Purpose,
        acceptor: Option<TlsAcceptor>,
        watcher: Watcher,
        stop: watch::Receiver<Stop>,
    ) -> Result<(), ConnectionError> {
        let protocols = match purpose {
            Purpose::Any => &self.any,
            Purpose::Probes => &self.probes,
        };
        // Answers are written whole, so Nagle's algorithm gains nothing.
        stream.set_nodelay(true)?;
        // Without a reset, the system would keep the unread bytes of such a peer for minutes.
        let reset = |stream: &TcpStream| drop(stream.set_zero_linger());
        let stream = WriteTimeout::new(stream, self.write_timeout, reset);
        let Some(acceptor) = acceptor else {
            return Ok(watcher.watch(self.http1_connection(protocols, stream)).await?);
        };
        let stream = tokio::time::timeout(protocols.header_timeout, acceptor.accept(stream)).await??;
        if stream.get_ref().1.alpn_protocol() == Some(tls::HTTP_2) {
            // The graceful shutdown waits until the watcher is dropped.
            let _watcher = watcher;
            return self.serve_http2(protocols, stream, stop).await;
        }
        Ok(watcher.watch(self.http1_connection(protocols, stream)).await?)
    }

    fn http1_connection<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        protocols: &Protocols<S>,
        stream: I,
    ) -> http1::Connection<ExplainRejections<TokioIo<I>>, TowerToHyperService<S>> {
        let explained = ExplainRejections::new(TokioIo::new(stream), Arc::clone(&self.app));
        protocols.http1.serve_connection(explained, protocols.service.clone())
    }

    /// Serves HTTP/2 until the peer disconnects or stops using the connection.
    async fn serve_http2<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        protocols: &Protocols<S>,
        stream: I,
        mut stop: watch::Receiver<Stop>,
    ) -> Result<(), ConnectionError> {
        let activity = Activity::begin();
        let service = Watched { inner: protocols.service.clone(), activity: activity.clone() };
        let mut connection = pin!(protocols.http2.serve_connection(TokioIo::new(stream), service));
        let idle_limit = protocols.header_timeout;
        let tick = (idle_limit.min(self.write_timeout) / 4).max(Duration::from_millis(10));
        let mut ticks = tokio::time::interval(tick);
        let mut is_closing = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => return Ok(ended?),
                () = Stop::Softly.reached(&mut stop), if !is_closing => {
                    connection.as_mut().graceful_shutdown();
                    is_closing = true;
                }
                _ = ticks.tick() => match activity.standstill(Instant::now()) {
                    Some(Standstill::Stalled(stalled)) if stalled >= self.write_timeout => {
                        return Err("the peer does not read its answer".into());
                    }
                    // Before the preface, the peer cannot confirm.
                    Some(Standstill::Idle(idle)) if idle >= idle_limit + CLOSING_TIME => {
                        return Err("the peer sends no request".into());
                    }
                    Some(Standstill::Idle(idle)) if idle >= idle_limit && !is_closing => {
                        connection.as_mut().graceful_shutdown();
                        is_closing = true;
                    }
                    _ => {}
                },
            }
        }
    }
}
