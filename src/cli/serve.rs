//! `sentor serve`: opens the port, loads the models, and answers until a signal stops it.

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::flags::ServerFlags;
use super::reload::{InService, Reloader};
use super::{Exit, GlobalArgs, print, warn_of_deprecated_names};
use crate::config::{Config, Listen, TlsConfig};
use crate::http::{
    self, App, AppSettings, Endpoint, JobHost, JobService, ListenerRole, Services, Stop, Timeouts, Tls,
    TlsError, TlsFiles,
};
use crate::telemetry::{self, Exporter};
use sentor_analysis::background;
use sentor_analysis::{Analyzer, Settings, StartError};
use sentor_engine::available_cores;
use sentor_jobs::{Objects, Runner, RunnerSettings};
use sentor_store::SqliteStore;
use sentor_store::audit::{Actor, AuditLog};
use sentor_store::clock::Clock;
use sentor_store::keys::{Environment, KeyAdmin, KeyRing, NewKey};
use sentor_store::metering::Meter;

/// Arguments of `sentor serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    settings: ServerFlags,
}

/// Cores per connection thread. Models run on other threads: with batched requests, a connection thread is busy for a
/// thirtieth of the time that two workers are.
const CORES_PER_CONNECTION_THREAD: usize = 4;

/// Minimum connection threads. If it is not needed, the second costs a tenth more, since the two wake each other. But
/// with two, work that blocks one thread does not block all clients.
const MIN_CONNECTION_THREADS: usize = 2;

/// Maximum wait for models that are still being loaded or unloaded after the last request.
const RELOADING_GRACE: Duration = Duration::from_secs(10);

/// Maximum wait for the workers to end after the last request.
const WORKERS_GRACE: Duration = Duration::from_secs(2);

pub(crate) fn run(args: &ServeArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let mut overrides = global.overrides();
    overrides.flags.extend(args.settings.given());
    let config = Config::load(&overrides)?;
    let _log = telemetry::start(&config.log, telemetry::Audience::Operator);
    warn_of_deprecated_names(&config);
    make_room_for_connections(&config);

    // The port first, so that an occupied port is reported before the models are loaded.
    let listener = bind(&config.server.listen)?;
    let admin_listener = config.server.admin_listen.as_ref().map(bind).transpose()?;
    let metrics_listener = config.server.metrics_listen.as_ref().map(bind).transpose()?;
    let addresses = Addresses {
        public: listener.local_addr()?,
        admin: admin_listener.as_ref().map(TcpListener::local_addr).transpose()?,
        metrics: metrics_listener.as_ref().map(TcpListener::local_addr).transpose()?,
    };
    let tls = load_tls(config.server.tls.as_ref())?;
    warn_of_plain_http(&config, [Some(&listener), admin_listener.as_ref()]);
    background::start_threads();
    let started = Instant::now();
    // In parallel with the keys: reading many keys takes as long as loading the models.
    let mut loading = Loading::start(config.analyzer_settings())?;
    let services = services(&config)?;
    let Services { keys, meter, audit, .. } = services.clone();
    warn_of_unknown_plans(&services);
    let app = Arc::new(App::new(AppSettings::from_config(&config), services.clone()));
    let runner = start_jobs(&config, &app, &services)?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(available_cores().div_ceil(CORES_PER_CONNECTION_THREAD).max(MIN_CONNECTION_THREADS))
        .thread_name("http")
        .enable_all()
        .build()?;
    let (stop_sender, mut stop) = watch::channel(Stop::No);
    let in_service = runtime.block_on(async {
        let signals = Signals::listen()?;
        let hangup = signal(SignalKind::hangup())?;
        let timeouts = Timeouts {
            header_timeout: config.server.header_timeout,
            write_timeout: config.server.write_timeout,
            shutdown_grace: config.server.shutdown_grace,
        };
        let mut servers = JoinSet::new();
        let role = public_role(&config, addresses.public);
        let endpoints = [
            (Some(listener), tls.public, role),
            (admin_listener, tls.admin, ListenerRole::Admin),
            (metrics_listener, None, ListenerRole::Metrics),
        ];
        for (listener, tls, role) in endpoints {
            let Some(listener) = listener else { continue };
            if let Some(tls) = &tls {
                tokio::spawn(Arc::clone(tls).follow());
            }
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let endpoint = Endpoint { listener, tls, role };
            servers.spawn(http::run(endpoint, Arc::clone(&app), timeouts, stop.clone()));
        }
        let stopping = tokio::spawn(signals.forward(stop_sender.clone()));
        if let Some(exporter) = Exporter::start(config.log.otlp_endpoint.as_deref())? {
            app.export_traces(exporter);
        }

        // The server already answers, and reports that it is not ready.
        let analyzer = tokio::select! {
            analyzer = &mut loading.loaded => Arc::new(analyzer.context("loading the models")??),
            // The server was stopped before it was ready.
            () = Stop::Softly.reached(&mut stop) => return Ok(None),
        };
        tracing::info!(duration_ms = started.elapsed().as_secs_f64() * 1000.0, "models are loaded");
        app.make_ready(Arc::clone(&analyzer) as _);
        let in_service = InService::new(Arc::clone(&analyzer));
        let reloader = Reloader {
            in_service: in_service.clone(),
            app: Arc::clone(&app),
            services: services.clone(),
            overrides,
            started_with: config.clone(),
        };
        let reloading = tokio::spawn(reloader.run(hangup, stop));

        let greeting = greeting(&config, addresses, &services)?;
        if let Err(error) = print(greeting.as_bytes()) {
            // The parent process has closed stdout; clients can still connect.
            tracing::warn!(%error, "cannot print where the server listens");
        }
        drop(analyzer);
        while let Some(ended) = servers.join_next().await {
            ended.context("serving")?;
        }
        stopping.abort();
        if let Some(exporter) = app.exporter() {
            exporter.close().await;
        }
        if tokio::time::timeout(RELOADING_GRACE, reloading).await.is_err() {
            tracing::warn!("stopping while models are still loaded or unloaded");
        }
        anyhow::Ok(Some(in_service))
    })?;
    // Before the models: what is under way is given back, and not failed.
    drop(runner);
    if let Some(in_service) = in_service {
        in_service.shutdown(Instant::now() + WORKERS_GRACE);
    }
    keys.close();
    meter.close();
    audit.close();
    tracing::info!("stopped");
    // Planning for cancelled requests must not delay the end.
    runtime.shutdown_background();
    Ok(Exit::Ok)
}

