//! Accepts a listener's connections until the server stops: softly first, and hard by a deadline.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::app::App;
use super::connection::{self, AddressShares, Purpose};
use super::router::ListenerRole;
use super::tls::Tls;

/// The stages of a shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// The server runs.
    #[default]
    No,
    /// The server accepts no new connections; running requests may finish within the grace time.
    Softly,
    /// The server ends at once.
    Now,
}

impl Stop {
    /// Waits until the shutdown has reached at least this stage.
    pub async fn reached(self, stop: &mut watch::Receiver<Self>) {
        // An error means that the sender is gone, which counts as a shutdown.
        let _ = stop.wait_for(|told| *told >= self).await;
    }
}

/// Timeouts of connections and of the shutdown.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a request's head, and between two requests of a connection.
    pub header_timeout: Duration,
    /// For a peer to read a part of its answer.
    pub write_timeout: Duration,
    /// For running requests, after [`Stop::Softly`].
    pub shutdown_grace: Duration,
}

/// A listener and its role.
#[derive(Debug)]
pub struct Endpoint {
    /// Accepts the connections.
    pub listener: TcpListener,
    /// Encrypts them; `None` for plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// What it serves.
    pub role: ListenerRole,
}

/// Serves `app` at an endpoint until `stop` begins a shutdown; a dropped sender ends it at once.
pub async fn run(endpoint: Endpoint, app: Arc<App>, timeouts: Timeouts, mut stop: watch::Receiver<Stop>) {
    let Endpoint { listener, tls, role } = endpoint;
    let settings = app.settings();
    let places = Places::new(settings.max_connections);
    let shares = AddressShares::new(settings.max_connections_per_address, settings.trusted_proxies.clone());
    let mut refused = RefusedAddresses::default();
    let server = Arc::new(connection::server(app, role, timeouts));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = places.accept(&listener) => accepted,
            () = Stop::Softly.reached(&mut stop) => break,
            // Takes finished connections out of the set.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer, place)) => {
                let Some(counted) = shares.count(peer.ip()) else {
                    refused.log(peer.ip());
                    continue;
                };
                let (server, watcher, stop) = (Arc::clone(&server), graceful.watcher(), stop.clone());
                let acceptor = tls.as_ref().map(|tls| tls.acceptor());
                let open = server.app.metrics.begin_connection();
                connections.spawn(async move {
                    let Place { purpose, permit } = place;
                    let _until_closed = (open, permit, counted);
                    if let Err(error) = server.serve(stream, purpose, acceptor, watcher, stop).await {
                        tracing::debug!(error, "a connection ended early");
                    }
                });
            }
            Err(error) => {
                // Usually no descriptors are left: some connections must close first.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(timeouts.shutdown_grace) => {
            tracing::warn!(connections = connections.len(), "ending requests that did not finish in time");
        }
        () = Stop::Now.reached(&mut stop) => {}
    }
    connections.shutdown().await;
}

/// For every hundred connections, one more may be open for health probes only.
const CONNECTIONS_PER_PROBE: usize = 100;

/// Maximum connections for health probes; a few probes every second need no more.
const MAX_PROBE_CONNECTIONS: usize = 16;

/// The connections that a listener may have open.
struct Places {
    any: Arc<Semaphore>,
    /// Used once the others are taken, so that an orchestrator does not restart a busy server.
    probes: Arc<Semaphore>,
}

/// A connection's permit, which is released when it is dropped.
struct Place {
    purpose: Purpose,
    permit: OwnedSemaphorePermit,
}

impl Places {
    fn new(max_connections: usize) -> Self {
        let probes = (max_connections / CONNECTIONS_PER_PROBE).min(MAX_PROBE_CONNECTIONS);
        Self { any: Arc::new(Semaphore::new(max_connections)), probes: Arc::new(Semaphore::new(probes)) }
    }

    /// Accepts the next connection once there is a place for it; until then it waits in the system's backlog.
    async fn accept(
        &self,
        listener: &TcpListener,
    ) -> io::Result<(tokio::net::TcpStream, std::net::SocketAddr, Place)> {
        // Only this function takes permits, so one that is free now is free after the next line.
        tokio::select! {
            _ = self.any.acquire() => {}
            _ = self.probes.acquire() => {}
        }
        let (stream, peer) = listener.accept().await?;
        let place = if let Ok(permit) = Arc::clone(&self.any).try_acquire_owned() {
            Place { purpose: Purpose::Any, permit }
        } else {
            let permit = Arc::clone(&self.probes).acquire_owned().await.map_err(io::Error::other)?;
            Place { purpose: Purpose::Probes, permit }
        };
        Ok((stream, peer, place))
    }
}

/// Logs refused connections, at most one line a minute.
#[derive(Default)]
struct RefusedAddresses {
    since_last_line: u64,
    last_line: Option<Instant>,
}

impl RefusedAddresses {
    fn log(&mut self, address: IpAddr) {
        const EVERY: Duration = Duration::from_mins(1);
        self.since_last_line += 1;
        if self.last_line.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        tracing::warn!(
            %address,
            refused = self.since_last_line,
            "an address holds its share of connections; if it is a proxy, name it in trusted_proxies"
        );
        (self.since_last_line, self.last_line) = (0, Some(Instant::now()));
    }
}
