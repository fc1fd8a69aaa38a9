//! Sends the steps of traces to a collector, by OTLP over HTTP in JSON.
//!
//! Steps wait in a bounded queue and leave in batches; a collector that is slow or away costs steps, never a
//! request. <https://opentelemetry.io/docs/specs/otlp/> has the format.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::trace::{SpanId, TraceContext};

/// Steps that wait at most; more are dropped. Some 2 MB.
const QUEUE: usize = 4096;

/// Steps that leave together at most.
const BATCH: usize = 512;

/// Longest time that a step waits for others to leave with.
const PAUSE: Duration = Duration::from_secs(1);

/// For the collector to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A step that is over.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where it stands; its `span_id` is the step's own.
    pub context: TraceContext,
    /// What it is, such as `POST /api/predicts`.
    pub name: String,
    /// Whether it answers a caller; otherwise it is a part of such a step.
    pub is_server: bool,
    /// When it began.
    pub start: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// What is known of it; nothing of a text or a key.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether the server failed in it.
    pub has_failed: bool,
}

impl Step {
    /// A part of this step.
    #[must_use]
    pub fn part(&self, name: &str, start: Timestamp, duration: Duration) -> Self {
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

/// The address is not one that steps can be sent to.
#[derive(Clone, Debug, thiserror::Error)]
#[error("otlp_endpoint is {0:?}, but must be an address such as http://127.0.0.1:4318")]
pub struct EndpointError(String);

/// Takes steps and sends them, on the runtime that it was started on.
#[derive(Debug)]
pub struct Exporter {
    /// `None` once it is closed.
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    queue: mpsc::Sender<Step>,
    sender: JoinHandle<()>,
}

impl Exporter {
    /// Starts to send to the collector at `endpoint`, such as `http://127.0.0.1:4318`.
    ///
    /// # Errors
    ///
    /// If `endpoint` is no address of plain HTTP: a collector stands on the same machine or network.
    pub fn start(endpoint: &str) -> Result<Self, EndpointError> {
        let bad = || EndpointError(endpoint.to_owned());
        let uri: Uri = format!("{}/v1/traces", endpoint.trim_end_matches('/')).parse().map_err(|_| bad())?;
        if uri.scheme_str() != Some("http") || uri.host().is_none() {
            return Err(bad());
        }
        let (queue, waiting) = mpsc::channel(QUEUE);
        let sender = tokio::spawn(send_all(uri, waiting));
        Ok(Self { open: Mutex::new(Some(Open { queue, sender })) })
    }

    /// Takes steps, if their trace is kept and there is room.
    pub fn take(&self, steps: impl IntoIterator<Item = Step>) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &*open else { return };
        for step in steps.into_iter().filter(|step| step.context.sampled) {
            if open.queue.try_send(step).is_err() {
                tracing::debug!("a step of a trace was dropped: the collector is too slow");
            }
        }
    }

    /// Takes no more, and sends what waits, for as long as a collector may take.
    pub async fn close(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Open { queue, sender }) = open else { return };
        drop(queue);
        // A panic there has been logged, and its steps are lost.
        let _ = tokio::time::timeout(TIMEOUT, sender).await;
    }
}

async fn send_all(uri: Uri, mut waiting: mpsc::Receiver<Step>) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut is_healthy = true;
    while let Some(first) = waiting.recv().await {
        let mut batch = vec![first];
        let _ = tokio::time::timeout(PAUSE, async {
            while batch.len() < BATCH {
                let Some(step) = waiting.recv().await else { break };
                batch.push(step);
            }
        })
        .await;
        let outcome = send(&client, &uri, &batch).await;
        // Said once, not once a second.
        match &outcome {
            Ok(()) if !is_healthy => tracing::info!("the trace collector can be reached again"),
            Err(error) if is_healthy => tracing::warn!(error, %uri, "the trace collector cannot be reached"),
            _ => {}
        }
        is_healthy = outcome.is_ok();
    }
}

async fn send(client: &Client<HttpConnector, Full<Bytes>>, uri: &Uri, steps: &[Step]) -> Result<(), String> {
    let body = Full::from(document(steps).to_string());
    let request = Request::post(uri.clone())
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|error| error.to_string())?;
    let answer = tokio::time::timeout(TIMEOUT, client.request(request)).await;
    let answer =
        answer.map_err(|_| "it does not answer in time".to_owned())?.map_err(|error| error.to_string())?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("it answers with status {status}")),
    }
}

fn document(steps: &[Step]) -> Value {
    let spans: Vec<Value> = steps.iter().map(span).collect();
    let resource = [("service.name", json!("sentor")), ("service.version", json!(env!("CARGO_PKG_VERSION")))];
    json!({"resourceSpans": [{
        "resource": {"attributes": attributes(&resource)},
        "scopeSpans": [{"scope": {"name": "sentor"}, "spans": spans}],
    }]})
}

fn span(step: &Step) -> Value {
    // The numbers of the format's enumerations: kind internal or server; status unset or error.
    let (kind, status) = (if step.is_server { 2 } else { 1 }, if step.has_failed { 2 } else { 0 });
    let start = step.start.as_nanosecond();
    let end = start + i128::try_from(step.duration.as_nanos()).unwrap_or(i128::MAX - start);
    json!({
        "traceId": step.context.trace_id.to_string(),
        "spanId": step.context.span_id.to_string(),
        "parentSpanId": step.context.parent_id.map(|id| id.to_string()).unwrap_or_default(),
        "name": step.name,
        "kind": kind,
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": attributes(&step.attributes),
        "status": {"code": status},
    })
}

fn attributes(pairs: &[(&str, Value)]) -> Value {
    let typed = |value: &Value| match value {
        // The format writes whole numbers as text.
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::String(text) => json!({"stringValue": text}),
        other => json!({"stringValue": other.to_string()}),
    };
    pairs.iter().map(|(name, value)| json!({"key": name, "value": typed(value)})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_http_address_is_one() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            assert!(Exporter::start("http://127.0.0.1:4318/").is_ok());
            for endpoint in ["", "127.0.0.1:4318", "https://collector.example", "http://", "grpc://a:1"] {
                assert!(Exporter::start(endpoint).is_err(), "{endpoint}");
            }
        });
    }
}