/// A thread that loads the models. Dropping this waits for the thread: ONNX Runtime crashes if the process ends while
/// it starts.
struct Loading {
    loaded: oneshot::Receiver<Result<Analyzer, StartError>>,
    thread: Option<JoinHandle<()>>,
}

impl Loading {
    fn start(settings: Settings) -> io::Result<Self> {
        let (sender, loaded) = oneshot::channel();
        let thread = std::thread::Builder::new().name("loading".to_owned()).spawn(move || {
            // The receiver is gone if the start failed elsewhere, or the server was stopped before it was ready.
            let _ = sender.send(Analyzer::start(&settings));
        })?;
        Ok(Self { loaded, thread: Some(thread) })
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has failed the receiver already.
            let _ = thread.join();
        }
    }
}

/// Opens the store, the audit log, the key ring and the meter of the data folder.
fn services(config: &Config) -> anyhow::Result<Services> {
    let store = Arc::new(SqliteStore::open(&config.keys.data_dir)?);
    let clock = Clock::system();
    let audit = Arc::new(AuditLog::start(Arc::clone(&store) as _, &config.keys.data_dir, clock.clone())?);
    let static_key = config.static_key()?;
    let keys = Arc::new(KeyRing::follow(Arc::clone(&store) as _, static_key.as_ref())?);
    let meter = Arc::new(Meter::start(Arc::clone(&store) as _, config.plans.clone(), clock.clone())?);
    meter.set_usage_retention(config.keys.usage_retention_days);
    Ok(Services { keys, meter, store, audit, clock })
}

