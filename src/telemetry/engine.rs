//! What the analyzer counts by itself, as metrics: read when they are asked for, not kept twice.

use std::time::Duration;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use sentor_analysis::AnalyzerStatistics;
use sentor_engine::{DurationStatistics, ModelStatistics};

/// The families of one moment's statistics. Those without a value (of models, where there are none) are left out.
pub(super) fn families(statistics: &AnalyzerStatistics) -> Vec<MetricFamily> {
    let engine = &statistics.engine;
    let models = |value: fn(&ModelStatistics) -> f64| -> Vec<(Vec<LabelPair>, f64)> {
        engine.models.iter().map(|model| (vec![label("model", &model.name)], value(model))).collect()
    };
    let refusals = [
        ("queue_full", engine.refusals.queue_full),
        ("deadline", engine.refusals.deadline),
        ("shutting_down", engine.refusals.shutting_down),
    ];
    let steps = [
        ("plan", &statistics.plans),
        ("wait", &engine.waits),
        ("run", &engine.runs),
        ("aggregate", &statistics.aggregations),
    ];
    let cache = &engine.cache;
    let all = [
        gauges("sentor_engine_workers", "Worker threads.", alone(engine.workers as f64)),
        gauges(
            "sentor_engine_waiting_rows",
            "Rows that wait for a worker, by model.",
            models(|model| model.waiting_rows as f64),
        ),
        gauges(
            "sentor_engine_waiting_tokens",
            "Tokens that wait for a worker, with padding, by model.",
            models(|model| model.waiting_tokens as f64),
        ),
        gauges(
            "sentor_engine_token_cost_seconds",
            "What a padded token is reckoned to cost one worker, by model.",
            models(|model| model.token_cost.as_secs_f64()),
        ),
        gauges(
            "sentor_engine_run_tokens",
            "Most tokens that a run is given, with padding, by model: as set, or as learnt.",
            models(|model| model.run_tokens as f64),
        ),
        counters("sentor_engine_runs_total", "Runs of a model.", models(|model| model.runs as f64)),
        counters(
            "sentor_engine_failed_runs_total",
            "Runs that failed, by model.",
            models(|model| model.failed_runs as f64),
        ),
        counters("sentor_engine_rows_total", "Rows run, by model.", models(|model| model.rows as f64)),
        counters(
            "sentor_engine_spans_total",
            "Spans read in rows: sentences, mentions and entities, by model.",
            models(|model| model.spans as f64),
        ),
        counters(
            "sentor_engine_tokens_total",
            "Tokens run, without padding, by model.",
            models(|model| model.tokens as f64),
        ),
        counters(
            "sentor_engine_padded_tokens_total",
            "Tokens run, with padding, by model.",
            models(|model| model.padded_tokens as f64),
        ),
        counters(
            "sentor_engine_busy_seconds_total",
            "Time that workers spent in runs, all workers together, by model.",
            models(|model| model.busy.as_secs_f64()),
        ),
        counters(
            "sentor_engine_refusals_total",
            "Requests that the engine did not take, by reason.",
            refusals.map(|(reason, count)| (vec![label("reason", reason)], count as f64)).to_vec(),
        ),
        counters(
            "sentor_engine_deduplicated_rows_total",
            "Rows that were not run because an equal one waited or ran already.",
            alone(engine.deduplicated_rows as f64),
        ),
        counters(
            "sentor_engine_abandoned_rows_total",
            "Rows whose callers gave up before they ran.",
            alone(engine.abandoned_rows as f64),
        ),
        gauges(
            "sentor_engine_stalled_seconds",
            "How long the oldest run has taken so far, or rows have waited without one of them being taken.",
            alone(engine.stalled.as_secs_f64()),
        ),
        counters("sentor_cache_hits_total", "Rows found in the cache.", alone(cache.hits as f64)),
        counters(
            "sentor_cache_misses_total",
            "Rows looked for in the cache and not found.",
            alone(cache.misses as f64),
        ),
        gauges("sentor_cache_entries", "Rows in the cache.", alone(cache.entries as f64)),
        gauges("sentor_cache_size_bytes", "What the cached rows take.", alone(cache.bytes as f64)),
        histograms(
            "sentor_predict_step_duration_seconds",
            "Time of each step of scoring: plan (text to tokens), wait (in the queue), run (of the model), aggregate.",
            steps.map(|(step, durations)| (vec![label("step", step)], durations)).to_vec(),
        ),
    ];
    all.into_iter().filter(|family| !family.get_metric().is_empty()).collect()
}

