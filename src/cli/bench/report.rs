//! Prints the results of a benchmark.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::load::{Measurement, Pace};

const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

impl Measurement {
    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.seconds
    }

    fn latency_ms(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1000.0
    }

    fn load(&self) -> String {
        match self.pace {
            Pace::Open { rate, .. } => format!("{rate}/s"),
            Pace::Closed { connections } => format!("{connections} conn."),
        }
    }
}

/// Returns a table with a line for each measurement. Rates count requests answered with 200.
pub(super) fn table(measured: &[Measurement]) -> String {
    let mut out =
        format!("{:>12} {:>10} {:>10} {:>8} {:>8}", "load", "requests/s", "docs/s", "refused", "failed");
    for (name, _) in QUANTILES {
        let _ = write!(out, " {:>9}", format!("{name} ms"));
    }
    out.push('\n');
    for one in measured {
        let rate = one.per_second(one.succeeded);
        let documents = rate * one.documents_per_request as f64;
        let _ = write!(
            out,
            "{:>12} {rate:>10.1} {documents:>10.1} {:>8} {:>8}",
            one.load(),
            one.refused,
            one.failed
        );
        for (_, quantile) in QUANTILES {
            let _ = write!(out, " {:>9.2}", one.latency_ms(quantile));
        }
        out.push('\n');
        if let Some(problem) = &one.first_failure {
            let _ = writeln!(out, "{:>12} first failure: {problem}", "");
        }
    }
    out
}

pub(super) fn json(measured: &[Measurement]) -> serde_json::Result<String> {
    let describe = |one: &Measurement| {
        let (rate, connections) = match one.pace {
            Pace::Open { rate, .. } => (json!(rate), Value::Null),
            Pace::Closed { connections } => (Value::Null, json!(connections)),
        };
        let quantiles = |histogram: &hdrhistogram::Histogram<u64>| -> Value {
            let at = |&(name, quantile): &(&str, f64)| {
                (name.to_owned(), json!(histogram.value_at_quantile(quantile) as f64 / 1000.0))
            };
            Value::Object(QUANTILES.iter().map(at).collect())
        };
        json!({
            "offered_rate": rate, "connections": connections, "seconds": one.seconds,
            "documents_per_request": one.documents_per_request, "requests": one.requests,
            "succeeded": one.succeeded, "refused": one.refused, "failed": one.failed,
            "first_failure": one.first_failure, "succeeded_per_second": one.per_second(one.succeeded),
            "documents_per_second": one.per_second(one.succeeded) * one.documents_per_request as f64,
            "generator_cores": one.generator_cores,
            "latency_ms": quantiles(&one.latency_us), "refusal_ms": quantiles(&one.refusal_us),
        })
    };
    let mut text = serde_json::to_string_pretty(&measured.iter().map(describe).collect::<Vec<_>>())?;
    text.push('\n');
    Ok(text)
}

/// Returns a chart of latency (logarithmic) against the offered rate, or in a closed loop against the reached one.
pub(super) fn svg(measured: &[Measurement]) -> String {
    const WIDTH: f64 = 720.0;
    const HEIGHT: f64 = 420.0;
    const LEFT: f64 = 70.0;
    const BOTTOM: f64 = 50.0;
    const TOP: f64 = 20.0;
    const RIGHT: f64 = 90.0;
    let rate_of = |one: &Measurement| match one.pace {
        Pace::Open { rate, .. } => rate,
        Pace::Closed { .. } => one.per_second(one.succeeded),
    };
    let most = measured.iter().map(rate_of).fold(1.0, f64::max);
    let slowest = measured.iter().map(|one| one.latency_ms(0.99)).fold(10.0, f64::max);
    let decades = slowest.log10().ceil().max(1.0);
    // From a tenth of a millisecond up.
    let y =
        |ms: f64| HEIGHT - BOTTOM - (ms.max(0.1).log10() + 1.0) / (decades + 1.0) * (HEIGHT - BOTTOM - TOP);
    let x = |rate: f64| LEFT + rate / most * (WIDTH - LEFT - RIGHT);

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut decade = 0.1;
    while decade <= slowest * 10.0 && decade.log10() <= decades {
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {0:.1}H{1}\" stroke=\"#ddd\"/><text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{decade} ms</text>",
            y(decade),
            WIDTH - RIGHT,
            LEFT - 6.0,
            y(decade) + 4.0
        );
        decade *= 10.0;
    }
    for step in 0..=4 {
        let rate = most * f64::from(step) / 4.0;
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{rate:.0}</text>",
            x(rate),
            HEIGHT - BOTTOM + 18.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">requests per second</text>",
        WIDTH / 2.0,
        HEIGHT - 10.0
    );
    for (name, quantile, colour) in
        [("p50", 0.5, "#1b6ca8"), ("p90", 0.9, "#b8860b"), ("p99", 0.99, "#a8321b")]
    {
        let points: Vec<String> = measured
            .iter()
            .map(|one| format!("{:.1},{:.1}", x(rate_of(one)), y(one.latency_ms(quantile))))
            .collect();
        let _ = writeln!(
            out,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            points.join(" ")
        );
        if let Some(last) = measured.last() {
            let (at_x, at_y) = (x(rate_of(last)) + 8.0, y(last.latency_ms(quantile)) + 4.0);
            let _ = writeln!(out, "<text x=\"{at_x:.1}\" y=\"{at_y:.1}\" fill=\"{colour}\">{name}</text>");
        }
    }
    out.push_str("</svg>\n");
    out
}
