//! The queue of jobs, as metrics.

use jiff::Timestamp;
use prometheus::proto::MetricFamily;

use super::engine::{counters, gauges, label};
use sentor_jobs::RunnerStatistics;
use sentor_store::jobs::JobQueueStatistics;

/// What is known of jobs at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobReadings {
    /// Of the store.
    pub queue: JobQueueStatistics,
    /// Of this process.
    pub runner: RunnerStatistics,
    /// The moment.
    pub now: Timestamp,
}

pub(super) fn families(readings: &JobReadings) -> Vec<MetricFamily> {
    let JobReadings { queue, runner, now } = readings;
    let oldest = queue.oldest_queued.map_or(0.0, |at| now.duration_since(at).as_secs_f64().max(0.0));
    let one = |value: f64| vec![(Vec::new(), value)];
    let chunks = [("waiting", queue.chunks_waiting), ("claimed", queue.chunks_leased)];
    let ends = [
        ("completed", runner.completed_chunks),
        ("failed", runner.failed_chunks),
        ("lost", runner.lost_chunks),
    ];
    let labelled = |name: &str, values: &[(&str, u64)]| {
        values.iter().map(|(value, count)| (vec![label(name, value)], *count as f64)).collect()
    };
    vec![
        gauges("sentor_jobs_active", "Jobs that have not ended.", one(queue.active_jobs as f64)),
        gauges(
            "sentor_job_rows_waiting",
            "Rows of jobs that are not yet scored.",
            one(queue.rows_waiting as f64),
        ),
        gauges(
            "sentor_job_chunks",
            "Chunks of jobs, by state: waiting, claimed.",
            labelled("state", &chunks),
        ),
        gauges(
            "sentor_job_oldest_queued_seconds",
            "Age of the oldest job of which no row has been scored; 0 if there is none.",
            one(oldest),
        ),
        counters(
            "sentor_job_chunks_total",
            "Chunks of jobs that this process worked on, by their end: completed, failed, lost (the claim ran out, or the \
             job ended meanwhile).",
            labelled("end", &ends),
        ),
    ]
}