/// Processor time by kind of thread; none where the system does not tell.
pub(super) fn thread_family(times: &[(&'static str, Duration)]) -> Option<MetricFamily> {
    let values = times.iter().map(|(kind, time)| (vec![label("threads", kind)], time.as_secs_f64()));
    let family = counters(
        "sentor_thread_cpu_seconds_total",
        "Processor time by kind of thread: http (connections, parsing, single texts), planning (texts of large \
         requests), workers (the model), other.",
        values.collect(),
    );
    (!times.is_empty()).then_some(family)
}

fn alone(value: f64) -> Vec<(Vec<LabelPair>, f64)> {
    vec![(Vec::new(), value)]
}

pub(super) fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

pub(super) fn gauges(name: &str, help: &str, values: Vec<(Vec<LabelPair>, f64)>) -> MetricFamily {
    family(name, help, MetricType::GAUGE, values, |metric, value| {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    })
}

pub(super) fn counters(name: &str, help: &str, values: Vec<(Vec<LabelPair>, f64)>) -> MetricFamily {
    family(name, help, MetricType::COUNTER, values, |metric, value| {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    })
}

fn histograms(name: &str, help: &str, values: Vec<(Vec<LabelPair>, &DurationStatistics)>) -> MetricFamily {
    family(name, help, MetricType::HISTOGRAM, values, |metric, durations| {
        let buckets = durations.cumulative().map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(durations.count());
        histogram.set_sample_sum(durations.sum().as_secs_f64());
        metric.set_histogram(histogram);
    })
}

fn family<T>(
    name: &str,
    help: &str,
    kind: MetricType,
    values: Vec<(Vec<LabelPair>, T)>,
    set: impl Fn(&mut Metric, T),
) -> MetricFamily {
    let metrics = values.into_iter().map(|(labels, value)| {
        let mut metric = Metric::from_label(labels);
        set(&mut metric, value);
        metric
    });
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics.collect());
    family
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder as _, TextEncoder};

    use super::*;

    #[test]
    fn statistics_become_text() {
        let mut statistics = AnalyzerStatistics::default();
        statistics.engine.models = vec![ModelStatistics {
            name: "small".to_owned(),
            waiting_tokens: 64,
            busy: Duration::from_millis(1500),
            ..ModelStatistics::default()
        }];
        statistics.engine.cache.hits = 3;
        statistics.engine.waits.note(Duration::from_millis(3));
        let times = [("http", Duration::from_millis(250))];
        let families: Vec<MetricFamily> =
            families(&statistics).into_iter().chain(thread_family(&times)).collect();
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text).expect("the families are whole");
        let text = String::from_utf8(text).expect("the format is text");
        for line in [
            "sentor_engine_waiting_tokens{model=\"small\"} 64",
            "sentor_engine_busy_seconds_total{model=\"small\"} 1.5",
            "sentor_cache_hits_total 3",
            "sentor_predict_step_duration_seconds_bucket{step=\"wait\",le=\"0.0025\"} 0",
            "sentor_predict_step_duration_seconds_bucket{step=\"wait\",le=\"0.005\"} 1",
            "sentor_predict_step_duration_seconds_count{step=\"wait\"} 1",
            "sentor_thread_cpu_seconds_total{threads=\"http\"} 0.25",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
    }

    #[test]
    fn without_models_there_is_no_family_of_theirs() {
        let families = families(&AnalyzerStatistics::default());
        assert!(families.iter().all(|family| !family.get_metric().is_empty()));
    }
}
