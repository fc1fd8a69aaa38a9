//! Exports the spans of traces to a collector, by OTLP over HTTP, with the OpenTelemetry SDK.
//!
//! The SDK reads its `OTEL_…` variables, builds batches and encodes them. This file turns finished requests into its spans
//! and sends its requests with the HTTP client and the TLS library that the program has anyway. A collector that is slow
//! or away costs spans, never a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::Uri;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, Key, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfig, BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor as _,
};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::runtime::Handle;

use super::trace::{SpanId, TraceContext};

/// Time for the collector to answer, unless `OTEL_EXPORTER_OTLP_TIMEOUT` sets another.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of the collector's answer.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A finished span of a trace.
#[derive(Clone, Debug)]
pub struct FinishedSpan {
    /// Its place in the trace; `span_id` is its own.
    pub context: TraceContext,
    /// Its name, such as `POST /api/predicts`.
    pub name: String,
    /// Whether it covers a whole request; otherwise it is a child of such a span.
    pub is_server: bool,
    /// When it began.
    pub start: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// Its attributes; never a text or a key.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether the server failed in it.
    pub has_failed: bool,
}

impl FinishedSpan {
    /// Builds a finished child of this span.
    #[must_use]
    pub fn child(&self, name: &str, start: Timestamp, duration: Duration) -> Self {
        let context =
            TraceContext { span_id: SpanId::new(), parent_id: Some(self.context.span_id), ..self.context };
        Self {
            context,
            name: name.to_owned(),
            is_server: false,
            start,
            duration,
            attributes: Vec::new(),
            has_failed: false,
        }
    }
}

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The setting is not an address.
    #[error("otlp_endpoint is {0:?}, but must be an address such as http://127.0.0.1:4318")]
    Address(String),
    /// An `OTEL_…` variable has a value that cannot be used.
    #[error("cannot export traces")]
    Exporter(#[from] ExporterBuildError),
    /// There is no TLS client.
    #[error("cannot export traces over TLS")]
    Tls(#[from] rustls::Error),
    /// The file of trusted certificates cannot be used.
    #[error("cannot read the certificates of OTEL_EXPORTER_OTLP_CERTIFICATE from {path}")]
    Certificates {
        /// The file.
        path: String,
        /// The cause.
        source: rustls::pki_types::pem::Error,
    },
}

/// Exports finished spans, on the runtime that it was started on.
#[derive(Debug)]
pub struct Exporter {
    processor: Arc<BatchSpanProcessor>,
    scope: InstrumentationScope,
    timeout: Duration,
}

impl Exporter {
    /// Starts to export to the collector at `endpoint`, such as `http://127.0.0.1:4318`, or else to the one that the
    /// variables `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` name. `None` where nothing names
    /// one, or `OTEL_SDK_DISABLED` or `OTEL_TRACES_EXPORTER` turn the export off.
    ///
    /// # Errors
    ///
    /// If the address or a variable cannot be used.
    pub fn start(endpoint: Option<&str>) -> Result<Option<Self>, EndpointError> {
        let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        let is_named = endpoint.is_some()
            || ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]
                .into_iter()
                .any(|name| variable(name).is_some());
        if is_off || !is_named {
            return Ok(None);
        }
        let timeout = timeout();
        let mut builder =
            SpanExporter::builder().with_http().with_http_client(CollectorClient::new(timeout)?);
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(traces_url(endpoint)?);
        }
        let mut processor = BatchSpanProcessor::new(builder.build()?, BatchConfig::default());
        processor.set_resource(&resource());
        let scope = InstrumentationScope::builder("sentor").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Some(Self { processor: Arc::new(processor), scope, timeout }))
    }

    /// Queues the spans of sampled traces for export. Drops those for which the queue has no room.
    pub fn export(&self, spans: impl IntoIterator<Item = FinishedSpan>) {
        for span in spans.into_iter().filter(|span| span.context.sampled) {
            self.processor.on_end(self.span_data(span));
        }
    }

    fn span_data(&self, span: FinishedSpan) -> SpanData {
        let start = SystemTime::from(span.start);
        let parent = span.context.parent_id;
        SpanData {
            span_context: SpanContext::new(
                opentelemetry::TraceId::from_bytes(span.context.trace_id.0),
                opentelemetry::SpanId::from_bytes(span.context.span_id.0),
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: parent
                .map_or(opentelemetry::SpanId::INVALID, |id| opentelemetry::SpanId::from_bytes(id.0)),
            parent_span_is_remote: span.is_server && parent.is_some(),
            span_kind: if span.is_server { SpanKind::Server } else { SpanKind::Internal },
            name: span.name.into(),
            start_time: start,
            end_time: start + span.duration,
            attributes: span.attributes.into_iter().map(|(name, value)| attribute(name, &value)).collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if span.has_failed { Status::error("") } else { Status::Unset },
            instrumentation_scope: self.scope.clone(),
        }
    }

    /// Exports the spans in the queue and ends, within the time that a collector may take.
    pub async fn close(&self) {
        let (processor, timeout) = (Arc::clone(&self.processor), self.timeout);
        // A collector that does not answer costs the spans; its absence has been logged.
        let _ = tokio::task::spawn_blocking(move || processor.shutdown_with_timeout(timeout)).await;
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The SDK reads these variables for its retries, and leaves the time of one request to the HTTP client.
fn timeout() -> Duration {
    ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"]
        .into_iter()
        .find_map(|name| variable(name)?.parse().ok())
        .map_or(DEFAULT_TIMEOUT, Duration::from_millis)
}

fn traces_url(endpoint: &str) -> Result<String, EndpointError> {
    let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let is_usable = url.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if is_usable { Ok(url) } else { Err(EndpointError::Address(endpoint.to_owned())) }
}

/// The attributes of this process: those of `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, and the program's own.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let found = Resource::builder().build().get(&Key::new("service.name"));
    let is_named = found.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let builder = Resource::builder().with_attribute(version);
    if is_named { builder.build() } else { builder.with_service_name("sentor").build() }
}

fn attribute(name: &'static str, value: &Value) -> KeyValue {
    match value {
        Value::String(text) => KeyValue::new(name, text.clone()),
        other => other
            .as_i64()
            .map_or_else(|| KeyValue::new(name, other.to_string()), |number| KeyValue::new(name, number)),
    }
}

/// Sends the SDK's requests. The SDK calls it from a thread without a runtime.
#[derive(Debug)]
struct CollectorClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
    timeout: Duration,
    /// Whether the last request succeeded, so that a failure is logged once and not once a batch.
    is_reachable: AtomicBool,
}

