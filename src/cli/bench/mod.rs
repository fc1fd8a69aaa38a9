//! `sentor bench`: puts load on a running server, and measures rate and latency.
//!
//! Open loop (`--rate`): requests start when they are due, independent of earlier ones, and latency counts from the due
//! time. A stalled server therefore cannot hide the requests that it delays (Gil Tene's "coordinated omission"). Closed
//! loop (`--connections` alone): each connection sends its next request when it has the answer to the last one, which
//! finds the highest rate.

mod documents;
mod load;
mod report;

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::{Exit, GlobalArgs};
use documents::Workload;
use load::{Arrivals, Pace, Plan};

/// Puts load on a running server and reports rate and latency
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// Base address of the server
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// API key; if given several times, requests use them in turn
    #[arg(
        long = "key",
        env = "SENTOR_API_KEY",
        hide_env_values = true,
        value_delimiter = ',',
        required = true
    )]
    keys: Vec<String>,
    /// Requests per second (open loop); several, separated by commas, are run one after another
    #[arg(long, value_delimiter = ',')]
    rate: Vec<f64>,
    /// When requests of an open loop are due
    #[arg(long, value_enum, default_value = "poisson")]
    arrivals: ArrivalsArg,
    /// Connections of a closed loop
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Measured seconds, for each rate
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds of warm-up before them
    #[arg(long, default_value_t = 2.0)]
    warm_up_seconds: f64,
    /// Documents in a request
    #[arg(long, default_value_t = 1)]
    documents: usize,
    /// Sentences in a document: a number, or `mixed` for 1 to 12
    #[arg(long, default_value = "1")]
    sentences: String,
    /// Entities in a document
    #[arg(long, default_value_t = 1)]
    entities: usize,
    /// `en`, `nl` or `mixed`
    #[arg(long, default_value = "en")]
    language: String,
    /// Seed of the texts and of Poisson arrivals
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Write latency against offered load to this SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<std::path::PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ArrivalsArg {
    /// At equal distances.
    Constant,
    /// At random, as from many independent callers.
    Poisson,
}

pub(crate) fn run(args: &BenchArgs, _global: &GlobalArgs) -> anyhow::Result<Exit> {
    let workload = Workload::new(&args.language, &args.sentences, args.entities, args.documents)?;
    if !(args.seconds > 0.0 && args.seconds < 86_400.0 && (0.0..86_400.0).contains(&args.warm_up_seconds)) {
        bail!(
            "--seconds must be above 0 and below a day, and --warm-up-seconds neither negative nor above that"
        );
    }
    if args.rate.iter().any(|rate| !(*rate > 0.0 && *rate <= 1e6)) {
        bail!("--rate must be above 0 and at most 1,000,000 requests per second");
    }
    let paces: Vec<Pace> = if args.rate.is_empty() {
        vec![Pace::Closed { connections: args.connections.max(1) }]
    } else {
        let arrivals = match args.arrivals {
            ArrivalsArg::Constant => Arrivals::Constant,
            ArrivalsArg::Poisson => Arrivals::Poisson,
        };
        args.rate.iter().map(|&rate| Pace::Open { rate, arrivals }).collect()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut measured = Vec::new();
    for pace in paces {
        let plan = Plan {
            url: args.url.trim_end_matches('/').to_owned(),
            keys: args.keys.clone(),
            pace,
            counted: Duration::from_secs_f64(args.seconds),
            warm_up: Duration::from_secs_f64(args.warm_up_seconds),
            seed: args.seed,
        };
        measured.push(runtime.block_on(load::run(&plan, &workload))?);
    }
    if let Some(path) = &args.plot {
        std::fs::write(path, report::svg(&measured))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let text = if args.json { report::json(&measured)? } else { report::table(&measured) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if measured.iter().all(|one| one.failed == 0) { Exit::Ok } else { Exit::Failure })
}
