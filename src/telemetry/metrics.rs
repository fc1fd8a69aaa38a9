//! Counters and histograms in the text format of Prometheus.
//!
//! Names follow the conventions of Prometheus: `sentor_`, the quantity, its unit, and `_total` for counters. Labels
//! have few values each, whatever clients send. `docs/operations.md` explains every metric.

use std::time::Duration;

use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::jobs::JobReadings;
use super::keys::{KeyRefusal, StoreFailures};
use super::threads::ThreadTimes;
use super::{engine, jobs, keys, log};
use sentor_analysis::{AnalyzerStatistics, ModelStatus};
use sentor_store::keys::KeyEvents;
use sentor_text::language::Language;

/// Media type of [`Metrics::encode`].
pub const TEXT_FORMAT: &str = prometheus::TEXT_FORMAT;

/// Bounds of the latency histograms: from the time of a rejection to the default request timeout.
const SECONDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

/// Bounds of the sizes of requests, in documents. The last is the default limit.
const DOCUMENTS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1000.0, 10_000.0];

/// All metrics of a server. Each server has its own registry, so that two in one process do not mix.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    in_flight: IntGauge,
    phase_seconds: HistogramVec,
    refusals: IntCounterVec,
    key_refusals: IntCounterVec,
    request_documents: HistogramVec,
    documents: IntCounterVec,
    entities: IntCounterVec,
    characters: IntCounterVec,
    tokens: IntCounterVec,
    model_ready: IntGaugeVec,
    connections: IntGauge,
    connections_total: IntCounter,
    thread_times: ThreadTimes,
}

/// A phase of a request to score documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Receiving and parsing the body.
    Receive,
    /// Planning, queueing, and running the model.
    Score,
    /// Writing the answer.
    Write,
}

impl Phase {
    /// Its value of the label `phase`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Score => "score",
            Self::Write => "write",
        }
    }
}

/// Values that other components count, read at a scrape.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// Of the analyzer.
    pub analyzer: AnalyzerStatistics,
    /// Of the key ring.
    pub keys: KeyEvents,
    /// Of the store.
    pub store: StoreFailures,
    /// Of jobs.
    pub jobs: JobReadings,
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestOutcome<'a> {
    /// The route as the router writes it.
    pub route: &'a str,
    /// The method, which may be any word that a client invents.
    pub method: &'a str,
    /// The status; `None` if the client disconnected before the answer.
    pub status: Option<u16>,
    /// The plan of the key, if one was accepted.
    pub plan: Option<&'a str>,
    /// Time from the head of the request to its answer.
    pub duration: Duration,
}

/// The counted properties of a scored document.
#[derive(Clone, Copy, Debug)]
pub struct ScoredDocument {
    /// The language it was scored as.
    pub language: Language,
    /// Its entities.
    pub entities: usize,
    /// Tokens that the model read.
    pub tokens: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new().expect("the names are valid and each stands once, as a test makes sure")
    }
}

impl Metrics {
    fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let build = IntGaugeVec::new(
            Opts::new("sentor_build_info", "Always 1; the label tells the version of the program."),
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;

        let make = Maker { registry: &registry };
        let key_refusals = make.counters(
            "sentor_key_refusals_total",
            "Requests that their key, or the lack of one, did not let in, by reason.",
            &["reason"],
        )?;
        for reason in KeyRefusal::ALL {
            // All series exist from the start, so that `rate()` sees the first event.
            key_refusals.with_label_values(&[reason.label()]).inc_by(0);
        }
        Ok(Self {
            requests: make.counters(
                "sentor_http_requests_total",
                "Requests answered, by route, method, status and plan of the key; status 499: the client went away.",
                &["route", "method", "status", "plan"],
            )?,
            request_seconds: make.histograms(
                "sentor_http_request_duration_seconds",
                "Time from a request's head to its answer.",
                &["route"],
                &SECONDS,
            )?,
            in_flight: make.gauge("sentor_http_requests_in_flight", "Requests that are being answered.")?,
            phase_seconds: make.histograms(
                "sentor_predict_phase_duration_seconds",
                "Time that requests to score documents spend in each phase: receive, score, write.",
                &["phase"],
                &SECONDS,
            )?,
            refusals: make.counters(
                "sentor_http_refusals_total",
                "Requests refused, by the code of the error.",
                &["code"],
            )?,
            key_refusals,
            request_documents: make.histograms(
                "sentor_predict_request_documents",
                "Documents in a request to score them.",
                &["language"],
                &DOCUMENTS,
            )?,
            documents: make.counters("sentor_documents_total", "Documents scored, by language.", &["language"])?,
            entities: make.counters("sentor_entities_total", "Entities scored, by language.", &["language"])?,
            characters: make.counters(
                "sentor_characters_total",
                "Characters of the texts that came to be scored, by the language that was asked for.",
                &["language"],
            )?,
            tokens: make.counters(
                "sentor_tokens_total",
                "Tokens of the texts that were scored, without padding, by language.",
                &["language"],
            )?,
            model_ready: make.gauges(
                "sentor_model_ready",
                "1 where the language has a model that is ready, which the labels name.",
                &["language", "model", "version"],
            )?,
            connections: make.gauge("sentor_http_connections_open", "Connections that are open.")?,
            connections_total: make.counter("sentor_http_connections_total", "Connections that were accepted.")?,
            thread_times: ThreadTimes::default(),
            registry,
        })
    }

