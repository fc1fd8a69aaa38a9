//! `sentor jobs`: submits, follows and reads jobs of a running server.

mod client;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use futures_util::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use super::table::table;
use super::{Exit, GlobalArgs, print};
use client::{JobClient, Method};

/// Submit, follow and read jobs of a running server
///
/// A job scores a file of any size on the server, beneath its other requests. The results can be read in the order of the
/// file while the job runs, and it outlives a restart of the server. The key needs the scope `jobs`.
#[derive(Args, Debug)]
pub(crate) struct JobsArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(subcommand)]
    command: JobsCommand,
}

/// The server, and the key for it.
#[derive(Args, Debug)]
struct ServerArgs {
    /// Base address of the server
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// API key
    #[arg(long, global = true, env = "SENTOR_API_KEY", hide_env_values = true, value_name = "KEY")]
    key: Option<String>,
}

#[derive(Subcommand, Debug)]
enum JobsCommand {
    /// Send a file to be scored, and print the identifier of its job
    Submit(SubmitArgs),
    /// List jobs, the newest first
    List {
        /// Only jobs in this status
        #[arg(long)]
        status: Option<String>,
        /// Jobs at most
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
        limit: u16,
    },
    /// Show where a job stands
    Status {
        /// Identifier of the job
        id: String,
        /// Wait until it has ended, with a progress bar
        #[arg(long)]
        follow: bool,
        /// How to print it
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Print the results so far as JSON Lines, in the order of the input
    Results {
        /// Identifier of the job
        id: String,
        /// Number of the row after which to start
        #[arg(long, value_name = "ROW", default_value_t = 0)]
        after: u64,
        /// Go on printing until the job has ended
        #[arg(long)]
        follow: bool,
    },
    /// Print the rows that could not be scored as JSON Lines
    Errors {
        /// Identifier of the job
        id: String,
    },
    /// Start no more of a job until it is resumed
    Pause {
        /// Identifier of the job
        id: String,
    },
    /// Go on with a paused job
    Resume {
        /// Identifier of the job
        id: String,
    },
    /// End a job, and keep its results so far
    Cancel {
        /// Identifier of the job
        id: String,
    },
    /// Remove a job with its input and results at once
    Delete {
        /// Identifier of the job
        id: String,
    },
}

#[derive(Args, Debug)]
struct SubmitArgs {
    /// File of JSON Lines, as `sentor predict` reads it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Score toward NAME in every row, beside the row's own entities; repeatable
    #[arg(long = "entity", short = 'e', value_name = "NAME")]
    entities: Vec<String>,
    /// Language of the texts: en, nl or auto
    #[arg(long, short, value_name = "LANGUAGE", default_value = "en")]
    language: String,
    /// Count a pronoun as a mention of the one entity that it can stand for
    #[arg(long)]
    pronouns: bool,
    /// Member with the text [default: doc or text]
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// Member with the identifier [default: `doc_id` or `id`]
    #[arg(long, value_name = "NAME")]
    id_column: Option<String>,
    /// Member with the entities [default: entities]
    #[arg(long, value_name = "NAME")]
    entities_column: Option<String>,
    /// Fail the job with the first row that cannot be scored, in place of listing it in the error file
    #[arg(long)]
    fail_on_error: bool,
    /// Place among the account's jobs
    #[arg(long, value_enum, default_value = "normal")]
    priority: Priority,
    /// Time after which the job ends, such as 24h
    #[arg(long, value_name = "TIME")]
    expires_after: Option<String>,
    /// Time for which the results are kept, such as 7d
    #[arg(long, value_name = "TIME")]
    keep_results: Option<String>,
    /// A name of your own for this submission: a repetition within a day gives the same job
    #[arg(long, value_name = "TEXT")]
    idempotency_key: Option<String>,
    /// Wait until the job has ended, with a progress bar
    #[arg(long)]
    follow: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Priority {
    Low,
    Normal,
    High,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// A job, as far as this command shows it.
#[derive(Debug, Deserialize)]
struct Job {
    id: String,
    status: String,
    failure: Option<String>,
    counts: Counts,
    progress: f64,
    documents_per_second: Option<f64>,
    eta_seconds: Option<f64>,
    created_at: String,
    finished_at: Option<String>,
    results: Results,
}

#[derive(Debug, Deserialize)]
struct Counts {
    total: u64,
    succeeded: u64,
    failed: u64,
}

#[derive(Debug, Deserialize)]
struct Results {
    available_rows: u64,
    complete: bool,
}

#[derive(Debug, Deserialize)]
struct JobList {
    jobs: Vec<Job>,
    next: Option<String>,
}

impl Job {
    fn has_ended(&self) -> bool {
        ["completed", "cancelled", "failed", "expired"].contains(&self.status.as_str())
    }

    /// The exit code for a job that was waited for.
    fn exit(&self) -> Exit {
        match self.status.as_str() {
            "completed" if self.counts.failed > 0 => Exit::SomeInputFailed,
            "completed" => Exit::Ok,
            _ => Exit::Failure,
        }
    }

    /// What became of an ended job, as a sentence for people.
    fn verdict(&self) -> String {
        let Counts { total, succeeded, failed } = self.counts;
        let failed = if failed > 0 { format!(", {failed} in the error file") } else { String::new() };
        let reason = self.failure.as_ref().map_or_else(String::new, |reason| format!("; {reason}"));
        format!("{} {}: {succeeded} of {total} rows scored{failed}{reason}", self.id, self.status)
    }
}

/// Runs the command.
pub(crate) fn run(args: &JobsArgs, _: &GlobalArgs) -> anyhow::Result<Exit> {
    let key = args.server.key.as_deref().context("there is no key: set SENTOR_API_KEY or give --key")?;
    let client = JobClient::new(&args.server.url, key)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exit = runtime.block_on(async {
        match &args.command {
            JobsCommand::Submit(args) => submit(&client, args).await,
            JobsCommand::List { status, limit } => list(&client, status.as_deref(), *limit).await,
            JobsCommand::Status { id, follow, format } => status(&client, id, *follow, *format).await,
            JobsCommand::Results { id, after, follow } => results(&client, id, *after, *follow).await,
            JobsCommand::Errors { id } => {
                copy(client.stream(&format!("jobs/{id}/errors"), &[]).await?).await?;
                Ok(Exit::Ok)
            }
            JobsCommand::Pause { id } => step(&client, id, "pause").await,
            JobsCommand::Resume { id } => step(&client, id, "resume").await,
            JobsCommand::Cancel { id } => step(&client, id, "cancel").await,
            JobsCommand::Delete { id } => {
                client.call(Method::DELETE, &format!("jobs/{id}"), &[]).await?;
                Ok(Exit::Ok)
            }
        }
    });
    // A name that is still being looked up must not hold up the end.
    runtime.shutdown_background();
    exit
}

async fn submit(client: &JobClient, args: &SubmitArgs) -> anyhow::Result<Exit> {
    let priority = match args.priority {
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
    };
    let mut query = vec![("language", args.language.as_str()), ("priority", priority)];
    query.extend(args.entities.iter().map(|entity| ("entity", entity.as_str())));
    if args.pronouns {
        query.push(("pronouns", "true"));
    }
    if args.fail_on_error {
        query.push(("on_error", "fail"));
    }
    let options = [
        ("doc_column", &args.text_column),
        ("doc_id_column", &args.id_column),
        ("entities_column", &args.entities_column),
        ("expires_after", &args.expires_after),
        ("keep_results", &args.keep_results),
    ];
    query.extend(options.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
    let job: Job = client.upload(&args.file, &query, args.idempotency_key.as_deref()).await?;
    print(format!("{}\n", job.id).as_bytes())?;
    if !args.follow {
        return Ok(Exit::Ok);
    }
    let job = follow(client, &job.id).await?;
    eprintln!("{}", job.verdict());
    Ok(job.exit())
}

async fn list(client: &JobClient, status: Option<&str>, limit: u16) -> anyhow::Result<Exit> {
    let limit = limit.to_string();
    let mut query = vec![("limit", limit.as_str())];
    query.extend(status.map(|status| ("status", status)));
    let page: JobList = client.get("jobs", &query).await?;
    let rows = page.jobs.iter().map(|job| {
        let Counts { total, succeeded, failed } = job.counts;
        [
            job.id.clone(),
            job.status.clone(),
            job.created_at.clone(),
            format!("{:.0} %", job.progress * 100.0),
            total.to_string(),
            succeeded.to_string(),
            failed.to_string(),
        ]
    });
    let head = ["id", "status", "created", "done", "rows", "scored", "failed"].map(str::to_owned);
    let rows: Vec<[String; 7]> = [head].into_iter().chain(rows).collect();
    print(table(&rows).as_bytes())?;
    if page.next.is_some() {
        eprintln!("there are older jobs: --limit shows more");
    }
    Ok(Exit::Ok)
}

async fn status(client: &JobClient, id: &str, follows: bool, format: Format) -> anyhow::Result<Exit> {
    let followed = if follows { Some(follow(client, id).await?) } else { None };
    let body = client.call(Method::GET, &format!("jobs/{id}"), &[]).await?;
    match format {
        Format::Json => print(&[&body[..], b"\n"].concat())?,
        Format::Text => print(describe(&serde_json::from_slice(&body)?).as_bytes())?,
    }
    Ok(followed.map_or(Exit::Ok, |job| job.exit()))
}

/// A job in words, one fact on each line.
fn describe(job: &Job) -> String {
    let Counts { total, succeeded, failed } = job.counts;
    let mut lines = vec![
        format!("{} {}", job.id, job.status),
        format!("  submitted  {}", job.created_at),
        format!(
            "  rows       {succeeded} scored and {failed} failed of {total}, {:.1} % done",
            job.progress * 100.0
        ),
        format!("  results    {} rows can be read", job.results.available_rows),
    ];
    if let (Some(rate), None) = (job.documents_per_second, &job.finished_at) {
        let left = job.eta_seconds.map_or_else(String::new, |eta| format!(", about {eta:.0} s left"));
        lines.push(format!("  rate       {rate:.0} rows a second{left}"));
    }
    lines.extend(job.finished_at.as_ref().map(|at| format!("  ended      {at}")));
    lines.extend(job.failure.as_ref().map(|failure| format!("  reason     {failure}")));
    lines.join("\n") + "\n"
}

async fn step(client: &JobClient, id: &str, step: &str) -> anyhow::Result<Exit> {
    let body = client.call(Method::POST, &format!("jobs/{id}/{step}"), &[]).await?;
    let job: Job = serde_json::from_slice(&body)?;
    print(format!("{} {}\n", job.id, job.status).as_bytes())?;
    Ok(Exit::Ok)
}

async fn results(client: &JobClient, id: &str, after: u64, follows: bool) -> anyhow::Result<Exit> {
    let path = format!("jobs/{id}/results");
    let mut after = after;
    loop {
        // The job first: rows that come later are printed in the next round.
        let job: Job = client.get(&format!("jobs/{id}"), &[]).await?;
        if job.results.available_rows > after {
            let given = after.to_string();
            let available = copy(client.stream(&path, &[("after", &given)]).await?).await?;
            after = available.unwrap_or(job.results.available_rows);
        }
        if !follows || (job.results.complete && after >= job.results.available_rows) {
            return Ok(if follows { job.exit_when_complete() } else { Exit::Ok });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

impl Job {
    /// The exit code for a job whose results are complete, though it may still remove its input.
    fn exit_when_complete(&self) -> Exit {
        if self.status == "finalizing" && self.counts.failed == 0 { Exit::Ok } else { self.exit() }
    }
}

/// Copies an answer to stdout as it comes. Returns how many rows the server said are available.
async fn copy(response: reqwest::Response) -> anyhow::Result<Option<u64>> {
    let available = response.headers().get("x-available-rows");
    let available = available.and_then(|value| value.to_str().ok()?.parse().ok());
    let mut pieces = response.bytes_stream();
    let mut stdout = std::io::stdout().lock();
    while let Some(piece) = pieces.next().await {
        stdout.write_all(&piece.context("the answer ended before its end")?)?;
    }
    stdout.flush()?;
    Ok(available)
}

/// Waits until a job has ended, with a progress bar on stderr.
async fn follow(client: &JobClient, id: &str) -> anyhow::Result<Job> {
    let style = ProgressStyle::with_template("{bar:30} {percent} %, {msg}, {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(1000).with_style(style);
    loop {
        let job: Job = client.get(&format!("jobs/{id}"), &[]).await?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000")]
        bar.set_position((job.progress.clamp(0.0, 1.0) * 1000.0) as u64);
        let rate = job.documents_per_second.map_or_else(String::new, |rate| format!(", {rate:.0} rows/s"));
        let left = job.eta_seconds.map_or_else(String::new, |eta| format!(", {eta:.0} s left"));
        bar.set_message(format!("{} of {} rows{rate}{left}", job.counts.succeeded, job.counts.total));
        if job.has_ended() {
            bar.finish_and_clear();
            return Ok(job);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
