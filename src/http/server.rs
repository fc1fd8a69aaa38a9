//! Serves a router on a listener until told to stop: softly first, hard by a deadline.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::app::App;
use super::malformed::ExplainRefusals;
use super::metrics;
use super::router::router;

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

/// How long a server waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a request's head, and between two requests of a connection.
    pub header_timeout: Duration,
    /// For running requests, after [`Stop::Softly`].
    pub shutdown_grace: Duration,
}

/// Serves `app` on `listener` until `stop` says otherwise; a `stop` whose sender is gone means now.
pub async fn run(listener: TcpListener, app: Arc<App>, patience: Patience, stop: watch::Receiver<Stop>) {
    serve(listener, router(Arc::clone(&app)), app, patience, stop).await;
}

/// Serves the metrics of `app`, and nothing else, without asking for a key; otherwise as [`run`] does.
pub async fn run_metrics(
    listener: TcpListener,
    app: Arc<App>,
    patience: Patience,
    stop: watch::Receiver<Stop>,
) {
    serve(listener, metrics::open_router(Arc::clone(&app)), app, patience, stop).await;
}

async fn serve(
    listener: TcpListener,
    router: Router,
    app: Arc<App>,
    patience: Patience,
    mut stop: watch::Receiver<Stop>,
) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience.header_timeout);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told(&mut stop, Stop::Softly) => break,
            // Takes finished connections out of the set.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(&http, stream, router.clone(), Arc::clone(&app));
                let watched = graceful.watch(connection);
                let open = app.metrics.begin_connection();
                connections.spawn(async move {
                    let _open = open;
                    if let Err(error) = watched.await {
                        tracing::debug!(%error, "a connection ended early");
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
        () = told(&mut stop, Stop::Now) => {}
    }
    connections.shutdown().await;
}

fn connection(
    http: &http1::Builder,
    stream: TcpStream,
    router: Router,
    app: Arc<App>,
) -> http1::Connection<ExplainRefusals<TokioIo<TcpStream>>, TowerToHyperService<Router>> {
    // Answers are written whole, so waiting for more to send gains nothing.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let explained = ExplainRefusals::new(TokioIo::new(stream), app);
    http.serve_connection(explained, TowerToHyperService::new(router))
}

/// Waits until the server is told to go at least as far as `least`.
async fn told(stop: &mut watch::Receiver<Stop>, least: Stop) {
    // An error means that nobody is left who could tell.
    let _ = stop.wait_for(|told| *told >= least).await;
}