impl CollectorClient {
    fn new(timeout: Duration) -> Result<Self, EndpointError> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(trusted_roots()?)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, runtime: Handle::current(), timeout, is_reachable: AtomicBool::new(true) })
    }
}

/// The certificates of `OTEL_EXPORTER_OTLP_CERTIFICATE`, or else those that the system trusts.
fn trusted_roots() -> Result<RootCertStore, EndpointError> {
    let mut roots = RootCertStore::empty();
    let names = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
    let Some(path) = names.into_iter().find_map(variable) else {
        // A system without certificates exports over plain HTTP alone.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let read = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|source| EndpointError::Certificates { path, source })?;
    roots.add_parsable_certificates(certificates);
    Ok(roots)
}

#[async_trait]
impl HttpClient for CollectorClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let url = request.uri().clone();
        let exchange = async move {
            let answer = client.request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        // The timer is created inside the task: on the SDK's thread, which has no runtime, that would panic.
        let timeout = self.timeout;
        let sending = self.runtime.spawn(async move { tokio::time::timeout(timeout, exchange).await });
        let answer = match sending.await? {
            Ok(answer) => answer,
            Err(_) => Err("the collector does not answer in time".into()),
        };
        let problem = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the collector answers with status {}", answer.status())),
            Err(error) => Some(error.to_string()),
        };
        let was_reachable = self.is_reachable.swap(problem.is_none(), Ordering::Relaxed);
        match problem {
            None if !was_reachable => tracing::info!("the trace collector can be reached again"),
            Some(problem) if was_reachable => {
                tracing::warn!(problem, %url, "the trace collector cannot be reached");
            }
            _ => {}
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_http_or_https_url() {
        for endpoint in ["http://127.0.0.1:4318/", "https://collector.example"] {
            assert!(traces_url(endpoint).is_ok_and(|url| !url.contains("//v1")), "{endpoint}");
        }
        for endpoint in ["", "127.0.0.1:4318", "http://", "grpc://a:1"] {
            assert!(traces_url(endpoint).is_err(), "{endpoint}");
        }
    }
}
