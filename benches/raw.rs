//! Measures ONNX Runtime alone with a model of the repository: the rate to which the goals are relative.
//!
//! `sweep` tries sessions, threads and shapes, and reports the best; `rate` measures one of them for longer; `latency`
//! is the time of one run of one sequence. All print one line of JSON. There is no tokenizer, no queue and no padding.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use ort::environment::Environment;
use sentor_engine::available_cores;
use sentor_engine::encode::Sequence;
use sentor_engine::registry::ModelFolder;
use serde_json::{Value, json};

#[path = "support/bare.rs"]
mod bare;
#[path = "support/mod.rs"]
mod support;

use bare::Bare;

/// Rates of ONNX Runtime alone, as JSON
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    measure: Option<Measure>,
    /// Name of a folder in `models/`
    #[arg(long, default_value = "sentor-en", global = true)]
    model: String,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 0.5, global = true)]
    seconds: f64,
    /// Passed by cargo to every benchmark; ignored
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Measure {
    /// All shapes, with a session for each core and with one over all of them (the default)
    Sweep,
    /// Tokens per second of one configuration
    Rate(Configuration),
    /// Microseconds of one run of one sequence, on one thread
    Latency {
        /// Its length, special tokens included
        #[arg(long, default_value_t = 20)]
        tokens: usize,
    },
}

/// Parallel sessions, and the input of each.
#[derive(Clone, Copy, clap::Args)]
struct Configuration {
    /// Sessions, each on a thread of its own
    #[arg(long)]
    sessions: usize,
    /// Threads of each session
    #[arg(long)]
    threads: usize,
    /// Sequences in a run
    #[arg(long)]
    rows: usize,
    /// Tokens in a sequence
    #[arg(long)]
    tokens: usize,
}

/// Sequences and their length: from a single sequence to batches larger than a core's cache.
const SHAPES: [(usize, usize); 9] =
    [(1, 32), (2, 32), (4, 24), (4, 32), (8, 24), (8, 32), (16, 16), (32, 32), (2, 128)];

fn main() {
    let arguments = Arguments::parse();
    let folder =
        ModelFolder::open(&support::models_dir().join(&arguments.model)).expect("a folder in models/");
    let environment = bare::environment();
    let seconds = Duration::from_secs_f64(arguments.seconds);
    let bench = Bench { environment, network: folder.network(), folder, seconds };
    let found = match arguments.measure.unwrap_or(Measure::Sweep) {
        Measure::Sweep => bench.sweep(),
        Measure::Rate(configuration) => bench.describe(configuration),
        Measure::Latency { tokens } => bench.latency(tokens),
    };
    println!("{found}");
}

struct Bench {
    environment: Environment,
    folder: ModelFolder,
    network: PathBuf,
    seconds: Duration,
}

impl Bench {
    fn sweep(&self) -> Value {
        let cores = available_cores();
        let ways = if cores > 1 { vec![(cores, 1), (1, cores)] } else { vec![(1, 1)] };
        let configurations = ways.into_iter().flat_map(|(sessions, threads)| {
            SHAPES.map(|(rows, tokens)| Configuration { sessions, threads, rows, tokens })
        });
        let all: Vec<Value> = configurations.map(|configuration| self.describe(configuration)).collect();
        let rate = |one: &Value| one["tokens_per_second"].as_f64().unwrap_or(0.0);
        let best = all.iter().max_by(|left, right| rate(left).total_cmp(&rate(right)));
        json!({ "best": best, "all": all })
    }

    fn describe(&self, configuration: Configuration) -> Value {
        let Configuration { sessions, threads, rows, tokens } = configuration;
        json!({
            "sessions": sessions, "threads": threads, "rows": rows, "tokens": tokens,
            "tokens_per_second": self.rate(configuration),
        })
    }

    /// Tokens per second of all sessions together, after a warm-up of three runs each.
    fn rate(&self, configuration: Configuration) -> f64 {
        let rows = vec![bare::sequence(&self.folder, configuration.tokens); configuration.rows];
        let (begin, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let sessions: Vec<_> = (0..configuration.sessions)
                .map(|_| {
                    let (rows, begin, stop) = (&rows, &begin, &stop);
                    let mut session = self.session(configuration.threads);
                    scope.spawn(move || {
                        warm_up(&mut session, rows);
                        while !begin.load(Ordering::Acquire) {
                            thread::yield_now();
                        }
                        let started = Instant::now();
                        let mut runs = 0_u32;
                        while !stop.load(Ordering::Acquire) {
                            session.run(rows).expect("the model runs");
                            runs += 1;
                        }
                        f64::from(runs) / started.elapsed().as_secs_f64()
                    })
                })
                .collect();
            begin.store(true, Ordering::Release);
            thread::sleep(self.seconds);
            stop.store(true, Ordering::Release);
            let runs: f64 =
                sessions.into_iter().map(|session| session.join().expect("it does not panic")).sum();
            runs * (configuration.rows * configuration.tokens) as f64
        })
    }

    /// Median and mean of consecutive runs.
    fn latency(&self, tokens: usize) -> Value {
        let mut session = self.session(1);
        let rows = [bare::sequence(&self.folder, tokens)];
        warm_up(&mut session, &rows);
        let started = Instant::now();
        let mut micros = Vec::new();
        while started.elapsed() < self.seconds {
            let begun = Instant::now();
            session.run(&rows).expect("the model runs");
            micros.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        let mean = micros.iter().sum::<f64>() / micros.len() as f64;
        micros.sort_by(f64::total_cmp);
        json!({ "tokens": tokens, "median_us": micros[micros.len() / 2], "mean_us": mean, "runs": micros.len() })
    }

    fn session(&self, threads: usize) -> Bare {
        Bare::load(&self.environment, &self.network, threads).expect("the model loads")
    }
}

fn warm_up(session: &mut Bare, rows: &[Sequence]) {
    for _ in 0..3 {
        session.run(rows).expect("the model runs");
    }
}
