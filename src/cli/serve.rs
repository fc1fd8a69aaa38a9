//! `sentor serve`: opens the port, loads the models, answers until told to stop.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::flags::ServerFlags;
use super::reload::InService;
use super::{Exit, GlobalArgs, print};
use crate::analysis::Analyzer;
use crate::clock::Clock;
use crate::config::{Config, Listen};
use crate::http::{self, App, AppSettings, Patience, Stop};
use crate::keys::{Environment, KeyRing, KeyStore, NewKey, SqliteStore};
use crate::telemetry;

/// Arguments of `sentor serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: ServerFlags,
}

/// Threads that talk to clients. They parse and print; the models have threads of their own.
const SERVER_THREADS: usize = 2;

/// How long workers may take to end after the last request has.
const WORKERS_GRACE: Duration = Duration::from_secs(2);

pub(crate) fn run(args: &ServeArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let mut overrides = global.overrides();
    overrides.flags.extend(args.settings.given());
    let config = Config::load(&overrides)?;
    telemetry::start(&config.log, telemetry::Audience::Operator);

    // The port first: that it is taken should not come out after the models are loaded.
    let listener = bind(&config.server.listen)?;
    let address = listener.local_addr()?;
    let store: Arc<dyn KeyStore> = Arc::new(SqliteStore::open(&config.keys.data_dir)?);
    let outside_key = config.outside_key()?;
    let keys = Arc::new(KeyRing::follow(Arc::clone(&store), outside_key.as_ref())?);
    let app = Arc::new(App::new(AppSettings::of(&config), Arc::clone(&keys), Clock::system()));

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVER_THREADS)
        .thread_name("http")
        .enable_all()
        .build()?;
    let (tell, stop) = watch::channel(Stop::No);
    let in_service = runtime.block_on(async {
        let signals = Signals::listen()?;
        let hangup = signal(SignalKind::hangup())?;
        let patience = Patience {
            header_timeout: config.server.header_timeout,
            shutdown_grace: config.server.shutdown_grace,
        };
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let server = tokio::spawn(http::run(listener, Arc::clone(&app), patience, stop));
        let stopping = tokio::spawn(signals.pass_on(tell.clone()));

        // The server already answers, and says that it is not ready.
        let settings = config.analyzer_settings();
        let started = Instant::now();
        let loading = tokio::task::spawn_blocking(move || Analyzer::start(&settings));
        let analyzer = tokio::select! {
            analyzer = loading => Arc::new(analyzer.context("loading the models")??),
            // Stopped before it was ready.
            () = wait_for_stop(tell.subscribe()) => return Ok(None),
        };
        tracing::info!(duration_ms = started.elapsed().as_secs_f64() * 1000.0, "models are loaded");
        app.make_ready(Arc::clone(&analyzer) as _);
        let in_service = InService::new(analyzer);
        let reloading = tokio::spawn(in_service.clone().reload_at(hangup, Arc::clone(&app), overrides));

        let greeting = greeting(&config, address, store.as_ref(), &keys)?;
        if let Err(error) = print(greeting.as_bytes()) {
            // Whoever started the server does not listen to it; its callers still may.
            tracing::warn!(%error, "cannot print where the server listens");
        }
        server.await.context("serving")?;
        stopping.abort();
        reloading.abort();
        anyhow::Ok(Some(in_service))
    })?;
    if let Some(in_service) = in_service {
        in_service.shutdown(Instant::now() + WORKERS_GRACE);
    }
    keys.close();
    tracing::info!("stopped");
    // A thread that still loads models must not hold up the end.
    runtime.shutdown_background();
    Ok(Exit::Ok)
}

fn bind(listen: &Listen) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind((listen.host.as_str(), listen.port)).with_context(|| {
        format!("cannot listen on {listen}; --listen or SENTOR_LISTEN chooses another address, and port 0 a free one")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The signals that end a server.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The first signal stops softly, the second at once.
    async fn pass_on(mut self, tell: watch::Sender<Stop>) {
        for step in [Stop::Softly, Stop::Now] {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            tracing::info!(?step, "stopping");
            tell.send_replace(step);
        }
    }
}

async fn wait_for_stop(mut stop: watch::Receiver<Stop>) {
    let _ = stop.wait_for(|told| *told >= Stop::Softly).await;
}

/// What is printed once the server is ready. The first line is for programs, the rest for people.
fn greeting(
    config: &Config,
    address: SocketAddr,
    store: &dyn KeyStore,
    keys: &KeyRing,
) -> anyhow::Result<String> {
    let mut text = format!("listening on http://{address}\n");
    let is_first_start = keys.is_empty() && address.ip().is_loopback();
    let key = if is_first_start {
        // Nobody else can reach the server, so this lets in nobody else.
        let new = NewKey { environment: Environment::Test, ..NewKey::named("development") };
        let (key, record) = new.generate(Timestamp::now(), &mut rand::rng());
        store.insert(&record)?;
        keys.refresh()?;
        writeln!(text, "\nmade a development key, which is not shown again:\n\n  {}", key.expose())?;
        key.expose().to_owned()
    } else {
        "$SENTOR_API_KEY".to_owned()
    };
    if !is_first_start {
        let data_dir = config.keys.data_dir.display();
        let what = if keys.is_empty() { "there is no key yet; make one" } else { "another key" };
        writeln!(text, "\n{what}: sentor keys create NAME --data-dir '{data_dir}'")?;
    }
    writeln!(text, "\ntry it:\n")?;
    let examples = [
        ("", "The camera is superb, but the battery is a joke.", r#""camera", "battery""#),
        (
            "?language=nl",
            "Geweldig product, maar de bezorging duurde eindeloos.",
            r#""product", "bezorging""#,
        ),
    ];
    for (query, document, entities) in examples {
        writeln!(
            text,
            "  curl 'http://{address}/api/predicts{query}' -H \"x-api-key: {key}\" \\\n    \
             -H 'content-type: application/json' \\\n    \
             -d '{{\"docs\": [{{\"doc_id\": \"1\", \"doc\": \"{document}\", \"entities\": [{entities}]}}]}}'\n",
        )?;
    }
    Ok(text)
}
