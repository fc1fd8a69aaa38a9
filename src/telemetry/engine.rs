//! The statistics of the analyzer as metrics, read at each scrape.

use std::time::Duration;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use sentor_analysis::AnalyzerStatistics;
use sentor_engine::{DurationStatistics, EngineStatistics, ModelStatistics};

/// Converts statistics to metric families. Families without a value are left out.
pub(super) fn families(statistics: &AnalyzerStatistics) -> Vec<MetricFamily> {
    let engine = &statistics.engine;
    let steps = [
        ("plan", &statistics.plans),
        ("wait", &engine.waits),
        ("run", &engine.batches),
        ("aggregate", &statistics.aggregations),
    ];
    let cache = &engine.cache;
    let others = [
        counters("sentor_cache_hits_total", "Sequences found in the cache.", alone(cache.hits as f64)),
        counters(
            "sentor_cache_misses_total",
            "Sequences looked up in the cache and not found.",
            alone(cache.misses as f64),
        ),
        gauges("sentor_cache_entries", "Sequences in the cache.", alone(cache.entries as f64)),
        gauges("sentor_cache_size_bytes", "Memory of the cache.", alone(cache.bytes as f64)),
        histograms(
            "sentor_predict_step_duration_seconds",
            "Time of each step of scoring: plan (text to tokens), wait (in the queue), run (of a batch), aggregate.",
            steps.map(|(step, durations)| (vec![label("step", step)], durations)).to_vec(),
        ),
    ];
    let all = engine_families(engine).into_iter().chain(model_families(&engine.models)).chain(others);
    all.filter(|family| !family.get_metric().is_empty()).collect()
}

fn engine_families(engine: &EngineStatistics) -> Vec<MetricFamily> {
    let rejections = [
        ("queue_full", engine.rejections.queue_full),
        ("deadline", engine.rejections.deadline),
        ("shutting_down", engine.rejections.shutting_down),
    ];
    vec![
        gauges("sentor_engine_workers", "Configured worker threads.", alone(engine.workers as f64)),
        gauges(
            "sentor_engine_workers_alive",
            "Workers that are ready for batches or at work.",
            alone(engine.workers_alive as f64),
        ),
        counters(
            "sentor_engine_worker_replacements_total",
            "Workers that panicked and were replaced.",
            alone(engine.worker_replacements as f64),
        ),
        counters(
            "sentor_engine_rejections_total",
            "Requests that the engine rejected, by reason.",
            rejections.map(|(reason, count)| (vec![label("reason", reason)], count as f64)).to_vec(),
        ),
        counters(
            "sentor_engine_deduplicated_sequences_total",
            "Sequences that joined an equal one in place of being scored.",
            alone(engine.deduplicated_sequences as f64),
        ),
        counters(
            "sentor_engine_abandoned_sequences_total",
            "Sequences whose requests were withdrawn before they were scored.",
            alone(engine.abandoned_sequences as f64),
        ),
        gauges(
            "sentor_engine_stalled_seconds",
            "How long the oldest batch has been under way, or the queue has not moved.",
            alone(engine.stalled.as_secs_f64()),
        ),
    ]
}

fn model_families(all: &[ModelStatistics]) -> Vec<MetricFamily> {
    let models = |value: fn(&ModelStatistics) -> f64| -> Vec<(Vec<LabelPair>, f64)> {
        all.iter().map(|model| (vec![label("model", &model.name)], value(model))).collect()
    };
    vec![
        gauges(
            "sentor_engine_queued_sequences",
            "Sequences in the queue, by model.",
            models(|model| model.queued_sequences as f64),
        ),
        gauges(
            "sentor_engine_queued_tokens",
            "Tokens in the queue, with padding, by model.",
            models(|model| model.queued_tokens as f64),
        ),
        gauges(
            "sentor_engine_token_cost_seconds",
            "Estimated time of one worker for a token, by model.",
            models(|model| model.token_cost.as_secs_f64()),
        ),
        gauges(
            "sentor_engine_max_batch_tokens",
            "Most tokens in a batch, with padding, by model.",
            models(|model| model.max_batch_tokens as f64),
        ),
        counters(
            "sentor_engine_batches_total",
            "Batches that a model was given.",
            models(|model| model.batches as f64),
        ),
        counters(
            "sentor_engine_failed_batches_total",
            "Batches that a model failed on, so that their sequences were scored one by one, by model.",
            models(|model| model.failed_batches as f64),
        ),
        counters(
            "sentor_engine_failed_sequences_total",
            "Sequences that a model failed on, by model.",
            models(|model| model.failed_sequences as f64),
        ),
        counters(
            "sentor_engine_sequences_total",
            "Sequences in batches, by model.",
            models(|model| model.sequences as f64),
        ),
        counters(
            "sentor_engine_spans_total",
            "Spans scored in sequences: sentences, mentions and entities, by model.",
            models(|model| model.spans as f64),
        ),
        counters(
            "sentor_engine_tokens_total",
            "Tokens in batches, without padding, by model.",
            models(|model| model.tokens as f64),
        ),
        counters(
            "sentor_engine_padded_tokens_total",
            "Tokens in batches, with padding, by model.",
            models(|model| model.padded_tokens as f64),
        ),
        counters(
            "sentor_engine_busy_seconds_total",
            "Time in a model, all workers together, by model.",
            models(|model| model.busy.as_secs_f64()),
        ),
    ]
}

/// Processor time by kind of thread; `None` if the system does not report it.
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
            queued_tokens: 64,
            busy: Duration::from_millis(1500),
            ..ModelStatistics::default()
        }];
        statistics.engine.cache.hits = 3;
        statistics.engine.waits.record(Duration::from_millis(3));
        let times = [("http", Duration::from_millis(250))];
        let families: Vec<MetricFamily> =
            families(&statistics).into_iter().chain(thread_family(&times)).collect();
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text).expect("the families are whole");
        let text = String::from_utf8(text).expect("the format is text");
        for line in [
            "sentor_engine_queued_tokens{model=\"small\"} 64",
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
    fn without_models_there_are_no_model_families() {
        let families = families(&AnalyzerStatistics::default());
        assert!(families.iter().all(|family| !family.get_metric().is_empty()));
    }
}