/// Takes jobs, and runs them unless the configuration says otherwise.
fn start_jobs(config: &Config, app: &Arc<App>, services: &Services) -> anyhow::Result<Option<Runner>> {
    let jobs = &config.jobs;
    let objects = match &jobs.objects {
        Some(url) if url.contains("://") => {
            // The client of object stores takes the process's own; an error means that it is set already.
            let _ = rustls::crypto::ring::default_provider().install_default();
            Objects::at_url(url, std::env::vars().map(|(name, value)| (name.to_lowercase(), value)))?
        }
        Some(folder) => Objects::in_folder(folder.as_ref())?,
        None => Objects::in_folder(&config.keys.data_dir.join("jobs"))?,
    };
    let service = JobService {
        store: Arc::clone(&services.store) as _,
        objects: objects.clone(),
        max_input_bytes: jobs.max_input_bytes,
        expires_after: jobs.expires_after,
        keep_results: jobs.keep_results,
        counters: Arc::default(),
    };
    app.serve_jobs(service.clone());
    if jobs.workers == 0 {
        return Ok(None);
    }
    let settings = RunnerSettings { concurrency: jobs.workers, ..RunnerSettings::default() };
    let host = Arc::new(JobHost(Arc::clone(app)));
    let counters = Arc::clone(&service.counters);
    let runner = Runner::start(service.store, objects, host, services.clock.clone(), counters, settings);
    Ok(Some(runner.context("cannot start the thread of jobs")?))
}

/// The TLS of the two listeners.
#[derive(Default)]
struct ListenerTls {
    public: Option<Arc<Tls>>,
    admin: Option<Arc<Tls>>,
}

fn load_tls(config: Option<&TlsConfig>) -> Result<ListenerTls, TlsError> {
    let Some(config) = config else { return Ok(ListenerTls::default()) };
    let load = |client_ca: Option<&PathBuf>| {
        let (certificate, private_key) = (config.certificate.clone(), config.private_key.clone());
        Tls::load(TlsFiles { certificate, private_key, client_ca: client_ca.cloned() }).map(Arc::new)
    };
    Ok(ListenerTls { public: Some(load(None)?), admin: Some(load(config.admin_client_ca.as_ref())?) })
}

fn warn_of_plain_http(config: &Config, listeners: [Option<&TcpListener>; 2]) {
    if config.server.tls.is_some() {
        return;
    }
    let addresses = listeners.into_iter().flatten().filter_map(|listener| listener.local_addr().ok());
    for address in addresses.filter(|address| !address.ip().is_loopback()) {
        tracing::warn!(
            %address,
            "keys and documents travel unencrypted: set tls_certificate and tls_private_key, or let only a proxy \
             that speaks TLS reach this address"
        );
    }
}

/// Returns the role of the public listener. It serves the admin interface only if no other listener does and no other
/// machine reaches it, or if `admin_public` is set.
fn public_role(config: &Config, address: SocketAddr) -> ListenerRole {
    if config.server.admin_listen.is_some() {
        return ListenerRole::Public;
    }
    if config.server.admin_public || address.ip().is_loopback() {
        return ListenerRole::All;
    }
    tracing::info!(
        %address,
        "there is no admin interface, because other machines reach this address; set admin_listen, or admin_public"
    );
    ListenerRole::Public
}

/// Warns of keys whose plan the configuration no longer has: they are rejected.
pub(super) fn warn_of_unknown_plans(services: &Services) {
    let (in_use, known) = (services.keys.plans_in_use(services.clock.now()), services.meter.plans());
    for (plan, keys) in in_use.iter().filter(|(plan, _)| known.find(plan).is_none()) {
        tracing::warn!(
            plan,
            keys,
            "a plan of active keys is not in the configuration: their requests will fail; add [plans.NAME]"
        );
    }
}

/// File descriptors for everything but connections: listeners, the store, models while they are read, the log.
const OTHER_DESCRIPTORS: u64 = 100;

/// Raises the soft limit of file descriptors to the need of all listeners' connections, as far as the hard limit
/// allows. Most systems start a process with 1,024 and allow more.
fn make_room_for_connections(config: &Config) {
    let listeners =
        1 + [&config.server.admin_listen, &config.server.metrics_listen].into_iter().flatten().count();
    let wanted = (config.server.max_connections * listeners) as u64 + OTHER_DESCRIPTORS;
    let limits = getrlimit(Resource::Nofile);
    let [current, most] = [limits.current, limits.maximum].map(|limit| limit.unwrap_or(u64::MAX));
    if wanted <= current {
        return;
    }
    let possible = wanted.min(most);
    let raised = Rlimit { current: Some(possible), maximum: limits.maximum };
    let given = if setrlimit(Resource::Nofile, raised).is_ok() { possible } else { current };
    if given < wanted {
        tracing::warn!(
            descriptors = given,
            wanted,
            "the system gives this process fewer descriptors than max_connections may need: raise its limit \
             (`ulimit -n`), or set max_connections lower"
        );
    }
}

