//! `sentor models`: what the configured model folders hold.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::ensure;
use serde::Serialize;

use crate::analysis::Settings;
use crate::registry::ModelFolder;

use super::session;
use super::{Exit, GlobalArgs};

/// Show or check the models.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ModelsCommand {
    /// Show the configured models: name, version, languages, signature, size and path
    List(ListArgs),
    /// Check the models: manifest, SHA-256 of each file, and a first run
    ///
    /// The exit code is 4 where a model fails a check.
    Verify(ListArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Model folders [default: those of the configuration]
    #[arg(value_name = "FOLDER")]
    folders: Vec<PathBuf>,

    /// Print JSON in place of a table
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &ModelsArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let settings = session::settings(global)?;
    match &args.command {
        ModelsCommand::List(args) => list(args, &settings),
        ModelsCommand::Verify(args) => verify(args, &settings),
    }
}

/// A model as `models list` shows it.
#[derive(Serialize)]
struct Model {
    name: String,
    version: String,
    languages: Vec<&'static str>,
    signature: &'static str,
    size_bytes: u64,
    path: PathBuf,
}

impl Model {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let folder = ModelFolder::open(path)?;
        let manifest = folder.manifest();
        Ok(Self {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            languages: manifest.languages.iter().map(|language| language.code()).collect(),
            signature: manifest.signature.name(),
            size_bytes: folder.size_bytes(),
            path: path.to_owned(),
        })
    }
}

fn list(args: &ListArgs, settings: &Settings) -> anyhow::Result<Exit> {
    let folders = folders(args, settings);
    let models = folders.iter().map(|folder| Model::read(folder)).collect::<anyhow::Result<Vec<_>>>()?;
    let stdout = &mut io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut *stdout, &serde_json::json!({ "models": models }))?;
        writeln!(stdout)?;
        return Ok(Exit::Ok);
    }
    let columns = |[name, version, languages, signature, size, path]: [&str; 6]| {
        format!("{name:<16}  {version:<8}  {languages:<9}  {signature:<9}  {size:>10}  {path}")
    };
    writeln!(stdout, "{}", columns(["name", "version", "languages", "signature", "size", "path"]))?;
    for model in &models {
        let size = format!("{:.1} MiB", model.size_bytes as f64 / f64::from(1 << 20));
        let languages = model.languages.join(" ");
        let path = model.path.display().to_string();
        writeln!(
            stdout,
            "{}",
            columns([&model.name, &model.version, &languages, &model.signature, &size, &path])
        )?;
    }
    Ok(Exit::Ok)
}

/// The folders to look at, each once.
fn folders(args: &ListArgs, settings: &Settings) -> Vec<PathBuf> {
    if !args.folders.is_empty() {
        return args.folders.clone();
    }
    let mut folders: Vec<PathBuf> = Vec::new();
    for (_, folder) in &settings.models {
        if !folders.contains(folder) {
            folders.push(folder.clone());
        }
    }
    folders
}

/// A model as `models verify` shows it.
#[derive(Serialize)]
struct Verdict {
    path: PathBuf,
    ok: bool,
    /// What is wrong.
    problem: Option<String>,
}

/// Checks every folder, also after one has failed.
fn verify(args: &ListArgs, settings: &Settings) -> anyhow::Result<Exit> {
    let verdicts: Vec<Verdict> = folders(args, settings)
        .into_iter()
        .map(|path| {
            let problem = check(&path, settings).err().map(|error| format!("{error:#}"));
            Verdict { path, ok: problem.is_none(), problem }
        })
        .collect();
    let stdout = &mut io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut *stdout, &serde_json::json!({ "models": verdicts }))?;
        writeln!(stdout)?;
    } else {
        for verdict in &verdicts {
            let outcome = verdict.problem.as_deref().unwrap_or("ok");
            writeln!(stdout, "{}: {outcome}", verdict.path.display())?;
        }
    }
    Ok(if verdicts.iter().all(|verdict| verdict.ok) { Exit::Ok } else { Exit::Models })
}

fn check(path: &Path, settings: &Settings) -> anyhow::Result<()> {
    let folder = ModelFolder::open(path)?;
    folder.verify()?;
    let languages = &folder.manifest().languages;
    let models = languages.iter().map(|&language| (language, path.to_owned())).collect();
    let session = session::start(&Settings { models, workers: Some(1), ..settings.clone() })?;
    let status = session.0.models();
    ensure!(!status.is_empty() && status.iter().all(|model| model.ready), "the first run failed");
    Ok(())
}
