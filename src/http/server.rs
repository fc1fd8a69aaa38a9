//! Serves a router on a listener until told to stop: softly first, hard by a deadline.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::app::App;
use super::front::Front;
use super::malformed::ExplainRefusals;
use super::router::Surface;
use super::tls::{self, Tls};

/// How far the server is told to go in stopping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Not at all.
    #[default]
    No,
    /// No new connections; what runs may finish within the grace time.
    Softly,
    /// At once.
    Now,
}

impl Stop {
    /// Waits until the server is told to go at least this far.
    pub async fn told(self, stop: &mut watch::Receiver<Self>) {
        // An error means that nobody is left who could tell.
        let _ = stop.wait_for(|told| *told >= self).await;
    }
}

/// How long a server waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a request's head, and between two requests of a connection.
    pub header_timeout: Duration,
    /// For running requests, after [`Stop::Softly`].
    pub shutdown_grace: Duration,
}

/// A listener, and what is served on it.
#[derive(Debug)]
pub struct Endpoint {
    /// Where connections come from.
    pub listener: TcpListener,
    /// How they are encrypted; `None`: they are not.
    pub tls: Option<Arc<Tls>>,
    /// What is served.
    pub surface: Surface,
}

/// Serves `app` at an endpoint until `stop` says otherwise; a `stop` whose sender is gone means now.
pub async fn run(endpoint: Endpoint, app: Arc<App>, patience: Patience, mut stop: watch::Receiver<Stop>) {
    let Endpoint { listener, tls, surface } = endpoint;
    let server = Arc::new(Server::new(app, surface, patience));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let room = Arc::new(Semaphore::new(server.app.settings.max_connections));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = Stop::Softly.told(&mut stop) => break,
            // Takes finished connections out of the set.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, place)) => {
                let (server, watcher) = (Arc::clone(&server), graceful.watcher());
                let acceptor = tls.as_ref().map(|tls| tls.acceptor());
                let open = server.app.metrics.begin_connection();
                connections.spawn(async move {
                    let _until_closed = (open, place);
                    if let Err(error) = server.serve(stream, acceptor, watcher).await {
                        tracing::debug!(error, "a connection ended early");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, mostly: those that are open must get on first.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(patience.shutdown_grace) => {
            tracing::warn!(connections = connections.len(), "ending requests that did not finish in time");
        }
        () = Stop::Now.told(&mut stop) => {}
    }
    connections.shutdown().await;
}

/// The next connection, once there is room for it; until then it waits with the system.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    if room.available_permits() == 0 {
        tracing::debug!("as many connections are open as max_connections allows; more wait");
    }
    let place = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

/// From here on, a head is given up that has not come to its end: hyper's own 400 KiB, on each of two thousand connections,
/// would be a good part of a small machine's memory. Longer than any path that is taken.
const MAX_HEAD_BYTES: usize = 128 * 1024;

/// What all connections of an endpoint share.
struct Server {
    app: Arc<App>,
    front: Front,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    handshake_timeout: Duration,
}

/// Why a connection ended early.
type ConnectionError = Box<dyn std::error::Error + Send + Sync>;

impl Server {
    fn new(app: Arc<App>, surface: Surface, patience: Patience) -> Self {
        let mut http1 = http1::Builder::new();
        http1.timer(TokioTimer::new()).header_read_timeout(patience.header_timeout);
        http1.max_buf_size(MAX_HEAD_BYTES);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        // A connection may idle, as long as the other side still answers.
        http2.timer(TokioTimer::new()).keep_alive_interval(patience.header_timeout);
        let front = Front::new(Arc::clone(&app), surface);
        Self { app, front, http1, http2, handshake_timeout: patience.header_timeout }
    }

    /// Serves one connection to its end.
    async fn serve(
        &self,
        stream: TcpStream,
        acceptor: Option<TlsAcceptor>,
        watcher: Watcher,
    ) -> Result<(), ConnectionError> {
        // Answers are written whole, so waiting for more to send gains nothing.
        stream.set_nodelay(true)?;
        let Some(acceptor) = acceptor else {
            return Ok(watcher.watch(self.http1_connection(stream)).await?);
        };
        let stream = tokio::time::timeout(self.handshake_timeout, acceptor.accept(stream)).await??;
        if stream.get_ref().1.alpn_protocol() == Some(tls::HTTP_2) {
            let connection = self.http2.serve_connection(TokioIo::new(stream), self.front.clone());
            return Ok(watcher.watch(connection).await?);
        }
        Ok(watcher.watch(self.http1_connection(stream)).await?)
    }

    fn http1_connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
    ) -> http1::Connection<ExplainRefusals<TokioIo<S>>, Front> {
        let explained = ExplainRefusals::new(TokioIo::new(stream), Arc::clone(&self.app));
        self.http1.serve_connection(explained, self.front.clone())
    }
}
