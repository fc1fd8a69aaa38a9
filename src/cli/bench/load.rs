//! Sends requests when they are due, and records the outcome of each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::mpsc;

use super::documents::Workload;
use crate::telemetry::process_time;

/// One measurement to make.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) url: String,
    pub(super) keys: Vec<String>,
    pub(super) pace: Pace,
    pub(super) counted: Duration,
    pub(super) warm_up: Duration,
    pub(super) seed: u64,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// Open loop: at a fixed rate, in requests per second.
    Open { rate: f64, arrivals: Arrivals },
    /// Closed loop: each connection sends its next request when it has the answer to the last one.
    Closed { connections: usize },
}

/// Distribution of the requests of an open loop over time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arrivals {
    Constant,
    Poisson,
}

/// The result of a measurement.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    pub(super) pace: Pace,
    /// Seconds over which requests counted.
    pub(super) seconds: f64,
    pub(super) documents_per_request: usize,
    /// Requests that were due in the counted time.
    pub(super) requests: u64,
    /// Of these, answered 200.
    pub(super) succeeded: u64,
    /// Refused: 429 or 503.
    pub(super) refused: u64,
    /// Anything else, and no answer.
    pub(super) failed: u64,
    /// Message of the first failure.
    pub(super) first_failure: Option<String>,
    /// Microseconds from when a request was due until its answer was read, of those that succeeded.
    pub(super) latency_us: Histogram<u64>,
    /// The same of those that were refused.
    pub(super) refusal_us: Histogram<u64>,
    /// Average number of cores that the generator used, from the first request to the last answer; `None` if the system
    /// does not report it.
    pub(super) generator_cores: Option<f64>,
}

struct Finished {
    due: Instant,
    took: Duration,
    outcome: Result<StatusCode, String>,
}

type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// Maximum requests of an open loop in flight. Further requests count as failed, which bounds the generator's memory.
const MAX_IN_FLIGHT: usize = 20_000;
/// Pause of a closed loop after a request without an answer, so that it does not spin when the server is gone.
const AFTER_NO_ANSWER: Duration = Duration::from_millis(100);
/// Maximum recorded latency, an hour.
const MAX_LATENCY_US: u64 = 3_600_000_000;

pub(super) async fn run(plan: &Plan, workload: &Workload) -> anyhow::Result<Measurement> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: HttpClient = Client::builder(TokioExecutor::new()).build(connector);
    let (report, mut reports) = mpsc::unbounded_channel();
    let processor_before = process_time();
    let start = Instant::now();
    let counted_from = start + plan.warm_up;
    let end = counted_from + plan.counted;

    match plan.pace {
        Pace::Open { rate, arrivals } => {
            let (plan, workload) = (plan.clone(), workload.clone());
            tokio::spawn(open_loop(client, plan, workload, rate, arrivals, start, end, report));
        }
        Pace::Closed { connections } => {
            for number in 0..connections {
                let (client, plan, workload, report) =
                    (client.clone(), plan.clone(), workload.clone(), report.clone());
                tokio::spawn(async move {
                    let mut random = StdRng::seed_from_u64(plan.seed.wrapping_add(number as u64));
                    for turn in number.. {
                        let due = Instant::now();
                        if due >= end {
                            break;
                        }
                        let request = build(&plan, &workload, &mut random, turn);
                        let outcome = send(&client, request).await;
                        let is_unanswered = outcome.is_err();
                        if report.send(Finished { due, took: due.elapsed(), outcome }).is_err() {
                            break;
                        }
                        if is_unanswered {
                            tokio::time::sleep(AFTER_NO_ANSWER).await;
                        }
                    }
                });
            }
            drop(report);
        }
    }

    let histogram =
        || Histogram::new_with_bounds(1, MAX_LATENCY_US, 3).context("the histogram's bounds are in order");
    let mut measurement = Measurement {
        pace: plan.pace,
        seconds: plan.counted.as_secs_f64(),
        documents_per_request: workload.documents(),
        requests: 0,
        succeeded: 0,
        refused: 0,
        failed: 0,
        first_failure: None,
        latency_us: histogram()?,
        refusal_us: histogram()?,
        generator_cores: None,
    };
    while let Some(finished) = reports.recv().await {
        if finished.due >= counted_from {
            measurement.record(finished);
        }
    }
    if let (Some(before), Some(after)) = (processor_before, process_time()) {
        let used = after.saturating_sub(before);
        measurement.generator_cores = Some(used.as_secs_f64() / start.elapsed().as_secs_f64());
    }
    Ok(measurement)
}

impl Measurement {
    fn record(&mut self, finished: Finished) {
        let micros = u64::try_from(finished.took.as_micros()).unwrap_or(u64::MAX).max(1);
        self.requests += 1;
        match finished.outcome {
            Ok(StatusCode::OK) => {
                self.succeeded += 1;
                self.latency_us.saturating_record(micros);
            }
            Ok(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                self.refused += 1;
                self.refusal_us.saturating_record(micros);
            }
            Ok(status) => self.fail(format!("status {status}")),
            Err(problem) => self.fail(problem),
        }
    }

    fn fail(&mut self, problem: String) {
        self.failed += 1;
        self.first_failure.get_or_insert(problem);
    }
}

#[expect(clippy::too_many_arguments, reason = "one call, straight from the plan above")]
async fn open_loop(
    client: HttpClient,
    plan: Plan,
    workload: Workload,
    rate: f64,
    arrivals: Arrivals,
    start: Instant,
    end: Instant,
    report: mpsc::UnboundedSender<Finished>,
) {
    let mut random = StdRng::seed_from_u64(plan.seed);
    let in_flight = Arc::new(tokio::sync::Semaphore::new(MAX_IN_FLIGHT));
    let mut due = start;
    for turn in 0.. {
        let gap = match arrivals {
            Arrivals::Constant => 1.0 / rate,
            // The gaps of a Poisson process are exponential; 1 - u is never 0.
            Arrivals::Poisson => -(1.0 - random.random::<f64>()).ln() / rate,
        };
        due += Duration::from_secs_f64(gap);
        if due >= end {
            break;
        }
        let request = build(&plan, &workload, &mut random, turn);
        tokio::time::sleep_until(due.into()).await;
        let Ok(permit) = Arc::clone(&in_flight).try_acquire_owned() else {
            let outcome = Err("the generator has too many requests waiting".to_owned());
            let _ = report.send(Finished { due, took: due.elapsed(), outcome });
            continue;
        };
        let (client, report) = (client.clone(), report.clone());
        tokio::spawn(async move {
            let outcome = send(&client, request).await;
            // The receiver is gone only if the whole measurement was cancelled.
            let _ = report.send(Finished { due, took: due.elapsed(), outcome });
            drop(permit);
        });
    }
}

fn build(
    plan: &Plan,
    workload: &Workload,
    random: &mut StdRng,
    turn: usize,
) -> Result<Request<Full<Bytes>>, String> {
    let (language, body) = workload.request(random);
    Request::post(format!("{}/api/predicts?language={}", plan.url, language.code()))
        .header("x-api-key", &plan.keys[turn % plan.keys.len()])
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(|error| error.to_string())
}

async fn send(
    client: &HttpClient,
    request: Result<Request<Full<Bytes>>, String>,
) -> Result<StatusCode, String> {
    let response = client.request(request?).await.map_err(|error| format!("{error:?}"))?;
    let status = response.status();
    response.into_body().collect().await.map_err(|error| error.to_string())?;
    Ok(status)
}