/// Length of the system's backlog of connections to accept; the system may allow fewer (`net.core.somaxconn`, 4,096 on
/// Linux). It drops further connections, and their clients retry after a second. The standard library asks for 128.
const MOST_WAITING_CONNECTIONS: i32 = 4096;

fn bind(listen: &Listen) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind((listen.host.as_str(), listen.port)).with_context(|| {
        format!("cannot listen on {listen}; --listen or SENTOR_LISTEN chooses another address, and port 0 a free one")
    })?;
    rustix::net::listen(&listener, MOST_WAITING_CONNECTIONS)?;
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
    async fn forward(mut self, stop_sender: watch::Sender<Stop>) {
        for step in [Stop::Softly, Stop::Now] {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            tracing::info!(?step, "stopping");
            stop_sender.send_replace(step);
        }
    }
}

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
struct Addresses {
    public: SocketAddr,
    admin: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
}

/// The text that is printed once the server is ready. The first line, and one more for each additional listener, are
/// for programs, the rest for people.
fn greeting(config: &Config, addresses: Addresses, services: &Services) -> anyhow::Result<String> {
    let address = addresses.public;
    let Services { keys, store, .. } = services;
    let scheme = if config.server.tls.is_some() { "https" } else { "http" };
    let mut text = format!("listening on {scheme}://{address}\n");
    if let Some(address) = addresses.admin {
        writeln!(text, "admin interface on {scheme}://{address}")?;
    }
    if let Some(address) = addresses.metrics {
        writeln!(text, "metrics on http://{address}/metrics")?;
    }
    let is_first_start = keys.is_empty() && address.ip().is_loopback();
    let key = if is_first_start {
        // Only this machine reaches the server, so the key gives nobody else access.
        let new = NewKey { environment: Environment::Test, ..NewKey::named("development") };
        let admin = KeyAdmin::new(store.as_ref(), &services.clock, Actor::FirstStart);
        let (key, _) = admin.create(new, &mut rand::rng())?;
        services.audit.changed();
        keys.refresh()?;
        let key_text = key.expose();
        writeln!(text, "\nmade a development key, which is not shown again:\n\n  {key_text}\n")?;
        writeln!(
            text,
            "for clients and the examples of the documentation:\n\n  export SENTOR_API_KEY={key_text}"
        )?;
        key.expose().to_owned()
    } else {
        "$SENTOR_API_KEY".to_owned()
    };
    if !is_first_start {
        let data_dir = config.keys.data_dir.display();
        let what = if keys.is_empty() { "there is no key yet; make one" } else { "another key" };
        writeln!(text, "\n{what}: sentor keys create NAME --data-dir '{data_dir}'")?;
    }
    writeln!(text, "\ntry it at {scheme}://{address}/ in a browser, or here:\n")?;
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
            "  curl '{scheme}://{address}/api/predicts{query}' -H \"x-api-key: {key}\" \\\n    \
             -H 'content-type: application/json' \\\n    \
             -d '{{\"docs\": [{{\"doc_id\": \"1\", \"doc\": \"{document}\", \"entities\": [{entities}]}}]}}'\n",
        )?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment as Variables, Overrides};

    #[test]
    fn the_admin_interface_is_on_loopback_unless_told_otherwise() {
        let role = |flags: &[(&str, &str)], address: &str| {
            let flags = flags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let overrides = Overrides { flags, ..Overrides::default() };
            let config = Config::load_in(&overrides, &Variables::default()).expect("a valid configuration");
            public_role(&config, address.parse().expect("an address"))
        };
        for loopback in ["127.0.0.1:80", "[::1]:80"] {
            assert_eq!(role(&[], loopback), ListenerRole::All, "{loopback}");
        }
        for reachable in ["0.0.0.0:80", "[::]:80", "10.0.0.5:80"] {
            assert_eq!(role(&[], reachable), ListenerRole::Public, "{reachable}");
            assert_eq!(role(&[("admin_public", "true")], reachable), ListenerRole::All, "{reachable}");
        }
        let elsewhere = [("admin_listen", "127.0.0.1:81"), ("admin_public", "true")];
        assert_eq!(role(&elsewhere, "127.0.0.1:80"), ListenerRole::Public);
    }
}