    /// Returns all metrics and `readings` in the text format of Prometheus.
    pub fn encode(&self, readings: &Readings) -> Vec<u8> {
        let mut families = self.registry.gather();
        families.extend(engine::families(&readings.analyzer));
        families.extend(keys::families(readings.keys, readings.store));
        families.extend(jobs::families(&readings.jobs));
        families.extend(engine::thread_family(&self.thread_times.read()));
        families.push(engine::counters(
            "sentor_log_lines_lost_total",
            "Log lines lost because stderr took them too slowly.",
            vec![(Vec::new(), log::lost_lines() as f64)],
        ));
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            tracing::error!(%error, "cannot write the metrics");
        }
        text
    }

    /// Counts a request in flight until the guard is dropped.
    pub fn begin_request(&self) -> InFlight {
        InFlight::new(self.in_flight.clone())
    }

    /// Counts an open connection until the guard is dropped.
    pub fn begin_connection(&self) -> InFlight {
        self.connections_total.inc();
        InFlight::new(self.connections.clone())
    }

    /// Records the outcome of a request.
    pub fn record_request(&self, outcome: RequestOutcome<'_>) {
        let status = outcome.status.unwrap_or(499).to_string();
        let labels = [outcome.route, known_method(outcome.method), &status, outcome.plan.unwrap_or("none")];
        self.requests.with_label_values(&labels).inc();
        self.request_seconds.with_label_values(&[outcome.route]).observe(outcome.duration.as_secs_f64());
    }

    /// Counts a rejected request by its error code.
    pub fn count_rejection(&self, code: &str) {
        self.refusals.with_label_values(&[code]).inc();
    }

    /// Counts a request that was rejected because of its key.
    pub fn count_key_refusal(&self, reason: KeyRefusal) {
        self.key_refusals.with_label_values(&[reason.label()]).inc();
    }

    /// Records the duration of a phase.
    pub fn record_phase(&self, phase: Phase, duration: Duration) {
        self.phase_seconds.with_label_values(&[phase.label()]).observe(duration.as_secs_f64());
    }

    /// Records the size of a request; `language` is `en`, `nl` or `auto`.
    pub fn record_documents(&self, language: &str, documents: usize, characters: usize) {
        self.request_documents.with_label_values(&[language]).observe(documents as f64);
        self.characters.with_label_values(&[language]).inc_by(characters as u64);
    }

    /// Counts a scored document.
    pub fn record_scored_document(&self, document: ScoredDocument) {
        let language = [document.language.code()];
        self.documents.with_label_values(&language).inc();
        self.entities.with_label_values(&language).inc_by(document.entities as u64);
        self.tokens.with_label_values(&language).inc_by(document.tokens as u64);
    }

    /// Replaces the set of models.
    pub fn set_models(&self, models: &[ModelStatus]) {
        self.model_ready.reset();
        for model in models {
            for language in &model.languages {
                let labels = [language, model.name.as_str(), model.version.as_str()];
                self.model_ready.with_label_values(&labels).set(i64::from(model.ready));
            }
        }
    }
}

/// Counts one more until it is dropped.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl InFlight {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Returns the label of a method. A client may send any word, and each would be a time series of its own.
fn known_method(method: &str) -> &str {
    match method {
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => method,
        _ => "other",
    }
}

/// Creates and registers metrics.
struct Maker<'a> {
    registry: &'a Registry,
}

impl Maker<'_> {
    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.registered(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.registered(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.registered(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.registered(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        bounds: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        self.registered(HistogramVec::new(HistogramOpts::new(name, help).buckets(bounds.to_vec()), labels)?)
    }

    fn registered<M: prometheus::core::Collector + Clone + 'static>(
        &self,
        metric: M,
    ) -> prometheus::Result<M> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_and_unique() {
        let text =
            String::from_utf8(Metrics::default().encode(&Readings::default())).expect("the format is text");
        assert!(text.contains("sentor_build_info{version="), "{text}");
    }

    #[test]
    fn an_unknown_method_has_no_series_of_its_own() {
        let metrics = Metrics::default();
        for method in ["BREW", "PROPFIND"] {
            let duration = Duration::from_millis(3);
            metrics.record_request(RequestOutcome {
                route: "unmatched",
                method,
                status: Some(405),
                plan: None,
                duration,
            });
        }
        let text = String::from_utf8(metrics.encode(&Readings::default())).expect("the format is text");
        let line =
            "sentor_http_requests_total{method=\"other\",plan=\"none\",route=\"unmatched\",status=\"405\"} 2";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn requests_in_flight_are_counted_until_they_end() {
        let metrics = Metrics::default();
        let first = metrics.begin_request();
        let second = metrics.begin_request();
        drop(first);
        assert_eq!(metrics.in_flight.get(), 1);
        drop(second);
        assert_eq!(metrics.in_flight.get(), 0);
    }
}
